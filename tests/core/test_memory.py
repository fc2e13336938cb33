"""Memory that was taken is counted, in bytes, on systems that tell and on Windows."""

import os
from types import SimpleNamespace

from common.core import memory
from common.core.memory import peak_memory


def test_peak_memory_is_this_process_s():
    before = peak_memory()
    block = bytearray(os.urandom(1)) * (before + 2**28)
    assert before > 2**24 and peak_memory() >= before + 2**27
    del block


def test_on_windows_psutil_is_asked(monkeypatch):
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=12345))
    monkeypatch.setattr(memory, "resource", None)
    monkeypatch.setattr(memory.psutil, "Process", lambda: process)
    assert peak_memory() == 12345


def test_macos_counts_bytes_and_linux_kibibytes(monkeypatch):
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=2048))
    monkeypatch.setattr(memory, "resource", usage)
    for system, expected in (("darwin", 2048), ("linux", 2048 * 1024)):
        monkeypatch.setattr(memory.sys, "platform", system)
        assert peak_memory() == expected
