import json
import os

import pytest

from cardiac_motion.core.datalist import case_name, check_one_source, complete_entries, read_datalist, resolve_entry
from cardiac_motion.core.errors import InputError


@pytest.mark.parametrize(
    "path, name",
    [("a/b.nii.gz", "b"), ("b.dcm", "b"), ("x/p.1.mp4", "p.1"), ("folder", "folder"), ("odd.xyz", "odd.xyz")]
    + [(f"a/b{suffix}", "b") for suffix in (".mkv", ".webm", ".m4v", ".IMA", ".dicom", ".mhd")],
)
def test_case_name(path, name):
    assert case_name(path) == name


def test_datalist(tmp_path):
    path = tmp_path / "list.json"
    content = {
        "test": [{"image": "a.nii.gz", "label": "m/a.nii.gz", "ed": 3}, "b.mp4", {"image": "c", "case": "third"}]
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    entries = read_datalist(path, "test", tmp_path)
    assert [e["case"] for e in entries] == ["a", "b", "third"]
    assert entries[0] == {
        "case": "a",
        "image": str(tmp_path / "a.nii.gz"),
        "label": str(tmp_path / "m/a.nii.gz"),
        "ed": 3,
    }


@pytest.mark.parametrize(
    "text, reason",
    [
        (None, "cannot be read"),
        ("{", "not a JSON"),
        ("[1]", "no list 'test'"),
        ('{"training": []}', r"no list 'test' \(it has: training\)"),
        ('{"test": []}', "it has none"),
        ('{"test": [{"label": "a"}]}', "one is {'"),
        ('{"test": [{"image": 3}]}', "one is {'"),
        ('{"test": [{"case": "a", "image": "a.nii"}, {"case": "a", "image": "b.nii"}]}', "names a case twice: a"),
    ],
)
def test_datalist_that_is_none(tmp_path, text, reason):
    path = tmp_path / "list.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_datalist(path, "test")


def test_every_path_of_an_entry_starts_from_the_same_folder(tmp_path):
    paths = ("image", "es_image", "ed_label", "es_mask", "label", "mask", "ddf", "contour", "contours", "summary")
    entry = {name: f"a/{name}" for name in paths} | {"case": "a/b", "ed": 3, "assumed_view": "A4C"}
    found = resolve_entry(entry, tmp_path)
    assert found == {name: str(tmp_path / f"a/{name}") for name in paths} | {
        "case": "a/b",
        "ed": 3,
        "assumed_view": "A4C",
    }
    assert resolve_entry(found, "elsewhere") == found, "absolute paths stay"


@pytest.mark.parametrize("data", [[], ["a.nii"], [{"label": "a.nii"}], [{"image": "a.nii"}, 3]])
def test_entries_without_an_image_are_refused(data):
    with pytest.raises(InputError, match="expected a list of entries, each with an 'image'"):
        complete_entries(data)


def test_entries_given_directly_are_checked_as_those_of_a_list():
    with pytest.raises(InputError, match="names a case twice: a"):
        complete_entries([{"case": "a", "image": "a.nii"}, {"case": "a", "image": "b.nii"}])
    with pytest.raises(InputError, match="did you mean spacing"):
        complete_entries([{"image": "a.nii", "spacings": 1}])


@pytest.mark.parametrize("given", [("a", "b", None), ("a", None, [1]), (None, "b", [1])])
def test_cases_come_from_one_source(given):
    with pytest.raises(InputError, match=r"are given \((a|b)\): one of them"):
        check_one_source(*given)
    check_one_source(given[0], None, None)


def test_a_byte_order_mark_before_a_list(tmp_path):
    (tmp_path / "list.json").write_text('{"test": ["a.dcm"]}', encoding="utf-8-sig")
    assert read_datalist(tmp_path / "list.json", "test")[0]["case"] == "a"


@pytest.mark.parametrize(("key", "near"), [("spacings", "spacing"), ("Spacing", "spacing"), ("es-mask", "es_mask")])
def test_a_mistyped_key_is_told(tmp_path, key, near):
    (tmp_path / "list.json").write_text(json.dumps({"test": [{"image": "a.dcm", key: 1}]}), encoding="utf-8")
    with pytest.raises(
        InputError, match=rf"list\.json: list 'test': the entry a\.dcm has a key {key}; did you mean {near}\?"
    ):
        read_datalist(tmp_path / "list.json", "test")


@pytest.mark.parametrize("key", ["patient", "age", "sex", "ef", "view", "id", "site"])
def test_keys_of_others_mean_nothing(tmp_path, key):
    (tmp_path / "list.json").write_text(json.dumps({"test": [{"image": "a.dcm", key: 1}]}), encoding="utf-8")
    assert read_datalist(tmp_path / "list.json", "test")[0][key] == 1


def test_bytes_of_a_name_that_are_no_utf_8():
    assert case_name(os.fsdecode(b"M\xfcller.nii.gz")) == "M\ufffdller"
