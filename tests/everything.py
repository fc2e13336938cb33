"""All checks of the project, one tox environment after the other: ``tox run -e everything`` (hours on two cores).

Every part runs whatever becomes of the others; a table at the end says which parts passed, failed or could not run, and
how long each took. ``tox run -e everything -- docs zoo`` runs some parts alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

PARTS: dict[str, tuple[list[str], str]] = {
    # name: arguments of tox, and a program without which it can't run
    "lint": (["-e", "lint"], ""),
    "tests": (["-e", "tests"], ""),
    "docs": (["-e", "docs"], ""),
    "zoo": (["-e", "zoo"], ""),
    "coverage": (["-e", "coverage"], ""),
    "workbench": (["-e", "workbench-test"], "chromium"),
    "label": (["-e", "label-test", "--", "-m", "slow or not slow"], ""),
    "slow": (["-e", "tests", "--", "-m", "slow"], ""),
}


def run_part(name: str) -> tuple[str, float]:
    """Run a part; returns ``passed``, ``failed (exit code)`` or ``not run (reason)``, and its seconds."""
    arguments, program = PARTS[name]
    if program and shutil.which(program) is None:
        return f"not run (no {program})", 0.0
    start = time.perf_counter()
    code = subprocess.run([sys.executable, "-m", "tox", "run", *arguments], check=False).returncode
    return "passed" if code == 0 else f"failed ({code})", time.perf_counter() - start


def main(names: Sequence[str]) -> int:
    """Run the named parts, or all; the exit code is 0 if every one of them passed."""
    unknown = set(names) - set(PARTS)
    if unknown:
        print(f"unknown parts {sorted(unknown)}: there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results = {name: run_part(name) for name in names or PARTS}
    for name in PARTS:
        state, seconds = results.get(name, ("not asked for", 0.0))
        print(f"{name:10} {state:28} {seconds / 60:6.1f} min")
    return 0 if all(state == "passed" for state, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
