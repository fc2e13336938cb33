"""A folder that one process writes at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from cardiac_motion.core import locks
from cardiac_motion.core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    code = "import sys; from pathlib import Path; from cardiac_motion.core.locks import lock_folder\n"
    code += "with lock_folder(Path(sys.argv[1])) as held: print(held)"
    words = [sys.executable, "-c", code, str(tmp_path)]
    with locks.lock_folder(tmp_path) as held:
        assert held is True
        second = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
        assert second.returncode != 0 and "another run is writing it" in second.stderr
    third = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
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
    with locks.lock_folder(tmp_path) as held:
        assert held is True and (tmp_path / locks.LOCK).exists()
        with pytest.raises(InputError, match="another run"), locks.lock_folder(tmp_path):
            pass
    assert not list(tmp_path.iterdir()) and not Msvcrt.held


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    class Without:
        LOCK_EX = LOCK_NB = 0

        @staticmethod
        def flock(*_):
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "fcntl", Without)
    with locks.lock_folder(tmp_path) as held:
        assert held is False
