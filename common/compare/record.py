"""A comparison in MLflow: one parent run with a child a method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.compare.methods import Method
from common.core.errors import InputError
from common.core.files import written_whole
from common.core.tracking import LONGEST_PARAM, default_store, metric_name, tracking
from common.evaluation.writer import statistics


def send(methods: Sequence[Method], output_dir: Path, params: dict[str, str]) -> None:
    """One parent run with a child a method in MLflow; ``runs.json`` keeps what is sent, so nothing is sent twice.

    A child has the metrics of each case by step, their means under ``mean_<metric>``, and its configuration.

    Raises:
        InputError: the store can't be reached.
    """
    from mlflow.entities import Metric, Param, RunTag

    store = default_store(output_dir)
    kept = output_dir / "runs.json"
    sent: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    sent = sent.get(store, {"parent": None, "children": {}})
    try:
        client, experiment = tracking(output_dir, "compare")
        if sent["parent"] is None:
            sent["parent"] = client.create_run(experiment, run_name=output_dir.name).info.run_id
            client.log_batch(str(sent["parent"]), params=[Param(k, str(v)[:LONGEST_PARAM]) for k, v in params.items()])
        for method in methods:
            name = method.folder.name
            child = sent["children"].get(name, {"run": None, "cases": -1})
            if child["cases"] == len(method.cases):
                continue
            if child["run"] is None:
                tags = {"mlflow.parentRunId": sent["parent"]}
                child["run"] = client.create_run(experiment, run_name=method.title, tags=tags).info.run_id
                client.log_batch(str(child["run"]), params=[Param("configs", " ".join(map(str, method.configs)))])
            now = client.get_run(child["run"]).info.start_time
            metrics = [
                Metric(metric_name(key), value, now, step)
                for step, case in enumerate(method.cases.values())
                for key, value in case.items()
                if np.isfinite(value)
            ]
            means = statistics([{"case": "", **case} for case in method.cases.values()])
            metrics += [Metric(f"mean_{metric_name(key)}", found["mean"], now, 0) for key, found in means.items()]
            for start in range(0, len(metrics), 1000):
                client.log_batch(child["run"], metrics=metrics[start : start + 1000])
            client.log_batch(child["run"], tags=[RunTag("failed", json.dumps(method.failed)[:4000])])
            client.set_terminated(child["run"], "FAILED" if method.failed else "FINISHED")
            child["cases"] = len(method.cases)
            sent["children"][name] = child
        for file in (*output_dir.glob("table.*"), *output_dir.glob("*.png")):
            client.log_artifact(sent["parent"], str(file))
        client.set_terminated(sent["parent"])
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the tracking store {store} took no record ({reason})") from error
    with written_whole(kept) as beside:
        beside.write_text(json.dumps({store: sent}, indent=1))
