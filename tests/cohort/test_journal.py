"""The record in MLflow: complete in the end, whatever the store did meanwhile, and nothing twice."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from cardiac_motion.cohort import journal as record
from cardiac_motion.cohort.__main__ import main
from cardiac_motion.cohort.engine import Journal
from cardiac_motion.cohort.journal import Sender, send
from cardiac_motion.core import tracking
from cardiac_motion.core.errors import InputError
from tests.cohort.server import TrackingServer
from tests.cohort.work import wait_for

NAMES = [f"c{i}" for i in range(30)]


@pytest.fixture
def cohort(tmp_path, empty_store, monkeypatch):
    """A folder of 30 cases, the last of which failed, and a store."""
    store = shutil.copy(empty_store, tmp_path / "runs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    out = tmp_path / "out"
    out.mkdir()
    settings = {"bundle": "b", "experiment": "cines", "preset": "fast", "levels": 3, "id": "1f", "cases": NAMES}
    (out / "cohort.json").write_text(json.dumps(settings), encoding="utf-8")
    journal = Journal(out)
    for i, name in enumerate(NAMES[:-1]):
        finish(out, name, i)
        journal.add({"case": name, "status": "done", "seconds": 0.5, "attempts": 1})
    journal.add({"case": NAMES[-1], "status": "time", "reason": "took longer than 1 s"})
    return out


def finish(out, name, value):
    (out / name).mkdir()
    metrics = {"mse": value / 8, "lncc2@1/2": None if value == 1 else 0.5}
    (out / name / "summary.json").write_text(json.dumps({"metrics": metrics}), encoding="utf-8")


def check(run, out, cases=29):
    client = MlflowClient()
    assert len(client.search_runs([client.get_experiment_by_name("cines").experiment_id])) == 1
    history = client.get_metric_history(run, "cases/mse")
    assert sorted((m.step, m.value) for m in history) == [(i, i / 8) for i in range(cases)]
    assert len(client.get_metric_history(run, "cases/scales/lncc2_at_1_2")) == cases - 1, "no NaN"


def test_one_run_with_cases_as_steps_and_as_rows_of_a_table(cohort):
    send(cohort, NAMES[:10], last=False)
    run = send(cohort)
    assert send(cohort) == run
    check(run, cohort)
    found = MlflowClient().get_run(run)
    assert found.info.status == "FAILED" and found.data.params["levels"] == "3" and "cases" not in found.data.params
    assert (found.data.metrics["cases_done"], found.data.metrics["cases_failed"]) == (29, 1)
    assert found.info.run_name == "b · fast · out, 30 cases" and found.data.tags["method"] == "b"
    assert found.data.metrics["mse"] == pytest.approx(sum(range(29)) / 29 / 8)
    assert json.loads(found.data.tags["mlflow.loggedArtifacts"]) == [{"path": "cases.json", "type": "table"}]
    table = json.loads(
        Path(MlflowClient().download_artifacts(run, "cases.json", str(cohort))).read_text(encoding="utf-8")
    )
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["case"] for row in rows] == NAMES and rows[3]["mse"] == 3 / 8 and rows[3]["status"] == "done"
    assert (rows[-1]["status"], rows[-1]["reason"], rows[-1]["mse"]) == ("time", "took longer than 1 s", None)


def test_an_answer_that_is_lost_is_no_second_record(cohort, monkeypatch):
    """The store takes what it is sent and dies before it says so, at every third call."""
    calls = 0
    for name in ("create_run", "log_batch"):
        original = getattr(MlflowClient, name)

        def broken(*args, original=original, **kwargs):
            nonlocal calls
            calls += 1
            found = original(*args, **kwargs)
            if calls % 3 == 1:
                raise ConnectionError("died")
            return found

        monkeypatch.setattr(MlflowClient, name, broken)
    monkeypatch.setattr(tracking, "BATCH", 10)
    failures = 0
    for _ in range(40):
        try:
            run = send(cohort)
            break
        except InputError as error:
            assert "took no record (died)" in str(error)
            failures += 1
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{cohort.parent}/runs.db")
    assert failures > 3
    check(run, cohort)


def test_what_is_missing_in_a_store_is_sent_by_sync(cohort, monkeypatch, capsys):
    there = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(record, "INTERVAL", 0.05)
    with Sender(cohort) as sender:
        for name in NAMES:
            sender.add(name)
        time.sleep(0.2)
    monkeypatch.setattr(sys, "argv", ["cohort", "--output_dir", str(cohort), "--sync"])
    assert main() == 1 and "took no record" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", there)
    assert main() == 0
    check(capsys.readouterr().out.split()[2].rstrip(";"), cohort)


def test_no_cohort(tmp_path):
    with pytest.raises(InputError, match="not a cohort"):
        send(tmp_path)


def test_a_server_that_dies_and_comes_back_while_cases_run(cohort, monkeypatch, tmp_path):
    monkeypatch.setattr(record, "INTERVAL", 0.1)

    def sent():
        return len(
            json.loads((cohort / "mlflow.json").read_text(encoding="utf-8"))["stores"][server.uri]["1f"]["parts"]
        )

    with TrackingServer(tmp_path) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        with Sender(cohort) as sender:
            for name in NAMES[:8]:
                sender.add(name)
            wait_for(lambda: (cohort / "mlflow.json").is_file() and sent() == 8)
            server.kill()
            for name in NAMES[8:20]:
                sender.add(name)
            wait_for(lambda: sender.warned)
            assert sent() == 8
            server.start()
            wait_for(lambda: sent() == 20)
            for name in NAMES[20:-1]:
                sender.add(name)
        run = send(cohort)
        check(run, cohort)
        assert [r.info.run_id for r in server.runs("cines")] == [run]
        assert "cases.json" in [f.path for f in server.client().list_artifacts(run)]
