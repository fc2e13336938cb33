"""A comparison in MLflow: a parent with a child a method, once."""

import shutil

import numpy as np
import pytest

from cardiac_motion.compare.__main__ import write_tables
from cardiac_motion.compare.tracked_comparison import child, send
from cardiac_motion.core.errors import InputError
from tests.compare.results import GOOD, WORSE, method


def test_runs_are_children_of_one_parent_and_sent_once(tmp_path, empty_store, monkeypatch):
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'runs.db')}"
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
    assert children["good · runs validation"].data.metrics["scales/lncc2_at_1_8"] == 0.5
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


def test_a_step_is_a_case_s_place_in_the_list():
    record = child(method("good", [0.8, 0.9]), "id", "list", ["c1", "unfinished", "c0"])
    steps = {name: {step for _, _, step in map(tuple, rows)} for name, rows in record.parts.items()}
    assert steps == {"c0": {2}, "c1": {0}}
