"""What a run takes of the machine's memory."""

from __future__ import annotations

import resource
import sys


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS counts bytes, Linux KiB
