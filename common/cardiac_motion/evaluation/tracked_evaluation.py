"""MLflow record of an inference or an evaluation: settings, results of each case, files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events

from cardiac_motion.core.memory import peak_memory
from cardiac_motion.core.tables import metrics_of, statistics
from cardiac_motion.core.tracking import Record, rows_of, rows_of_columns, run_name, send_or_keep, versions
from cardiac_motion.core.whole_files import summary_of
from cardiac_motion.evaluation.case_evaluator import CaseEvaluator, CaseEvents
from cardiac_motion.evaluation.writer import MetricsTable

TABLES = ("metrics.csv", "pairs.csv", "summary.json")


class RunRecord:
    """Handler that records one MLflow run per evaluation, sent when it is over.

    The run's metrics are those of its case, or means over its cases, so that runs of one and of many cases can be
    listed together. ``pairs/<metric>`` is by frame pair of a single case, ``cases/<metric>`` by case of a list.

    Args:
        output_dir: folder of the record and the cases' folders; None uses the evaluator's.
        method: name of the bundle; None uses the evaluator's.
        preset: name of its settings.
        experiment: MLflow experiment, shared by comparable methods.
        params: resolved values of the configuration, with ``datalist`` and ``fold`` if it has them.
        enabled: whether to use MLflow.
        send_fields: also send the displacement fields as artifacts, in addition to figures and summaries.
    """

    def __init__(
        self,
        output_dir: str | None = None,
        method: str | None = None,
        preset: str = "",
        experiment: str = "cines",
        params: Mapping[str, Any] | None = None,
        enabled: bool = True,
        send_fields: bool = True,
    ) -> None:
        self.given_dir, self.enabled, self.send_fields = output_dir, enabled, send_fields
        self.given_method, self.preset, self.experiment = method, preset, experiment
        self.params = dict(params or {})

    def attach(self, engine: CaseEvaluator) -> None:
        """Record each case, and send the run when the evaluation is over."""
        self.output_dir = Path(self.given_dir or engine.output_dir)
        self.method = self.given_method or engine.method
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self._begin)
            engine.add_event_handler(CaseEvents.CASE_DONE, self._case)
            engine.add_event_handler(Events.COMPLETED, self._end)

    def _begin(self, engine: CaseEvaluator) -> None:
        self.started = int(time.time() * 1000)
        self.cases: list[dict[str, Any]] = []
        self.parts: dict[str, Any] = {}
        self.files: list[str] = []
        for name, folder in engine.state.taken.items():
            metrics = metrics_of(summary_of(folder) or {})
            self.parts[name] = rows_of(metrics, len(self.cases), "cases")
            self.cases.append({"case": name, **metrics})
            self._add_files(folder)

    def _case(self, engine: CaseEvaluator) -> None:
        case = engine.state.output
        name, step = case["case"], len(self.cases)
        self.cases.append({"case": name, **case["metrics"]})
        if len(engine.dataset) == 1:
            self.parts[name] = rows_of_columns(case.get("pairs") or {}, "pairs")
        else:
            self.parts[name] = rows_of(case["metrics"], step, "cases")
        if "folder" in case:
            self._add_files(Path(case["folder"]))

    def _add_files(self, folder: Path) -> None:
        files = sorted(f for f in folder.iterdir() if self.send_fields or f.name != "ddf.nii.gz")
        self.files += [f.relative_to(self.output_dir).as_posix() for f in files]

    def _end(self, engine: CaseEvaluator) -> None:
        if self.cases:
            send_or_keep(self.output_dir, self.record(len(engine.dataset), len(engine.state.failed)))

    def record(self, count: int, failed: int) -> Record:
        """Build the record of the cases so far.

        Args:
            count: number of cases of the run.
            failed: number of failed cases.
        """
        name = self.cases[0]["case"] if count == 1 else list_name(self.params, count)
        means = {key: column["mean"] for key, column in statistics(self.cases).items()}
        counts = {"cases_done": len(self.cases), "cases_failed": failed, "peak_memory_mib": peak_memory() / 2**20}
        return Record(
            os.urandom(8).hex(),
            self.experiment,
            run_name(self.method, self.preset, name),
            self.params,
            {"case" if count == 1 else "list": name, "method": self.method, "preset": self.preset} | versions(),
            {**means, **counts},
            len(self.cases),
            self.parts,
            [*self.files, *(name for name in TABLES if (self.output_dir / name).exists())],
            self.started,
            int(time.time() * 1000),
            bool(failed),
        )


def list_name(params: Mapping[str, Any], count: int) -> str:
    """Return the name of a run over several cases, such as ``simulated test, 60 cases``."""
    datalist = params.get("datalist")
    named = f"{Path(str(datalist)).stem} {params.get('fold') or ''}".strip() + ", " if datalist else ""
    return f"{named}{count} cases"


def make_handlers(
    *,
    preset: str,
    experiment: str,
    params: Mapping[str, Any],
    enabled: bool = True,
    method: str | None = None,
    before: Sequence[Any] = (),
    after: Sequence[Any] = (),
) -> list[Any]:
    """Return the ``handlers`` of a bundle that runs cases: its tables, and its record for MLflow.

    Args:
        preset, experiment, params, enabled, method: as in ``RunRecord``.
        before, after: handlers that come before and after these.

    Examples:
        >>> handlers = make_handlers(preset="fast", experiment="cines", params={"radius": 4}, enabled=False)
        >>> [type(handler).__name__ for handler in handlers]
        ['MetricsTable', 'RunRecord']
    """
    record = RunRecord(method=method, preset=preset, experiment=experiment, params=params, enabled=enabled)
    return [*before, MetricsTable(), record, *after]
