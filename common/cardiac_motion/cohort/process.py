"""The process that does cases: it makes what does them once, then takes one name after the other.

``python -m cardiac_motion.cohort.process FD`` is started by ``cohort.runner``, and ends when the other end of the
connection FD does, in the middle of a case too: nothing is written for a keeper that is gone.
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
    """``make(**arguments)``, of a function that is named ``module:function``."""
    module, name = make.split(":")
    do: Do = getattr(importlib.import_module(module), name)(**arguments)
    return do


def attempt(do: Do, name: str) -> dict[str, Any]:
    """Do a case; what became of it.

    Returns:
        ``status`` (``done``; ``input`` where its input is at fault; ``error`` with a ``traceback`` where the code is),
        ``reason``, and what it took: ``seconds``, ``cpu_seconds``, ``memory`` (peak of this process, bytes).
    """
    _forget_peak()
    start, cpu = time.perf_counter(), _cpu_seconds()
    try:
        do(name)
        found: dict[str, Any] = {"status": "done"}
    except Exception as error:
        found = failure(error)
    gc.collect(1)
    return {
        **found,
        "seconds": round(time.perf_counter() - start, 4),
        "cpu_seconds": round(_cpu_seconds() - cpu, 4),
        "memory": peak_memory(),
    }


def failure(error: Exception) -> dict[str, Any]:
    """``status`` and ``reason`` (one line) of an exception."""
    known = input_error_in(error)
    if known is not None:
        return {"status": "input", "reason": " ".join(str(known).split())}
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return {"status": "error", "reason": reason[:500], "traceback": "".join(traceback.format_exception(error))[-8000:]}


def _cpu_seconds() -> float:
    return sum(os.times()[:4])  # of this process and of its children


def _forget_peak() -> None:
    """Let the peak of memory begin anew, where Linux can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _listen(connection: Connection, requests: queue.SimpleQueue[str]) -> None:
    while True:
        try:
            requests.put(connection.recv())
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)  # with what the case has started


def main(fd: int) -> None:
    """Serve the keeper until it is gone."""
    with contextlib.suppress(OSError, AttributeError):  # Linux: end with the keeper even where Python is not asked
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
            os.ftruncate(2, 0)  # what a case prints is kept until the next one
            os.lseek(2, 0, os.SEEK_SET)
        connection.send(attempt(do, name))


if __name__ == "__main__":
    main(int(sys.argv[1]))
