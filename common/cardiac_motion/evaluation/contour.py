"""Tracking of a given end-diastolic contour through a cine, and its strain curves (Evain et al. 2022, III-D)."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.cine.wall_files import read_contour, read_wall
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.plots import plt
from cardiac_motion.evaluation.cine_truth import CineTruth
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.evaluation.truth import read_json
from cardiac_motion.fields.points import track
from cardiac_motion.ventricle import strain
from cardiac_motion.ventricle.beats import Beat, find_beats, refine_end_systole
from cardiac_motion.ventricle.mesh import (
    Array,
)

THICKNESS = 0.1  # wall thickness relative to the ventricle's length, if only the endocardium is known
WALL_POINTS = 120  # points of each layer


@dataclass(frozen=True, eq=False)
class TrackedContour:
    """A contour tracked through a cine.

    Attributes:
        points: ``[T, P, 2]`` (row, column) in pixels.
        beat: the beat from end-diastole.
        curves: ``gls`` and ``long_axis_strain`` as fractions relative to end-diastole and, with known spacing,
            ``mapse_mm``: one value per frame, without drift correction.
        compensated: ``gls`` and ``long_axis_strain`` in the beat's frames, drift-corrected if the beat is complete.
        scores: quantities of the strain pipeline (``measures.measures``), in %: ``gls`` (end-systolic),
            ``gls_peak_systolic``, ``gls_uncompensated``, ``drift`` (of a complete beat), ``long_axis_strain``
            (peak-systolic); also ``mapse_mm``, and ``es``, the frame of end-systole.
    """

    points: Array
    beat: Beat
    curves: Mapping[str, Array]
    compensated: Mapping[str, Array]
    scores: Scores

    @property
    def es(self) -> int:
        """Frame of end-systole."""
        return self.beat.es


def track_contour(
    case: CineCase, ddf: Tensor, contour: str | None = None, ed: int = 0, es: int | None = None
) -> TrackedContour | None:
    """Track a contour through the cine by its fields, and compute GLS and MAPSE.

    Args:
        case: case; its entry may name its own contour.
        ddf: fields of its pairs, ``[T − 1, 2, H, W]``.
        contour: file that ``read_contour`` can read; if neither it nor the entry's contour is given, None is returned.
        ed: the frame in which the contour is given.
        es: end-systole; None uses the frame of the smallest cavity, as the strain pipeline does.

    Raises:
        InputError: the contour cannot be used, or a frame does not exist.

    Examples:
        >>> import tempfile
        >>> from monai.data import MetaTensor
        >>> from cardiac_motion.cine.cine_case import CineEntry
        >>> from cardiac_motion.fields.ddf import identity_grid
        >>> ddf = 0.25 * (identity_grid((48, 56), torch.zeros(1)) - 28)  # the second frame is shortened to 0.8
        >>> cine = MetaTensor(torch.rand(1, 2, 48, 56), meta={"spacing": (0.5, 0.5)})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "endocardium.json"
        ...     _ = path.write_text("[[40, 15], [12, 28], [40, 40]]", encoding="utf-8")
        ...     case = CineCase(CineEntry("a", "a.nii", contour=str(path)), cine.movedim(0, 1)[None], None, cine)
        ...     tracked = track_contour(case, ddf)
        >>> tracked.es, round(tracked.scores.metrics["gls"], 1)
        (1, -20.0)
    """
    path = case.entry.contour or contour
    if path is None:
        return None
    _require_frames(path, len(ddf) + 1, ED=ed, ES=es)
    start = torch.from_numpy(read_contour(path, ed, case.size)).float()
    points = track(start, ddf, ed).double().numpy()
    spacing, steps = case.meta.spacing, case.meta.steps
    beat = contour_beat(strain.cavity_areas(points, steps), case.meta.frame_times, ed, es)
    curves = {"gls": strain.gls(points, steps, ed), "long_axis_strain": strain.long_axis_strain(points, steps, ed)}
    first, last = min(beat.ed, beat.es), max(beat.end, beat.ed)
    at, end = beat.es - first, last - first
    whole = beat.complete and beat.es > beat.ed
    corrected = {
        name: strain.remove_drift(curve[first : last + 1], 0, end) if whole else curve[first : last + 1]
        for name, curve in curves.items()
    }
    numbers = {
        "gls": 100 * float(corrected["gls"][at]),
        "gls_peak_systolic": 100 * strain.peak_systolic(corrected["gls"], ed - first, at),
        "gls_uncompensated": 100 * float(curves["gls"][beat.es]),
        "long_axis_strain": 100 * strain.peak_systolic(corrected["long_axis_strain"], ed - first, at),
        "es": beat.es,
    }
    if whole:
        numbers["drift"] = 100 * strain.drift(curves["gls"], first, last)
    if spacing is not None:
        curves["mapse_mm"] = strain.mapse_mm(points, spacing, ed)
        numbers["mapse_mm"] = float(curves["mapse_mm"][beat.es])
    return TrackedContour(points, beat, curves, corrected, Scores(numbers))


def contour_beat(areas: Array, times: Sequence[float] | None, ed: int, es: int | None = None) -> Beat:
    """Return the beat of a tracked cavity that begins at a given end-diastole.

    Args:
        areas: cavity areas ``[T]`` in any unit.
        times: times of the frames in s, or None.
        ed, es: frames; without ``es``, end-systole is the frame of the smallest cavity. ``es`` may precede ``ed``.

    Examples:
        >>> contour_beat(100 - 40 * np.sin(np.pi * np.arange(21) / 20), None, 0)
        Beat(ed=0, es=10, end=20, complete=True)
        >>> contour_beat(np.array([100.0, 90.0, 80.0, 70.0]), None, 0)  # cut off in systole
        Beat(ed=0, es=3, end=3, complete=False)
    """
    last = len(areas) - 1
    if es is not None and es <= ed:
        return Beat(ed, es, ed, False)
    try:
        (beat,) = find_beats(areas, times, None, ed, es)
    except InputError:  # the cavity hardly changes, or the cine ends before end-systole
        end = int(np.argmin(areas)) if es is None else es
        return Beat(ed, end, max(end, ed, last), False)
    return beat if es is not None else refine_end_systole(beat, areas[beat.ed : beat.end + 1])


def _require_frames(path: str, count: int, **frames: int | None) -> None:
    for name, frame in frames.items():
        if frame is not None and not 0 <= frame < count:
            raise InputError(f"{path}: {name} at frame {frame} is outside the cine, frames 0 to {count - 1}")


def read_borders(case: CineCase, contour: str | None = None, ed: int = 0) -> tuple[Array, Array] | None:
    """Read endocardium and epicardium of the left ventricle at end-diastole, if a contour is known; otherwise None.

    ``[P, 2]`` each (row, column) in pixels; points with the same index face each other across the wall.

    Args:
        case: case; its entry may name its own contour, or the true ones of a simulated cine.
        contour: file that ``read_wall`` can read; without epicardium, the wall is assumed a tenth as thick as long.
        ed: the frame in which it is given.

    Raises:
        InputError: the contour cannot be used.
    """
    path = case.entry.contour or contour
    if path is not None:
        _require_frames(path, len(case.image) + 1, ED=ed)
        endo = read_contour(path, ed, case.size)
        length = float(np.linalg.norm(endo - endo[[0, -1]].mean(0), axis=1).max())
        lines = read_wall(path, ed, case.size, WALL_POINTS, THICKNESS * length)
        return lines[0], lines[2]
    truth_path = case.entry.read_as(CineTruth).contours
    if truth_path is not None:
        truth = read_json(Path(truth_path))
        inner, outer = (np.asarray(truth[name][ed], dtype=np.float64) for name in ("endocardium", "epicardium"))
        return inner, outer
    return None


def write_contour(folder: Path, case: CineCase, contour: TrackedContour) -> None:
    """Write ``contours.json``, ``strain.csv`` (one row per frame, strains in %) and ``strain.png`` into a folder.

    ``gls (%)`` and ``long_axis_strain (%)`` cover the beat and are drift-corrected if it is complete; further columns
    hold the uncorrected values.
    """
    times, curves, beat = case.meta.frame_times, contour.curves, contour.beat
    (folder / "contours.json").write_text(
        json.dumps({
            "frames": list(range(len(contour.points))),
            "endocardium": contour.points.round(3).tolist(),
            "es": contour.es,
        }), encoding="utf-8"
    )  # fmt: skip
    first = min(beat.ed, beat.es)
    millimetres = [name for name in curves if name == "mapse_mm"]
    with open(folder / "strain.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        tracked = [f"{name}, as tracked (%)" for name in ("gls", "long_axis_strain")]
        head = [f"{name} (%)" for name in contour.compensated]
        writer.writerow(["frame", "seconds", *head, *tracked, *(["mapse (mm)"] if millimetres else [])])
        for t in range(len(contour.points)):
            inside = 0 <= t - first < len(contour.compensated["gls"])
            values = [round(100 * c[t - first], 4) if inside else "" for c in contour.compensated.values()]
            raw = [round(100 * curves[name][t], 4) for name in ("gls", "long_axis_strain")]
            values += [*raw, *(round(curves[name][t], 4) for name in millimetres)]
            writer.writerow([t, times[t] if times else "", *values])
    figure, axis = plt.subplots(figsize=(6, 3.5))
    along = list(times or range(len(contour.points)))
    for name, curve in contour.compensated.items():
        axis.plot(along[first : first + len(curve)], 100 * curve, label=name.upper())
    axis.axvline(along[contour.es], color="0.6", linewidth=0.8)
    axis.set_xlabel("s" if times else "frame")
    axis.set_ylabel("strain, %")
    axis.legend()
    figure.tight_layout()
    figure.savefig(folder / "strain.png", dpi=110)
    plt.close(figure)
