"""Runs cases in a separate process that is started once per worker, monitored, and killed if it exceeds its limits.

A Dask worker cannot interrupt compiled code that hangs, and a worker that runs out of memory takes other cases with it.
Therefore each thread of a worker has one ``cohort.process``, which runs case after case; it is killed when a case
exceeds its time or memory, and restarted for the next one. Dask workers import only this module.
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

POLL = 0.05  # seconds between two memory checks
START = 600.0  # seconds within which a process must be ready
ENDED = ("died", "time", "memory")  # outcomes of a case whose process ended before it answered
THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """How the cases of a list are processed.

    Attributes:
        make: ``module:function``; called once per process with ``arguments``, it returns a function that processes the
            case of a given name and writes ``<output_dir>/<case>/``, completely or not at all, ``summary.json`` last.
        arguments: picklable arguments.
        output_dir: absolute path.
        folder: working directory of the process, from which relative paths of a configuration start.
    """

    make: str
    arguments: Mapping[str, Any]
    output_dir: str
    folder: str = field(default_factory=os.getcwd)

    def is_finished(self, name: str) -> bool:
        """Return whether the case's results exist."""
        return (Path(self.output_dir) / name / "summary.json").is_file()


@dataclass(frozen=True)
class Limits:
    """Limits of a case.

    Attributes:
        seconds: time limit from its start; 0 is unlimited.
        memory: memory limit of its process in bytes; 0 is the share of the Dask worker's limit.
        retries: number of retries if its process died for another reason.
        threads: number of computing threads.
    """

    seconds: float = 0.0
    memory: int = 0
    retries: int = 2
    threads: int = 1


class Runner:
    """Manages one process that runs cases.

    Args:
        work: work of the process.
        threads: number of its computing threads.
        gpu: the only GPU visible to it; None changes nothing.
    """

    def __init__(self, work: Work, threads: int, gpu: str | None = None) -> None:
        self.work, self.stopped = work, False
        parent_end, child_end = Pipe()
        self.connection = parent_end
        self.log = tempfile.TemporaryFile(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "TQDM_DISABLE": "1"}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        with child_end:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cardiac_motion.cohort.process", str(child_end.fileno())],
                pass_fds=[child_end.fileno()], cwd=work.folder, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            )  # fmt: skip
        self.monitored = psutil.Process(self.process.pid)
        self.connection.send((work.make, dict(work.arguments)))
        self.ready = False

    def case(self, name: str, limits: Limits, memory: int) -> dict[str, Any]:
        """Run a case within its limits.

        Returns:
            The result of ``process.attempt``, or ``status``: ``time`` or ``memory`` if the process was killed past that
            limit, ``died`` if it ended by itself, ``setup`` if it could not be started, ``stopped`` if ``close`` ended
            it.
        """
        if not self.ready:
            outcome = self._answer(START, 0)
            if outcome["status"] != "ready":
                self.close()
                return {**outcome, "status": "setup"} if outcome["status"] in ("input", "error") else outcome
            self.ready = True
        try:
            self.connection.send(name)
        except OSError:
            pass  # the process has died; the answer reports it
        outcome = self._answer(limits.seconds, memory)
        if outcome["status"] not in ("done", "input"):
            self.close()
        return outcome

    def _answer(self, seconds: float, memory: int) -> dict[str, Any]:
        start = time.monotonic()
        try:
            while not self.connection.poll(POLL):
                taken = time.monotonic() - start
                if seconds and taken > seconds:
                    return self._kill("time", f"took longer than {seconds:g} s", taken)
                if memory and self.monitored.memory_info().rss > memory:
                    return self._kill("memory", f"used more than {memory / 2**20:.0f} MiB of memory", taken)
            answer: dict[str, Any] = self.connection.recv()
            return answer
        except (EOFError, OSError, psutil.Error):
            if self.stopped:
                return {"status": "stopped", "reason": "the worker was stopped"}
            status = self.process.wait()
            died = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            output = self._read_last_line()
            return {
                "status": "died",
                "reason": f"its process ended {died}{': ' + output if output else ''}",
                "seconds": round(time.monotonic() - start, 4),
            }

    def _kill(self, status: str, reason: str, seconds: float) -> dict[str, Any]:
        self.close()
        return {"status": status, "reason": reason, "seconds": round(seconds, 4)}

    def _read_last_line(self) -> str:
        """Return the last line that the process printed."""
        self.log.seek(0)
        lines = self.log.read()[-2000:].decode(errors="replace").split("\n")
        return next((" ".join(line.split())[-300:] for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Kill the process and its children; a running case remains unfinished."""
        self.stopped = True
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


_runners: dict[int, Runner] = {}  # by thread of this worker
_slots: dict[int, int] = {}  # number of each thread, for its GPU
_lock = threading.Lock()


def stop_runners() -> None:
    """Kill all processes of this worker."""
    with _lock:
        for runner in _runners.values():
            runner.close()
        _runners.clear()


class CaseRunners(WorkerPlugin):
    """Kills a worker's processes when it closes, and those of another run when a new one starts."""

    name = "cohort"

    def setup(self, worker: Any) -> None:
        """Kill processes of a previous run."""
        stop_runners()

    def teardown(self, worker: Any) -> None:
        """Kill the worker's processes."""
        stop_runners()


def run_case(work: Work, name: str, limits: Limits) -> dict[str, Any]:
    """Run one case, the task of Dask, with retries if its process dies; return its outcome with ``attempts``.

    If a process ended after the case's results were moved into place, the case is finished: status ``found``.
    """
    worker = get_worker()
    share = int((worker.memory_manager.memory_limit or 0) / worker.state.nthreads)
    outcome: dict[str, Any] = {"status": "found"}
    attempts = 0
    while not work.is_finished(name) and attempts <= limits.retries:
        outcome = _runner(work, limits.threads).case(name, limits, limits.memory or share)
        attempts += 1
        if outcome["status"] in ENDED and work.is_finished(name):
            outcome = {"status": "found", "seconds": outcome["seconds"]}
        if outcome["status"] != "died":
            break
    return {**outcome, "attempts": attempts, "worker": str(worker.name)}


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
    """Return the GPU of a worker's thread, in turn from those visible to the worker; None if there are none."""
    gpus = list_gpus()
    return gpus[slot % len(gpus)] if gpus else None


def list_gpus() -> list[str]:
    """Return the GPUs in ``CUDA_VISIBLE_DEVICES``, otherwise all that nvidia-smi lists."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, encoding="utf-8", errors="replace", check=False)
    return [str(i) for i, line in enumerate(x for x in listed.stdout.splitlines() if x.startswith("GPU"))]
