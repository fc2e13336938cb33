"""Cases on disk, what is done with them, and their log: a restarted server finds all and goes on."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.settings import KINDS
from cardiac_motion.serving.validation import IMAGE_SUFFIXES, Refused
from cardiac_motion.serving.workers import PROGRESS, Job, Workers
from cardiac_motion.workbench.log import Edits, apply_turn, state_of

ID = re.compile(r"[0-9a-f]{32}")
LOOK = 0.3  # seconds between two looks at how far the jobs are
CANCELLED = 499


class Store:
    """The cases of a workspace, a folder each; one server a workspace.

    What is known of a case is in its ``case.json``, and here: files are read once, when the server starts.

    Args:
        folder: made if missing.
        work: runs what takes long; ``hands`` what a person waits for.
        options: of all requests to the workers, ``atlases`` say.
        studies: folder of MONAI Label's images and labels, if any.
    """

    def __init__(
        self,
        folder: Path,
        work: Workers,
        hands: Workers,
        options: Mapping[str, Any] | None = None,
        studies: Path | None = None,
    ) -> None:
        self.studies = studies.resolve() if studies else None
        self.folder, self.work, self.hands, self.options = folder.resolve(), work, hands, dict(options or {})
        self.cases = self.folder / "cases"
        self.cases.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.locks: dict[str, threading.Lock] = {}
        self.jobs: dict[str, tuple[Job, Path, dict[str, Any]]] = {}  # and how far they are
        self.watchers: set[Callable[[], object]] = set()
        self.closed = threading.Event()
        self.known = {
            path.parent.name: json.loads(path.read_text(encoding="utf-8"))
            for path in self.cases.glob("*/case.json")
            if ID.fullmatch(path.parent.name)
        }
        self.pool = ThreadPoolExecutor(4, "jobs")
        self.pool.submit(self._warm)
        threading.Thread(target=self._poll_jobs, name="progress", daemon=True).start()
        for name, case in list(self.known.items()):
            for left in (self.cases / name).glob("job-*"):
                shutil.rmtree(left, ignore_errors=True)
            if case.get("doing"):  # a server before this one was ended in the middle
                self.begin(name, case["doing"], case.get("method"), case.get("who", ""))
            elif case["status"] == "arriving":
                self.remove(name)
            elif case["status"] == "measured":
                self.pool.submit(self._measure_others, name)

    def _warm(self) -> None:
        """Let the process that a person waits for be ready before anyone does."""
        place = self.folder / f"warm-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        try:
            self.hands.run({"task": "warm", "folder": str(place)})
        except Refused:  # it starts with the first request then
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

    def _tell(self) -> None:
        for watcher in list(self.watchers):
            watcher()

    @contextmanager
    def watch(self, watcher: Callable[[], object]) -> Iterator[None]:
        """Call ``watcher``, from any thread, whenever a case changes or its job is further."""
        self.watchers.add(watcher)
        try:
            yield
        finally:
            self.watchers.discard(watcher)

    def place(self, name: str) -> Path:
        """The folder of a case.

        Raises:
            Refused: there is none.
        """
        if name not in self.known:
            raise Refused(404, "no such case")
        return self.cases / name

    def read(self, name: str) -> dict[str, Any]:
        """What is known of a case."""
        with self.lock:
            self.place(name)
            return deepcopy(self.known[name])

    def update(self, name: str, **values: Any) -> None:
        """Change what is known of a case."""
        with self.lock:
            case = {**self.read(name), **values}
            with write_whole(self.cases / name / "case.json") as beside:
                beside.write_text(json.dumps(case), encoding="utf-8")
            self.known[name] = case
        self._tell()

    def list_cases(self) -> list[dict[str, Any]]:
        """All cases, the latest first, with how far their jobs are."""
        with self.lock:
            found = [{**deepcopy(case), "progress": self.progress(name)} for name, case in self.known.items()]
        return sorted(found, key=lambda case: -case["created"])

    def progress(self, name: str) -> dict[str, Any] | None:
        """What is being done with a case and its share; None where nothing is."""
        job = self.jobs.get(name)
        return dict(job[2]) if job else None

    def create(self, title: str, suffix: str) -> tuple[str, Path]:
        """A case without its file, and where that goes."""
        name = uuid.uuid4().hex
        (self.cases / name / "source").mkdir(parents=True)
        case = {"id": name, "title": title[:200], "created": time.time(), "suffix": suffix, "status": "arriving"}
        with self.lock:
            (self.cases / name / "case.json").write_text(json.dumps(case), encoding="utf-8")
            self.known[name] = case
        return name, self.cases / name / "source" / f"image{suffix}"

    def source(self, name: str) -> Path:
        """The file of a case."""
        if self.studies and self.known[name].get("study"):
            return self.studies / self.known[name]["study"]
        return self.place(name) / "source" / f"image{self.known[name]['suffix']}"

    def study_names(self) -> list[str]:
        """Images of the studies' folder."""
        paths = sorted(self.studies.iterdir()) if self.studies else []
        return [path.name for path in paths if path.name.endswith(IMAGE_SUFFIXES) and not path.name.startswith(".")
                and path.is_file() and not path.is_symlink()]  # fmt: skip

    def create_from_study(self, image: str) -> str:
        """A case of an image of the studies, which is read where it is; the one that there is, if any.

        Raises:
            Refused: there is no such image.
        """
        if image not in self.study_names():
            raise Refused(404, "no such image among the studies")
        with self.lock:
            for name, case in self.known.items():
                if case.get("study") == image:
                    return name
            name = self.create(image, next(suffix for suffix in IMAGE_SUFFIXES if image.endswith(suffix)))[0]
            self.update(name, study=image)
        return name

    def _study_label(self, name: str) -> str | None:
        """Where MONAI Label keeps the label of a study's image; the workbench writes and reads the same file."""
        image = self.known[name].get("study")
        if not self.studies or not image:
            return None
        return str(self.studies / "labels" / "final" / f"{image.removesuffix(self.known[name]['suffix'])}.nii.gz")

    def begin(self, name: str, task: str, method: str | None, who: str) -> None:
        """Do something that takes long; it goes on without whoever asked.

        Raises:
            Refused: something is being done with the case.
        """
        with self.lock:
            if name in self.jobs:
                raise Refused(409, "something is being done with this case already")
            self.place(name)
            job = Job()
            self.jobs[name] = (job, self.cases / name / f"job-{uuid.uuid4().hex[:8]}", {"what": "waiting", "share": 0})
            self.update(name, doing=task, method=method, who=who, failed=None)
        self.pool.submit(self._run_job, name, task, method, who, job)

    def _run_job(self, name: str, task: str, method: str | None, who: str, job: Job) -> None:
        said: dict[str, Any] = {}
        follow = False
        try:
            log = self.log(name)
            request = {"method": method, "edits": state_of(log), "log": log}
            answer = self._ask(self.work, name, task, request, self.jobs[name][1], job)
            if task == "open":
                said = {"about": answer, "status": "open"}
                follow = bool(answer.get("ready"))
                method = method or KINDS[answer["kind"]]
            elif task == "measure":
                with self._hold_case(name):
                    said = {"status": "measured"}
                    if state_of(self.log(name)) == state_of(log):  # else nothing of it is shown
                        said = self.keep(name, str(method), answer)
            else:
                said = {"files": answer["files"]}
        except Refused as refused:
            said = {"failed": "cancelled" if refused.status == CANCELLED else refused.reason}
            if task == "open" and not self.known.get(name, {}).get("about"):
                said |= {"status": "failed"}
        except Exception as error:  # a thread's exception would be seen by nobody
            said = {"failed": f"{type(error).__name__}"}
        if self.closed.is_set():
            return  # the next server goes on
        with self.lock:
            self.jobs.pop(name, None)
            if name in self.known:
                self.update(name, doing=None, **said)
                if follow:
                    self.begin(name, "measure", method, who)
        if task == "measure":
            self.pool.submit(self._measure_others, name)

    def _ask(
        self, workers: Workers, name: str, task: str, request: Mapping[str, Any], place: Path, job: Job | None = None
    ) -> dict[str, Any]:
        """Have a worker do a request of a case, in a folder of its own; what it says shows no folder.

        Raises:
            Refused: as ``Workers.run``.
        """
        case, source = self.place(name), str(self.source(name))
        place.mkdir()
        try:
            about = {"task": task, "folder": str(place), "case": str(case), "source": source,
                     "study_label": self._study_label(name)}  # fmt: skip
            return workers.run({**self.options, **about, **request}, job)
        except Refused as refused:
            reason = refused.reason.replace(source, self.known.get(name, {}).get("title", "file"))
            for folder in (place, case):
                reason = reason.replace(f"{folder}/", "")
            raise Refused(refused.status, reason) from refused
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def ask(self, name: str, task: str, **values: Any) -> dict[str, Any]:
        """Do something that a person waits for.

        Raises:
            Refused: as ``Workers.run``.
        """
        return self._ask(self.hands, name, task, values, self.place(name) / f"job-{uuid.uuid4().hex[:8]}")

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
            shutil.rmtree(place, ignore_errors=True)
        self._tell()

    def keep(self, name: str, method: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what a page shows of a method; what is then known of the case."""
        with write_whole(self.cases / name / f"result_{method}.json") as beside:
            beside.write_text(json.dumps(answer["result"]), encoding="utf-8")
        return {"status": "measured", "methods": {**self.read(name).get("methods", {}), method: answer["row"]}}

    def results(self, name: str) -> dict[str, Any]:
        """What was measured, by method: of the edits that hold now, no others."""
        place = self.place(name)
        paths = {method: place / f"result_{method}.json" for method in self.read(name).get("methods", {})}
        return {
            method: json.loads(path.read_text(encoding="utf-8")) for method, path in paths.items() if path.is_file()
        }

    def log(self, name: str) -> list[dict[str, Any]]:
        """All steps of a case."""
        path = self.place(name) / "log.json"
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return found

    def has_motion(self, name: str, method: str) -> bool:
        """Whether the fields of a method are kept."""
        return (self.place(name) / "motion" / method / "motion.json").is_file()

    def step(self, name: str, method: str, who: str, change: Callable[[Edits], dict[str, Any]]) -> Any:
        """Take a step: measure with changed edits, then write it into the log; what fails leaves all as it was.

        What the other methods say of the case is measured again afterwards, and not shown until then.

        Args:
            change: from the edits so far to ``{"what": …, "edits": …}`` or ``{"what": …, "handles": …}``.
        """
        with self._hold_case(name):
            log = self.log(name)
            step = change(state_of(log))
            edits, answer = step.get("edits", state_of(log)), None
            if self.has_motion(name, method):
                answer = self.ask(name, "correct", method=method, edits=edits, handles=step.get("handles"))
                edits = answer["edits"]
            elif "edits" not in step:
                raise Refused(409, "nothing is measured yet whose wall could be moved")
            entry = {"when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "who": who, "what": step["what"],
                     "edits": edits, "method": method}  # fmt: skip
            with write_whole(self.cases / name / "log.json") as beside:
                beside.write_text(json.dumps([*log, entry]), encoding="utf-8")
            if answer is None:
                self.update(name, failed=None, methods={})
                return None
            self.update(name, methods={})
            self.update(name, **self.keep(name, method, answer), failed=None)
        self.pool.submit(self._measure_others, name)
        return answer["result"]

    def turn(self, name: str, method: str, who: str, what: str) -> Any:
        """``undo`` or ``redo``; it is a step of the log itself.

        Raises:
            Refused: there is nothing to undo or redo.
        """

        def change(_: Edits) -> dict[str, Any]:
            edits = apply_turn(self.log(name), what)
            if edits is None:
                raise Refused(409, f"nothing to {what}")
            return {"what": what, "edits": edits}

        return self.step(name, method, who, change)

    def _measure_others(self, name: str) -> None:
        """Measure with the edits that hold by the methods whose fields are kept but whose result is of older ones."""
        while name in self.known and not self.closed.is_set():
            shown = self.read(name).get("methods", {})
            behind = [path.parent.name for path in sorted((self.cases / name).glob("motion/*/motion.json"))
                      if path.parent.name not in shown]  # fmt: skip
            if not behind:
                return
            edits = state_of(self.log(name))
            place = self.cases / name / f"job-{uuid.uuid4().hex[:8]}"
            try:
                answer = self._ask(self.work, name, "correct", {"method": behind[0], "edits": edits}, place)
            except (Refused, OSError):  # it stays away from what is shown
                return
            with self._hold_case(name):
                if name in self.known and state_of(self.log(name)) == edits:
                    self.update(name, **self.keep(name, behind[0], answer))

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
        self.work.close()
        self.hands.close()
