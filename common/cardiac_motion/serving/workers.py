"""Worker processes and their queue.

MONAI Label's app and the workbench run all jobs here. Each request runs in a process of ``cohort.runner``, which is
killed when it exceeds its time or memory, or when its client disconnects. The server itself never opens an image.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from cardiac_motion.cohort.runner import Limits, Runner, Work, gpu_of
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.validation import RequestRejected

ANSWER = "answer.json"  # a request's answer in its folder
CASE = "case"  # folder of its files, next to the answer
PROGRESS = "progress.json"  # progress of a running request, in its folder
REQUESTS = 50
"""Number of requests after which a process is replaced, so that leaks of libraries do not accumulate."""
STATUS = {"input": 422, "time": 504, "memory": 413, "stopped": 499}
STARTER = ThreadPoolExecutor(1, "starter")
"""Processes end with the thread that started them (Linux); this one lasts as long as the server."""


def report_progress(folder: str | Path, what: str, share: float, left: float | None = None) -> None:
    """Report, from a worker process, the progress of a request.

    Args:
        folder: folder of the request.
        what: current step.
        share: completed fraction, in [0, 1].
        left: remaining seconds; None if unknown.
    """
    with write_whole(Path(folder) / PROGRESS) as beside:
        progress = {"what": what, "share": round(share, 3), "left": None if left is None else round(left, 1)}
        beside.write_text(json.dumps(progress), encoding="utf-8")


class Job:
    """A waiting or running request; ``cancel`` ends it."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.runner: Runner | None = None
        self.lock = threading.Lock()

    def cancel(self) -> None:
        """End the request because its client has disconnected."""
        self.cancelled.set()
        with self.lock:
            if self.runner is not None:
                self.runner.close()


class Workers:
    """Pool of worker processes with a queue.

    Args:
        count: number of processes; each is started when first needed.
        seconds: time limit of a request.
        memory: memory limit of a process, bytes.
        waiting: maximum number of waiting requests; more are rejected.
        root: working directory of the processes; bundle paths are relative to it.
        make: ``module:function`` that returns the function for requests (``cardiac_motion.serving.requests.serve``).
        uses: number of requests after which a process is replaced.
    """

    def __init__(
        self,
        count: int,
        seconds: float,
        memory: int,
        waiting: int,
        root: Path,
        make: str = "cardiac_motion.serving.requests:open_requests",
        uses: int = REQUESTS,
    ) -> None:
        self.count, self.waiting, self.uses = count, waiting, uses
        threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or max(1, (os.cpu_count() or 1) // count)
        self.limits = Limits(seconds, memory, retries=0, threads=threads)
        self.work = Work(make, {}, str(root), str(root))
        self.free = threading.Semaphore(count)
        self.idle: list[tuple[int, Runner, int]] = []  # slot, process, requests done
        self.busy: list[Runner] = []
        self.slots = list(range(count))
        self.lock = threading.Lock()
        self.here = 0  # requests that wait or run

    def run(self, request: dict[str, Any], job: Job | None = None) -> dict[str, Any]:
        """Run a request (``cardiac_motion.serving.requests.serve``) and return its answer.

        Raises:
            RequestRejected: too many requests are waiting, the input is bad, a limit of time or memory was exceeded, or
                the client disconnected.
        """
        job = job or Job()
        with self.lock:
            if self.here >= self.count + self.waiting:
                raise RequestRejected(503, f"{self.here} requests are already waiting; try again later")
            self.here += 1
        try:
            while not self.free.acquire(timeout=0.2):
                if job.cancelled.is_set():
                    raise RequestRejected(499, "the client has disconnected")
            try:
                return self._run(request, job)
            finally:
                self.free.release()
        finally:
            with self.lock:
                self.here -= 1

    def _run(self, request: dict[str, Any], job: Job) -> dict[str, Any]:
        slot, runner, done = self._take()
        with self.lock:
            self.busy.append(runner)
        with job.lock:
            job.runner = runner
            if job.cancelled.is_set():
                runner.close()
        try:
            result = runner.case(json.dumps(request), self.limits, self.limits.memory)
        finally:
            with job.lock:
                job.runner = None
            self._give_back(slot, runner, done + 1)
        if job.cancelled.is_set():
            raise RequestRejected(499, "the client has disconnected")
        if result["status"] != "done":
            raise RequestRejected(STATUS.get(result["status"], 500), result["reason"])
        answer: dict[str, Any] = json.loads((Path(request["folder"]) / ANSWER).read_text(encoding="utf-8"))
        return answer

    def _take(self) -> tuple[int, Runner, int]:
        with self.lock:
            while self.idle:
                slot, runner, done = self.idle.pop()
                if runner.process.poll() is None and not runner.stopped:
                    return slot, runner, done
                self.slots.append(slot)
            slot = self.slots.pop()
        try:
            return slot, STARTER.submit(Runner, self.work, self.limits.threads, gpu_of(slot)).result(), 0
        except (OSError, psutil.Error) as error:
            with self.lock:
                self.slots.append(slot)
            raise RequestRejected(503, f"no process could be started ({error})") from error

    def _give_back(self, slot: int, runner: Runner, done: int) -> None:
        if done >= self.uses and not runner.stopped:
            runner.close()
        with self.lock:
            self.busy.remove(runner)
            if runner.stopped:
                self.slots.append(slot)
            else:
                self.idle.append((slot, runner, done))

    def state(self) -> dict[str, int]:
        """Return the number of processes, and of waiting or running requests."""
        with self.lock:
            return {"workers": self.count, "requests": self.here}

    def close(self) -> None:
        """End all processes and abandon their requests."""
        with self.lock:
            for runner in [*self.busy, *(runner for _, runner, _ in self.idle)]:
                runner.close()
            self.slots += [slot for slot, _, _ in self.idle]
            self.idle.clear()


class Results:
    """Downloadable results of requests: one folder each, of which the latest are kept.

    Args:
        folder: parent folder; created if missing.
        keep: maximum number of results.
        seconds: maximum age of a result.
    """

    def __init__(self, folder: Path, keep: int = 100, seconds: float = 86_400.0) -> None:
        self.folder, self.keep, self.seconds = folder, keep, seconds
        self.busy: set[str] = set()
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def create(self) -> Path:
        """Create a folder for a new request; call ``finish`` when the request has ended."""
        self._clean()
        name = uuid.uuid4().hex
        with self.lock:
            self.busy.add(name)
        (self.folder / name).mkdir()
        return self.folder / name

    def finish(self, folder: Path, keep: bool) -> None:
        """Mark a request as ended, and keep or delete its folder."""
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        with self.lock:
            self.busy.discard(folder.name)

    def file(self, name: str, file: str) -> Path:
        """Return the path of a result's file.

        Raises:
            RequestRejected: there is no file of that name.
        """
        folder = self.folder / name
        if name.isalnum() and (folder / CASE).is_dir():
            for path in (folder / CASE).iterdir():
                if path.name == file and path.is_file() and not path.is_symlink():
                    return path
        raise RequestRejected(404, "no such result: it is unknown, or was deleted after a day")

    def _clean(self) -> None:
        with self.lock:
            busy = set(self.busy)
        folders = []
        for path in self.folder.iterdir():
            if path.name not in busy:
                try:
                    folders.append((path.stat().st_mtime, path))
                except OSError:
                    continue
        folders.sort(reverse=True)
        for i, (changed, path) in enumerate(folders):
            if i >= self.keep or time.time() - changed > self.seconds:
                shutil.rmtree(path, ignore_errors=True)
