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
_noted: list[str] = []


def digest_of(files: Sequence[Path], key: str) -> str:
    """Digest of configuration files, the weights that they name and ``key``."""
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
    _noted[:] = [digest_of([Path(path) for path in files], json.dumps(own, sort_keys=True, default=str))]


def noted_settings() -> str | None:
    """Return the recorded digest, or None."""
    return _noted[0] if _noted else None
