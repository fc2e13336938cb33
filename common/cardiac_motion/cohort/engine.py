"""The one loop over cases: what is missing is done, in parallel on a Dask cluster or here, and nothing twice.

``cases.jsonl`` in the output folder has a line for whatever became of a case, in the order of the clock; the folder of
a case, which is moved into place when it is whole, is what counts.
"""

from __future__ import annotations

import json
import logging
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed import Client as Client  # for annotations elsewhere: Dask is imported here alone
from distributed import Future, KilledWorker
from tqdm import tqdm

from cardiac_motion.cohort.process import attempt, call_named
from cardiac_motion.cohort.runner import CaseRunners, Limits, Work, run_case, stop_runners
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.locks import lock_folder
from cardiac_motion.core.whole_files import check_writable, clear_unfinished

log = logging.getLogger(__name__)

JOURNAL = "cases.jsonl"
KIND = "case"  # how keys of tasks begin: the scheduler keeps statistics of each kind for ever
AHEAD = 2  # cases at a thread: the one that it does, and the next
ANSWER = 5.0  # seconds until the answer of a finished task counts as lost; asked again, a finished case is found

Outcome = dict[str, Any]


class ClusterLost(InputError):
    """The scheduler went away; what is finished is kept."""


class Journal:
    """What became of the cases of a folder, a line of JSON each; the last line of a case counts."""

    def __init__(self, output_dir: Path) -> None:
        self.path = output_dir / JOURNAL
        self.kept: list[str] = []  # what the disk did not take

    def read(self) -> dict[str, Outcome]:
        """The last line of each case; one that was cut off is passed over."""
        found = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else ():
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                found[row["case"]] = row
        return found

    def add(self, row: Outcome) -> None:
        """Append a line; one that the disk doesn't take is tried again with the next."""
        self.kept.append(json.dumps(row))
        try:
            with open(self.path, "ab+") as file:
                start = file.seek(0, 2)
                if start:
                    file.seek(start - 1)
                    cut = file.read(1) != b"\n"  # by a driver that died
                text = ("\n" if start and cut else "") + "\n".join(self.kept) + "\n"
                try:
                    file.write(text.encode())
                    file.flush()
                except OSError:
                    file.truncate(start)
                    raise
            self.kept = []
        except OSError as error:
            log.debug("%s: %s", self.path, error)


@contextmanager
def hold_folder(output_dir: Path) -> Iterator[None]:
    """Hold the folder against a second driver, and clear what a killed one left half written in it.

    On a file system without locks nothing is cleared: it may be what another driver is writing.

    Raises:
        InputError: the folder can't be written, or another run is writing it.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output_dir}: cannot be written ({str(error.strerror).lower()})") from error
    check_writable(output_dir)
    with lock_folder(output_dir) as held:
        if held:
            clear_unfinished(output_dir)
        yield
        if held:
            clear_unfinished(output_dir)


def reasons(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """Why each case failed that did."""
    return {name: o["reason"] for name, o in outcomes.items() if o["status"] not in ("done", "found")}


def run_cases(
    work: Work,
    names: Sequence[str],
    client: Client | None = None,
    limits: Limits | None = None,
    title: str = "cases",
    seen: Callable[[Outcome], None] | None = None,
) -> dict[str, Outcome]:
    """Do the cases that are not finished; one that fails never stops the others.

    Args:
        work: how a case is done.
        names: of the cases.
        client: of the cluster; None does one after the other in this process, without limits.
        limits: of a case.
        title: of the progress bar.
        seen: called with each outcome as it comes.

    Returns:
        what became of each case that was not finished: ``status`` is ``done``, ``found`` (it was finished by a process
        that could not say so), ``input`` (its input is at fault),
        ``error`` (the code is), ``time``, ``memory``, ``died`` or ``lost`` (with its worker, more than ``retries``
        times), with ``reason``, ``seconds``, ``cpu_seconds``, ``memory`` (bytes), ``attempts``, ``worker``.

    Raises:
        InputError: the work can't be set up, so no case can be done.
        ClusterLost: the scheduler is gone.
    """
    left = [name for name in names if not work.is_finished(name)]
    journal = Journal(Path(work.output_dir))
    found: dict[str, Outcome] = {}
    outcomes = _run_here(work, left) if client is None else _run_on(client, work, left, limits or Limits())
    with tqdm(total=len(names), initial=len(names) - len(left), desc=title, unit="case", mininterval=0.5) as bar:
        for name, outcome in outcomes:
            if outcome["status"] == "setup":
                raise InputError(outcome["reason"])
            outcome = {"case": name, **outcome, "time": round(time.time(), 3)}
            journal.add(outcome)
            found[name] = outcome
            if outcome["status"] not in ("done", "found"):
                tqdm.write(f"{name}: {outcome['reason']}")
                bar.set_postfix(failed=len(reasons(found)))
            bar.update()
            if seen is not None:
                seen(outcome)
    return found


def _run_here(work: Work, names: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
    if names:
        do = call_named(work.make, dict(work.arguments))
        for name in names:
            yield name, attempt(do, name)


def _run_on(client: Client, work: Work, names: Sequence[str], limits: Limits) -> Iterator[tuple[str, Outcome]]:
    """A case a thread of the cluster, and the next one waiting there: few are touched when a worker is lost."""
    waiting, flying = deque(names), dict[Any, tuple[str, Future[Outcome]]]()
    done: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
    threads, asked = 0, 0.0
    try:
        client.register_plugin(CaseRunners())
        while waiting or flying:
            if time.monotonic() - asked > 1:
                try:
                    threads, asked = sum(client.nthreads().values()), time.monotonic()
                except (OSError, ValueError, AttributeError, RuntimeError):
                    pass  # the scheduler does not answer; the client waits for it and gives up
            if client.status == "closed":
                left = len(waiting) + len(flying)
                raise ClusterLost(f"the scheduler is gone; {left} cases are left, and the same command does them")
            while waiting and len(flying) < AHEAD * threads and client.status == "running":
                name = waiting.popleft()
                key = f"{KIND}-{uuid.uuid4().hex}"
                try:
                    future = client.submit(run_case, work, name, limits, key=key, pure=False)
                except RuntimeError:  # its connections were closed since
                    waiting.appendleft(name)
                    break
                flying[future.key] = (name, future)
                future.add_done_callback(done.put)
            try:
                future = done.get(timeout=0.5)
            except queue.Empty:
                continue
            name, _ = flying.pop(future.key)
            outcome = _outcome(future)
            future.release()
            if outcome["status"] == "stopped":  # with its worker or the connection, not by the case
                waiting.appendleft(name)
            elif outcome["status"] == "lost" and work.is_finished(name):
                yield name, {"status": "found"}
            else:
                yield name, outcome
    finally:
        for _, future in flying.values():
            with suppress(Exception):
                future.cancel()
        with suppress(Exception):
            client.run(stop_runners)


def _outcome(future: Future[Outcome]) -> Outcome:
    try:
        error = future.exception(timeout=ANSWER)
        if error is None:
            outcome: Outcome = future.result(timeout=ANSWER)
            return outcome
    except (OSError, CancelledError, RuntimeError):  # the connection is gone, or the worker that had the answer
        return {"status": "stopped"}
    if isinstance(error, KilledWorker):
        return {"status": "lost", "reason": f"its worker was lost, {error.allowed_failures + 1} times"}
    return {"status": "error", "reason": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
