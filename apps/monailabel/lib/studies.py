"""The studies folder: MONAI Label's local datastore, with names that stay in it and files that are whole.

A file is written beside its place and moved into it, so that a server that is killed finds its studies as they were.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.validation import IMAGE_SUFFIXES, RequestRejected, check_new_name, shorten, tag_name

STATE = ".motion"
"""Folder of the server's own files in the studies folder."""


class Studies(LocalDatastore):
    """Images and their labels in a folder: ``<id>.nii.gz`` and ``labels/<tag>/<id>.nii.gz``.

    Files that someone else puts there are seen; links that lead out of the folder are not.

    Args:
        folder: made if missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.guard = threading.RLock()
        self.root = Path(folder).resolve()
        self.seen: list[int] = []
        self.config_file = self.root / "datastore_v2.json"
        self._set_broken_aside()
        super().__init__(str(self.root), extensions=[f"*{s}" for s in IMAGE_SUFFIXES], auto_reload=False)

    def _set_broken_aside(self) -> None:
        """A list of studies that is no JSON would keep the server from starting; the folder tells what is there."""
        try:
            json.loads(self.config_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except ValueError:
            os.replace(self.config_file, self.config_file.with_suffix(".json.broken"))

    def state_folder(self) -> Path:
        """Where the server keeps its own."""
        return self.root / STATE

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        files = super()._list_files(path, patterns)
        return {name: file for name, file in files.items() if not name.startswith(".") and self._has_file(path, name)}

    def _has_file(self, folder: str, name: str) -> bool:
        found = Path(folder, name).resolve()
        return found.is_file() and found.is_relative_to(self.root)

    def _update_datastore_file(self, lock: bool = True) -> None:
        with self.guard:
            with write_whole(self.config_file) as beside:
                beside.write_text(
                    json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str),
                    encoding="utf-8",
                )
            self._config_ts = self.config_file.stat().st_mtime

    def refresh(self) -> None:
        """See what was added or removed by others."""
        with self.guard:
            folders = [self.root, self.root / "labels", *(self.root / "labels").iterdir()]
            now = [folder.stat().st_mtime_ns for folder in folders if folder.is_dir()]
            if now != self.seen:
                super().refresh()
                self.seen = [folder.stat().st_mtime_ns for folder in folders if folder.is_dir()]

    def image(self, name: str) -> Path:
        """The file of an image.

        Raises:
            RequestRejected: there is none of that id, or it has gone.
        """
        self.refresh()
        uri = self.get_image_uri(name) if name else ""
        if not uri or not Path(uri).is_file() or not Path(uri).is_relative_to(self.root):
            raise RequestRejected(404, f"image {shorten(name)}: there is none of that id")
        return Path(uri)

    def label(self, name: str, tag: str) -> Path:
        """The file of a label.

        Raises:
            RequestRejected: there is none of that id and tag, or it has gone.
        """
        self.refresh()
        uri = self.get_label_uri(name, tag)
        if not uri or not Path(uri).is_file() or not Path(uri).is_relative_to(self.root):
            raise RequestRejected(404, f"label {shorten(name)}, tag {shorten(tag)}: there is none")
        return Path(uri)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store a copy of a file as a new image.

        Raises:
            RequestRejected: the id is no name, or is taken.
        """
        suffix = self._to_id(image_filename)[1]
        with self.guard:
            self.refresh()
            if check_new_name(image_id) in self._datastore.objects:
                raise RequestRejected(409, f"image {image_id}: is there already; delete it first, or take another id")
            self._store(Path(image_filename), self.root / f"{image_id}{suffix}")
            info = {**image_info, "ts": int(time.time()), "name": f"{image_id}{suffix}"}
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=suffix))
            self._update_datastore_file()
        return image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a copy of a file as the label of an image; an older one of that tag is replaced.

        Raises:
            RequestRejected: no such image, or the tag is no name.
        """
        suffix = self._to_id(label_filename)[1]
        with self.guard:
            self.image(image_id)
            folder = self.root / "labels" / tag_name(label_tag)
            before = self.get_label_uri(image_id, label_tag)
            self._store(Path(label_filename), folder / f"{image_id}{suffix}")
            if before and Path(before).name != f"{image_id}{suffix}":
                Path(before).unlink(missing_ok=True)
            info = {**label_info, "ts": int(time.time()), "name": f"{image_id}{suffix}"}
            self._datastore.objects[image_id].labels[label_tag] = DataModel(info=info, ext=suffix)
            self._update_datastore_file()
        return image_id

    @staticmethod
    def _store(source: Path, target: Path) -> None:
        with write_whole(target) as beside:
            shutil.copyfile(source, beside)

    def remove(self, image_id: str, tag: str | None = None) -> None:
        """Remove an image with its labels, or one label.

        Raises:
            RequestRejected: it isn't there.
        """
        with self.guard:
            files = [self.label(image_id, tag)] if tag else [self.image(image_id)]
            if not tag:
                files = [Path(self.get_label_uri(image_id, t)) for t in self.get_labels_by_image_id(image_id)] + files
            for file in files:
                file.unlink(missing_ok=True)
            self.refresh()

    def pairs(self) -> list[dict[str, str]]:
        """Images and their final labels, as paths below the folder."""
        found = self.datalist()
        return [{key: str(Path(path).relative_to(self.root)) for key, path in pair.items()} for pair in found]
