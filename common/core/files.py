"""Outputs are written beside their place and moved into it when whole."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.core.errors import InputError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary path of the same suffix beside ``path``, moved over it when the block ends without an exception.

    Works for a file and, where the block makes a directory of it, for a folder (an older one is replaced).

    Raises:
        InputError: the folder can't be written, or the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            if path.is_dir() and not path.is_symlink():
                aside = path.with_name(f".{uuid.uuid4().hex[:8]}.old")
                os.replace(path, aside)
                os.replace(beside, path)
                shutil.rmtree(aside)
            else:
                os.replace(beside, path)
        except OSError as error:
            if error.errno is None:
                raise
            raise InputError(f"{path}: cannot be written ({os.strerror(error.errno).lower()})") from error
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            with suppress(OSError):  # none was made, or the folder is none
                beside.unlink()
