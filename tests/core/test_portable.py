"""What is Linux's alone is asked for when it is used: every module can be imported on macOS and on Windows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.core import locks
from common.core.errors import InputError
from common.core.memory import peak_memory

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = """
import builtins, os, pkgutil, signal, sys
import numpy, torch, monai, mlflow, distributed, itk, nibabel  # they look for themselves what there is

ABSENT = {"fcntl", "resource", "pwd", "grp", "termios", "tty"}
real = builtins.__import__
def as_elsewhere(name, globals=None, *rest):
    if name.partition(".")[0] in ABSENT and str((globals or {}).get("__name__")).partition(".")[0] == "common":
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, globals, *rest)
builtins.__import__ = as_elsewhere
for name in ("killpg", "setsid", "getpgid", "setpgid", "getuid", "geteuid", "sched_getaffinity", "fork"):
    if hasattr(os, name):
        delattr(os, name)

import common
names = [m.name for m in pkgutil.walk_packages(common.__path__, "common.") if not m.name.endswith("__main__")]
for name in names:
    __import__(name)
from common.core import locks, memory
assert locks.fcntl is None and memory.resource is None
print(len(names))

import argparse
from common.cohort import options
from common.core.errors import InputError
parser = argparse.ArgumentParser()
options.add_options(parser)
options.machines(parser.parse_args(["--here"]), False, 1)
try:
    options.machines(parser.parse_args([]), False, 1)
except InputError as error:
    assert "Linux or macOS" in str(error) and "--here" in str(error)
else:
    raise AssertionError("processes of their own were started")
"""


def test_every_module_is_imported_without_what_linux_alone_has():
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 80


def test_peak_memory_is_this_process_s():
    before = peak_memory()
    block = bytearray(os.urandom(1)) * (before + 2**28)
    assert before > 2**24 and peak_memory() >= before + 2**27
    del block


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    code = "import sys; from pathlib import Path; from common.core.locks import locked\n"
    code += "with locked(Path(sys.argv[1])) as held: print(held)"
    words = [sys.executable, "-c", code, str(tmp_path)]
    with locks.locked(tmp_path) as held:
        assert held is True
        second = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert second.returncode != 0 and "another run is writing it" in second.stderr
    third = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert third.stdout.strip() == "True"


class Msvcrt:
    """Windows' locks of bytes, as far as they are used."""

    LK_NBLCK, LK_UNLCK = 2, 0
    held = False

    @classmethod
    def locking(cls, handle, mode, count):
        if mode == cls.LK_NBLCK and cls.held:
            raise OSError(36, "Resource deadlock avoided")
        cls.held = mode == cls.LK_NBLCK


def test_on_windows_a_file_stands_for_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt)
    with locks.locked(tmp_path) as held:
        assert held is True and (tmp_path / locks.LOCK).exists()
        with pytest.raises(InputError, match="another run"), locks.locked(tmp_path):
            pass
    assert not list(tmp_path.iterdir()) and not Msvcrt.held


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    class Without:
        LOCK_EX = LOCK_NB = 0

        @staticmethod
        def flock(*_):
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "fcntl", Without)
    with locks.locked(tmp_path) as held:
        assert held is False
