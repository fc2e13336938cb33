"""Run the benchmarks named on the command line, or all; the numbers go to ``benchmarks/results/<name>.json``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchmarks.results import save

if __name__ == "__main__":
    known = sorted(
        f.stem
        for f in Path(__file__).parent.glob("*.py")
        if f.stem not in ("__init__", "__main__", "results", "fields", "fuzz_readers")
    )
    names = sys.argv[1:] or known
    if set(names) - set(known):
        raise SystemExit(
            f"error: no benchmark {', '.join(sorted(set(names) - set(known)))}; there are {', '.join(known)}"
        )
    for name in names:
        print(f"\n{name}", flush=True)
        save(name, importlib.import_module(f"benchmarks.{name}").run())
