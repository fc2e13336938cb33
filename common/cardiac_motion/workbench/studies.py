"""Studies that were dropped: cines that belong together, the cine that was chosen of each view, and their numbers."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.settings import KINDS
from cardiac_motion.serving.validation import RequestRejected
from cardiac_motion.ventricle.views import APICAL
from cardiac_motion.workbench.cases import ID
from cardiac_motion.workbench.log import describe_changes, state_of
from cardiac_motion.workbench.store import Store


class Studies:
    """The studies of a workspace: a folder each, with ``study.json``.

    Args:
        store: of the cases.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.folder = store, store.folder / "studies"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.numbers: dict[str, tuple[str, dict[str, Any]]] = {}  # of a study, with the digest of what they rest on
        self.known = {path.parent.name: json.loads(path.read_text(encoding="utf-8"))
                      for path in self.folder.glob("*/study.json") if ID.fullmatch(path.parent.name)}  # fmt: skip

    def create(self, title: str) -> str:
        """A study without cines; its name."""
        name = uuid.uuid4().hex
        self.folder.joinpath(name).mkdir()
        self._update(name, {"id": name, "title": title[:200] or "Study", "created": time.time(), "chosen": {}})
        return name

    def _update(self, name: str, values: Mapping[str, Any]) -> None:
        with self.lock:
            study = {**self.known.get(name, {}), **values}
            with write_whole(self.folder / name / "study.json") as beside:
                beside.write_text(json.dumps(study), encoding="utf-8")
            self.known[name] = study

    def place(self, name: str) -> Path:
        """The folder of a study.

        Raises:
            RequestRejected: there is none.
        """
        if name not in self.known:
            raise RequestRejected(404, "no such study")
        return self.folder / name

    def members(self, name: str) -> list[dict[str, Any]]:
        """The cases of a study, in the order in which they were dropped."""
        self.place(name)
        found = [case for case in self.store.list_cases() if case.get("group") == name]
        return sorted(found, key=lambda case: (case["created"], case["title"]))

    def choices(self, name: str) -> dict[str, str]:
        """View to the case that is taken for it: the user's choice, else the best of those that were measured."""
        chosen = dict(self.known[name]["chosen"])
        members = {case["id"]: case for case in self.members(name)}
        found: dict[str, str] = {}
        for view in APICAL:
            fits = [one for one, case in members.items() if (row := main_row(case)) and row["view"] == view]
            if chosen.get(view) in fits:
                found[view] = chosen[view]
            elif fits:
                found[view] = max(fits, key=lambda one: _rank(main_row(members[one])))
        return found

    def choose(self, name: str, view: str, case: str) -> None:
        """Take a case for a view.

        Raises:
            RequestRejected: it is no case of the study, or was not measured as this view.
        """
        self.place(name)
        if case not in {one["id"] for one in self.members(name)}:
            raise RequestRejected(404, "no such cine in this study")
        self._update(name, {"chosen": {**self.known[name]["chosen"], view: case}})

    def requests(self, name: str, choices: Mapping[str, str]) -> list[dict[str, Any]]:
        """What a worker needs to know of the chosen cases."""
        found = []
        for case in choices.values():
            known, log = self.store.read(case), self.store.log(case)
            method = main_method(known)
            found.append({
                "case": str(self.store.place(case)), "source": str(self.store.source(case)), "method": method,
                "title": known["title"], "edits": state_of(log), "manual": describe_changes(log), "id": case,
                "digest": self.store.digest(case, str(method), state_of(log)),
            })  # fmt: skip
        return found

    def show(self, name: str) -> dict[str, Any]:
        """Everything that a page shows of a study.

        Raises:
            RequestRejected: there is none, or it can't be combined.
        """
        self.place(name)
        choices, cases = self.choices(name), self.members(name)  # those that the numbers are of
        members = self.requests(name, choices)
        digest = hashlib.sha256(json.dumps([one["digest"] for one in members]).encode()).hexdigest()
        known = self.numbers.get(name)
        if known is None or known[0] != digest:
            numbers = self._ask(name, "study", members, self.store.lanes.hands) if members else {
                "gls": {}, "gls_average": None, "interval": None, "ejection_fraction": None, "biplane": None,
                "bullseye": "", "blocked": {}, "missing": [view.short for view in APICAL.values()],
            }  # fmt: skip
            known = self.numbers[name] = (digest, numbers)
        study = self.known[name]
        files = study.get("files")
        return {**study, "numbers": known[1], "choices": choices, "members": cases,
                "files_current": bool(files and files["digest"] == digest)}  # fmt: skip

    def _ask(self, name: str, task: str, members: list[dict[str, Any]], workers: Any) -> dict[str, Any]:
        place = self.place(name) / f"job-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        try:
            request = {"task": task, "folder": str(place), "case": str(self.place(name)), "members": members,
                       "title": self.known[name]["title"], "method": KINDS["cine"]}  # fmt: skip
            answer: dict[str, Any] = workers.run(request)
            return answer
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def take(self, name: str) -> None:
        """Write the files of a study to take away.

        Raises:
            RequestRejected: no view is measured, or a check fails.
        """
        members = self.requests(name, self.choices(name))
        digest = hashlib.sha256(json.dumps([one["digest"] for one in members]).encode()).hexdigest()
        answer = self._ask(name, "take_study", members, self.store.lanes.hands)
        self._update(name, {"files": {"names": answer["files"], "name": answer["name"], "digest": digest}})

    def remove(self, name: str) -> None:
        """Remove a study with all its cases and files."""
        place = self.place(name)
        for case in self.members(name):
            self.store.remove(case["id"])
        with self.lock:
            self.known.pop(name, None)
            self.numbers.pop(name, None)
            shutil.rmtree(place, ignore_errors=True)


def main_method(case: Mapping[str, Any]) -> str | None:
    """The method whose result stands for a case: the default one where it was measured."""
    rows = case.get("methods") or {}
    return KINDS["cine"] if KINDS["cine"] in rows else next(iter(rows), None)


def main_row(case: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row of ``main_method``."""
    method = main_method(case)
    row: dict[str, Any] | None = case["methods"][method] if method else None
    return row if row and "view" in row else None


def _rank(row: Mapping[str, Any] | None) -> tuple[bool, float]:
    assert row is not None
    return not row["blocked"], row["similarity"] or 0.0
