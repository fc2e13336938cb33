"""The curve of a training run: a table next to the weights, and MLflow during training."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.memory import peak_memory
from cardiac_motion.core.tables import write_csv
from cardiac_motion.core.tracking import Record, record_id, run_name, send, send_or_keep, versions

log = logging.getLogger(__name__)


class TrainingRecord:
    """Store a training's curve in ``<output_dir>/training.csv`` and, with the folder's pictures, in MLflow.

    ``Validate(record=…)`` calls it with an epoch's metrics. A resumed training continues the same table and run. If
    the MLflow store cannot be reached, nothing is sent until the end; then the record is stored to be sent later.

    Args:
        output_dir: folder of the table and the record.
        method: name of the bundle.
        params: resolved values of the configuration; ``preset`` or ``network`` becomes part of the run's name.
        enabled: whether to use MLflow.
        experiment: MLflow experiment.
    """

    def __init__(
        self,
        output_dir: str,
        method: str,
        params: Mapping[str, Any] | None = None,
        enabled: bool = True,
        experiment: str = "training",
    ) -> None:
        self.output_dir, self.method, self.experiment, self.enabled = Path(output_dir), method, experiment, enabled
        self.params = dict(params or {})
        self.table = self.output_dir / "training.csv"
        self.reached, self.started = True, int(time.time() * 1000)

    def attach(self, engine: Engine) -> None:
        """Send the record when training ends."""
        engine.add_event_handler(Events.COMPLETED, self._end)

    def rows(self) -> list[dict[str, float]]:
        """Read the epochs so far."""
        if not self.table.is_file():
            return []
        with self.table.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]

    def __call__(self, metrics: Mapping[str, float], epoch: int) -> None:
        before = [row for row in self.rows() if row["epoch"] < epoch]
        write_csv(self.table, [*before, {"epoch": epoch, **{k: round(v, 5) for k, v in metrics.items()}}])
        if not self.enabled:
            return
        record_id(self.output_dir, new=not before)
        if self.reached:
            try:
                send(self.output_dir, self.record(), last=False)
            except InputError as error:
                log.warning("%s; the curve is in %s", error, self.table)
                self.reached = False

    def _end(self, engine: Engine) -> None:
        if self.enabled and self.rows() and not idist.get_rank():
            send_or_keep(self.output_dir, self.record())

    def record(self) -> Record:
        """Build the record of the epochs so far."""
        rows = self.rows()
        preset = self.params.get("preset") or self.params.get("network")
        return Record(
            record_id(self.output_dir),
            self.experiment,
            run_name(self.method, preset, "training"),
            self.params,
            {"method": self.method, "preset": str(preset or "")} | versions(),
            {"peak_memory_mib": peak_memory() / 2**20},
            int(rows[-1]["epoch"]),
            {
                f"epoch {row['epoch']}": [(k, value, int(row["epoch"])) for k, value in row.items() if k != "epoch"]
                for row in rows
            },
            [self.table.name, *sorted(path.name for path in self.output_dir.glob("*.png"))],
            self.started,
            int(time.time() * 1000),
        )
