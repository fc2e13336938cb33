"""A cohort in MLflow: one run, its cases the rows of a table and the steps of its metrics.

What is sent is read from the output folder, and ``mlflow.json`` there says what each tracking store has taken. So a
store that is down, slow or dies in the middle costs nothing: the rest is sent when it is back, at the end of the run,
or by ``python -m common.cohort --sync``. What is sent twice is the same to the store.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.cohort.bundle import SETTINGS, metrics_of, result
from common.cohort.engine import Journal
from common.core.errors import InputError
from common.core.files import written_whole
from common.core.tracking import LONGEST_PARAM, default_store, environment, metric_name, tracking
from common.evaluation.writer import finite, statistics

log = logging.getLogger(__name__)

SENT = "mlflow.json"
TABLE = "cases.json"
BATCH = 1000  # metrics that MLflow takes at once
INTERVAL = 5.0  # seconds between two sendings


def send(output_dir: Path, names: Sequence[str] | None = None, last: bool = True) -> str:
    """Send what the tracking store doesn't have yet; returns the run's id.

    Args:
        output_dir: of the cohort.
        names: look only at these cases.
        last: end the run: means, the table of cases, the files.

    Raises:
        InputError: there is no cohort, or the store can't be reached.
    """
    try:
        cohort = json.loads((output_dir / SETTINGS).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{output_dir}: no cohort, {SETTINGS} cannot be read ({error})") from error
    store = default_store(output_dir)
    path = output_dir / SENT
    states: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    state = states.setdefault(store, {"run": None, "sent": []})
    before = json.dumps(state)
    try:
        client, experiment = tracking(output_dir, cohort["bundle"])
        if state["run"] is None:
            state["run"] = _begin(client, experiment, cohort, output_dir)
        _send_cases(client, state, output_dir, cohort["cases"], names)
        if last:
            _end(client, state["run"], output_dir, cohort["cases"])
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the tracking store {store} took no record ({reason})") from error
    finally:
        if json.dumps(state) != before:
            with written_whole(path) as beside:
                beside.write_text(json.dumps(states))
    return str(state["run"])


def _send_cases(
    client: Any, state: dict[str, Any], output_dir: Path, order: Sequence[str], names: Sequence[str] | None
) -> None:
    steps, sent = {name: step for step, name in enumerate(order)}, set(state["sent"])
    rows: list[Any] = []
    taken: list[str] = []
    for name in (name for name in (order if names is None else names) if name not in sent):
        found = result(output_dir, name)
        if found is None:
            continue
        rows += _metrics(metrics_of(found), output_dir / name, steps[name])
        taken.append(name)
        if len(rows) > BATCH - 100:
            _log(client, state["run"], rows)
            state["sent"] += taken
            rows, taken = [], []
    _log(client, state["run"], rows)
    state["sent"] += taken


def _begin(client: Any, experiment: str, cohort: dict[str, Any], output_dir: Path) -> str:
    """The run of this cohort, found by its tag where an answer was lost."""
    from mlflow.entities import Param

    runs = client.search_runs([experiment], f"tags.cohort = '{cohort['id']}'")
    if runs:
        return str(runs[0].info.run_id)
    run = client.create_run(experiment, run_name=output_dir.resolve().name, tags={"cohort": cohort["id"]}).info.run_id
    params = {key: value for key, value in cohort.items() if key not in ("cases", "id")}
    params |= {f"environment.{key}": value for key, value in environment().items()}
    client.log_batch(run, params=[Param(key, str(value)[:LONGEST_PARAM]) for key, value in params.items()])
    return str(run)


def _metrics(metrics: dict[str, Any], folder: Path, step: int) -> list[Any]:
    from mlflow.entities import Metric

    when = int((folder / "summary.json").stat().st_mtime * 1000)  # the same whenever it is sent: MLflow keeps it once
    return [
        Metric(metric_name(key), value, when, step)
        for key, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def _log(client: Any, run: str, rows: Sequence[Any]) -> None:
    for start in range(0, len(rows), BATCH):
        client.log_batch(run, metrics=rows[start : start + BATCH])


def _end(client: Any, run: str, output_dir: Path, names: Sequence[str]) -> None:
    from mlflow.entities import Metric

    rows = table(output_dir, names)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    data = [[row.get(column) for column in columns] for row in rows]
    with written_whole(output_dir / TABLE) as beside:
        beside.write_text(json.dumps(finite({"columns": columns, "data": data})))
    failed = sum(row["status"] != "done" for row in rows)
    when = int(time.time() * 1000)  # the latest counts
    means = {f"mean_{metric_name(key)}": value["mean"] for key, value in statistics(rows).items() if key != "step"}
    counts = {"cases_done": len(rows) - failed, "cases_failed": failed}
    client.log_batch(run, metrics=[Metric(key, value, when, 0) for key, value in {**means, **counts}.items()])
    for name in (TABLE, SETTINGS, "metrics.csv", "pairs.csv", "summary.json", "failed.csv"):
        if (output_dir / name).is_file():
            client.log_artifact(run, str(output_dir / name))
    client.set_tag(run, "mlflow.loggedArtifacts", json.dumps([{"path": TABLE, "type": "table"}]))
    client.set_terminated(run, "FAILED" if failed else "FINISHED")


def table(output_dir: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a case: ``case``, ``status``, ``reason``, what it took, and its metrics."""
    outcomes = Journal(output_dir).read()
    rows = []
    for step, name in enumerate(names):
        outcome, found = outcomes.get(name, {}), result(output_dir, name)
        status = "done" if found is not None else outcome.get("status", "missing")
        took = {f"case_{key}": outcome.get(key) for key in ("seconds", "cpu_seconds", "memory", "attempts", "worker")}
        reason = "" if found is not None else outcome.get("reason", "")
        own = metrics_of(found) if found is not None else {}
        rows.append({"case": name, "step": step, "status": status, "reason": reason, **took, **own})
    return rows


class Sender:
    """Sends in the background while cases run; the run never waits for the store.

    Args:
        output_dir: of the cohort.
        enabled: False leaves MLflow alone.
    """

    def __init__(self, output_dir: Path, enabled: bool = True) -> None:
        self.output_dir, self.enabled = output_dir, enabled
        self.over, self.said, self.done = threading.Event(), False, list[str]()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def add(self, name: str) -> None:
        """A case is finished."""
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
                if not self.said:
                    log.warning("%s; it is tried again, and no case waits for it", error)
                self.said = True
