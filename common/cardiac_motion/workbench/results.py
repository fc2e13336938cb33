"""What was measured of a case, kept by the edits that it was measured with."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.settings import code_stamp
from cardiac_motion.workbench.cases import CaseFolders
from cardiac_motion.workbench.log import state_of

IN_MEMORY = 64  # results that the server remembers
MOST_RESULTS = 400  # of a case that are kept, so that undo and redo need no worker


class CaseResults(CaseFolders):
    """Cases with their results.

    A result is kept under a digest of the edits, the method, its fields and the program, so that what is shown is
    always that of the edits that hold.

    Args:
        folder, studies: as in ``CaseFolders``.
    """

    def __init__(self, folder: Path, studies: Path | None = None) -> None:
        super().__init__(folder, studies)
        self.found: OrderedDict[str, dict[str, Any]] = OrderedDict()  # the latest results, by digest

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

    def files_current(self, name: str) -> bool:
        """Whether the files to take away are those of the edits that hold."""
        files = self.known[name].get("files")
        if not files:
            return False
        return bool(files["digest"] == self.digest(name, files["method"], state_of(self.log(name))))
