"""Cases on disk, what is done with them, and their log: a restarted server finds all and goes on."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common.core.files import written_whole
from common.serving.checks import Refused
from common.serving.workers import PROGRESS, Job, Workers

ID = re.compile(r"[0-9a-f]{32}")
SUFFIXES = (".nii.gz", ".nii", ".dcm", ".mha", ".nrrd", ".mp4", ".avi", ".mov", ".gif", ".tif", ".tiff")


class Store:
    """The cases of a workspace, a folder each.

    Args:
        folder: made if missing.
        work: runs what takes long; ``hands`` what a person waits for.
    """

    def __init__(self, folder: Path, work: Workers, hands: Workers) -> None:
        self.folder, self.work, self.hands = folder.resolve(), work, hands
        self.cases = self.folder / "cases"
        self.cases.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.locks: dict[str, threading.Lock] = {}
        self.jobs: dict[str, tuple[Job, Path]] = {}
        self.pool = ThreadPoolExecutor(4, "jobs")
        self.pool.submit(self._warm)
        for case in self.listed():
            for folder_ in (self.cases / case["id"]).glob("job-*"):
                shutil.rmtree(folder_, ignore_errors=True)
            if case.get("doing"):  # a server before this one was ended in the middle
                self.begin(case["id"], case["doing"], case.get("method", "cpwc"), case.get("who", ""))

    def _warm(self) -> None:
        """Let the process that a person waits for be ready before anyone does."""
        place = self.folder / f"warm-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        try:
            self.hands.run({"task": "warm", "folder": str(place)})
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def place(self, name: str) -> Path:
        """The folder of a case.

        Raises:
            Refused: there is none.
        """
        if not ID.fullmatch(name) or not (self.cases / name / "case.json").is_file():
            raise Refused(404, "no such case")
        return self.cases / name

    def read(self, name: str) -> dict[str, Any]:
        """What is known of a case."""
        found: dict[str, Any] = json.loads((self.place(name) / "case.json").read_text())
        return found

    def update(self, name: str, **values: Any) -> dict[str, Any]:
        """Change what is known of a case."""
        with self.lock:
            case = {**self.read(name), **values}
            with written_whole(self.cases / name / "case.json") as beside:
                beside.write_text(json.dumps(case))
        return case

    def listed(self) -> list[dict[str, Any]]:
        """All cases, the latest first, with how far their jobs are."""
        found = []
        for path in self.cases.glob("*/case.json"):
            if ID.fullmatch(path.parent.name):
                case = json.loads(path.read_text())
                found.append({**case, "progress": self.progress(case["id"])})
        return sorted(found, key=lambda case: -case["created"])

    def progress(self, name: str) -> Any:
        """What is being done with a case and its share; None where nothing is."""
        if name not in self.jobs:
            return None
        try:
            return json.loads((self.jobs[name][1] / PROGRESS).read_text())
        except (OSError, ValueError):
            return {"what": "waiting", "share": 0}

    def new(self, title: str, suffix: str) -> tuple[str, Path]:
        """A case without its file, and where that goes."""
        name = uuid.uuid4().hex
        folder = self.cases / name
        (folder / "source").mkdir(parents=True)
        case = {"id": name, "title": title[:200], "created": time.time(), "suffix": suffix, "status": "arriving"}
        (folder / "case.json").write_text(json.dumps(case))
        return name, folder / "source" / f"cine{suffix}"

    def source(self, name: str) -> str:
        """The file of a case."""
        return str(self.place(name) / "source" / f"cine{self.read(name)['suffix']}")

    def begin(self, name: str, task: str, method: str, who: str) -> None:
        """Do something that takes long; it goes on without whoever asked.

        Raises:
            Refused: something is being done with the case.
        """
        with self.lock:
            if name in self.jobs:
                raise Refused(409, "something is being done with this case already")
            place = self.place(name) / f"job-{uuid.uuid4().hex[:8]}"
            place.mkdir()
            job = Job()
            self.jobs[name] = (job, place)
            self.update(name, doing=task, method=method, who=who, failed=None)
        self.pool.submit(self._long, name, task, method, who, job, place)

    def _long(self, name: str, task: str, method: str, who: str, job: Job, place: Path) -> None:
        said: dict[str, Any] = {"doing": None}
        follow = False
        try:
            log = self.log(name)
            request = {"task": task, "folder": str(place), "case": str(self.cases / name), "method": method}
            request |= {"source": self.source(name), "edits": state_of(log), "log": log}
            answer = self.work.run(request, job)
            if task == "open":
                said |= {"about": answer, "status": "open"}
                follow = answer["view"].startswith("apical") and answer["probability"] >= 0.5
            elif task == "measure":
                said |= self.keep(name, method, answer["result"])
            else:
                said |= {"files": answer["files"]}
        except Refused as refused:
            said |= {"failed": refused.reason.replace(str(self.cases / name) + "/", "")}
            if task == "open":
                said |= {"status": "failed"}
        except Exception as error:  # a thread's exception would be seen by nobody
            said |= {"failed": f"{type(error).__name__}"}
        finally:
            with self.lock:
                self.jobs.pop(name, None)
                if (self.cases / name / "case.json").is_file():
                    self.update(name, **said)
            shutil.rmtree(place, ignore_errors=True)
        if follow:
            self.begin(name, "measure", method, who)

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
            shutil.rmtree(place, ignore_errors=True)

    def keep(self, name: str, method: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what a page shows of a method; what is then known of the case."""
        with written_whole(self.cases / name / f"result_{method}.json") as beside:
            beside.write_text(json.dumps(result))
        methods = {**self.read(name).get("methods", {}), method: summary(result)}
        return {"status": "measured", "methods": methods}

    def result(self, name: str, method: str) -> Any:
        """What was measured with a method, or None."""
        path = self.place(name) / f"result_{method}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def log(self, name: str) -> list[dict[str, Any]]:
        """All steps of a case."""
        path = self.place(name) / "log.json"
        found: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
        return found

    def ask(self, name: str, task: str, **values: Any) -> dict[str, Any]:
        """Do something that a person waits for."""
        place = self.place(name) / f"job-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        try:
            return self.hands.run({"task": task, "folder": str(place), "case": str(self.cases / name), **values})
        except Refused as refused:
            reason = refused.reason.replace(str(place) + "/", "").replace(str(self.cases / name) + "/", "")
            raise Refused(refused.status, reason) from refused
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def step(self, name: str, method: str, who: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        """Take a step: measure with changed edits, then write it into the log; what fails leaves all as it was.

        Args:
            change: from the edits so far to ``{"what": …, "edits": …}`` or ``{"what": …, "handles": …}``.
        """
        with self.lock:
            lock = self.locks.setdefault(name, threading.Lock())
        with lock:
            log = self.log(name)
            step = change(state_of(log))
            answer = self.ask(name, "correct", method=method, edits=step.get("edits", state_of(log)),
                              handles=step.get("handles"))  # fmt: skip
            entry = {"when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "who": who, "what": step["what"],
                     "edits": answer["edits"], "method": method}  # fmt: skip
            self._write_log(name, [*log, entry])
            self.update(name, **self.keep(name, method, answer["result"]), failed=None)
            return answer["result"]

    def turn(self, name: str, method: str, who: str, what: str) -> Any:
        """``undo`` or ``redo``; it is a step of the log itself.

        Raises:
            Refused: there is nothing to undo or redo.
        """

        def change(_: dict[str, Any]) -> dict[str, Any]:
            done, undone = history(self.log(name))
            if what == "undo" and done:
                return {"what": "undo", "edits": done[-2] if len(done) > 1 else {}}
            if what == "redo" and undone:
                return {"what": "redo", "edits": undone[-1]}
            raise Refused(409, f"nothing to {what}")

        return self.step(name, method, who, change)

    def _write_log(self, name: str, log: list[dict[str, Any]]) -> None:
        with written_whole(self.cases / name / "log.json") as beside:
            beside.write_text(json.dumps(log))

    def close(self) -> None:
        """End all processes; what was being done begins again with the next server."""
        self.work.close()
        self.hands.close()


def history(log: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The edits that are done, and those that were undone, of a log that is only ever added to."""
    done: list[dict[str, Any]] = []
    undone: list[dict[str, Any]] = []
    for entry in log:
        if entry["what"] == "undo" and done:
            undone.append(done.pop())
        elif entry["what"] == "redo" and undone:
            done.append(undone.pop())
        else:
            done, undone = [*done, entry["edits"]], []
    return done, undone


def state_of(log: list[dict[str, Any]]) -> dict[str, Any]:
    """The edits that hold now."""
    done = history(log)[0]
    return dict(done[-1]) if done else {}


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the list and of the comparison."""
    means = result["means"]
    out = sum(bool(row["rejected"]) for row in result["segments"])
    return {"title": result["title"], "gls": means["gls"], "drift": means["drift"], "seconds": result["seconds"],
            "nlcc": result["nlcc"], "out": out, "view": result["view"]}  # fmt: skip
