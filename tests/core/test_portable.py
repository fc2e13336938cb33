"""What is Linux's alone is asked for when it is used: every module can be imported on macOS and on Windows."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = """
import builtins, os, pkgutil, signal, sys
import numpy, torch, monai, mlflow, distributed, itk, nibabel, platformdirs  # they look for themselves what there is

ABSENT = {"fcntl", "resource", "pwd", "grp", "termios", "tty"}
real = builtins.__import__
def as_elsewhere(name, globals=None, *rest, **named):
    if name.partition(".")[0] in ABSENT and str((globals or {}).get("__name__")).partition(".")[0] == "cardiac_motion":
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, globals, *rest, **named)
builtins.__import__ = as_elsewhere
os.environ["USERNAME"] = "user"  # as on Windows, where there is no ``getuid`` to ask for it
for name in ("killpg", "setsid", "getpgid", "setpgid", "getuid", "geteuid", "sched_getaffinity", "fork"):
    if hasattr(os, name):
        delattr(os, name)

import cardiac_motion
modules = pkgutil.walk_packages(cardiac_motion.__path__, "cardiac_motion.")
names = [m.name for m in modules if not m.name.endswith("__main__")]
for name in names:
    __import__(name)
from cardiac_motion.core import locks, memory
assert locks.fcntl is None and memory.resource is None
print(len(names))

import argparse
from cardiac_motion.cohort import options
from cardiac_motion.core.errors import InputError
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
