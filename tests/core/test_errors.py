"""How an error ends a program: one line for what the user gave, a traceback for what the code did."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from cardiac_motion.core.errors import InputError, input_error_in, tolerate_terminal

ROOT = Path(__file__).resolve().parents[2]


def run(code, **environment):
    words = f"from cardiac_motion.core.errors import *; install_error_hook()\n{code}"
    import os

    kept = {k: v for k, v in os.environ.items() if k != "TRACEBACK"}
    return subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, timeout=900,
                          env={**kept, "PYTHONPATH": str(ROOT), **environment})  # fmt: skip


def test_bad_input_is_one_line():
    done = run("raise InputError('a.dcm: no\\n  pixels')")
    assert done.returncode == 1 and done.stderr == "error: a.dcm: no pixels\n" and not done.stdout


def test_what_wraps_it_is_not_told():
    done = run("try:\n raise InputError('a.dcm: empty')\nexcept InputError as e:\n raise RuntimeError('config') from e")
    assert done.stderr == "error: a.dcm: empty\n" and done.returncode == 1


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0",
        "try:\n raise InputError('a.dcm: empty')\nexcept InputError:\n {}['key']",  # a defect while one is handled
    ],
)
def test_a_defect_keeps_its_traceback(code):
    done = run(code)
    assert done.returncode == 1 and "Traceback" in done.stderr and "error: a.dcm" not in done.stderr


def test_the_traceback_on_demand():
    done = run("raise InputError('a.dcm: empty')", TRACEBACK="1")
    assert "Traceback" in done.stderr and "a.dcm: empty" in done.stderr


def test_the_cause_is_looked_for_in_a_chain():
    first, middle, last = InputError("a"), ValueError("b"), RuntimeError("c")
    middle.__cause__, last.__cause__ = first, middle
    assert input_error_in(last) is first and input_error_in(first) is first
    assert input_error_in(ValueError("x")) is None and input_error_in(None) is None
    last.__cause__, last.__context__ = None, first
    assert input_error_in(last) is None


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_terminal_that_can_not_show_a_sign(encoding, stream, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(written, encoding=encoding))
    tolerate_terminal()
    print("0.3 × 0.3 µm, 10⁻³ → M\udcfcller", file=getattr(sys, stream))
    getattr(sys, stream).flush()
    assert written.getvalue().startswith(b"0.3 ") and b"ller" in written.getvalue()
