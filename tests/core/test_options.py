"""Options: known ones alone, paths as written."""

import pytest
from monai.bundle import ConfigParser

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.options import check_files, check_known, check_place, is_path, restore_path, take_literally

CONFIG = {
    "bundle_root": "bundles/b",
    "input": None,
    "output_dir": "output",
    "levels": 3,
    "settings": {"frames": 3},
    "stages": [{"_target_": "monai.inferers.SlidingWindowInferer", "roi_size": 8}],
    "where": "$@input + '/x'",
}


@pytest.mark.parametrize(
    "name",
    ["input", "levels", "stages#0#roi_size", "stages::0::roi_size", "stages#0#overlap", "settings#shape", "meta_file"],
)
def test_known(name):
    check_known(CONFIG, [name], "b", ["meta_file"])


@pytest.mark.parametrize(
    "name, line",
    [
        ("inptu", "b: has no option --inptu; did you mean --input?"),
        ("metafile", "b: has no option --metafile; did you mean --meta_file?"),
        ("xyzzy", "b: has no option --xyzzy"),
        ("stages#1#roi_size", "b: has no option --stages#1#roi_size"),
        ("stages#0#ovrlap", "b: has no option --stages#0#ovrlap; did you mean --stages#0#overlap?"),
        ("stage::0", "b: has no option --stage::0; did you mean --stages?"),
        ("input#x", "b: has no option --input#x"),
    ],
)
def test_unknown(name, line):
    with pytest.raises(InputError) as raised:
        check_known(CONFIG, [name], "b", ["meta_file"])
    assert str(raised.value) == line


@pytest.mark.parametrize(
    "name, value, words, found",
    [
        ("output_dir", 2024, ["--output_dir", "2024"], "2024"),
        ("output_dir", 2024.1, ["--output-dir=2024.10"], "2024.10"),
        ("input", 1000, ["--input", "1_000"], "1_000"),
        ("input", "a", ["--input", "a#1"], "a#1"),
        ("input", "a b", ["--input", "'a b'"], "a b"),
        ("input", "a#1", [], "a#1"),
        ("input", [1, "a"], [], ["1", "a"]),
        ("input", None, [], None),
        ("levels", 3, ["--levels", "3"], 3),
        ("checkpoint", False, [], False),
    ],
)
def test_a_path_is_no_number(monkeypatch, name, value, words, found):
    monkeypatch.setattr("sys.argv", ["run", *words])
    assert restore_path(name, value) == found


@pytest.mark.parametrize("name", ["a#1/b$c/100%/ü.nii", "a::b@c"])
def test_signs_in_a_path(name):
    parser = ConfigParser({**CONFIG, "input": name})
    take_literally(parser, {"input": name, "output_dir": "out#2"})
    assert parser.get_parsed_content("input") == name == parser["input"]
    assert parser.get_parsed_content("where") == f"{name}/x" and parser["output_dir"] == "out#2"


def test_a_file_whose_name_begins_with_a_sign_and_an_expression(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("$a.dcm", "@levels"):
        (tmp_path / name).touch()
        parser = ConfigParser({**CONFIG, "input": name})
        take_literally(parser, {"input": name})
        assert parser.get_parsed_content("input") == name
    parser = ConfigParser({**CONFIG, "input": "$@output_dir + '/a'"})
    take_literally(parser, {"input": "$@output_dir + '/a'"})
    assert parser.get_parsed_content("input") == "output/a"


def test_what_is_a_path():
    assert all(map(is_path, ("input", "ed_mask", "motion_weights", "dataset#dataset_dir")))
    assert not any(map(is_path, ("levels", "preset", "memberships")))


def test_a_bundle_is_started_where_its_paths_lead_into_it(tmp_path, monkeypatch):
    (tmp_path / "bundles/b/configs").mkdir(parents=True)
    files = [tmp_path / "bundles/b/configs/inference.json"]
    monkeypatch.chdir(tmp_path)
    check_place("bundles/b", files)
    check_place(str(tmp_path / "bundles/b"), files)
    monkeypatch.chdir(tmp_path / "bundles")
    with pytest.raises(InputError, match=f"start in {tmp_path}$"):
        check_place("bundles/b", files)


def test_the_nearest_file(tmp_path):
    (tmp_path / "motion.json").touch()
    (tmp_path / "paper.json").touch()
    with pytest.raises(InputError, match=r"missing .*/moton\.json; did you mean .*/motion\.json\?$"):
        check_files([tmp_path / "paper.json", tmp_path / "moton.json"], "b")
