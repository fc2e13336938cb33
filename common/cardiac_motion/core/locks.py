"""Folder locks between processes: ``flock`` on Linux and macOS, a locked byte of a file on Windows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cardiac_motion.core.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"  # the file, where a folder itself can't be locked


@contextmanager
def lock_folder(folder: Path) -> Iterator[bool]:
    """Lock a folder against other processes.

    Args:
        folder: it exists and can be written.

    Yields:
        whether it is held; False on a file system without locks, where nobody else's absence is certain.

    Raises:
        InputError: another process holds it.
        OSError: it can't be opened.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, lock_folder(Path(folder)) as held:
        ...     held
        True
    """
    if fcntl is None:
        with _lock_file(folder) as held:
            yield held
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except BlockingIOError as error:
            raise InputError(f"{folder}: another run is writing it") from error
        except OSError:
            held = False
        yield held
    finally:
        os.close(handle)


@contextmanager
def share_folder(folder: Path) -> Iterator[bool]:
    """Hold a shared lock of a folder, as other writers may.

    Args:
        folder: it exists and can be opened.

    Yields:
        whether nobody else is known to write there; False where that can't be told.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, share_folder(Path(folder)) as alone:
        ...     alone
        True
    """
    if fcntl is None:
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError:
            alone = False
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield alone
    finally:
        os.close(handle)


@contextmanager
def _lock_file(folder: Path) -> Iterator[bool]:
    import msvcrt

    path = folder / LOCK
    with open(path, "ab") as file:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise InputError(f"{folder}: another run is writing it") from error
        try:
            yield True
        finally:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
    with suppress(OSError):
        path.unlink()
