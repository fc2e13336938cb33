"""A verb does what the bundle's own command does."""

import json

import numpy as np
import pytest

from cardiac_motion.cine.write import write_cine
from cardiac_motion.command.bundle_commands import (
    blood_parser,
    look_ahead,
    segment_parser,
    split_nested,
    strain_parser,
    track_parser,
)
from cardiac_motion.command.main import run_command
from cardiac_motion.fields.field_files import load_ddf
from tests.bundles.running import run_here
from tests.conftest import moving_cine

QUIET = ("--save_figures", "False", "--mlflow", "False")


@pytest.fixture
def cine(tmp_path):
    write_cine(tmp_path / "cine.nii.gz", moving_cine(3, (64, 72))[0][None])
    return str(tmp_path / "cine.nii.gz")


def test_the_same_field_from_any_folder(cine, tmp_path, monkeypatch, capsys):
    run_here(
        "farneback/configs/inference.json", input=cine, output_dir=str(tmp_path / "a"), levels=2, mlflow=False,
        save_figures=False,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = ["track", cine, "--method", "farneback", "--levels", "2", "--output_dir", "b", *QUIET]
    assert run_command(words) == 0
    assert np.array_equal(load_ddf(tmp_path / "a/cine/ddf.nii.gz"), load_ddf(tmp_path / "b/cine/ddf.nii.gz"))


def test_several_files_and_a_part_s_own_argument(cine, tmp_path):
    write_cine(tmp_path / "other.nii.gz", moving_cine(3, (64, 72))[0].flip(2)[None])
    files = [cine, str(tmp_path / "other.nii.gz")]
    words = ["track", *files, "--method", "dis", "--evaluator#radius", "4", "--output_dir", str(tmp_path / "o"), *QUIET]
    assert run_command(words) == 0
    assert {path.parent.name for path in (tmp_path / "o").glob("*/summary.json")} == {"cine", "other"}


def test_a_part_that_is_not_there_is_named(cine, capsys, tmp_path):
    assert run_command(["track", cine, "--method", "dis", "--evalator#radius", "4"]) == 1
    assert "did you mean --evaluator" in capsys.readouterr().err


def test_no_heart_is_refused_in_one_line(cine, capsys, tmp_path):
    assert run_command(["strain", cine, "--output_dir", str(tmp_path / "o")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert run_command(["blood", cine, "--output_dir", str(tmp_path / "o"), "--steps", "1"]) == 1
    assert "the blood pool is not given" in capsys.readouterr().err.splitlines()[-1]


def test_synthetic_hippocampi_are_segmented(tmp_path):
    words = ["segment", "--output_dir", str(tmp_path), "--steps", "2", "--candidates", "2", *QUIET]
    assert run_command(words) == 0
    assert len(list(tmp_path.glob("*/segmentation.nii.gz"))) == 3


def test_configurations_change_the_options_and_their_defaults(capsys):
    plain, motion = track_parser(["--method", "nmsr"]), track_parser(["--method", "nmsr", "--config", "motion.json"])
    helps = [parser._option_string_actions["--preset"].help for parser in (plain, motion)]
    assert ["(default: fast)" in helps[0], "(default: motion)" in helps[1]] == [True, True]
    assert "--steps" in segment_parser()._option_string_actions
    assert "--steps" not in segment_parser(["--method", "voxelmorph"])._option_string_actions
    assert "--time_sigma" in blood_parser()._option_string_actions
    assert "%" not in strain_parser().format_help().replace("90 %", "")


def test_words_that_decide_are_found_among_all_others():
    ahead = look_ahead(
        ["a.dcm", "--steps", "3", "--method=dis", "--help", "--config", "x.json", "y.json"], method="ilk"
    )
    assert (ahead.method, ahead.config, ahead.bundles) == ("dis", ["x.json", "y.json"], None)
    assert look_ahead([], method="ilk").method == "ilk"
    assert split_nested(["--a#b=1", "x", "--c::d", "2"]) == (["x"], ["--a#b=1", "--c::d", "2"])


def test_the_table_of_a_run_is_there(cine, tmp_path):
    assert run_command(["track", cine, "--method", "ilk", "--output_dir", str(tmp_path / "o"), *QUIET]) == 0
    assert json.loads((tmp_path / "o/cine/summary.json").read_text(encoding="utf-8"))["method"] == "ilk"
