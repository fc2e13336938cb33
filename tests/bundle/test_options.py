"""Options: known ones alone, paths as written."""

import json
from copy import deepcopy

import pytest
from monai.bundle import ConfigParser

from cardiac_motion.bundle.options import (
    check_files,
    check_known,
    check_options,
    check_place,
    is_path,
    monai_command,
    override,
    parse_words,
    restore_path,
)
from cardiac_motion.core.errors import InputError

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
    parser = ConfigParser(deepcopy(CONFIG))
    override(parser, {"input": name, "output_dir": "out#2"})
    assert parser.get_parsed_content("input") == name == parser["input"]
    assert parser.get_parsed_content("where") == f"{name}/x" and parser["output_dir"] == "out#2"


def test_a_file_whose_name_begins_with_a_sign_and_an_expression(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("$a.dcm", "@levels"):
        (tmp_path / name).touch()
        parser = ConfigParser(deepcopy(CONFIG))
        override(parser, {"input": name})
        assert parser.get_parsed_content("input") == name
    parser = ConfigParser(deepcopy(CONFIG))
    override(parser, {"input": "$@output_dir + '/a'"})
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


MONAI = "/somewhere/site-packages/monai/bundle/__main__.py"


@pytest.mark.parametrize(
    "argv, words",
    [
        ([MONAI, "run", "--config_file", "a.json"], ["--config_file", "a.json"]),
        ([MONAI, "ckpt_export", "run"], None),
        (["/usr/bin/pytest", "run"], None),
        (["/somewhere/cardiac_motion/bundle/__main__.py", "run"], None),
        ([], None),
    ],
)
def test_the_command_of_monai(argv, words):
    assert monai_command(argv) == words


def test_words_mean_what_they_mean_to_monai(tmp_path):
    (tmp_path / "args.json").write_text(json.dumps({"frames": 3, "levels": 5}), encoding="utf-8")
    words = ["train", "--config_file", "['a.json','b.json']", "--levels=4", "-seed", "1", "--save-figures"]
    assert parse_words([*words, "--args_file", str(tmp_path / "args.json")]) == {
        "run_id": "train", "config_file": ["a.json", "b.json"], "levels": 4, "seed": 1, "save_figures": True,
        "frames": 3, "args_file": str(tmp_path / "args.json"),
    }  # fmt: skip


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """The configuration file of a bundle; started where its paths lead into it."""
    file = tmp_path / "bundles/b/configs/inference.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(CONFIG), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return file


@pytest.mark.parametrize(
    "words, message",
    [
        (["--inptu", "a"], "b: has no option --inptu; did you mean --input?"),
        (["--stages#0#roisize=3"], "did you mean --stages#0#roi_size?"),
        (["--run_name", "a"], "has no option --run_name"),  # known with --tracking alone
        (["--bundle_root", "bundles/c"], "bundles/c: not in the current folder"),
    ],
)
def test_what_is_mistyped_under_monai(bundle, monkeypatch, words, message):
    monkeypatch.setattr("sys.argv", [MONAI, "run", "--config_file", str(bundle), *words])
    with pytest.raises(InputError) as raised:
        check_options({})
    assert message in str(raised.value)


def test_paths_as_they_are_written_under_monai(bundle, monkeypatch):
    words = ["--input", "2024", "--output_dir=a#1", "--levels", "2", "--tracking", "mlflow", "--run_name", "a"]
    monkeypatch.setattr("sys.argv", [MONAI, "run", "--config_file", str(bundle), *words])
    resolved = {"output_dir": "a::1"}
    check_options(resolved)
    assert resolved == {"input": "2024", "output_dir": "a#1"}
    monkeypatch.setattr("sys.argv", ["pytest", "--inptu", "a"])
    check_options(resolved)
