"""``cardiac-motion label …``: MONAI Label's server, which is an app folder of the repository."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cardiac_motion.bundle.find import REPOSITORY
from cardiac_motion.core.errors import InputError

APP = Path("apps/monailabel")


def find_app() -> Path:
    """The app's folder, in the current folder or in the repository.

    Raises:
        InputError: it is in neither; a wheel does not bring it.
    """
    for place in (Path.cwd(), REPOSITORY):
        if (place / APP / "__main__.py").is_file():
            return place / APP
    raise InputError(f"{APP}: not in the current folder; the MONAI Label app is in the repository, not in the wheel")


def run_label(words: Sequence[str]) -> int:
    """Serve until stopped; returns the exit code.

    Raises:
        InputError: the app is not found.
    """
    return subprocess.call([sys.executable, str(find_app()), *words])
