"""The curve of a training: a table beside the weights, and MLflow while it trains."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from common.core.files import written_whole
from common.core.memory import peak_memory
from common.core.tracking import LONGEST_PARAM, RECORD, default_store, environment, send_or_keep, tracking
from common.evaluation.writer import write_csv

log = logging.getLogger(__name__)

RUN = "training_run.json"  # the MLflow run that a resumed training goes on with


class TrainingRecord:
    """Keeps the curve of a training in ``<output_dir>/training.csv`` and sends it to MLflow after every epoch, with the
    pictures of the folder.

    ``Validate(record=…)`` calls it with the metrics of an epoch; a resumed training goes on with the same table and the
    same run. A store that can't be reached is left alone until the end; then the record stays, to be sent later.

    Args:
        output_dir: where the table, the record and by default the MLflow store lie.
        experiment: of MLflow.
        params: the resolved numbers of the configuration.
        enabled: False leaves MLflow alone.
    """

    def __init__(
        self, output_dir: str, experiment: str, params: Mapping[str, Any] | None = None, enabled: bool = True
    ) -> None:
        self.output_dir, self.experiment, self.enabled = Path(output_dir), experiment, enabled
        self.params = dict(params or {})
        self.table = self.output_dir / "training.csv"
        self.reached = True

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self._end)

    def rows(self) -> list[dict[str, float]]:
        """The epochs kept so far."""
        if not self.table.is_file():
            return []
        with self.table.open(newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]

    def __call__(self, metrics: Mapping[str, float], epoch: int) -> None:
        before = [row for row in self.rows() if row["epoch"] < epoch]
        write_csv(self.table, [*before, {"epoch": epoch, **{k: round(v, 5) for k, v in metrics.items()}}])
        if self.enabled and self.reached:
            self.reached = self._sent(last=False)

    def _end(self, engine: Engine) -> None:
        rows = self.rows()
        if not (self.enabled and rows) or idist.get_rank():
            return
        if self._sent(last=True):
            print(f"MLflow: python -m mlflow ui --backend-store-uri {default_store(self.output_dir)}")
            return
        record = {
            "experiment": self.experiment,
            "run_name": "training",
            "params": self.params,
            "environment": environment(),
            "cases": [{"case": "training", "metrics": rows[-1], "pairs": None, "files": []}],
            "curves": {name: [row[name] for row in rows] for name in rows[0] if name != "epoch"},
            "failed": {},
            "peak_memory_bytes": peak_memory(),
            "files": [path.name for path in self._files()],
        }
        with written_whole(self.output_dir / RECORD) as beside:
            beside.write_text(json.dumps(record, indent=1, default=str))
        send_or_keep(self.output_dir)

    def _files(self) -> list[Path]:
        return [self.table, *sorted(self.output_dir.glob("*.png"))]

    def _sent(self, last: bool) -> bool:
        """Send what the store does not have yet; whether that went well."""
        try:
            from mlflow.entities import Metric

            client, run, known = self._run()
            now = client.get_run(run).info.start_time
            rows = [row for row in self.rows() if row["epoch"] > known]
            metrics = [
                Metric(name, value, now, int(row["epoch"]))
                for row in rows
                for name, value in row.items()
                if name != "epoch"
            ]
            client.log_batch(run, metrics=metrics)
            for path in self._files():
                client.log_artifact(run, str(path))
            if last:
                client.set_terminated(run)
            self._keep(run, max([known, *(int(row["epoch"]) for row in rows)]))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            log.warning("the tracking store took nothing of the training (%s); its curve is in %s", reason, self.table)
            return False
        return True

    def _run(self) -> tuple[Any, str, int]:
        """A client, the run of this training in its store, and the last epoch that it has."""
        client, experiment = tracking(self.output_dir, self.experiment)
        path = self.output_dir / RUN
        kept = json.loads(path.read_text()) if path.is_file() else {}
        if kept.get("store") == default_store(self.output_dir):
            return client, kept["run"], kept["epoch"]
        from mlflow.entities import Param

        run = client.create_run(experiment, run_name="training").info.run_id
        params = {**self.params, **{f"environment.{k}": v for k, v in environment().items()}}
        client.log_batch(run, params=[Param(k, str(v)[:LONGEST_PARAM]) for k, v in params.items()])
        self._keep(run, 0)
        return client, run, 0

    def _keep(self, run: str, epoch: int) -> None:
        with written_whole(self.output_dir / RUN) as beside:
            beside.write_text(json.dumps({"store": default_store(self.output_dir), "run": run, "epoch": epoch}))
