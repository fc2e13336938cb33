"""The processes that do the work, and who waits for them.

The one runner of jobs, for MONAI Label's app and for the workbench. Each request runs in a process of
``cohort.runner``: killed past its time or memory, and when its client is gone. The server itself never opens
an image.
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
from cardiac_motion.serving.validation import Refused

ANSWER = "answer.json"  # what a request leaves in its folder
CASE = "case"  # and the folder of files beside it
PROGRESS = "progress.json"  # what it says there of how far it is, while it runs
REQUESTS = 50  # of a process, before another takes its place
"""How often a process is used: what libraries leak goes with it."""
STATUS = {"input": 422, "time": 504, "memory": 413, "stopped": 499}
STARTER = ThreadPoolExecutor(1, "starter")
"""Processes end with the thread that started them (Linux), so it is one that lasts as long as the server."""


def report_progress(folder: str | Path, what: str, share: float, left: float | None = None) -> None:
    """Say, from a process, how far the request of a folder is.

    Args:
        folder: of the request.
        what: what is being done.
        share: of the whole that is done, in [0, 1].
        left: seconds until the end; None where nobody knows.
    """
    with write_whole(Path(folder) / PROGRESS) as beside:
        said = {"what": what, "share": round(share, 3), "left": None if left is None else round(left, 1)}
        beside.write_text(json.dumps(said), encoding="utf-8")


class Job:
    """One request on its way: ``cancel`` ends it, whether it waits or runs."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.runner: Runner | None = None
        self.lock = threading.Lock()

    def cancel(self) -> None:
        """Its client is gone."""
        self.cancelled.set()
        with self.lock:
            if self.runner is not None:
                self.runner.close()


class Workers:
    """A few processes, and a queue before them.

    Args:
        count: of processes; each is started when it is first needed.
        seconds: that a request may take.
        memory: bytes that its process may take.
        waiting: how many requests may wait; more are refused.
        root: folder in which the processes run; bundles are named from there.
        make: ``module:function`` that gives what does a request (``cardiac_motion.serving.requests.serve``).
        uses: how many requests a process does before another takes its place.
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
        """Do a request (``cardiac_motion.serving.requests.serve``); its answer.

        Raises:
            Refused: too many wait, the input is at fault, it took too long or too much memory, or its client is gone.
        """
        job = job or Job()
        with self.lock:
            if self.here >= self.count + self.waiting:
                raise Refused(503, f"{self.here} requests wait already; try again later")
            self.here += 1
        try:
            while not self.free.acquire(timeout=0.2):
                if job.cancelled.is_set():
                    raise Refused(499, "the client is gone")
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
            found = runner.case(json.dumps(request), self.limits, self.limits.memory)
        finally:
            with job.lock:
                job.runner = None
            self._give_back(slot, runner, done + 1)
        if job.cancelled.is_set():
            raise Refused(499, "the client is gone")
        if found["status"] != "done":
            raise Refused(STATUS.get(found["status"], 500), found["reason"])
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
            raise Refused(503, f"no process can be started ({error})") from error

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
        """How many processes there are, and how many requests wait or run."""
        with self.lock:
            return {"workers": self.count, "requests": self.here}

    def close(self) -> None:
        """End all processes; what they are doing is left undone."""
        with self.lock:
            for runner in [*self.busy, *(runner for _, runner, _ in self.idle)]:
                runner.close()
            self.slots += [slot for slot, _, _ in self.idle]
            self.idle.clear()


class Results:
    """What requests left to download: a folder each, the latest kept.

    Args:
        folder: made if missing.
        keep: so many at most.
        seconds: not longer than that.
    """

    def __init__(self, folder: Path, keep: int = 100, seconds: float = 86_400.0) -> None:
        self.folder, self.keep, self.seconds = folder, keep, seconds
        self.busy: set[str] = set()
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def create(self) -> Path:
        """A fresh folder; ``finish`` says when its request ended."""
        self._clean()
        name = uuid.uuid4().hex
        with self.lock:
            self.busy.add(name)
        (self.folder / name).mkdir()
        return self.folder / name

    def finish(self, folder: Path, keep: bool) -> None:
        """A request ended; what it left is kept or not."""
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        with self.lock:
            self.busy.discard(folder.name)

    def file(self, name: str, file: str) -> Path:
        """A file that a request left.

        Raises:
            Refused: there is none of that name.
        """
        folder = self.folder / name
        if name.isalnum() and (folder / CASE).is_dir():
            for path in (folder / CASE).iterdir():
                if path.name == file and path.is_file() and not path.is_symlink():
                    return path
        raise Refused(404, "no such result: it is not known, or was kept for a day and has gone")

    def _clean(self) -> None:
        with self.lock:
            busy = set(self.busy)
        found = []
        for path in self.folder.iterdir():
            if path.name not in busy:
                try:
                    found.append((path.stat().st_mtime, path))
                except OSError:
                    continue
        found.sort(reverse=True)
        for i, (changed, path) in enumerate(found):
            if i >= self.keep or time.time() - changed > self.seconds:
                shutil.rmtree(path, ignore_errors=True)
