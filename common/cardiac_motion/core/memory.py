"""Peak-memory helpers."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import psutil

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def peak_memory() -> int:
    """Return the peak resident memory of this process, in bytes.

    Examples:
        >>> peak_memory() > 1e6
        True
    """
    if resource is None:
        return int(psutil.Process().memory_info().peak_wset)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS counts bytes, Linux KiB


@cache
def keep_freed_memory() -> None:
    """Make glibc keep freed memory for reuse; no effect with another C library.

    It gives large blocks back at once, so that a network's every step is given pages anew, each zeroed first: of the
    time of a U-Net's steps on a cine's pairs that was 29 % (57 s, and 41 s without), nearly all of it the system's.
    """
    trim, top, mapped = -1, -2, -3  # malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, Windows, musl
        return
    for parameter, size in ((mapped, 32 << 20), (trim, 1 << 30), (top, 64 << 20)):
        mallopt(parameter, size)
