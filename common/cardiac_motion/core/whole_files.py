"""Atomic outputs: written beside their target, moved when complete, and never over files of other programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cardiac_motion.core.errors import InputError

PROGRAM = "cardiac-motion-bundles"
SUMMARY = "summary.json"
UNFINISHED = re.compile(r"\.[0-9a-f]{8}\.")  # how the names begin of what ``write_whole`` is still writing
PROBE = 1 << 20  # bytes; a disk that has room for them was not what stopped a write
SCHEMA = 2  # of result files that are read back; a change of their keys raises it


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` (same suffix), moved over it if the block ends without an exception.

    Works for a file and, where the block makes a directory of it, for a folder. An older folder is replaced only where
    this program made it or it is empty (``is_replaceable``).

    Raises:
        InputError: a folder of others is in the place, the folder can't be written, or the disk is full.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with write_whole(f"{folder}/a.txt") as beside:
        ...         _ = beside.write_text("all of it", encoding="utf-8")
        ...     [path.name for path in Path(folder).iterdir()]
        ['a.txt']
    """
    path = Path(path)
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            if path.is_dir() and not path.is_symlink():
                if not beside.is_dir() or not is_replaceable(path):
                    raise InputError(f"{path}: a folder that this program did not make is there; it is left alone")
                aside = path.with_name(f".{uuid.uuid4().hex[:8]}.old")
                os.replace(path, aside)
                os.replace(beside, path)
                shutil.rmtree(aside)
            else:
                os.replace(beside, path)
        except (OSError, RuntimeError) as error:
            number = _find_cause(error, path.parent)
            if number is None:
                raise
            raise InputError(f"{path}: cannot be written ({os.strerror(number).lower()})") from error
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            with suppress(OSError):  # none was made, or the folder is none
                beside.unlink()


def _find_cause(error: Exception, folder: Path) -> int | None:
    """Return the system's number of the error that stopped a write; None if no system's error did.

    NumPy, torch and ITK raise errors without a number; what stopped them stops a write of our own, too.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    probe = folder / f".{uuid.uuid4().hex[:8]}.probe"
    try:
        probe.write_bytes(bytes(PROBE))
    except OSError as found:
        return found.errno
    finally:
        with suppress(OSError):
            probe.unlink()
    return None


def clear_unfinished(folder: Path) -> None:
    """Remove partial outputs of a killed run from a folder; no other process may be writing there.

    A folder of results that was whole, but not yet in its place, is put there.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / ".0a1b2c3d.metrics.csv").write_text("half", encoding="utf-8")
        ...     clear_unfinished(Path(folder))
        ...     list(Path(folder).iterdir())
        []
    """
    for path in folder.iterdir():
        if not UNFINISHED.match(path.name):
            continue
        place = folder / path.name[len(".00000000.") :]
        if path.is_dir() and not os.path.lexists(place) and (summary_of(path) or {}).get("case") == place.name:
            os.replace(path, place)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Check that a folder, existing or to be created, is writable; nothing is created.

    Raises:
        InputError: it can't: it is read-only, a file is in its place, or the disk is full.

    Examples:
        >>> import tempfile
        >>> check_writable(Path(tempfile.gettempdir()) / "a folder that is not there")
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(parent))
    probe = there / f".{uuid.uuid4().hex[:8]}.probe"
    try:
        probe.write_bytes(b"0")
        probe.unlink()
    except OSError as error:
        with suppress(OSError):
            probe.unlink()
        reason = os.strerror(error.errno).lower() if error.errno is not None else str(error)
        raise InputError(f"{folder}: cannot be written ({reason})") from error


def summary_of(folder: Path) -> dict[str, Any] | None:
    """Return ``summary.json`` of a folder written by this program, or None.

    Examples:
        >>> summary_of(Path("no_folder")) is None
        True
    """
    try:
        found = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    before = (found.get("case") == folder.name and "method" in found) or set(found) == {"cases", "pairs", "failed"}
    return found if found.get("program") == PROGRAM or before else None  # version 0.1.0 named no program


def is_replaceable(folder: Path) -> bool:
    """Return whether a folder may be replaced: this program wrote it, or it is empty.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     is_replaceable(Path(folder))
        True
    """
    return summary_of(folder) is not None or not any(folder.iterdir())
