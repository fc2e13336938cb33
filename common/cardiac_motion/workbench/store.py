"""Cases on disk, what is done with them, and their log: a restarted server finds all and goes on."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.progress import merge_costs
from cardiac_motion.serving.settings import KINDS, PICTURE_FOLDER, PREVIEW, code_stamp
from cardiac_motion.serving.validation import IMAGE_SUFFIXES, Refused
from cardiac_motion.serving.workers import PROGRESS, Job, Workers
from cardiac_motion.workbench.log import Edits, apply_turn, describe_changes, history, state_of
from cardiac_motion.workbench.messages import say_plainly

ID = re.compile(r"[0-9a-f]{32}")
LOOK = 0.3  # seconds between two looks at how far the jobs are
CANCELLED = 499
IN_MEMORY = 64  # results that the server remembers
MOST_RESULTS = 400  # of a case that are kept, so that undo and redo need no worker

Change = Callable[[Edits, Mapping[str, Any], Mapping[str, Any] | None], dict[str, Any]]


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


class Store:
    """The cases of a workspace, a folder each; one server a workspace.

    What is known of a case is in its ``case.json``, and here: files are read once, when the server starts. A result is
    kept under a digest of the edits, the method, its fields and the program, so that what is shown is always that of
    the edits that hold.

    Args:
        folder: made if missing.
        lanes: of workers.
        options: of all requests to the workers, ``atlases`` say.
        studies: folder of MONAI Label's images and labels, if any.
    """

    def __init__(
        self, folder: Path, lanes: Lanes, options: Mapping[str, Any] | None = None, studies: Path | None = None
    ) -> None:
        self.studies = studies.resolve() if studies else None
        self.folder, self.lanes, self.options = folder.resolve(), lanes, dict(options or {})
        self.cases = self.folder / "cases"
        self.cases.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.locks: dict[str, threading.Lock] = {}
        self.jobs: dict[str, tuple[Job, Path, dict[str, Any]]] = {}  # and how far they are
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self.found: OrderedDict[str, dict[str, Any]] = OrderedDict()  # the latest results, by digest
        self.watchers: set[Callable[[], object]] = set()
        self.closed = threading.Event()
        self.costs = self._read_costs()
        self.known = {path.parent.name: json.loads(path.read_text(encoding="utf-8"))
                      for path in self.cases.glob("*/case.json") if ID.fullmatch(path.parent.name)}  # fmt: skip
        self.pool = ThreadPoolExecutor(8, "jobs")
        for workers in (lanes.quick, lanes.work, lanes.hands):
            self.pool.submit(self._warm, workers)
        threading.Thread(target=self._poll_jobs, name="progress", daemon=True).start()
        for name, case in list(self.known.items()):
            for left in (self.cases / name).glob("job-*"):
                shutil.rmtree(left, ignore_errors=True)
            if case["status"] == "arriving" and not case.get("doing"):
                self.remove(name)
                continue
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

    def show(self, name: str) -> dict[str, Any]:
        """Everything that a page shows of a case."""
        case, log = self.read(name), self.log(name)
        done, undone = history(log)
        results = self.results(name)
        return {
            **case, "progress": self.progress(name), "results": results, "revision": len(log),
            "log": [{key: value for key, value in entry.items() if key != "edits"} for entry in log],
            "edits": state_of(log), "can": {"undo": bool(done), "redo": bool(undone)},
            "methods": {method: found["row"] for method, found in self._current(name).items()},
            "manual": describe_changes(log), "files_current": self.files_current(name),
        }  # fmt: skip

    def progress(self, name: str) -> dict[str, Any] | None:
        """What is being done with a case and its share; None where nothing is."""
        job = self.jobs.get(name)
        return dict(job[2]) if job else None

    def create(self, title: str, suffix: str, group: str | None = None) -> tuple[str, Path]:
        """A case without its file, and where that goes (a folder, of a folder of pictures)."""
        name = uuid.uuid4().hex
        (self.cases / name / "source").mkdir(parents=True)
        case = {"id": name, "title": title[:200], "created": time.time(), "suffix": suffix, "status": "arriving",
                "group": group, "revision": 0, "methods": {}}  # fmt: skip
        with self.lock:
            (self.cases / name / "case.json").write_text(json.dumps(case), encoding="utf-8")
            self.known[name] = case
        return name, self.source(name)

    def source(self, name: str) -> Path:
        """The file of a case."""
        case = self.known[name]
        if self.studies and case.get("study"):
            return self.studies / case["study"]
        folder = self.place(name) / "source"
        return folder / "frames" if case["suffix"] == PICTURE_FOLDER else folder / f"image{case['suffix']}"

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

    # What takes long.

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
        except Refused as refused:
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

    def _ask(
        self, workers: Workers, name: str, task: str, request: Mapping[str, Any], place: Path, job: Job | None = None
    ) -> dict[str, Any]:
        """Have a worker do a request of a case, in a folder of its own; what it says shows no folder.

        Raises:
            Refused: as ``Workers.run``.
        """
        case, source, known = self.place(name), str(self.source(name)), self.known[name]
        place.mkdir()
        try:
            about = {"task": task, "folder": str(place), "case": str(case), "source": source,
                     "title": known["title"], "frames": (known.get("about") or {}).get("frames"),
                     "study_label": self._study_label(name)}  # fmt: skip
            return workers.run({**self.options, **about, **request}, job)
        except Refused as refused:
            reason = refused.reason.replace(source, known["title"])
            for folder in (place, case):
                reason = reason.replace(f"{folder}/", "")
            if refused.status != CANCELLED:
                reason = say_plainly(reason, known["title"])
            raise Refused(refused.status, reason) from refused
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def ask(self, name: str, task: str, **values: Any) -> dict[str, Any]:
        """Do something that a person waits for.

        Raises:
            Refused: as ``Workers.run``.
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

    # Results, by the edits that they are of.

    def digest(self, name: str, method: str, edits: Mapping[str, Any]) -> str:
        """The digest that a result is kept under: of edits, method, its fields, a label that came, and the program."""
        case = self.cases / name
        stamps = [path.stat().st_mtime_ns if path.is_file() else 0
                  for path in (case / "motion" / method / "motion.json", case / "source" / "label.nii.gz")]  # fmt: skip
        said = json.dumps([method, edits, stamps, code_stamp()], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def keep(self, name: str, method: str, answer: Mapping[str, Any]) -> None:
        """Keep what a page shows of a method with the edits that it was measured with."""
        edits = answer.get("edits", {})
        folder = self.place(name) / "results"
        content = json.dumps({"result": answer["result"], "row": answer["row"]}).encode()
        with write_whole(folder / f"{self.digest(name, method, edits)}.json.gz") as beside:
            beside.write_bytes(gzip.compress(content, 3))
        kept = sorted(folder.glob("*.json.gz"), key=lambda path: path.stat().st_mtime)
        for old in kept[:-MOST_RESULTS]:
            old.unlink(missing_ok=True)

    def find(self, name: str, method: str, edits: Mapping[str, Any]) -> dict[str, Any] | None:
        """``result`` and ``row`` of a method with these edits; None where it was not measured so."""
        key = self.digest(name, method, edits)
        path = self.place(name) / "results" / f"{key}.json.gz"
        with self.lock:
            known = self.found.get(f"{name} {key}")
        if known is not None:
            return known
        try:
            found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        except (OSError, ValueError, EOFError):
            return None
        with self.lock:
            self.found[f"{name} {key}"] = found
            while len(self.found) > IN_MEMORY:
                self.found.popitem(last=False)
        return found

    def methods_of(self, name: str) -> list[str]:
        """The methods whose fields are kept."""
        return sorted(path.parent.name for path in (self.place(name) / "motion").glob("*/motion.json"))

    def _current(self, name: str) -> dict[str, dict[str, Any]]:
        edits = state_of(self.log(name))
        methods = self.methods_of(name)
        if (self.known[name].get("about") or {}).get("kind") == "volume":
            methods = sorted(path.name for path in (self.place(name) / "motion").glob("*"))
        found = {method: self.find(name, method, edits) for method in methods}
        return {method: result for method, result in found.items() if result}

    def _rows(self, name: str) -> dict[str, Any]:
        return {method: found["row"] for method, found in self._current(name).items()}

    def results(self, name: str) -> dict[str, Any]:
        """What was measured, by method: of the edits that hold now, no others."""
        return {method: found["result"] for method, found in self._current(name).items()}

    def log(self, name: str) -> list[dict[str, Any]]:
        """All steps of a case."""
        path = self.place(name) / "log.json"
        if name not in self.logs:
            self.logs[name] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return self.logs[name]

    def has_motion(self, name: str, method: str) -> bool:
        """Whether the fields of a method are kept."""
        return (self.place(name) / "motion" / method / "motion.json").is_file()

    def files_current(self, name: str) -> bool:
        """Whether the files to take away are those of the edits that hold."""
        files = self.known[name].get("files")
        if not files:
            return False
        return bool(files["digest"] == self.digest(name, files["method"], state_of(self.log(name))))

    # Steps.

    def check_revision(self, name: str, revision: int) -> None:
        """Refuse what was asked of a state of the case that is not the present one.

        Raises:
            Refused: 409, the case was changed meanwhile.
        """
        now = len(self.log(name))
        if revision != now:
            raise Refused(409, f"this case was changed meanwhile (step {now}, not {revision}): look again")

    def step(self, name: str, revision: int, method: str, who: str, change: Change) -> dict[str, Any]:
        """Take a step: measure with changed edits, then write it into the log; what fails leaves all as it was.

        What was measured with the same edits before is taken as it is. The other methods are measured again afterwards,
        and not shown until then.

        Args:
            revision: steps that the case had when this one was asked for.
            method: whose wall is shown.
            who: takes the step.
            change: from the edits so far, what is known of the case and the shown result to ``what`` (in words),
                ``field``, ``before``, ``after`` and either ``edits``, ``handles`` or ``clicks``.

        Returns:
            the case as a page shows it.

        Raises:
            Refused: the case was changed meanwhile, or it can't be measured so.
        """
        with self._hold_case(name):
            self.check_revision(name, revision)
            log = self.log(name)
            edits = state_of(log)
            measured = [method] if self.has_motion(name, method) else self.methods_of(name)[:1]
            shown = self.find(name, measured[0], edits) if measured else None
            step = change(edits, self.known[name], shown and shown["result"])
            edits = step.get("edits", edits)
            found = self.find(name, measured[0], edits) if measured and "edits" in step else None
            if measured and not found:
                drawing = {key: step[key] for key in ("handles", "clicks") if key in step}
                answer = self.ask(name, "correct", method=measured[0], edits=edits, **drawing)
                edits = answer["edits"]
                self.keep(name, measured[0], answer)
            elif "edits" not in step:
                raise Refused(409, "nothing is measured yet whose wall could be moved")
            entry: dict[str, Any] = {key: step[key] for key in ("what", "field", "before", "after") if key in step}
            entry |= {"when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "who": who, "method": method, "edits": edits}
            with write_whole(self.cases / name / "log.json") as beside:
                beside.write_text(json.dumps([*log, entry]), encoding="utf-8")
            self.logs[name] = [*log, entry]
            status = "measured" if measured else self.known[name]["status"]
            self.update(name, failed=None, revision=len(log) + 1, methods=self._rows(name), status=status)
            answer = self.show(name)
        self.pool.submit(self._measure_others, name)
        return answer

    def turn(self, name: str, revision: int, method: str, who: str, what: str) -> dict[str, Any]:
        """``undo`` or ``redo``; it is a step of the log itself.

        Raises:
            Refused: there is nothing to undo or redo, or as ``step``.
        """

        def change(*_: Any) -> dict[str, Any]:
            edits = apply_turn(self.log(name), what)
            if edits is None:
                raise Refused(409, f"nothing to {what}")
            return {"what": what, "edits": edits}

        return self.step(name, revision, method, who, change)

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
            except (Refused, OSError):  # it stays away from what is shown
                return
            with self._hold_case(name):
                if name in self.known:
                    self.keep(name, behind[0], answer)
                    self.update(name, methods=self._rows(name))

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
