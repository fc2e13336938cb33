"""The loop over cases: processes missing cases once, in parallel on a Dask cluster or in this process.

``cases.jsonl`` in the output folder has one line per outcome in chronological order. Whether a case is finished is
determined by its result folder, which is moved into place when it is complete.
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
KIND = "case"  # prefix of task keys; the scheduler keeps statistics of each prefix for ever
AHEAD = 2  # cases assigned per thread: the running one and the next
ANSWER = 5.0  # seconds until the answer of a finished task counts as lost; on retry, the finished case is found

Outcome = dict[str, Any]


class ClusterLost(InputError):
    """The scheduler is gone; finished cases are preserved."""


class Journal:
    """Outcomes of the cases of a folder, one line of JSON each; the last line of a case is valid."""

    def __init__(self, output_dir: Path) -> None:
        self.path = output_dir / JOURNAL
        self.unwritten: list[str] = []  # lines that could not be written yet

    def read(self) -> dict[str, Outcome]:
        """Read the last line of each case; truncated lines are skipped."""
        outcomes = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else ():
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                outcomes[row["case"]] = row
        return outcomes

    def add(self, row: Outcome) -> None:
        """Append a line; if writing fails, it is written with the next one."""
        self.unwritten.append(json.dumps(row))
        try:
            with open(self.path, "ab+") as file:
                start = file.seek(0, 2)
                if start:
                    file.seek(start - 1)
                    cut = file.read(1) != b"\n"  # by a process that was killed
                text = ("\n" if start and cut else "") + "\n".join(self.unwritten) + "\n"
                try:
                    file.write(text.encode())
                    file.flush()
                except OSError:
                    file.truncate(start)
                    raise
            self.unwritten = []
        except OSError as error:
            log.debug("%s: %s", self.path, error)


@contextmanager
def hold_folder(output_dir: Path) -> Iterator[None]:
    """Lock the folder against a second process, and remove incomplete files of a killed one.

    On a file system without locks nothing is removed, because another process may be writing.

    Raises:
        InputError: the folder cannot be written, or another run is writing to it.
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
    """Return the failure reason of each failed case."""
    return {name: o["reason"] for name, o in outcomes.items() if o["status"] not in ("done", "found")}


def run_cases(
    work: Work,
    names: Sequence[str],
    client: Client | None = None,
    limits: Limits | None = None,
    title: str = "cases",
    seen: Callable[[Outcome], None] | None = None,
) -> dict[str, Outcome]:
    """Process unfinished cases; a failed case does not stop the others.

    Args:
        work: how a case is processed.
        names: names of the cases.
        client: client of the cluster; None processes the cases one by one in this process, without limits.
        limits: limits of a case.
        title: title of the progress bar.
        seen: called with each outcome.

    Returns:
        The outcome of each case that was not finished. ``status`` is ``done``, ``found`` (it was finished by a process
        that could not report it), ``input`` (invalid input), ``error`` (an error in the program), ``time``, ``memory``,
        ``died`` or ``lost`` (with its worker, more than ``retries`` times); also ``reason``, ``seconds``,
        ``cpu_seconds``, ``memory`` (bytes), ``attempts``, ``worker``.

    Raises:
        InputError: the work cannot be set up, so no case can be processed.
        ClusterLost: the scheduler is gone.
    """
    pending = [name for name in names if not work.is_finished(name)]
    journal = Journal(Path(work.output_dir))
    finished: dict[str, Outcome] = {}
    outcomes = _run_here(work, pending) if client is None else _run_on(client, work, pending, limits or Limits())
    with tqdm(total=len(names), initial=len(names) - len(pending), desc=title, unit="case", mininterval=0.5) as bar:
        for name, outcome in outcomes:
            if outcome["status"] == "setup":
                raise InputError(outcome["reason"])
            outcome = {"case": name, **outcome, "time": round(time.time(), 3)}
            journal.add(outcome)
            finished[name] = outcome
            if outcome["status"] not in ("done", "found"):
                tqdm.write(f"{name}: {outcome['reason']}")
                bar.set_postfix(failed=len(reasons(finished)))
            bar.update()
            if seen is not None:
                seen(outcome)
    return finished


def _run_here(work: Work, names: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
    if names:
        process = call_named(work.make, dict(work.arguments))
        for name in names:
            yield name, attempt(process, name)


def _run_on(client: Client, work: Work, names: Sequence[str], limits: Limits) -> Iterator[tuple[str, Outcome]]:
    """Assign one case per thread of the cluster plus one queued case, so that few are affected by a lost worker."""
    waiting, running = deque(names), dict[Any, tuple[str, Future[Outcome]]]()
    done: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
    threads, checked = 0, 0.0
    try:
        client.register_plugin(CaseRunners())
        while waiting or running:
            if time.monotonic() - checked > 1:
                try:
                    threads, checked = sum(client.nthreads().values()), time.monotonic()
                except (OSError, ValueError, AttributeError, RuntimeError):
                    pass  # the scheduler does not answer; the client waits for it and eventually gives up
            if client.status == "closed":
                left = len(waiting) + len(running)
                raise ClusterLost(f"the scheduler is gone; {left} cases are left: run the same command again")
            while waiting and len(running) < AHEAD * threads and client.status == "running":
                name = waiting.popleft()
                key = f"{KIND}-{uuid.uuid4().hex}"
                try:
                    future = client.submit(run_case, work, name, limits, key=key, pure=False)
                except RuntimeError:  # its connections have been closed in the meantime
                    waiting.appendleft(name)
                    break
                running[future.key] = (name, future)
                future.add_done_callback(done.put)
            try:
                future = done.get(timeout=0.5)
            except queue.Empty:
                continue
            name, _ = running.pop(future.key)
            outcome = _outcome(future)
            future.release()
            if outcome["status"] == "stopped":  # because of its worker or the connection, not of the case
                waiting.appendleft(name)
            elif outcome["status"] == "lost" and work.is_finished(name):
                yield name, {"status": "found"}
            else:
                yield name, outcome
    finally:
        for _, future in running.values():
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
    except (OSError, CancelledError, RuntimeError):  # the connection or the worker is gone
        return {"status": "stopped"}
    if isinstance(error, KilledWorker):
        return {"status": "lost", "reason": f"its worker was lost {error.allowed_failures + 1} times"}
    return {"status": "error", "reason": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
