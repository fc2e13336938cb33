"""Progress of a list of cases, so that an interrupted run resumes with the unfinished cases."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.folders import identity, input_paths
from cardiac_motion.core.run_settings import noted_settings
from cardiac_motion.core.whole_files import summary_of, write_whole

UNFINISHED_LIST = ".unfinished.json"


class ListProgress:
    """Progress of a list, stored in ``.unfinished.json`` of its output folder until the list is done.

    Args:
        output_dir: output folder of the list.
        entries: entries of the list in order; each ``case`` is the name of its folder.
    """

    def __init__(self, output_dir: Path, entries: Sequence[Mapping[str, Any]]) -> None:
        self.path, self.entries = output_dir / UNFINISHED_LIST, entries
        self.digest = _digest(entries)
        self.done: list[str] = []

    def find_finished(self) -> dict[str, Path]:
        """Return the folders, by name, of cases that an interrupted run with the same list and settings finished.

        The last case of a list is always processed again, so that the resumed run has a result of its own.
        """
        try:
            before = json.loads(self.path.read_text(encoding="utf-8"))
            finished = set(before["done"]) if self.digest and before["digest"] == self.digest else set()
        except (OSError, ValueError, KeyError, TypeError):
            finished = set()
        names = [str(entry["case"]) for entry in self.entries]
        folders = {name: self.path.parent / name for name in names[:-1] if name in finished}
        folders = {name: folder for name, folder in folders.items() if summary_of(folder) is not None}
        self.done = list(folders)
        return folders

    def finish(self, name: str) -> None:
        """Record that a case is finished; if this cannot be written, the case is processed again."""
        self.done.append(name)
        if self.digest:
            try:
                with write_whole(self.path) as beside:
                    content = json.dumps({"digest": self.digest, "done": self.done})
                    beside.write_text(content, encoding="utf-8")
            except InputError:
                pass

    def close(self) -> None:
        """Remove the record when the list is done."""
        self.path.unlink(missing_ok=True)


def _digest(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a digest of a list's settings, entries and files; None if the settings are unknown."""
    settings = noted_settings()
    if settings is None:
        return None
    stamps = []
    for entry in entries:
        for path in input_paths(entry):
            try:
                stat = os.stat(path)
                stamps.append((path, stat.st_size, stat.st_mtime_ns))
            except OSError:
                stamps.append((path, 0, 0))
    key = json.dumps(
        [settings, [identity(entry) for entry in entries], stamps, [dict(e) for e in entries]], default=str
    )
    return hashlib.sha256(key.encode()).hexdigest()
