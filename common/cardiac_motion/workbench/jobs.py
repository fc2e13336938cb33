"""What takes long: who does it, how far it is, what follows it, and what it has cost."""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.progress import merge_costs
from cardiac_motion.serving.settings import KINDS, PREVIEW
from cardiac_motion.serving.validation import RequestRejected
from cardiac_motion.serving.workers import PROGRESS, Job, Workers
from cardiac_motion.workbench.log import describe_changes, state_of
from cardiac_motion.workbench.messages import say_plainly
from cardiac_motion.workbench.results import CaseResults

LOOK = 0.3  # seconds between two looks at how far the jobs are
CANCELLED = 499


@dataclass(frozen=True)
class Lanes:
    """The workers, by how long one waits for them.

    Attributes:
        work: measures; takes minutes.
        quick: opens files; takes seconds.
        hands: corrects, follows points, combines studies; a person waits for it. It keeps what it has read and tracked.
    """

    work: Workers
    quick: Workers
    hands: Workers

    def close(self) -> None:
        """End all processes."""
        for workers in (self.work, self.quick, self.hands):
            workers.close()


class CaseJobs(CaseResults):
    """Cases with what is done with them; a restarted server goes on with what was being done.

    Args:
        folder, studies: as in ``CaseFolders``.
        lanes: of workers.
        options: of all requests to the workers, ``atlases`` say.
    """

    def __init__(
        self, folder: Path, lanes: Lanes, options: Mapping[str, Any] | None = None, studies: Path | None = None
    ) -> None:
        super().__init__(folder, studies)
        self.lanes, self.options = lanes, dict(options or {})
        self.locks: dict[str, threading.Lock] = {}
        self.jobs: dict[str, tuple[Job, Path, dict[str, Any]]] = {}  # and how far they are
        self.closed = threading.Event()
        self.costs = self._read_costs()
        self.pool = ThreadPoolExecutor(8, "jobs")
        for workers in (lanes.quick, lanes.work, lanes.hands):
            self.pool.submit(self._warm, workers)
        threading.Thread(target=self._poll_jobs, name="progress", daemon=True).start()
        for name, case in list(self.known.items()):
            self._go_on(name, case)

    def _go_on(self, name: str, case: dict[str, Any]) -> None:
        """Take up a case of the server before this one."""
        for left in (self.cases / name).glob("job-*"):
            shutil.rmtree(left, ignore_errors=True)
        if case["status"] == "arriving" and not case.get("doing"):
            self.remove(name)
            return
        case["revision"] = len(self.log(name))
        case["methods"] = self._rows(name)
        if case.get("doing"):  # a server before this one was ended in the middle
            self.begin(name, case["doing"], case.get("method"), case.get("who", ""))
        elif case["status"] == "measured":
            self.pool.submit(self._measure_others, name)

    def _read_costs(self) -> dict[str, float]:
        try:
            found: dict[str, float] = json.loads((self.folder / "costs.json").read_text(encoding="utf-8"))
            return found
        except (OSError, ValueError):
            return {}

    def _learn(self, measured: Mapping[str, float] | None) -> None:
        """Remember what steps of a job have cost."""
        if measured:
            with self.lock:
                self.costs = merge_costs(self.costs, measured)
                with write_whole(self.folder / "costs.json") as beside:
                    beside.write_text(json.dumps(self.costs), encoding="utf-8")

    def _warm(self, workers: Workers) -> None:
        """Let a process be ready before anyone waits for it."""
        place = self.folder / f"warm-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        try:
            workers.run({"task": "warm", "folder": str(place)})
        except RequestRejected:  # it starts with the first request then
            pass
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _poll_jobs(self) -> None:
        """See how far the jobs are, while there are any."""
        while not self.closed.wait(LOOK):
            for _, place, far in list(self.jobs.values()):
                try:
                    now = json.loads((place / PROGRESS).read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    continue
                if now != far:
                    far.update(now)
                    self._tell()

    def progress(self, name: str) -> dict[str, Any] | None:
        """What is being done with a case and its share; None where nothing is."""
        job = self.jobs.get(name)
        return dict(job[2]) if job else None

    def begin(self, name: str, task: str, method: str | None, who: str) -> None:
        """Do something that takes long; it goes on without whoever asked.

        Raises:
            RequestRejected: something is being done with the case.
        """
        with self.lock:
            if name in self.jobs:
                raise RequestRejected(409, "something is being done with this case already")
            self.place(name)
            job = Job()
            far = {"what": "waiting", "share": 0, "left": None}
            self.jobs[name] = (job, self.cases / name / f"job-{uuid.uuid4().hex[:8]}", far)
            self.update(name, doing=task, method=method, who=who, failed=None)
        self.pool.submit(self._run_job, name, task, method, who, job)

    def _run_job(self, name: str, task: str, method: str | None, who: str, job: Job) -> None:
        said: dict[str, Any] = {}
        follow: str | None = None
        try:
            log = self.log(name)
            edits = state_of(log)
            request = {"method": method, "edits": edits, "log": log, "revision": len(log),
                       "manual": describe_changes(log), "costs": self.costs}  # fmt: skip
            workers = self.lanes.quick if task == "open" else self.lanes.work
            answer = self._ask(workers, name, task, request, self.jobs[name][1], job)
            self._learn(answer.pop("costs", None))
            if task == "open":
                said = {"about": answer, "status": "open"}
                if answer.get("ready") or edits.get("view"):
                    follow = PREVIEW if answer["kind"] == "cine" else KINDS["volume"]
            elif task == "measure":
                self.keep(name, str(method), answer)
                said = {"status": "measured"}
                follow = self._after_preview(name, str(method))
            else:
                stamp = {"revision": len(log), "method": method, "digest": self.digest(name, str(method), edits)}
                said = {"files": {**stamp, "names": answer["files"], "name": answer["name"]}}
        except RequestRejected as refused:
            said = {"failed": "cancelled" if refused.status == CANCELLED else refused.reason}
            if task == "open" and not self.known.get(name, {}).get("about"):
                said |= {"status": "failed"}
        except Exception as error:  # a thread's exception would be seen by nobody
            said = {"failed": f"The program failed ({type(error).__name__})."}
        if self.closed.is_set():
            return  # the next server goes on
        with self.lock:
            self.jobs.pop(name, None)
            if name not in self.known:
                return
            self.update(name, doing=None, methods=self._rows(name), **said)
            if follow:
                self.update(name, preview=follow == PREVIEW or bool(self.known[name].get("preview")))
                self.begin(name, "measure", follow, who)
        if task == "measure" and not follow:
            self.pool.submit(self._measure_others, name)

    def _after_preview(self, name: str, method: str) -> str | None:
        """The method that follows a preview; a preview whose successor is there is removed, fields and all."""
        if not self.known[name].get("preview"):
            return None
        if method == PREVIEW and not self.has_motion(name, KINDS["cine"]):
            return KINDS["cine"]
        if method == KINDS["cine"]:
            shutil.rmtree(self.cases / name / "motion" / PREVIEW, ignore_errors=True)
            (self.cases / name / "shown" / f"arrows_{PREVIEW}.bin").unlink(missing_ok=True)
            self.update(name, preview=False)
        return None

    def _measure_others(self, name: str) -> None:
        """Measure with the edits that hold by the methods whose fields are kept but whose result is of older ones."""
        while name in self.known and not self.closed.is_set():
            edits = state_of(self.log(name))
            behind = [method for method in self.methods_of(name) if not self.find(name, method, edits)]
            if not behind:
                return
            place = self.cases / name / f"job-{uuid.uuid4().hex[:8]}"
            try:
                request = {"method": behind[0], "edits": edits}
                answer = self._ask(self.lanes.work, name, "correct", request, place)
            except (RequestRejected, OSError):  # it stays away from what is shown
                return
            with self._hold_case(name):
                if name in self.known:
                    self.keep(name, behind[0], answer)
                    self.update(name, methods=self._rows(name))

    def _ask(
        self, workers: Workers, name: str, task: str, request: Mapping[str, Any], place: Path, job: Job | None = None
    ) -> dict[str, Any]:
        """Have a worker do a request of a case, in a folder of its own; what it says shows no folder.

        Raises:
            RequestRejected: as ``Workers.run``.
        """
        case, source, known = self.place(name), str(self.source(name)), self.known[name]
        place.mkdir()
        try:
            about = {"task": task, "folder": str(place), "case": str(case), "source": source,
                     "title": known["title"], "frames": (known.get("about") or {}).get("frames"),
                     "study_label": self._study_label(name)}  # fmt: skip
            return workers.run({**self.options, **about, **request}, job)
        except RequestRejected as refused:
            reason = refused.reason.replace(source, known["title"])
            for folder in (place, case):
                reason = reason.replace(f"{folder}/", "")
            if refused.status != CANCELLED:
                reason = say_plainly(reason, known["title"])
            raise RequestRejected(refused.status, reason) from refused
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def ask(self, name: str, task: str, **values: Any) -> dict[str, Any]:
        """Do something that a person waits for.

        Raises:
            RequestRejected: as ``Workers.run``.
        """
        return self._ask(self.lanes.hands, name, task, values, self.place(name) / f"job-{uuid.uuid4().hex[:8]}")

    def cancel(self, name: str) -> None:
        """End what is being done with a case."""
        found = self.jobs.get(name)
        if found:
            found[0].cancel()

    def remove(self, name: str) -> None:
        """Remove a case with all its files."""
        place = self.place(name)
        self.cancel(name)
        with self.lock:
            self.known.pop(name, None)
            self.logs.pop(name, None)
            shutil.rmtree(place, ignore_errors=True)
        self._tell()

    @contextmanager
    def _hold_case(self, name: str) -> Iterator[None]:
        """One step of a case at a time."""
        self.place(name)
        with self.lock:
            lock = self.locks.setdefault(name, threading.Lock())
        with lock:
            yield

    def close(self) -> None:
        """End all processes; what was being done begins again with the next server."""
        self.closed.set()
        self.lanes.close()
