"""A cohort in MLflow: one run, whose table has one row per case and whose metrics have one step per case.

Everything is read from the output folder. So if the store is down, slow or fails, nothing is lost: pending records are
sent when it is back, at the end of the run, or by ``python -m cardiac_motion.cohort --sync``.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.cohort.bundle import SETTINGS, result
from cardiac_motion.cohort.engine import Journal
from cardiac_motion.core import tracking
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import finite, metrics_of, statistics
from cardiac_motion.core.tracking import Record, rows_of, run_name, versions
from cardiac_motion.core.whole_files import write_whole

log = logging.getLogger(__name__)

TABLE = "cases.json"
FILES = (TABLE, SETTINGS, "metrics.csv", "pairs.csv", "summary.json", "failed.csv")
INTERVAL = 5.0  # seconds between two updates


def send(output_dir: Path, names: Sequence[str] | None = None, last: bool = True) -> str:
    """Send what the tracking store does not have yet; return the run's id.

    Args:
        output_dir: output folder of the cohort.
        names: cases to send; None sends all.
        last: end the run: send means, the table of cases and the files.

    Raises:
        InputError: the folder contains no cohort, or the store cannot be reached.
    """
    try:
        cohort = json.loads((output_dir / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{output_dir}: not a cohort: {SETTINGS} cannot be read ({error})") from error
    record = begin_record(cohort, output_dir)
    steps = {name: step for step, name in enumerate(cohort["cases"])}
    for name in cohort["cases"] if names is None else names:
        summary = result(output_dir, name)
        if summary is not None:
            record.parts[name] = rows_of(metrics_of(summary), steps[name], "cases")
    if last:
        end_record(record, output_dir, cohort["cases"])
    return tracking.send(output_dir, record, last)


def begin_record(cohort: dict[str, Any], output_dir: Path) -> Record:
    """Build the record of a cohort without its cases.

    Args:
        cohort: content of ``cohort.json``.
        output_dir: output folder of the cohort.
    """
    names, preset = cohort["cases"], cohort.get("preset", "")
    datalist = f"{Path(cohort['datalist']).stem} {cohort.get('fold', '')}".strip() if "datalist" in cohort else ""
    name = f"{datalist or output_dir.resolve().name}, {len(names)} cases"
    params = {key: value for key, value in cohort.items() if key not in ("cases", "id", "digest", "experiment")}
    tags = {"list": name, "method": cohort["bundle"], "preset": preset} | versions()
    experiment = cohort.get("experiment", cohort["bundle"])
    return Record(cohort["id"], experiment, run_name(cohort["bundle"], preset, name), params, tags)


def end_record(record: Record, output_dir: Path, names: Sequence[str]) -> None:
    """Add the results of a finished run to a record, and write its table of cases."""
    rows = table(output_dir, names)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    data = [[row.get(column) for column in columns] for row in rows]
    with write_whole(output_dir / TABLE) as beside:
        beside.write_text(json.dumps(finite({"columns": columns, "data": data})), encoding="utf-8")
    failed = sum(row["status"] != "done" for row in rows)
    means = {key: column["mean"] for key, column in statistics(rows).items() if key != "step"}
    record.metrics = {**means, "cases_done": len(rows) - failed, "cases_failed": failed}
    record.step, record.failed, record.files = len(rows) - failed, bool(failed), list(FILES)
    record.tags["mlflow.loggedArtifacts"] = json.dumps([{"path": TABLE, "type": "table"}])
    record.ended = int(time.time() * 1000)


def table(output_dir: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per case: ``case``, ``status``, ``reason``, time and memory, and its metrics."""
    outcomes = Journal(output_dir).read()
    rows = []
    for step, name in enumerate(names):
        outcome, summary = outcomes.get(name, {}), result(output_dir, name)
        status = "done" if summary is not None else outcome.get("status", "missing")
        usage = {f"case_{key}": outcome.get(key) for key in ("seconds", "cpu_seconds", "memory", "attempts", "worker")}
        reason = "" if summary is not None else outcome.get("reason", "")
        metrics = metrics_of(summary) if summary is not None else {}
        rows.append({"case": name, "step": step, "status": status, "reason": reason, **usage, **metrics})
    return rows


class Sender:
    """Send records in the background while cases run, without delaying them.

    Args:
        output_dir: output folder of the cohort.
        enabled: whether to use MLflow.
    """

    def __init__(self, output_dir: Path, enabled: bool = True) -> None:
        self.output_dir, self.enabled = output_dir, enabled
        self.over, self.warned, self.done = threading.Event(), False, list[str]()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def add(self, name: str) -> None:
        """Add a finished case."""
        self.done.append(name)

    def __enter__(self) -> Sender:
        if self.enabled:
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self.enabled:
            self.thread.join()

    def _run(self) -> None:
        count = 0
        while not self.over.wait(INTERVAL):
            names = self.done[count:]
            if not names:
                continue
            try:
                send(self.output_dir, names, last=False)
                count += len(names)
            except InputError as error:
                if not self.warned:
                    log.warning("%s; it will be tried again, and no case waits for it", error)
                self.warned = True
