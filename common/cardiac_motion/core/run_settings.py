"""Digest of the configuration and options that the results of the current run depend on.

The command that starts a bundle notes it; the evaluator, which is built from the configuration and knows only its own
part of it, asks for it to tell whether an interrupted list may be taken up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WITHOUT_EFFECT = ("output_dir", "mlflow", "experiment", "save_execute_config", "tracking")  # on results
OF_A_LIST = ("input", "datalist", "fold", "dataset_dir", "data", "resume")  # which cases, not how each is done
OF_FILES = ("save_figures", "save_fields", "save_warped")  # what is written of them
_noted: list[str] = []  # digests of a run and of each of its cases


def digest_of(files: Sequence[Path], key: str) -> str:
    """Digest of configuration files, the weights that they name and ``key``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "inference.json"
        ...     _ = path.write_text('{"steps": 3}', encoding="utf-8")
        ...     len(digest_of([path], "")), digest_of([path], "") == digest_of([path], "other data")
        (64, False)
    """
    digest = hashlib.sha256(key.encode())
    text = " ".join(path.read_text(encoding="utf-8") for path in files)
    for path in files:
        digest.update(json.dumps(json.loads(path.read_text(encoding="utf-8")), sort_keys=True).encode())
    for path in sorted((files[0].parents[1] / "models").glob("*.pt")):
        if path.name in text:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def note_settings(files: Sequence[str | Path], options: Mapping[str, Any]) -> None:
    """Record the configuration files and options of the run.

    Args:
        files: of the configuration, in their order.
        options: over them.
    """
    own = {key: value for key, value in options.items() if key not in WITHOUT_EFFECT}
    of_case = {key: value for key, value in own.items() if key not in (*OF_A_LIST, *OF_FILES)}
    paths = [Path(path) for path in files]
    _noted[:] = [digest_of(paths, json.dumps(given, sort_keys=True, default=str)) for given in (own, of_case)]


def noted_settings() -> str | None:
    """Return the recorded digest, or None."""
    return _noted[0] if _noted else None


def noted_case_settings() -> str | None:
    """Return the digest of what the results of each case depend on besides its input, or None.

    Unlike ``noted_settings`` it is the same whichever list the case stands in, and whichever files are written.
    """
    return _noted[1] if _noted else None
