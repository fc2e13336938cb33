"""How the tests run a bundle: in this process, or as a user does."""

import os
import runpy
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from monai.bundle import run

ROOT = Path(__file__).parents[2]
NEEDS = {"greedy": "picsl_greedy", "convexadam": "convexAdam", "fireants": "fireants"}  # by the bundle's own extra


def run_here(*configs: str, **overrides) -> None:
    """``monai.bundle.run`` of files under ``bundles/`` from the repository's root."""
    before = Path.cwd()
    hook = sys.excepthook
    os.chdir(ROOT)
    try:
        run(config_file=[f"bundles/{name}" for name in configs], **overrides)
    finally:
        os.chdir(before)
        sys.excepthook = hook


def run_command_here(*words: str) -> None:
    """``python -m monai.bundle run …`` from the repository's root, in this process."""
    before, hook, argv = Path.cwd(), sys.excepthook, sys.argv
    os.chdir(ROOT)
    sys.argv = ["", "run", *words]
    try:
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    finally:
        os.chdir(before)
        sys.excepthook, sys.argv = hook, argv


def run_module_here(module: str, *words: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """``python -m module …`` from a folder, in this process, which spares the seconds of importing MONAI.

    What ends it becomes the exit code and the words that Python would print, by the hook that the module has set.
    """
    before, hook, argv = Path.cwd(), sys.excepthook, sys.argv
    os.chdir(folder)
    sys.argv = ["", *words]
    output, errors, code = StringIO(), StringIO(), 0
    with redirect_stdout(output), redirect_stderr(errors), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* found in sys.modules", RuntimeWarning)  # a test has imported it too
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
        except Exception as error:
            code = 1
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os.chdir(before)
            sys.excepthook, sys.argv = hook, argv
    return subprocess.CompletedProcess([module, *words], code, output.getvalue(), errors.getvalue())


def run_command(*words: str, **settings) -> subprocess.CompletedProcess:
    """``python -m monai.bundle run …`` from the repository's root, its output as text."""
    command = [sys.executable, "-m", "monai.bundle", "run", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False, **settings)
