"""How often intervals hold the truth.

``python -m cardiac_motion.strain_pipeline.validation.coverage OUT --datalist LIST``

Of the simulated cines of a list (``cardiac_motion.simulation write``), whose contours are known in every frame, and
of what the bundle measured of them: for each scenario how many of the 90 % intervals hold the true number, the mean
error and its root mean square. The truth of a beat is taken at its true end-systole.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError, install_error_hook
from cardiac_motion.core.tables import finite
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.evaluation.truth import read_json
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, QUANTILE, Interval, sampling_variance
from cardiac_motion.strain_pipeline.measures.measures import SEGMENTS
from cardiac_motion.ventricle import strain
from cardiac_motion.ventricle.mesh import column_fractions, interpolate_fractions


@dataclass(frozen=True)
class Held:
    """A measured number beside its truth.

    Attributes:
        case, scenario: of the cine.
        name: ``gls``, ``long_axis_strain``, ``ejection_fraction`` or ``segment``.
        measured, true: %.
        interval: 90 %.
    """

    case: str
    scenario: str
    name: str
    measured: float
    true: float
    interval: Interval

    @property
    def error(self) -> float:
        """Found less true."""
        return self.measured - self.true

    @property
    def holds(self) -> bool:
        """Whether the truth lies in the interval."""
        return self.interval[0] <= self.true <= self.interval[1]

    @property
    def own(self) -> float:
        """The variance that the interval's own sampling tells, without the method's error."""
        return sampling_variance(self.interval, METHOD[self.name])


def measure_truth(endo: NDArray[np.float64], es: int, steps: Sequence[float]) -> dict[str, Any]:
    """Return the true ``gls``, ``long_axis_strain``, ``ejection_fraction`` and six ``segment`` strains of a beat, in %.

    Args:
        endo: the true endocardium ``[T, P, 2]`` from end-diastole on, the same material points in every frame.
        es: end-systole.
        steps: (row, column) size of a pixel.

    Examples:
        >>> angle = np.linspace(0, np.pi, 36)
        >>> heart = np.stack([80 - 80 * np.sin(angle), 60 - 24 * np.cos(angle)], -1)
        >>> found = measure_truth(np.stack([heart, 0.8 * heart]), 1, (1.0, 1.0))
        >>> round(found["gls"], 6), round(found["ejection_fraction"], 1), [round(s) for s in found["segment"]]
        (-20.0, 48.8, [-20, -20, -20, -20, -20, -20])
    """
    place = np.linalg.norm(endo[0] - endo[0][[0, -1]].mean(0), axis=1).argmax()
    fine = endo_by_sides(endo[[0, es]], int(place))
    lengths = strain.segment_lengths(fine, steps, SEGMENTS)
    volumes = [strain.disc_volume(line, steps) for line in endo[[0, es]]]
    return {
        "gls": 100 * float(strain.gls(endo, steps)[es]),
        "long_axis_strain": 100 * float(strain.long_axis_strain(endo, steps)[: es + 1].min()),
        "ejection_fraction": strain.ejection_fraction(*volumes),
        "segment": [100 * float(row[1] / row[0] - 1) for row in lengths],
    }


def endo_by_sides(lines: NDArray[np.float64], apex: int, points: int = 120) -> NDArray[np.float64]:
    """Lines ``[T, P, 2]`` of the same material, of ``points`` that lie evenly on either side of the apex at first."""
    first = lines[0]
    step = np.linalg.norm(np.diff(first, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(step)]) / step.sum()
    wanted = column_fractions(along[apex], points)
    at = np.interp(wanted, along, np.arange(len(first)))
    low = np.clip(at.astype(int), 0, len(first) - 2)
    share = (at - low)[None, :, None]
    assert np.allclose(
        interpolate_fractions(first, wanted), (first[low] + share[0] * (first[low + 1] - first[low])), atol=1e-6
    )
    return np.asarray(lines[:, low] + share * (lines[:, low + 1] - lines[:, low]))


def compare_case(entry: Mapping[str, Any], base: Path, out: Path) -> list[Held]:
    """The numbers of one simulated case beside their truth; none where nothing was measured.

    Args:
        entry: of the list, with ``contours`` and ``summary``.
        base: folder of the list's files.
        out: of the bundle's results.

    Raises:
        InputError: a file can't be read.
    """
    name = str(entry.get("case") or Path(entry["image"]).parent.name)
    file = next((f for f in (out / name / "summary.json", out / "cine" / "summary.json") if f.is_file()), None)
    if file is None:
        return []
    measured, truth, lines = (read_json(f) for f in (file, base / entry["summary"], base / entry["contours"]))
    if "beats" not in measured:
        return []
    endo = np.asarray(lines["endocardium"], dtype=np.float64)
    beat = measured["beats"][0]
    true = measure_truth(endo, int(truth["end_systole_frame"]), truth["spacing"])
    scenario = str(truth.get("scenario", "static"))
    found = [
        Held(name, scenario, key, beat["numbers"][key], true[key], tuple(beat["intervals"][key]))
        for key in ("gls", "long_axis_strain", "ejection_fraction")
        if beat["numbers"].get(key) is not None and key in beat["intervals"]
    ]
    for row, value in zip(beat["segments"], true["segment"], strict=True):
        if row["end_systolic"] is not None and row["interval"] is not None:
            found.append(Held(name, scenario, "segment", row["end_systolic"], value, tuple(row["interval"])))
    return found


def coverage(held: Iterable[Held]) -> list[dict[str, Any]]:
    """A row a scenario, and one of all, and number: ``n``, ``held`` (how many), ``bias`` and ``rms``, points of %."""
    everything = list(held)
    scenarios = [*dict.fromkeys(one.scenario for one in everything), "all"]
    rows = []
    for scenario in scenarios:
        for name in METHOD:
            some = [one for one in everything if one.name == name and scenario in (one.scenario, "all")]
            if some:
                errors = np.array([one.error for one in some])
                rows.append({
                    "scenario": scenario, "number": name, "n": len(some), "held": sum(one.holds for one in some),
                    "bias": float(errors.mean()), "rms": float(np.sqrt((errors**2).mean())),
                })  # fmt: skip
    return rows


def fit_method_error(held: Sequence[Held], share: float = 0.9) -> float:
    """Return the least method error with which intervals hold so large a share of the truths, percentage points.

    An interval's half width is ``QUANTILE · √(own² + error²)``: its own sampling stays as it is (``Held.own``).

    Args:
        held: numbers of one kind.
        share: of them.

    Examples:
        >>> some = [Held("a", "static", "gls", -20.0 + k, -20.0, (-26.0 + k, -14.0 + k)) for k in range(10)]
        >>> bool(fit_method_error(some) < fit_method_error(some, 1.0))
        True
    """
    needed = sorted(max((one.error / QUANTILE) ** 2 - one.own, 0.0) for one in held)
    return float(np.sqrt(needed[math.ceil(share * len(needed)) - 1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write ``coverage.json`` beside the results.

    Raises:
        InputError: the list can't be read, or nothing of it was measured.
    """
    parser = CommandParser(prog="python -m cardiac_motion.strain_pipeline.validation.coverage", description=__doc__)
    parser.add_argument("out", type=Path, help="output folder of strain_pipeline")
    parser.add_argument("--datalist", type=Path, required=True, help="list of simulated cines")
    parser.add_argument("--dataset_dir", type=Path, help="of the list's files (default: the list's own folder)")
    parser.add_argument("--fold", default="test")
    options = parser.parse_args(arguments)
    content = read_json(options.datalist)
    if options.fold not in content:
        raise InputError(f"{options.datalist}: no list '{options.fold}'")
    base = options.dataset_dir or options.datalist.parent
    entries = show_bar(content[options.fold], "results", "case")
    held = [one for entry in entries for one in compare_case(entry, base, options.out)]
    if not held:
        raise InputError(f"{options.out}: none of the {len(content[options.fold])} cases was measured")
    rows = coverage(held)
    for row in rows:
        share = row["held"] / row["n"]
        print(
            f"{row['scenario']:10} {row['number']:18} {row['held']:3} of {row['n']:3} ({share:.0%})  "
            f"bias {row['bias']:+.2f}  rms {row['rms']:.2f}"
        )
    with write_whole(options.out / "coverage.json") as beside:
        beside.write_text(json.dumps(finite(rows), indent=1), encoding="utf-8")


if __name__ == "__main__":
    install_error_hook()
    main(sys.argv[1:])
