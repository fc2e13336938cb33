"""Memory that was taken is counted, in bytes, on systems that tell and on Windows."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cardiac_motion.core import memory
from cardiac_motion.core.memory import peak_memory


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


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_kept_and_taken_again():
    """In a process of its own, since the setting holds for all of it: a freed block costs no new pages."""
    script = """if True:
        import resource, torch
        from cardiac_motion.core.memory import keep_freed_memory
        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                torch.ones(5 << 20)  # 20 MiB, which is given back each time without the setting
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        keep_freed_memory()
        faults()
        print(faults())
    """
    counted = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert int(counted.stdout) < 5120  # pages of 4 KiB in one block


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace())
    memory.keep_freed_memory.__wrapped__()
