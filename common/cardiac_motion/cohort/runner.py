"""A case in a process of its own kind: started once a worker, watched while it works, killed when it must be.

A Dask worker can't stop what hangs in compiled code, and one that runs out of memory takes its neighbours' work along.
So each thread of a worker keeps one ``cohort.process``, which does case after case; the keeper kills it past the
time or the memory of a case and starts another for the next one. This module is all that a Dask worker imports.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

POLL = 0.05  # seconds between two looks at the memory
START = 600.0  # seconds that a process may take to be ready
ENDED = ("died", "time", "memory")  # what becomes of a case whose process ended before it answered
THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """How the cases of a list are done.

    Attributes:
        make: ``module:function``; called once a process with ``arguments``, it gives the function that does a case by
            its name and writes ``<output_dir>/<case>/``, ``summary.json`` last, whole or not at all.
        arguments: that can be pickled.
        output_dir: absolute.
        folder: where the process runs; relative paths of a configuration start there.
    """

    make: str
    arguments: Mapping[str, Any]
    output_dir: str
    folder: str = field(default_factory=os.getcwd)

    def is_finished(self, name: str) -> bool:
        """Whether the case's outputs are there."""
        return (Path(self.output_dir) / name / "summary.json").is_file()


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    Attributes:
        seconds: from when it begins; 0 leaves it.
        memory: bytes of its process; 0 takes the share of the Dask worker's limit.
        retries: how often it begins again when its process died of something else.
        threads: that a case computes with.
    """

    seconds: float = 0.0
    memory: int = 0
    retries: int = 2
    threads: int = 1


class Runner:
    """The keeper of one process.

    Args:
        work: that the process does.
        threads: that it computes with.
        gpu: the only one that it sees; None changes nothing.
    """

    def __init__(self, work: Work, threads: int, gpu: str | None = None) -> None:
        self.work, self.stopped = work, False
        ours, theirs = Pipe()
        self.connection = ours
        self.log = tempfile.TemporaryFile(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "TQDM_DISABLE": "1"}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cardiac_motion.cohort.process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], cwd=work.folder, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            )  # fmt: skip
        self.seen = psutil.Process(self.process.pid)
        self.connection.send((work.make, dict(work.arguments)))
        self.ready = False

    def case(self, name: str, limits: Limits, memory: int) -> dict[str, Any]:
        """Run a case within its limits.

        Returns:
            the result of ``process.attempt``, or ``status``: ``time`` or ``memory`` if the process was killed past that
            limit, ``died`` if it ended by itself, ``setup`` if it could not be started, ``stopped`` if ``close`` ended
            it.
        """
        if not self.ready:
            found = self._answer(START, 0)
            if found["status"] != "ready":
                self.close()
                return {**found, "status": "setup"} if found["status"] in ("input", "error") else found
            self.ready = True
        try:
            self.connection.send(name)
        except OSError:
            pass  # it died since; the answer says so
        found = self._answer(limits.seconds, memory)
        if found["status"] not in ("done", "input"):
            self.close()
        return found

    def _answer(self, seconds: float, memory: int) -> dict[str, Any]:
        start = time.monotonic()
        try:
            while not self.connection.poll(POLL):
                taken = time.monotonic() - start
                if seconds and taken > seconds:
                    return self._kill("time", f"took longer than {seconds:g} s", taken)
                if memory and self.seen.memory_info().rss > memory:
                    return self._kill("memory", f"took more than {memory / 2**20:.0f} MiB of memory", taken)
            answer: dict[str, Any] = self.connection.recv()
            return answer
        except (EOFError, OSError, psutil.Error):
            if self.stopped:
                return {"status": "stopped", "reason": "the worker was stopped"}
            status = self.process.wait()
            died = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            said = self._read_last_line()
            return {
                "status": "died",
                "reason": f"its process ended {died}{': ' + said if said else ''}",
                "seconds": round(time.monotonic() - start, 4),
            }

    def _kill(self, status: str, reason: str, seconds: float) -> dict[str, Any]:
        self.close()
        return {"status": status, "reason": reason, "seconds": round(seconds, 4)}

    def _read_last_line(self) -> str:
        """The last line that the process printed."""
        self.log.seek(0)
        lines = self.log.read()[-2000:].decode(errors="replace").split("\n")
        return next((" ".join(line.split())[-300:] for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Kill the process and what it started; a case that it is doing is left undone."""
        self.stopped = True
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


_runners: dict[int, Runner] = {}  # of this worker's threads
_slots: dict[int, int] = {}  # threads by number, for their GPU
_lock = threading.Lock()


def stop_runners() -> None:
    """End all processes of this worker."""
    with _lock:
        for runner in _runners.values():
            runner.close()
        _runners.clear()


class CaseRunners(WorkerPlugin):
    """Ends the processes of a worker when it closes, and those that another driver left when a new one comes."""

    name = "cohort"

    def setup(self, worker: Any) -> None:
        stop_runners()

    def teardown(self, worker: Any) -> None:
        stop_runners()


def run_case(work: Work, name: str, limits: Limits) -> dict[str, Any]:
    """The task that Dask runs: one case, again when its process dies; what became of it, with ``attempts``.

    A process that ends, or is ended, after the case was moved into place did it, though it could not say so: ``found``.
    """
    worker = get_worker()
    share = int((worker.memory_manager.memory_limit or 0) / worker.state.nthreads)
    found: dict[str, Any] = {"status": "found"}
    attempts = 0
    while not work.is_finished(name) and attempts <= limits.retries:
        found = _runner(work, limits.threads).case(name, limits, limits.memory or share)
        attempts += 1
        if found["status"] in ENDED and work.is_finished(name):
            found = {"status": "found", "seconds": found["seconds"]}
        if found["status"] != "died":
            break
    return {**found, "attempts": attempts, "worker": str(worker.name)}


def _runner(work: Work, threads: int) -> Runner:
    thread = threading.get_ident()
    with _lock:
        runner = _runners.get(thread)
        if runner is None or runner.stopped or runner.work != work or runner.process.poll() is not None:
            if runner is not None:
                runner.close()
            runner = _runners[thread] = Runner(work, threads, gpu_of(_slots.setdefault(thread, len(_slots))))
        return runner


def gpu_of(slot: int) -> str | None:
    """The GPU of a worker's thread: one each, in turn, of those that the worker sees; None where there is none."""
    found = list_gpus()
    return found[slot % len(found)] if found else None


def list_gpus() -> list[str]:
    """``CUDA_VISIBLE_DEVICES``, or all that nvidia-smi lists."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, encoding="utf-8", errors="replace", check=False)
    return [str(i) for i, line in enumerate(x for x in listed.stdout.splitlines() if x.startswith("GPU"))]
