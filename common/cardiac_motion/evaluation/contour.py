"""A given end-diastolic contour carried through a cine, and the strain curves of it (Evain et al. 2022, III-D)."""

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

THICKNESS = 0.1  # of a wall of which the endocardium alone is known, of the ventricle's length
WALL_POINTS = 120  # of each of its lines


@dataclass(frozen=True, eq=False)
class TrackedContour:
    """A contour carried through a cine.

    Attributes:
        points: ``[T, P, 2]`` (row, column) in pixels.
        beat: from end-diastole on.
        curves: ``gls`` and ``long_axis_strain`` as fractions of end-diastole, and with a known spacing ``mapse_mm``: a
            value a frame, as tracked.
        compensated: ``gls`` and ``long_axis_strain`` of the beat's frames, less an even drift where the beat is whole.
        scores: those of the strain pipeline (``measures.measures``) by its names, in %: ``gls``
            (end-systolic), ``gls_peak_systolic``, ``gls_uncompensated``, ``drift`` (of a whole beat),
            ``long_axis_strain`` (peak-systolic); ``mapse_mm``; ``es``, the frame of end-systole.
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
    """Carry a contour from its frame through the cine by the fields found, with GLS and MAPSE.

    Args:
        case: its entry may name a contour of its own.
        ddf: of its pairs, ``[T − 1, 2, H, W]``.
        contour: as ``read_contour`` takes it; None with no entry's gives None.
        ed: the frame in which the contour is known.
        es: end-systole; None takes the smallest cavity, as the strain pipeline does.

    Raises:
        InputError: the contour can't be used, or a frame isn't there.
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
    inside = {
        name: strain.remove_drift(curve[first : last + 1], 0, end) if whole else curve[first : last + 1]
        for name, curve in curves.items()
    }
    numbers = {
        "gls": 100 * float(inside["gls"][at]),
        "gls_peak_systolic": 100 * strain.peak_systolic(inside["gls"], ed - first, at),
        "gls_uncompensated": 100 * float(curves["gls"][beat.es]),
        "long_axis_strain": 100 * strain.peak_systolic(inside["long_axis_strain"], ed - first, at),
        "es": beat.es,
    }
    if whole:
        numbers["drift"] = 100 * strain.drift(curves["gls"], first, last)
    if spacing is not None:
        curves["mapse_mm"] = strain.mapse_mm(points, spacing, ed)
        numbers["mapse_mm"] = float(curves["mapse_mm"][beat.es])
    return TrackedContour(points, beat, curves, inside, Scores(numbers))


def contour_beat(areas: Array, times: Sequence[float] | None, ed: int, es: int | None = None) -> Beat:
    """The beat of a tracked cavity that begins at a known end-diastole.

    Args:
        areas: ``[T]``, any unit.
        times: of the frames, s, or None.
        ed, es: frames; without ``es`` it is where the cavity is smallest. ``es`` may come before ``ed``.

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
        (found,) = find_beats(areas, times, None, ed, es)
    except InputError:  # the cavity hardly changes, or the cine ends before end-systole
        end = int(np.argmin(areas)) if es is None else es
        return Beat(ed, end, max(end, ed, last), False)
    return found if es is not None else refine_end_systole(found, areas[found.ed : found.end + 1])


def _require_frames(path: str, count: int, **frames: int | None) -> None:
    for name, frame in frames.items():
        if frame is not None and not 0 <= frame < count:
            raise InputError(f"{path}: {name} at frame {frame}, the cine has frames 0 to {count - 1}")


def read_borders(case: CineCase, contour: str | None = None, ed: int = 0) -> tuple[Array, Array] | None:
    """Endocardium and epicardium of the left ventricle at end-diastole, where a contour is known.

    ``[P, 2]`` each (row, column) in pixels; point k of one lies across the wall from point k of the other.

    Args:
        case: its entry may name a contour of its own, or the true ones of a simulated cine.
        contour: as ``read_wall`` takes it; where it has no epicardium the wall is a tenth of its length thick.
        ed: the frame in which it is known.

    Raises:
        InputError: the contour can't be used.
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
    """Write ``contours.json``, ``strain.csv`` (a row a frame, strains in %) and ``strain.png`` into a folder.

    ``gls (%)`` and ``long_axis_strain (%)`` are those of the beat, less an even drift where it is whole; beside them is
    what was tracked.
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
            own = [round(100 * c[t - first], 4) if inside else "" for c in contour.compensated.values()]
            raw = [round(100 * curves[name][t], 4) for name in ("gls", "long_axis_strain")]
            own += [*raw, *(round(curves[name][t], 4) for name in millimetres)]
            writer.writerow([t, times[t] if times else "", *own])
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
