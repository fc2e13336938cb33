"""The command over a list, as a user runs it: the files are those of one process, and what failed is said."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cardiac_motion.cohort.__main__ import arguments, run
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.field_files import load_ddf
from tests.bundles.running import ROOT, run_here
from tests.cohort.cines import CASES, write_cines

TIMES = ("seconds", "seconds_per_pair", "processor_seconds_per_pair")


def words(cines, output_dir, *more, bundle="farneback"):
    return ["--bundle", bundle, "--datalist", str(cines / "list.json"), "--dataset_dir", str(cines), "--output_dir",
            str(output_dir), "--save_figures", "False", *more]  # fmt: skip


def cohort(*given):
    return run(*arguments(words(*given)))


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def test_a_list_with_a_corrupt_cine(cines, tmp_path, capsys):
    from mlflow.tracking import MlflowClient

    (cines / "c1.nii.gz").write_bytes(b"no cine")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cardiac_motion.cohort", *words(cines, out, "--workers", "1")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 3, done.stderr
    assert "1 of 3 cases failed:\n  c1  input" in done.stdout and "case/s" in done.stderr
    assert "distributed" not in done.stderr and "Traceback" not in done.stderr
    (failed,) = rows(out / "failed.csv")
    assert failed["case"] == "c1" and failed["attempts"] == "1" and "c1.nii.gz" in failed["reason"]
    times = [(out / name / "summary.json").stat().st_mtime_ns for name in ("c0", "c2")]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["cases"]["mse"]["n"] == 2 and set(summary["failed"]) == {"c1"}

    write_cines(cines)
    assert cohort(cines, out, "--here") == 0
    assert "1 of 3 cases to process" in capsys.readouterr().out
    assert times == [(out / name / "summary.json").stat().st_mtime_ns for name in ("c0", "c2")]
    assert not (out / "failed.csv").exists()

    plain = tmp_path / "plain"
    run_here("farneback/configs/inference.json", datalist=str(cines / "list.json"), dataset_dir=str(cines),
             output_dir=str(plain), save_figures=False, mlflow=False)  # fmt: skip
    for name in ("metrics.csv", "pairs.csv"):
        assert rows(out / name) == rows(plain / name)
    for name in CASES:
        assert {f.name for f in (out / name).iterdir()} == {f.name for f in (plain / name).iterdir()}
        assert np.array_equal(load_ddf(out / name / "ddf.nii.gz"), load_ddf(plain / name / "ddf.nii.gz"))

    client = MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("cines").experiment_id])
    (found,) = (r for r in runs if r.data.params.get("output_dir") == str(out.resolve()))
    assert sorted(m.step for m in client.get_metric_history(found.info.run_id, "cases/mse")) == [0, 1, 2]
    assert found.info.run_name == "farneback · list test, 3 cases"
    assert found.info.status == "FINISHED" and found.data.metrics["cases_failed"] == 0


def test_only_what_failed_before(cines, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--mlflow", "False", "--here")
    for name in CASES[1:]:
        (cines / f"{name}.nii.gz").unlink()
    assert cohort(cines, out, *options) == 3
    write_cines(cines)
    shutil.rmtree(out / "c0")
    assert cohort(cines, out, *options, "--retry-failed") == 0
    assert "2 of 3 cases to process" in capsys.readouterr().out
    assert not (out / "c0/summary.json").exists()
    assert not (out / "mlflow.json").exists()


@pytest.mark.parametrize(
    "more, reason",
    [
        (("--levls", "2"), "farneback: has no option --levls; did you mean --levels"),
        (("--fold", "training"), "has no list 'training'"),
        (("--config", "none.json"), "none.json"),
        (("--memory_limit", "much"), "much: not a size"),
        (("--scheduler", "nonsense"), "nonsense: no scheduler answers"),
        (("--slurm", "none.yaml"), "none.yaml: cannot be read"),
    ],
)
def test_bad_options(cines, tmp_path, more, reason):
    with pytest.raises(InputError, match=reason):
        cohort(cines, tmp_path / "out", "--mlflow", "False", *more)


def test_no_such_bundle_or_list(cines, tmp_path):
    with pytest.raises(InputError, match="nonsense: no bundle of this name"):
        run(*arguments(words(cines, tmp_path / "out", bundle="nonsense")))
    (cines / "list.json").unlink()
    with pytest.raises(InputError, match=r"list\.json: cannot be read"):
        cohort(cines, tmp_path / "out")
    with pytest.raises(SystemExit):
        arguments(["--output_dir", str(tmp_path)])
    with pytest.raises(SystemExit):
        arguments(words(cines, tmp_path, "--save_figures"))


def test_the_commands_of_the_page():
    page = (ROOT / "docs/cohorts.md").read_text(encoding="utf-8")
    lines = [shlex.split(line)[2:] for line in page.splitlines() if line.startswith("cardiac-motion cohort")]
    assert len(lines) == 5
    for line in lines:
        _, own = arguments(line)
        assert own == {}
    for target in re.findall(r"\]\(([^)#:]+)\)", page):
        assert (ROOT / "docs" / target).exists()
