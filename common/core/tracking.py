"""The record of a run in MLflow, which never costs a result.

A run is first written beside its outputs (``record.json``), then sent to the tracking store: ``MLFLOW_TRACKING_URI``,
or ``sqlite:///<output_dir>/mlruns.db``. Where the store can't be reached the record stays, and
``python -m common.core.tracking <output_dir>`` sends it later.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Events

from common.core.errors import InputError
from common.core.files import written_whole
from common.evaluation.evaluator import CaseEvaluator, CaseEvents, peak_memory

log = logging.getLogger(__name__)

RECORD = "record.json"
PACKAGES = ("cardiac-motion-bundles", "torch", "monai", "pytorch-ignite", "numpy", "scipy", "nibabel", "itk", "antspyx")
LONGEST_PARAM = 6000  # characters, MLflow's limit


class RunRecord:
    """Handler: collects parameters, the metrics of each case by step, and the files; sends them when the run is over.

    Args:
        output_dir: where the record and, by default, the MLflow store lie.
        experiment: MLflow experiment.
        run_name: of the MLflow run.
        params: the resolved numbers of the configuration.
        enabled: False leaves MLflow alone.
        fields: send the displacement fields as artifacts too, beside figures and summaries.
    """

    def __init__(
        self,
        output_dir: str,
        experiment: str,
        run_name: str = "inference",
        params: Mapping[str, Any] | None = None,
        enabled: bool = True,
        fields: bool = True,
    ) -> None:
        self.output_dir, self.enabled, self.fields = Path(output_dir), enabled, fields
        self.head = {"experiment": experiment, "run_name": run_name, "params": dict(params or {})}

    def attach(self, engine: CaseEvaluator) -> None:
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self._begin)
            engine.add_event_handler(CaseEvents.CASE_DONE, self._case)
            engine.add_event_handler(Events.COMPLETED, self._end)

    def _begin(self, engine: CaseEvaluator) -> None:
        self.cases: list[dict[str, Any]] = []

    def _case(self, engine: CaseEvaluator) -> None:
        case = engine.state.output
        files = []
        if "folder" in case:
            found = sorted(f for f in Path(case["folder"]).iterdir() if self.fields or f.name != "ddf.nii.gz")
            files = [f.relative_to(self.output_dir).as_posix() for f in found]
        self.cases.append(
            {"case": case["case"], "metrics": case["metrics"], "pairs": case.get("pairs"), "files": files}
        )

    def _end(self, engine: CaseEvaluator) -> None:
        if not self.cases:
            return
        record = {
            **self.head,
            "command": sys.argv,
            "environment": environment(),
            "cases": self.cases,
            "failed": engine.state.failed,
            "peak_memory_bytes": peak_memory(),
            "files": [
                name for name in ("metrics.csv", "pairs.csv", "summary.json") if (self.output_dir / name).exists()
            ],
        }
        with written_whole(self.output_dir / RECORD) as beside:
            beside.write_text(json.dumps(record, indent=1, default=str))
        send_or_keep(self.output_dir)


def environment() -> dict[str, str]:
    """Python, machine and the versions of what computes."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def default_store(output_dir: Path) -> str:
    """The tracking store: ``MLFLOW_TRACKING_URI``, or a SQLite file in the output folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{output_dir.resolve()}/mlruns.db"


def tracking(output_dir: Path, experiment: str) -> tuple[Any, str]:
    """MLflow's client of the tracking store, and the id of an experiment in it, which is made where there is none.

    Its own errors come through where the store can't be reached.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    store = default_store(output_dir)
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    artifacts = (output_dir.resolve() / "mlartifacts").as_uri() if store.startswith("sqlite:") else None
    return client, found.experiment_id if found else client.create_experiment(experiment, artifacts)


def send_or_keep(output_dir: Path) -> bool:
    """Send the record of a folder; where that fails, say how to send it later. Returns whether it was sent."""
    try:
        send(output_dir)
        print(f"MLflow: python -m mlflow ui --backend-store-uri {default_store(output_dir)}")
    except InputError as error:
        log.warning("%s; nothing is lost: `python -m common.core.tracking %s` sends it later", error, output_dir)
        return False
    return True


def send(output_dir: Path) -> str:
    """Send ``<output_dir>/record.json`` to the tracking store; returns the run's id.

    Raises:
        InputError: there is no record, or the store can't be reached.
    """
    path = output_dir / RECORD
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no readable record of a run ({error})") from error
    from mlflow.entities import Metric, Param

    store = default_store(output_dir)
    try:
        client, experiment = tracking(output_dir, record["experiment"])
        run = client.create_run(experiment, run_name=record["run_name"])
        run_id, now = run.info.run_id, run.info.start_time
        params = {**record["params"], **{f"environment.{k}": v for k, v in record["environment"].items()}}
        client.log_batch(run_id, params=[Param(k, str(v)[:LONGEST_PARAM]) for k, v in params.items()])
        rows = [Metric("peak_memory_bytes", record["peak_memory_bytes"], now, 0)]
        for step, case in enumerate(record["cases"]):
            rows += [Metric(metric_name(k), v, now, step) for k, v in case["metrics"].items() if v is not None]
            if len(record["cases"]) == 1 and case["pairs"]:
                rows += [
                    Metric(f"pair_{metric_name(k)}", v, now, t)
                    for k, values in case["pairs"].items()
                    for t, v in enumerate(values)
                ]
        for name, values in record.get("curves", {}).items():  # of a training, by epoch
            rows += [Metric(name, value, now, epoch) for epoch, value in enumerate(values, 1)]
        for start in range(0, len(rows), 1000):
            client.log_batch(run_id, metrics=rows[start : start + 1000])
        for name in [RECORD, *record["files"], *(f for case in record["cases"] for f in case["files"])]:
            if (output_dir / name).is_file():
                folder = Path(name).parent.as_posix()
                client.log_artifact(run_id, str(output_dir / name), None if folder == "." else folder)
        client.set_terminated(run_id, "FAILED" if record["failed"] else "FINISHED")
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the tracking store {store} took no record ({reason})") from error
    return str(run_id)


def metric_name(column: str) -> str:
    """A column's name in MLflow's alphabet: ``mse@1/8`` is ``mse_at_1_8``."""
    return column.replace("@", "_at_").replace("/", "_")


def main() -> None:
    """``python -m common.core.tracking <output_dir>``: send a record that was kept."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m common.core.tracking <output_dir>")
    try:
        print(f"sent to {default_store(Path(sys.argv[1]))} as run {send(Path(sys.argv[1]))}")
    except InputError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
