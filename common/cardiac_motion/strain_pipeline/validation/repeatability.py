"""Test-retest repeatability: how far two beats of the same heart differ when both are measured.

``python -m cardiac_motion.strain_pipeline.validation.repeatability OUT … --csv FILE``

Two measured beats of one cine are a test and a retest; the first beats of all views of a study, and the second ones,
are those of the study's two halves. With d the differences of n such pairs, the minimal detectable change (95 %) is
``1.96 · √(Σ d² / n)``, that is 1.96 · √2 times the within-subject standard deviation √(Σ d² / 2n) (Bland and Altman
1996, 10.1136/bmj.313.7059.744). Beats of one recording share its probe position, so measuring another day differs more.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError, install_error_hook
from cardiac_motion.core.tables import write_csv
from cardiac_motion.evaluation.truth import read_json

TERRITORIES: Mapping[str, tuple[str, ...]] = {
    "LAD": ("anterior", "anteroseptal", "apical inferoseptal"),
    "RCA": ("inferior", "basal inferoseptal", "mid inferoseptal"),
    "LCX": ("inferolateral", "anterolateral"),
}
"""Segments, or walls, that a coronary artery usually supplies (after Lang et al. 2015, 10.1093/ehjci/jev014)."""
NUMBERS: Mapping[str, str] = {
    "gls": "GLS of a view",
    "long_axis_strain": "long-axis strain of a view",
    "ejection_fraction": "EF of a view",
}
STUDY = "GLS of a study's half"
LEAST_PAIRS = 2  # that a minimal detectable change is told of


@dataclass(frozen=True)
class RetestPair:
    """One quantity of two measurements of the same heart, in %."""

    quantity: str
    test: float
    retest: float

    @property
    def difference(self) -> float:
        """Retest − test, percentage points."""
        return self.retest - self.test


def territory_of(segment: str) -> str:
    """Return the coronary territory of a segment of the 18-segment model.

    Raises:
        InputError: no such segment.

    Examples:
        >>> territory_of("apical inferoseptal"), territory_of("basal inferoseptal"), territory_of("mid anterolateral")
        ('LAD', 'RCA', 'LCX')
    """
    wall = segment.split(" ", 1)[-1]
    for name, parts in TERRITORIES.items():
        if segment in parts or wall in parts:
            return name
    raise InputError(f"{segment}: no segment of the 18-segment model")


def compare_beats(results: Sequence[Mapping[str, Any]]) -> list[RetestPair]:
    """Return the pairs of the first two measured beats of each cine.

    Args:
        results: contents of ``summary.json`` of cines; one with fewer than two beats gives none.
    """
    pairs = []
    for result in results:
        if len(result["beats"]) < 2:
            continue
        first, second = result["beats"][:2]
        for key, title in NUMBERS.items():
            values = [beat["numbers"].get(key) for beat in (first, second)]
            if None not in values:
                pairs.append(RetestPair(title, *values))
        tests = segments_of(first), segments_of(second)
        both = [name for name in tests[0] if name in tests[1]]
        pairs += [RetestPair("segment", tests[0][name], tests[1][name]) for name in both]
        for wall in dict.fromkeys(name.split(" ", 1)[-1] for name in both):
            means = [float(np.mean([test[n] for n in both if n.endswith(f" {wall}")])) for test in tests]
            pairs.append(RetestPair("wall (up to three segments)", *means))
    return pairs


def compare_halves(results: Sequence[Mapping[str, Any]]) -> list[RetestPair]:
    """Return the pairs of a study's two halves: the first beats of its views, and the second ones.

    Args:
        results: contents of ``summary.json`` of the study's cines; those with two measured beats count.
    """
    halves = [[result["beats"][k] for result in results if len(result["beats"]) > 1] for k in (0, 1)]
    if len(halves[0]) < 2:
        return []
    values = [[beat["numbers"]["gls"] for beat in half] for half in halves]
    pairs = []
    if None not in [*values[0], *values[1]]:
        pairs.append(RetestPair(STUDY, *(float(np.mean(half)) for half in values)))
    tests = [{name: value for beat in half for name, value in segments_of(beat).items()} for half in halves]
    for territory in TERRITORIES:
        names = [name for name in tests[0] if name in tests[1] and territory_of(name) == territory]
        if names:
            means = (float(np.mean([test[name] for name in names])) for test in tests)
            pairs.append(RetestPair(f"{territory} territory of a study's half", *means))
    return pairs


def segments_of(beat: Mapping[str, Any]) -> dict[str, float]:
    """Return the end-systolic strain of a beat's segments that are not rejected, % by name."""
    return {row["name"]: row["end_systolic"] for row in beat["segments"] if row["end_systolic"] is not None}


def summarise(pairs: Sequence[RetestPair]) -> list[dict[str, Any]]:
    """Return a row a quantity: pairs, mean and mean absolute difference, and minimal detectable change, in points.

    The minimal detectable change of fewer than ``LEAST_PAIRS`` pairs is None.

    Examples:
        >>> summarise([RetestPair("gls", -20.0, -19.0), RetestPair("gls", -18.0, -19.0)])
        [{'quantity': 'gls', 'pairs': 2, 'mean difference': 0.0, 'MAE': 1.0, 'minimal detectable change (95 %)': 1.96}]
    """
    rows = []
    for quantity in dict.fromkeys(pair.quantity for pair in pairs):
        off = np.array([pair.difference for pair in pairs if pair.quantity == quantity])
        least = float(1.96 * np.sqrt((off**2).mean())) if len(off) >= LEAST_PAIRS else None
        rows.append({
            "quantity": quantity, "pairs": len(off), "mean difference": float(off.mean()),
            "MAE": float(np.abs(off).mean()), "minimal detectable change (95 %)": least,
        })  # fmt: skip
    return rows


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return ``summary.json`` of every measured cine of an output folder of strain_pipeline.

    Raises:
        InputError: there is none.
    """
    found = [read_json(path) for path in sorted(folder.glob("*/summary.json"))]
    measured = [result for result in found if result.get("beats")]
    if not measured:
        raise InputError(f"{folder}: no results of strain_pipeline")
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it where ``--csv`` says.

    Raises:
        InputError: a folder without results, or no cine with two measured beats.
    """
    parser = CommandParser(
        prog="python -m cardiac_motion.strain_pipeline.validation.repeatability", description=__doc__
    )
    parser.add_argument("out", type=Path, nargs="+", help="output folder of strain_pipeline, one a study")
    parser.add_argument("--csv", type=Path, help="file of the table")
    options = parser.parse_args(arguments)
    pairs: list[RetestPair] = []
    for folder in options.out:
        results = read_results(folder)
        pairs += compare_beats(results) + compare_halves(results)
    if not pairs:
        raise InputError(f"{options.out[0]}: no cine with two measured beats")
    rows = summarise(pairs)
    for row in rows:
        print("  ".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    if options.csv is not None:
        write_csv(options.csv, rows)


if __name__ == "__main__":
    install_error_hook()
    main(sys.argv[1:])
