"""The fields of every bundle on its built-in input, to be compared before and after a change that should leave them.

``python -m benchmarks.fields write DIR [BUNDLE …]`` runs ``inference.json`` of each bundle into ``DIR/<bundle>``, and
``python -m benchmarks.fields compare A B [BUNDLE …]`` prints the largest absolute difference of each field
(``ddf.nii.gz``, in its unit), of each label map, and of each number of the tracked walls and strain curves; it fails
where one is above 1e-6, or where a file of A is missing in B.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from benchmarks.results import ROOT

COMPARED = ("ddf.nii.gz", "segmentation.nii.gz", "contours.json", "strain.csv")
SAME = 1e-6


def bundles(names: Sequence[str] = ()) -> list[str]:
    """Names of the bundles, or those named."""
    return list(names) or sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/inference.json"))


def write(folder: Path, names: Sequence[str] = ()) -> list[str]:
    """Run bundles on what they run on without an input; returns those that failed."""
    failed = []
    for name in bundles(names):
        print(f"{name} …", flush=True)
        command = [sys.executable, "-m", "monai.bundle", "run"]
        command += ["--config_file", f"bundles/{name}/configs/inference.json", "--mlflow", "False"]
        command += ["--output_dir", str(folder.resolve() / name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            failed.append(name)
    return failed


def numbers(path: Path) -> NDArray[np.float64]:
    """All numbers of a file in one row; of a table what is no number is NaN."""
    if path.suffix == ".gz":
        return np.asarray(nibabel.load(path).dataobj, dtype=np.float64).ravel()  # type: ignore[attr-defined]
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return np.array([_number(value) for row in csv.reader(file) for value in row])
    return np.array(_flat(json.loads(path.read_text(encoding="utf-8"))))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _flat(value: object) -> list[float]:
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    return [x for part in value for x in _flat(part)] if isinstance(value, list) else [float(str(value))]


def largest_difference(first: Path, second: Path) -> float:
    """Largest absolute difference of two files' numbers; infinite where they differ in size."""
    a, b = numbers(first), numbers(second)
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    off = np.abs(a - b)
    return float(np.nanmax(off)) if np.isfinite(off).any() else 0.0


def compare(first: Path, second: Path, names: Sequence[str] = ()) -> int:
    """Print the differences of two folders of outputs; returns how many files differ or are missing."""
    wrong = 0
    wanted = set(names)
    files = sorted(path for path in first.rglob("*") if path.name in COMPARED)
    for path in files:
        place = path.relative_to(first)
        if wanted and place.parts[0] not in wanted:
            continue
        other = second / place
        off = largest_difference(path, other) if other.is_file() else float("inf")
        wrong += off > SAME
        print(f"{place}: {f'{off:.3g}' if other.is_file() else 'missing'}")
    if not files:
        raise SystemExit(f"error: {first}: no outputs of bundles")
    return wrong


def main(words: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    if len(words) >= 2 and words[0] == "write":
        return int(bool(write(Path(words[1]), words[2:])))
    if len(words) >= 3 and words[0] == "compare":
        return int(bool(compare(Path(words[1]), Path(words[2]), words[3:])))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
