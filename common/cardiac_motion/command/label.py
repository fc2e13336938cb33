"""``cardiac-motion label …``: start MONAI Label's server with the app in the repository."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cardiac_motion.bundle.find import REPOSITORY
from cardiac_motion.core.errors import InputError

APP = Path("apps/monailabel")


def find_app() -> Path:
    """Return the app's folder, in the current folder or in the repository.

    Raises:
        InputError: it is in neither; it is not part of the wheel.
    """
    for folder in (Path.cwd(), REPOSITORY):
        if (folder / APP / "__main__.py").is_file():
            return folder / APP
    raise InputError(f"{APP}: not in the current folder; the MONAI Label app is in the repository, not in the wheel")


def run_label(words: Sequence[str]) -> int:
    """Run the server until it is stopped; return the exit code.

    Raises:
        InputError: the app is not found.
    """
    return subprocess.call([sys.executable, str(find_app()), *words])
