"""The cases of a workspace on disk: a folder each, with what is known of it, its file and its log."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.settings import PICTURE_FOLDER
from cardiac_motion.serving.validation import IMAGE_SUFFIXES, RequestRejected

ID = re.compile(r"[0-9a-f]{32}")


class CaseFolders:
    """The cases of a workspace. What is known of one is in its ``case.json``, and here: files are read once.

    Args:
        folder: made if missing.
        studies: folder of MONAI Label's images and labels, if any.
    """

    def __init__(self, folder: Path, studies: Path | None = None) -> None:
        self.folder, self.studies = folder.resolve(), studies.resolve() if studies else None
        self.cases = self.folder / "cases"
        self.cases.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self.watchers: set[Callable[[], object]] = set()
        self.known = {path.parent.name: json.loads(path.read_text(encoding="utf-8"))
                      for path in self.cases.glob("*/case.json") if ID.fullmatch(path.parent.name)}  # fmt: skip

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
            RequestRejected: there is none.
        """
        if name not in self.known:
            raise RequestRejected(404, "no such case")
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

    def create(self, title: str, suffix: str, group: str | None = None) -> tuple[str, Path]:
        """A case without its file, and where that goes (a folder, of a folder of pictures)."""
        name = uuid.uuid4().hex
        (self.cases / name / "source").mkdir(parents=True)
        case = {"id": name, "title": title[:200], "created": time.time(), "suffix": suffix, "status": "arriving",
                "group": group, "revision": 0, "methods": {}}  # fmt: skip
        with self.lock:
            with write_whole(self.cases / name / "case.json") as beside:
                beside.write_text(json.dumps(case), encoding="utf-8")
            self.known[name] = case
        return name, self.source(name)

    def source(self, name: str) -> Path:
        """The file of a case."""
        case = self.known[name]
        if self.studies and case.get("study"):
            return self.studies / str(case["study"])
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
            RequestRejected: there is no such image.
        """
        if image not in self.study_names():
            raise RequestRejected(404, "no such image among the studies")
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

    def log(self, name: str) -> list[dict[str, Any]]:
        """All steps of a case."""
        path = self.place(name) / "log.json"
        if name not in self.logs:
            self.logs[name] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return self.logs[name]

    def add_to_log(self, name: str, entry: dict[str, Any]) -> None:
        """Write a step into the log of a case, whole or not at all."""
        log = [*self.log(name), entry]
        with write_whole(self.cases / name / "log.json") as beside:
            beside.write_text(json.dumps(log), encoding="utf-8")
        self.logs[name] = log

    def has_motion(self, name: str, method: str) -> bool:
        """Whether the fields of a method are kept."""
        return (self.place(name) / "motion" / method / "motion.json").is_file()

    def methods_of(self, name: str) -> list[str]:
        """The methods whose fields are kept."""
        return sorted(path.parent.name for path in (self.place(name) / "motion").glob("*/motion.json"))
