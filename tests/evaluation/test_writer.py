"""Files of a case and of a list: complete, in the stated units, with the rows of earlier runs."""

import csv
import json
from types import SimpleNamespace

import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.core import run_settings
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import PROGRAM
from cardiac_motion.evaluation.writer import MetricsTable, case_folder, warp_cine
from cardiac_motion.fields.field_files import load_ddf
from tests.evaluation.made import evaluator


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_and_its_summary_last(tmp_path):
    entry = SimpleNamespace(image="a.dcm", case="a")
    with case_folder(tmp_path / "a", entry, "still") as (beside, summary):
        summary["metrics"] = {"gls": float("nan")}
        assert not (tmp_path / "a").exists() and not list(beside.iterdir())
    found = json.loads((tmp_path / "a/summary.json").read_text(encoding="utf-8"))
    assert (found["program"], found["case"], found["method"]) == (PROGRAM, "a", "still")
    assert found["metrics"] == {"gls": None}, "JSON knows no NaN"
    with pytest.raises(KeyError), case_folder(tmp_path / "b", entry, "still"):
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_each_frame_is_warped_from_the_one_before():
    frames = torch.zeros(1, 3, 6, 6)
    for t in range(3):
        frames[0, t, 2 + t] = t + 1.0
    cine = MetaTensor(frames, meta={"spacing": (1.0, 1.0)})
    ddf = torch.zeros(2, 2, 6, 6)
    ddf[:, 0] = -1.0  # what is at p came from a row above
    warped = warp_cine(cine, ddf)
    assert torch.equal(warped[0, 0], frames[0, 0]) and warped.meta["spacing"] == (1.0, 1.0)
    assert warped[0, 1, 3].unique().item() == 1.0 and warped[0, 2, 4].unique().item() == 2.0
    assert torch.equal(cine.as_tensor(), frames), "the cine itself is left alone"


def test_files_are_those_that_are_wanted(cines):
    engine = evaluator(cines, "a", save_figures=True, save_warped=True)
    engine.run()
    names = {path.name for path in (cines / "out/a").iterdir()}
    assert names == {
        "ddf.nii.gz", "warped.nii.gz", "summary.json", "arrows.png", "warped.png", "tracked.mp4", "tracked.png",
    }  # fmt: skip
    assert torch.equal(load_ddf(cines / "out/a/ddf.nii.gz"), engine.state.output.result.ddf)
    summary = json.loads((cines / "out/a/summary.json").read_text(encoding="utf-8"))
    assert (summary["frames"], summary["size"], summary["spacing"]) == (3, [48, 56], None)
    evaluator(cines, "b", save_fields=False).run()
    assert [path.name for path in (cines / "out/b").iterdir()] == ["summary.json"]


def test_tables_hold_what_earlier_runs_of_the_method_left(cines, capsys):
    evaluator(cines, "a", [MetricsTable()]).run()
    assert "written to" in capsys.readouterr().out
    evaluator(cines, "b", [MetricsTable()]).run()
    assert "also contain 1 cases of earlier runs" in capsys.readouterr().out
    table, pairs = (rows(cines / f"out/{name}.csv") for name in ("metrics", "pairs"))
    assert [row["case"] for row in table] == ["a", "b"] and [row["case"] for row in pairs] == ["a", "a", "b", "b"]
    assert float(table[0]["mse"]) == pytest.approx(sum(float(row["mse"]) for row in pairs[:2]) / 2, rel=1e-4)
    assert json.loads((cines / "out/summary.json").read_text(encoding="utf-8"))["cases"]["mse"]["n"] == 2
    with pytest.raises(InputError, match="has results of still"):
        evaluator(cines, "a", [MetricsTable(show=False)], method="other").run()
    assert [row["case"] for row in rows(cines / "out/metrics.csv")] == ["a", "b"]


def test_results_of_other_settings_are_kept_beside_the_new_ones(cines, capsys, monkeypatch):
    for settings in ("1" * 64, "1" * 64, "2" * 64, "1" * 64):
        monkeypatch.setattr(run_settings, "_noted", ["", settings])
        evaluator(cines, "a", [MetricsTable()]).run()
        said = capsys.readouterr().out
    assert "results of other settings that were there are kept in a.22222222/" in said
    assert {path.name for path in (cines / "out").iterdir() if path.is_dir()} == {"a", "a.11111111", "a.22222222"}
    kept = json.loads((cines / "out/a.22222222/summary.json").read_text(encoding="utf-8"))
    assert kept["settings"] == "2" * 64 and kept["case"] == "a"
    assert [row["case"] for row in rows(cines / "out/metrics.csv")] == ["a"], "tables are of the case's own folder"


def test_rows_of_other_settings_can_be_told_apart_and_are_not_in_the_means(cines, capsys, monkeypatch):
    found = {}
    for name, settings in (("a", "1" * 64), ("b", "2" * 64)):
        monkeypatch.setattr(run_settings, "_noted", ["", settings])
        engine = evaluator(cines, name, [MetricsTable()])
        engine.run()
        found[name] = engine.state.output.scores.metrics["mse"]
    said = capsys.readouterr().out
    assert "1 cases of earlier runs; the column settings tells other settings apart, the means are of 22222222" in said
    table, pairs = (rows(cines / f"out/{name}.csv") for name in ("metrics", "pairs"))
    assert [(row["case"], row["settings"]) for row in table] == [("a", "11111111"), ("b", "22222222")]
    assert [(row["case"], row["settings"]) for row in pairs] == [("a", "11111111")] * 2 + [("b", "22222222")] * 2
    summary = json.loads((cines / "out/summary.json").read_text(encoding="utf-8"))
    assert summary["settings"] == "22222222" and summary["pairs"]["mse"]["n"] == 2
    assert summary["cases"]["mse"] == {"mean": pytest.approx(found["b"]), "sd": 0, "n": 1}


def test_rows_of_the_same_settings_need_no_column_of_them(cines, monkeypatch):
    monkeypatch.setattr(run_settings, "_noted", ["", "1" * 64])
    for name in ("a", "b"):
        evaluator(cines, name, [MetricsTable(show=False)]).run()
    assert not [row for row in rows(cines / "out/metrics.csv") if "settings" in row]
    summary = json.loads((cines / "out/summary.json").read_text(encoding="utf-8"))
    assert summary["cases"]["mse"]["n"] == 2 and "settings" not in summary
