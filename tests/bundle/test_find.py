"""Where bundles are looked for, in which order, and what is said where none is."""

import shutil

import pytest

from cardiac_motion.bundle import find
from cardiac_motion.bundle.find import find_bundle, list_bundles, search_folders, user_bundles
from cardiac_motion.core.errors import InputError
from tests.bundles.running import ROOT


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """As an installed wheel is: no repository, an empty user folder, nothing in the current folder."""
    monkeypatch.setattr(find, "REPOSITORY", tmp_path / "site-packages")
    monkeypatch.setattr(find, "user_bundles", lambda: tmp_path / "home/bundles")
    monkeypatch.delenv(find.VARIABLE, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def put(folder, name="dis", version=None):
    (folder / name / "configs").mkdir(parents=True)
    text = (ROOT / "bundles/dis/configs/metadata.json").read_text(encoding="utf-8")
    old = list_bundles(ROOT / "bundles")[0].version
    (folder / name / "configs/metadata.json").write_text(text.replace(old, version or old), encoding="utf-8")
    return folder / name


def test_in_the_repository_they_are_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.delenv(find.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    names = [bundle.name for bundle in list_bundles()]
    assert {path.name for path in (ROOT / "bundles").iterdir() if path.is_dir()} <= set(names)
    assert find_bundle("cpwc_echo").resolve() == ROOT / "bundles/cpwc_echo"
    assert all(bundle.version and bundle.task for bundle in list_bundles(ROOT / "bundles"))


def test_the_order_of_the_places(elsewhere, monkeypatch):
    places = [elsewhere / "variable", elsewhere / "here/bundles", elsewhere / "home/bundles"]
    monkeypatch.setenv(find.VARIABLE, str(elsewhere / "variable"))
    assert [place.resolve() for place in search_folders()] == places
    for place in reversed(places):
        put(place, version=f"9.{len(place.parts)}.{place.name}")
        assert find_bundle("dis").resolve() == place / "dis"
    put(places[-1], "another")
    assert [(b.name, b.folder.resolve()) for b in list_bundles()] == [
        ("another", places[-1] / "another"), ("dis", places[0] / "dis"),
    ]  # fmt: skip
    given = put(elsewhere / "given")
    assert find_bundle("dis", elsewhere / "given") == given and find_bundle(given) == given
    with pytest.raises(InputError, match="another: no bundle of this name; there are dis"):
        find_bundle("another", elsewhere / "given")


def test_where_none_is_it_says_where_it_looked_and_what_to_do(elsewhere):
    with pytest.raises(InputError) as caught:
        find_bundle("dis")
    words = ("bundles", "home/bundles", "--bundles DIR", find.VARIABLE, "bundles export", "bundles download")
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_the_users_folder_is_the_platforms():
    assert user_bundles().is_absolute() and user_bundles().parts[-2:] == ("cardiac_motion", "bundles")


def test_metadata_that_is_no_json_is_named(elsewhere):
    (put(elsewhere / "here/bundles") / "configs/metadata.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"metadata\.json: no JSON"):
        list_bundles()


def test_a_downloaded_repository_may_hold_the_bundle_in_a_folder(elsewhere, monkeypatch):
    class Hub:
        @staticmethod
        def snapshot_download(repository, revision=None, local_dir=None):
            if repository == "a/empty":
                local_dir.mkdir(parents=True)
            else:
                shutil.copytree(ROOT / "bundles/dis/configs", local_dir / "inside/configs")
            assert revision == "v1"
            return str(local_dir)

    monkeypatch.setattr(find, "import_extra", lambda module, need: Hub)
    assert find.download_bundle("a/b", elsewhere, "v1") == elsewhere / "b/inside"
    with pytest.raises(InputError, match="a/empty: holds no bundle"):
        find.download_bundle("a/empty", elsewhere, "v1")
