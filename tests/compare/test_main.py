"""A comparison as a command: its files, several folds, and going on where it was."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cardiac_motion.compare.__main__ import compare, make_parser, write_tables
from cardiac_motion.compare.methods import Method
from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.blood.contrast_cine import write_blood
from cardiac_motion.volume.phantom import phantom
from tests.bundles.running import ROOT
from tests.compare.results import GOOD, WORSE, flow, method, write_profiles


def test_plots_are_written_of_what_cases_have(tmp_path):
    good, worse = flow("good", [0.1, 0.2, 0.15], 0.8, 0.9), flow("worse", [0.2, 0.3, 0.35], 0.9, 0.5)
    for one in (good, worse):
        write_profiles(one, tmp_path, [1.0, 0.5, 1.0])
    write_tables([worse, good], tmp_path / "out", "about")
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"table.md", "table.csv", "cases.csv", "boxes.png", "lncc2_epe.png", "profile.png"}


def test_without_truth_likeness_is_shown(tmp_path, recwarn):
    alike = Method("alike", [], Path("alike"), {"c0": {"lncc2": 0.9, "seconds": 1.0}, "c1": {"lncc2": 0.8}})
    write_tables([alike, Method("none", [], Path("none"))], tmp_path, "about")
    assert "LNCC²" in (tmp_path / "table.md").read_text(encoding="utf-8") and (tmp_path / "boxes.png").is_file()
    assert not [w for w in recwarn if "empty slice" in str(w.message)]


def test_tables_are_written_with_a_box_plot(tmp_path):
    write_tables([method("good", GOOD), method("worse", WORSE)], tmp_path, "about")
    assert {p.name for p in tmp_path.iterdir()} == {"table.md", "table.csv", "cases.csv", "boxes.png"}
    assert len((tmp_path / "cases.csv").read_text(encoding="utf-8").splitlines()) == 13


@pytest.fixture
def synthetic_list(tmp_path):
    """Two atlases and three targets, one of them without a label, as a datalist."""
    content = {"training": [], "validation": []}
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for i, fold in enumerate(["training"] * 2 + ["validation"] * 3):
        for folder, values in zip(("imagesTr", "labelsTr"), phantom(i), strict=True):
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / folder / f"s{i}.nii.gz")
        content[fold].append({"image": f"imagesTr/s{i}.nii.gz", "label": f"labelsTr/s{i}.nii.gz"})
    nibabel.save(nibabel.Nifti1Image(phantom(3)[1] + 4, np.eye(4)), tmp_path / "labelsTr" / "s3.nii.gz")
    path = tmp_path / "list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_several_folds_give_a_table_each_and_the_worst(synthetic_list, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    content = json.loads(synthetic_list.read_text(encoding="utf-8"))
    content["other"] = content["validation"][::-1]
    synthetic_list.write_text(json.dumps(content), encoding="utf-8")
    words = f"--datalist {synthetic_list} --dataset_dir {tmp_path} --bundles voxelmorph --output_dir {tmp_path / 'out'}"
    arguments = make_parser().parse_args(
        [*words.split(), "--here", "--folds", "validation", "other", "--max_cases", "1"]
    )
    table = compare(arguments)
    assert [row["n"] for row in table] == [1, 1]
    assert (tmp_path / "out/validation/table.md").is_file() and (tmp_path / "out/other/table.md").is_file()
    worst = min(table, key=lambda row: row["dice"])
    assert f"{100 * worst['dice']:.2f} (" in (tmp_path / "out/worst.md").read_text(encoding="utf-8")
    assert "worst fold" in capsys.readouterr().out
    arguments.folds = ["validation", "nowhere"]
    with pytest.raises(InputError, match="has no list 'nowhere'"):
        compare(arguments)
    arguments.folds, arguments.methods = None, ["nothing"]
    with pytest.raises(InputError, match="no variant of voxelmorph has the title nothing"):
        compare(arguments)


def test_some_frames_of_cines_and_another_file_of_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = {"number": 0, "flow": "hill", "frame_rate": 200, "flow_settings": {"speed": 150.0}}
    shared = {"seed": 1, "frames": 4, "shape": [96, 96], "cases": {"still": {"a": recipe}}}
    files = {"image": "cine", "blood_mask": "pool", "ddf": "ddf", "mask": "mask", "velocity": "velocity"}
    entry = {"case": "a", **{key: f"still/a/{name}.nii.gz" for key, name in files.items()}}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"recipe": shared, "still": [entry]}), encoding="utf-8")
    write_blood(path, tmp_path, progress=False)
    words = f"--datalist {path} --dataset_dir {tmp_path} --fold still --bundles dis --here --variants compare_cine.json"
    table = compare(
        make_parser().parse_args([*words.split(), "--max_frames", "3", "--output_dir", str(tmp_path / "out")])
    )
    lines = json.loads((ROOT / "bundles/dis/configs/compare_cine.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in table] == list(lines) and all(0 < row["velocity_error"] < 1 for row in table)
    assert all(row["processor_seconds_per_pair"] >= 0 for row in table)
    summary = json.loads(next((tmp_path / "out").glob("*/a/summary.json")).read_text(encoding="utf-8"))
    assert len(summary["pairs"]["mse"]) == 2
    assert "the first 3 frames of each" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_a_comparison_goes_on_where_it_was_and_a_bad_case_leaves_a_row(synthetic_list, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = f"--datalist {synthetic_list} --dataset_dir {tmp_path} --bundles voxelmorph --output_dir {tmp_path / 'out'}"
    (row,) = compare(make_parser().parse_args([*words.split(), "--workers", "1"]))
    assert row["n"] == 2 and row["failed"] == 1
    assert "labels must be 0, 1, 2" in row["reason"]
    done = sorted((tmp_path / "out").glob("*/s*/summary.json"))
    times = [path.stat().st_mtime_ns for path in done]
    assert [path.parent.name for path in done] == ["s2", "s4"]
    nibabel.save(nibabel.Nifti1Image(phantom(3)[1], np.eye(4)), tmp_path / "labelsTr" / "s3.nii.gz")
    (row,) = compare(make_parser().parse_args([*words.split(), "--here"]))
    assert row["n"] == 3 and row["failed"] == 0
    assert [path.stat().st_mtime_ns for path in done] == times
    assert "1 of 3 cases to process" in capsys.readouterr().out
