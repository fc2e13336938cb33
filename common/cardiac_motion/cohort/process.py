"""The process that runs cases: builds the function for its cases once, then processes one name after the other.

``python -m cardiac_motion.cohort.process FD`` is started by ``cohort.runner``. It ends as soon as the other end of the
connection FD is closed, even in the middle of a case, so that nothing is written for a parent that is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cardiac_motion.core.errors import input_error_in
from cardiac_motion.core.memory import peak_memory

Do = Callable[[str], Any]


def call_named(make: str, arguments: dict[str, Any]) -> Do:
    """Call ``make(**arguments)``, a function given as ``module:function``."""
    module, name = make.split(":")
    do: Do = getattr(importlib.import_module(module), name)(**arguments)
    return do


def attempt(do: Do, name: str) -> dict[str, Any]:
    """Process a case and return its outcome.

    Returns:
        ``status`` (``done``; ``input`` for invalid input; ``error`` with a ``traceback`` for an error in the program),
        ``reason``, ``seconds``, ``cpu_seconds`` and ``memory`` (peak of this process, bytes).
    """
    _reset_peak()
    start, cpu = time.perf_counter(), _cpu_seconds()
    try:
        do(name)
        outcome: dict[str, Any] = {"status": "done"}
    except Exception as error:
        outcome = failure(error)
    gc.collect(1)
    return {
        **outcome,
        "seconds": round(time.perf_counter() - start, 4),
        "cpu_seconds": round(_cpu_seconds() - cpu, 4),
        "memory": peak_memory(),
    }


def failure(error: Exception) -> dict[str, Any]:
    """Return ``status`` and ``reason`` (one line) of an exception."""
    known = input_error_in(error)
    if known is not None:
        return {"status": "input", "reason": " ".join(str(known).split())}
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return {"status": "error", "reason": reason[:500], "traceback": "".join(traceback.format_exception(error))[-8000:]}


def _cpu_seconds() -> float:
    return sum(os.times()[:4])  # of this process and its children


def _reset_peak() -> None:
    """Reset the peak memory, where Linux supports it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _listen(connection: Connection, requests: queue.SimpleQueue[str]) -> None:
    while True:
        try:
            requests.put(connection.recv())
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)  # including processes started by the case


def main(fd: int) -> None:
    """Process the parent's requests until it is gone."""
    with contextlib.suppress(OSError, AttributeError):  # Linux: end with the parent even while Python is blocked
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
    connection = Connection(fd)
    make, arguments = connection.recv()
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    try:
        do = call_named(make, arguments)
    except Exception as error:
        connection.send(failure(error))
        return
    connection.send({"status": "ready"})
    while True:
        name = requests.get()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with contextlib.suppress(OSError):
            os.ftruncate(2, 0)  # a case's output is stored until the next case
            os.lseek(2, 0, os.SEEK_SET)
        connection.send(attempt(do, name))


if __name__ == "__main__":
    main(int(sys.argv[1]))
