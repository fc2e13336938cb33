import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.stats import mannwhitneyu, wilcoxon

from common.compare.__main__ import compare, parser, write_tables
from common.compare.methods import Method, methods_of
from common.compare.record import send
from common.compare.table import against_best, kind_of, markdown, rows
from common.core.errors import InputError
from common.simulation.blood import write_blood
from common.volume.phantom import phantom
from tests.bundles.running import ROOT


def method(title, dice, failed=None):
    cases = {
        f"c{i}": {
            "dice": d,
            "dice_head": d + 0.01,
            "dice_body": d - 0.01,
            "hd95": 2.0,
            "seconds": 1.5,
            "nlcc@1/8": 0.5,
            "missed": 0.0,
        }
        for i, d in enumerate(dice)
    }
    return Method(title, [], Path(title), cases, failed or {})


GOOD = [0.80, 0.82, 0.85, 0.79, 0.83, 0.81]
WORSE = [0.75, 0.80, 0.81, 0.78, 0.80, 0.76]


def test_the_best_is_tested_in_pairs_against_each_other():
    best, p = against_best([method("worse", WORSE), method("good", GOOD), method("same", GOOD)])
    assert best == "good"
    assert p["worse"] == pytest.approx((wilcoxon(GOOD, WORSE).pvalue, mannwhitneyu(GOOD, WORSE).pvalue))
    assert p["same"] == (1.0, 1.0)


def test_only_cases_that_both_finished_are_paired():
    part = method("part", [])
    part.cases = {"c5": {"dice": 0.1}, "other": {"dice": 0.9}}
    _, p = against_best([method("good", GOOD), part])
    assert np.isnan(p["part"][0])
    assert against_best([method("none", [])]) == (None, {})


def test_the_table_says_mean_sd_n_and_what_failed():
    methods = [method("good", GOOD), method("broken", [], {"c0": "no program"})]
    text = markdown(rows(methods), "about", kind_of(methods))
    assert f"{100 * np.mean(GOOD):.2f} ± {100 * np.std(GOOD, ddof=1):.2f}" in text
    assert "| 6 | best | best |" in text
    assert "0, 1 failed: no program" in text
    assert text.count("\n|") == 4


def flow(title, epe, nlcc, slope):
    """Cases whose found GLS is ``slope`` times the true one."""
    truth = np.linspace(-25, -8, len(epe))
    cases = {
        f"c{i}": {"epe_mm": e, "epe_es_mm": 9 * e, "nlcc_myocardium": nlcc, "gls_true": t, "gls_error": (slope - 1) * t}
        for i, (e, t) in enumerate(zip(epe, truth, strict=True))
    }
    return Method(title, [], Path(title), cases)


def test_the_smaller_endpoint_error_is_the_better_and_plots_are_written(tmp_path):
    good, worse = flow("good", [0.1, 0.2, 0.15], 0.8, 0.9), flow("worse", [0.2, 0.3, 0.35], 0.9, 0.5)
    for method in (good, worse):
        method.folder = tmp_path / method.title
        for name in method.cases:
            (method.folder / name).mkdir(parents=True)
            (method.folder / name / "summary.json").write_text(json.dumps({"profile_mm": [1.0, 0.5, 1.0]}))
    assert against_best([worse, good])[0] == "good" and kind_of([good]).metric == "epe_mm"
    out = tmp_path / "out"
    table = write_tables([worse, good], out, "about")
    assert [row["gls_correlation"] for row in table] == pytest.approx([1, 1])
    names = {p.name for p in out.iterdir()}
    assert names == {"table.md", "table.csv", "cases.csv", "boxes.png", "nlcc_epe.png", "profile.png"}
    assert "| good | 0.150 ± 0.050 | 1.35 ± 0.45 |" in (out / "table.md").read_text()
    good.cases["c0"]["gls_error"] = float("nan")
    assert "gls_correlation" not in rows([good])[0]  # of two cases


def test_without_truth_likeness_is_shown_and_nothing_is_the_best(tmp_path, recwarn):
    alike = Method("alike", [], Path("alike"), {"c0": {"nlcc": 0.9, "seconds": 1.0}, "c1": {"nlcc": 0.8}})
    less = Method("less", [], Path("less"), {"c0": {"nlcc": 0.5}, "c1": {"nlcc": 0.4, "epe_mm": float("nan")}})
    assert kind_of([alike, less]).metric is None and against_best([alike, less]) == (None, {})
    table = write_tables([alike, less, Method("none", [], Path("none"))], tmp_path, "about")
    assert "best" not in [row["p_against_best"] for row in table]
    assert "NLCC" in (tmp_path / "table.md").read_text() and (tmp_path / "boxes.png").is_file()
    assert not [w for w in recwarn if "empty slice" in str(w.message)]


def test_one_box_plot_a_metric_that_cases_have(tmp_path, recwarn):
    only = Method("m", [], tmp_path / "m", {"c0": {"epe_mm": 0.1, "epe_es_mm": float("nan")}})
    (tmp_path / "m/c0").mkdir(parents=True)
    (tmp_path / "m/c0/summary.json").write_text("{}")
    write_tables([only], tmp_path, "about")
    assert (tmp_path / "boxes.png").is_file() and "| 0.100 |" in (tmp_path / "table.md").read_text()
    assert not (tmp_path / "nlcc_epe.png").exists() and not (tmp_path / "profile.png").exists()
    nothing = Method("m", [], Path("m"), {"c0": {"seconds": 1.0}})
    write_tables([nothing], tmp_path / "nothing", "about")
    assert not (tmp_path / "nothing/boxes.png").exists()
    assert not [w for w in recwarn if "empty slice" in str(w.message)]


def test_tables_are_written_with_a_box_plot(tmp_path):
    write_tables([method("good", GOOD), method("worse", WORSE)], tmp_path, "about")
    assert {p.name for p in tmp_path.iterdir()} == {"table.md", "table.csv", "cases.csv", "boxes.png"}
    assert len((tmp_path / "cases.csv").read_text().splitlines()) == 13


def test_a_bundle_lists_its_methods_and_settings_change_the_folder(tmp_path):
    bundle = ROOT / "bundles" / "ants_syn"
    first = methods_of(bundle, tmp_path, "one")
    assert [m.title for m in first] == list(json.loads((bundle / "configs" / "compare.json").read_text()))
    assert all(path.is_file() for m in first for path in m.configs)
    assert {m.folder for m in first}.isdisjoint(m.folder for m in methods_of(bundle, tmp_path, "other"))
    with pytest.raises(InputError, match="cannot be run, missing"):
        methods_of(tmp_path / "nothing", tmp_path, "one")


def test_runs_are_children_of_one_parent_and_sent_once(tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    methods = [method("good", GOOD), method("worse", WORSE, {"c9": "broken"})]
    write_tables(methods, tmp_path, "about")
    for _ in range(2):
        send(methods, tmp_path, {"datalist": "runs.json", "fold": "validation"})
    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("compare").experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = {r.info.run_name: r for r in runs if "mlflow.parentRunId" in r.data.tags}
    assert len(parents) == 1 and set(children) == {"good · runs validation", "worse · runs validation"}
    assert {r.data.tags["mlflow.parentRunId"] for r in children.values()} == {parents[0].info.run_id}
    assert set(children["good · runs validation"].data.metrics) == set(children["worse · runs validation"].data.metrics)
    assert children["good · runs validation"].data.metrics["scales/nlcc_at_1_8"] == 0.5
    assert children["good · runs validation"].data.metrics["dice"] == pytest.approx(np.mean(GOOD))
    assert len(client.get_metric_history(children["good · runs validation"].info.run_id, "cases/dice")) == len(GOOD)
    assert children["worse · runs validation"].info.status == "FAILED"


def test_a_store_that_is_down_costs_no_result(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    methods = [method("good", GOOD)]
    write_tables(methods, tmp_path, "about")
    with pytest.raises(InputError, match="took no record"):
        send(methods, tmp_path, {})
    assert (tmp_path / "table.md").is_file()


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
    path.write_text(json.dumps(content))
    return path


def test_several_folds_give_a_table_each_and_the_worst(synthetic_list, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    content = json.loads(synthetic_list.read_text())
    content["other"] = content["validation"][::-1]
    synthetic_list.write_text(json.dumps(content))
    words = f"--datalist {synthetic_list} --dataset_dir {tmp_path} --bundles voxelmorph --output_dir {tmp_path / 'out'}"
    arguments = parser().parse_args([*words.split(), "--here", "--folds", "validation", "other", "--cases", "1"])
    table = compare(arguments)
    assert [row["n"] for row in table] == [1, 1]
    assert (tmp_path / "out/validation/table.md").is_file() and (tmp_path / "out/other/table.md").is_file()
    worst = min(table, key=lambda row: row["dice"])
    assert f"{100 * worst['dice']:.2f} (" in (tmp_path / "out/worst.md").read_text()
    assert "worst fold" in capsys.readouterr().out
    arguments.folds = ["validation", "nowhere"]
    with pytest.raises(InputError, match="has no list 'nowhere'"):
        compare(arguments)
    arguments.folds, arguments.methods = None, ["nothing"]
    with pytest.raises(InputError, match="no method of voxelmorph is called nothing"):
        compare(arguments)


def test_some_frames_of_cines_and_another_file_of_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = {"number": 0, "flow": "hill", "frame_rate": 200, "flow_settings": {"speed": 150.0}}
    shared = {"seed": 1, "frames": 4, "shape": [96, 96], "cases": {"still": {"a": recipe}}}
    files = {"image": "cine", "pool": "pool", "ddf": "ddf", "mask": "mask", "velocity": "velocity"}
    entry = {"case": "a", **{key: f"still/a/{name}.nii.gz" for key, name in files.items()}}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"recipe": shared, "still": [entry]}))
    write_blood(path, tmp_path, progress=False)
    words = f"--datalist {path} --dataset_dir {tmp_path} --fold still --bundles dis --here --lines compare_cine.json"
    table = compare(parser().parse_args([*words.split(), "--frames", "3", "--output_dir", str(tmp_path / "out")]))
    lines = json.loads((ROOT / "bundles/dis/configs/compare_cine.json").read_text())
    assert [row["method"] for row in table] == list(lines) and all(0 < row["velocity_error"] < 1 for row in table)
    assert all(row["processor_seconds_per_pair"] >= 0 for row in table)
    summary = json.loads(next((tmp_path / "out").glob("*/a/summary.json")).read_text())
    assert len(summary["pairs"]["mse"]) == 2
    assert "the first 3 frames of each" in (tmp_path / "out" / "table.md").read_text()


def test_a_comparison_goes_on_where_it_was_and_a_bad_case_leaves_a_row(synthetic_list, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = f"--datalist {synthetic_list} --dataset_dir {tmp_path} --bundles voxelmorph --output_dir {tmp_path / 'out'}"
    arguments = parser().parse_args([*words.split(), "--workers", "1"])
    (row,) = compare(arguments)
    assert row["n"] == 2 and row["failed"] == 1
    assert "labels must be 0, 1, 2" in row["reason"]
    done = sorted((tmp_path / "out").glob("*/s*/summary.json"))
    times = [path.stat().st_mtime_ns for path in done]
    assert [path.parent.name for path in done] == ["s2", "s4"]
    nibabel.save(nibabel.Nifti1Image(phantom(3)[1], np.eye(4)), tmp_path / "labelsTr" / "s3.nii.gz")
    (row,) = compare(arguments)
    assert row["n"] == 3 and row["failed"] == 0
    assert [path.stat().st_mtime_ns for path in done] == times
    assert "1 of 3 cases to do" in capsys.readouterr().out
