"""MLflow records of runs; a failing store never loses a result. No other module imports MLflow.

A run goes to the tracking store of ``MLFLOW_TRACKING_URI``, or to ``output/mlruns.db`` in the current folder, which all
methods share so that they can be compared. A record has an id, which is a tag of its MLflow run: whatever is sent
again, after an answer was lost or from another process, goes on with the run of that tag, and a metric that is sent
twice is one to the store. ``mlflow.json`` beside the outputs says what each store has taken, to send less.

Where the store can't be reached the record stays in ``record.json``, and
``python -m cardiac_motion.core.tracking DIR`` sends it later.
"""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import logging
import math
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra
from cardiac_motion.core.whole_files import write_whole

log = logging.getLogger(__name__)

RECORD = "record.json"
SENT = "mlflow.json"
STORE = Path("output/mlruns.db")
KIND = {"mlflow.experimentKind": "custom_model_development"}  # whose pages show metrics, not language models
TAG = "record"  # whose value is the record's id
LONGEST_PARAM = 6000  # characters, MLflow's limit
BATCH = 1000  # metrics that MLflow takes at once
PACKAGES = ("cardiac-motion-bundles", "torch", "monai", "pytorch-ignite", "numpy", "scipy", "nibabel", "itk", "antspyx")

Row = tuple[str, float, int]  # metric, value, step


@dataclass
class Record:
    """MLflow record of a run.

    Attributes:
        id: the same id is the same run, in every store.
        experiment: whose runs can be compared side by side.
        name: of the run.
        params: what it was run with.
        tags: short words to look for it by.
        metrics: numbers of the whole run.
        step: of ``metrics``; larger when they are of more (cases done, say), so that the last ones count.
        parts: rows that are sent once, by the name of what they are of (a case, an epoch).
        files: below the folder of the record.
        started, ended: milliseconds since 1970; MLflow shows the difference as the run's duration.
        failed: something in it failed.
        children: runs of their own below this one.
    """

    id: str
    experiment: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    step: int = 0
    parts: dict[str, list[Row]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    started: int | None = None
    ended: int | None = None
    failed: bool = False
    children: list[Record] = field(default_factory=list)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Record:
        """Build a record from the dictionary of ``dataclasses.asdict``."""
        return cls(**{**content, "children": [cls.from_dict(child) for child in content.get("children", ())]})


def run_name(*parts: str | None) -> str:
    """Return a run's name from method, preset and case or list, without repetitions.

    Examples:
        >>> run_name("strain_pipeline", "NCC flow", "a4c")
        'strain_pipeline · NCC flow · a4c'
    """
    return " · ".join(dict.fromkeys(str(part) for part in parts if part))


def metric_name(column: str) -> str:
    """A column's name in MLflow's alphabet: ``mse@1/8`` is ``scales/mse_at_1_8``, a chart of the group ``scales``.

    Examples:
        >>> metric_name("gls"), metric_name("mse@1/8")
        ('gls', 'scales/mse_at_1_8')
    """
    at = column.replace("@", "_at_").replace("/", "_") if "@" in column else column
    return ("scales/" if "@" in column else "") + re.sub(r"[^\w\-. /]", "_", at)


def versions() -> dict[str, str]:
    """Return tags of a run: Python, machine and library versions."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {f"environment.{name}": version for name, version in found.items()}


def tracking_store() -> str:
    """Return the URI of the tracking store: ``MLFLOW_TRACKING_URI``, or a SQLite file below the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE.resolve().as_posix()}"


def viewing_command() -> str:
    """Return the command that shows the runs in a browser."""
    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE.as_posix()}"
    return f"python -m mlflow ui --backend-store-uri {shlex.quote(store)}"


def record_id(folder: Path, new: bool = False) -> str:
    """Return the id of a folder's record; a new id is drawn if it has none or is new."""
    kept = _read_sent(folder)
    if new or "id" not in kept:
        kept["id"] = os.urandom(8).hex()
        _write_sent(folder, kept)
    return str(kept["id"])


def keep(folder: Path, record: Record) -> None:
    """Append a record to ``record.json``, with those not yet sent."""
    stores = _read_sent(folder).get("stores", {}).values()
    sent = {name for store in stores for name, state in store.items() if state.get("all")}
    others = [r for r in read_records(folder) if r.id != record.id and r.id not in sent]
    with write_whole(folder / RECORD) as beside:
        beside.write_text(json.dumps([asdict(r) for r in [*others, record]], indent=1, default=str), encoding="utf-8")


def read_records(folder: Path) -> list[Record]:
    """Return the records in ``record.json``, oldest first; an empty list if it is missing.

    Raises:
        InputError: the file isn't a list of records.
    """
    path = folder / RECORD
    try:
        return [Record.from_dict(content) for content in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no readable records of runs ({error})") from error


def send_or_keep(folder: Path, record: Record) -> bool:
    """Store and send a record; on failure print how to send it later. Return whether it was sent."""
    try:
        keep(folder, record)
        send(folder, record)
    except InputError as error:
        log.warning("%s; nothing is lost: `python -m cardiac_motion.core.tracking %s` sends it later", error, folder)
        return False
    print(f"MLflow: {viewing_command()}")
    return True


def send(folder: Path, record: Record, last: bool = True) -> str:
    """Send the parts of a record that the tracking store lacks; return the run's id.

    Args:
        folder: where its files lie and what is sent is remembered.
        record: with the parts that may be new.
        last: end the run: its metrics and its status.

    Raises:
        InputError: the store took not all of it. What it took it keeps, and the same call goes on from there.
    """
    import_extra("mlflow", "the MLflow record of a run")
    store = tracking_store()
    kept = _read_sent(folder)
    states = kept.setdefault("stores", {}).setdefault(store, {})
    before = json.dumps(kept)
    try:
        with _lock_store(store):
            client, experiment = _open_store(store, record.experiment)
            return _send(client, experiment, folder, record, states, last, None)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the tracking store {store} took no record ({reason})") from error
    finally:
        if json.dumps(kept) != before:
            _write_sent(folder, kept)


def _send(
    client: Any, experiment: str, folder: Path, record: Record, states: dict[str, Any], last: bool, parent: str | None
) -> str:
    from mlflow.entities import RunTag

    run = _run(client, experiment, record, parent)
    run_id, when = str(run.info.run_id), int(run.info.start_time)
    state = states.setdefault(record.id, {})
    if state.get("run") != run_id:  # the first time, or another store took the place of this one
        state.update(run=run_id, parts=[], all=False)
    _send_params(client, run, record)
    _send_parts(client, run_id, record.parts, state["parts"], when)
    _send_files(client, run_id, folder, record.files)
    for child in record.children:
        _send(client, experiment, folder, child, states, last, run_id)
    if last:
        _log(client, run_id, [(k, v, record.step) for k, v in record.metrics.items()], when)
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in record.tags.items()])
        client.set_terminated(run_id, "FAILED" if record.failed else "FINISHED", record.ended)
        state["all"] = True
    elif run.info.status != "RUNNING":
        client.update_run(run_id, status="RUNNING")
    return run_id


def _run(client: Any, experiment: str, record: Record, parent: str | None) -> Any:
    """The run of a record, found by its tag, or a new one."""
    runs = client.search_runs([experiment], f"tags.{TAG} = '{record.id}'")
    if runs:
        return runs[0]
    tags = {**record.tags, TAG: record.id, "mlflow.source.name": _command(), "mlflow.source.type": "LOCAL"}
    tags |= {"mlflow.user": _user()} | ({"mlflow.parentRunId": parent} if parent else {})
    return client.create_run(experiment, start_time=record.started, tags=tags, run_name=record.name)


def _command() -> str:
    words = [f"python -m {_module()}", *(shlex.quote(word) for word in sys.argv[1:])]
    return " ".join(words)[:LONGEST_PARAM]


def _module() -> str:
    path = Path(sys.argv[0] or "python")
    package = path.parent.name
    return package if path.stem == "__main__" else path.stem


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return "unknown"


def _send_params(client: Any, run: Any, record: Record) -> None:
    """The parameters that the run doesn't have: MLflow takes none a second time with another value."""
    from mlflow.entities import Param

    known = run.data.params
    new = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in record.params.items() if k not in known and v is not None]
    for start in range(0, len(new), 100):
        client.log_batch(run.info.run_id, params=new[start : start + 100])


def _send_parts(client: Any, run_id: str, parts: Mapping[str, Sequence[Row]], sent: list[str], when: int) -> None:
    """Log the parts that are not ``sent``, a batch of whole parts at a time, and add them to it."""
    known = set(sent)
    rows: list[Row] = []
    names: list[str] = []
    for name, own in parts.items():
        if name in known:
            continue
        if rows and len(rows) + len(own) > BATCH:
            _log(client, run_id, rows, when)
            sent += names
            rows, names = [], []
        rows += own
        names.append(name)
    _log(client, run_id, rows, when)
    sent += names


def _log(client: Any, run_id: str, rows: Sequence[Row], when: int) -> None:
    from mlflow.entities import Metric

    known = [(metric_name(k), float(v), when, step) for k, v, step in rows if v is not None and math.isfinite(v)]
    metrics = [Metric(*row) for row in known]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def _send_files(client: Any, run_id: str, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).is_file():
            below = Path(name).parent.as_posix()
            client.log_artifact(run_id, str(folder / name), None if below == "." else below)


def _open_store(store: str, experiment: str) -> tuple[Any, str]:
    """MLflow's client of a store, and the id of an experiment in it, which is made where there is none."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    path = _database(store)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    if found is not None:
        return client, found.experiment_id
    artifacts = None if path is None else (path.resolve().parent / "mlartifacts").as_uri()
    return client, client.create_experiment(experiment, artifacts, KIND)


@contextmanager
def _lock_store(store: str) -> Iterator[None]:
    """Hold a SQLite store, which takes one writer at a time; a server minds its own."""
    path = _database(store)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=120)
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:  # a file system without locks; a Timeout is an OSError too
        if isinstance(error, Timeout):
            raise
    try:
        yield
    finally:
        lock.release()


def _database(store: str) -> Path | None:
    """The file of a SQLite store; None of a server's or another one's URI."""
    return Path(store.removeprefix("sqlite:///")) if store.startswith("sqlite:///") else None


def _read_sent(folder: Path) -> dict[str, Any]:
    """What ``mlflow.json`` of a folder says; one that was cut off says nothing, which only means more to send."""
    try:
        found: dict[str, Any] = json.loads((folder / SENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write_sent(folder: Path, content: Mapping[str, Any]) -> None:
    with write_whole(folder / SENT) as beside:
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")


def rows_of(metrics: Mapping[str, Any], step: int, group: str) -> list[Row]:
    """The numbers of a case, an epoch or a pair as rows of a part, ``<group>/<metric>``.

    Examples:
        >>> rows_of({"gls": -20, "view": "A4C"}, 3, "cases")
        [('cases/gls', -20.0, 3)]
    """
    return [(f"{group}/{metric_name(k)}", float(v), step) for k, v in metrics.items() if isinstance(v, int | float)]


def rows_of_columns(columns: Mapping[str, Iterable[float | None]], group: str) -> list[Row]:
    """Columns of numbers as rows of a part, their place in the column as the step."""
    return [
        (f"{group}/{metric_name(key)}", value, step)
        for key, values in columns.items()
        for step, value in enumerate(values)
        if value is not None
    ]


def main() -> None:
    """``python -m cardiac_motion.core.tracking DIR``: send the records that were kept."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m cardiac_motion.core.tracking DIR")
    folder = Path(sys.argv[1])
    try:
        records = read_records(folder)
        if not records:
            raise InputError(f"{folder / RECORD}: no such file, so no run was kept there")
        for record in records:
            print(f"{record.name}: sent as run {send(folder, record)}")
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"MLflow: {viewing_command()}")


if __name__ == "__main__":
    main()
