"""Cached intermediates of a measured cine: a correction recomputes contours, Kalman filter and strain only.

The fields and the segmentation don't depend on what a user says of a cine's wall, view, end-diastole or end-systole.
They are written once, as plain arrays that are mapped into memory when they are read, and ``measure_cached`` is the one
way from them to numbers: for a bundle that has just found them, and for a program that goes on from their files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.cine.square import FrameGrid
from cardiac_motion.core.bars import show_step
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import finite
from cardiac_motion.core.whole_files import SCHEMA, write_whole
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures, strain_truth_scores
from cardiac_motion.strain_pipeline.quality.checks import Check, Gate, remove_times, tracking_checks, wall_checks
from cardiac_motion.strain_pipeline.quality.view import decide_view, energy_check, lead_check, view_check
from cardiac_motion.strain_pipeline.strain_case import StrainCase
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.strain_pipeline.tracking.motion import Fusion, TrackedBeat, track_wall
from cardiac_motion.strain_pipeline.tracking.wall import Segmented, wall_in

ABOUT = "about.json"
MOTION = "motion.json"
SEGMENTATION = "segmentation.json"
PER_PIXEL = ("inconsistency", "deviation")  # of ``RegistrationResult``


@dataclass(frozen=True, eq=False)
class StrainCache:
    """What is known of a cine before anything is measured.

    Attributes:
        case: as it was read.
        probabilities: of the views.
        segmented: the segmented wall.
        result: the fields.
        seen: the sector, ``[H, W]`` (``motion.widen_sector``).
        seconds: that the parts took.
        drawn: frame to the wall's lines ``[3, P, 2]`` that the user drew in it, pixels; in place of a contour's file.
    """

    case: CineCase
    probabilities: ViewProbabilities
    segmented: Segmented
    result: RegistrationResult
    seen: NDArray[np.bool_]
    seconds: Mapping[str, float]
    drawn: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)


def measure_cached(
    cached: StrainCache,
    measures: StrainMeasures,
    fusion: Fusion | None = None,
    gate: Gate | None = None,
    track: Callable[..., tuple[TrackedBeat, ...]] = track_wall,
) -> StrainCase:
    """From the fields and the segmented wall of a cine to its strain; no file is written.

    Beats that fail a check are left out, with a warning.

    Args:
        cached: the entry of its case says which view, contour, end-diastole and end-systole the user wants.
        measures, fusion, gate: as in ``StrainEvaluator``.
        track: carries a wall through its beats: ``motion.track_wall``, or one that keeps what it has tracked.

    Raises:
        InputError: no apical view, no wall, no beat, a contour that can't be used, or a check that fails.
    """
    case, seconds, gate = cached.case, dict(cached.seconds), gate or Gate()
    view = decide_view(case, cached.probabilities, gate.view_threshold, gate.ignore_checks)
    checks: list[Check] = [view_check(view, gate.view_threshold), lead_check(view), energy_check(cached.probabilities)]
    with time_block(seconds, "contours"):
        wall = wall_in(case, cached.segmented, cached.drawn)
        checks += wall_checks(wall, cached.seen)
        gate.stop(checks, case.entry.image)
    with time_block(seconds, "tracking"):
        tracked = track(case, wall, cached.result, fusion, cached.seen)
    with time_block(seconds, "strain"):
        found = measures(tracked, case.meta, view.view, wall.lines[:, 0])
        trusted = case.meta.frame_time_source == "acquired"
        for one, beat in zip(tracked, found.beats, strict=True):
            checks += tracking_checks(one, beat, wall, trusted, bool(wall.drawn))
        passed = gate.select_beats(checks, [beat["ed"] for beat in found.beats], case.entry.image)
        if not all(passed):
            tracked = tuple(one for one, good in zip(tracked, passed, strict=True) if good)
            found = measures(tracked, case.meta, view.view, wall.lines[:, 0])
        found = found if gate.ignore_checks else remove_times(found, checks)
        found = replace(found, warnings=(*gate.warnings(checks), *found.warnings))
    scores = found.scores | strain_truth_scores(case, found)
    return StrainCase(
        case,
        cached.result,
        scores,
        Path(case.name),
        view,
        wall,
        tracked,
        found,
        seconds,
        tuple(checks),
        gate.ignore_checks,
    )


def replace_entry(cached: StrainCache, **said: Any) -> StrainCache:
    """The same with something else said of the cine: ``contour``, ``ed``, ``es``, ``assumed_view``."""
    return replace(cached, case=replace(cached.case, entry=replace(cached.case.entry, **said)))


def write_cine_cache(folder: Path, case: CineCase, seen: NDArray[np.bool_], probabilities: ViewProbabilities) -> None:
    """Write what is known of a cine before its wall and its motion; ``folder`` exists."""
    frames = case.cine.as_tensor()[0].numpy()
    coarse = np.round(255 * frames).astype(np.uint8)
    exact = np.array_equal(coarse.astype(np.float32) / np.float32(255), frames)  # of 8 bits: a quarter of the disk
    _save_array(folder / "frames.npy", coarse if exact else frames)
    _save_array(folder / "seen.npy", seen)
    if case.mask is not None:
        _save_array(folder / "mask.npy", case.mask.numpy())
    about = {
        "schema": SCHEMA,
        "entry": case.entry.to_dict(),
        "meta": asdict(case.meta),
        "probabilities": asdict(probabilities),
    }
    with write_whole(folder / ABOUT) as beside:
        beside.write_text(json.dumps(finite(about)), encoding="utf-8")


def write_segmented(folder: Path, segmented: Segmented) -> None:
    """Write a segmented wall; ``folder`` exists."""
    _save_array(folder / "labels.npy", segmented.labels.numpy())
    _save_array(folder / "areas.npy", segmented.areas)
    reasons = {str(t): reason for t, reason in segmented.reasons.items()}
    about = {"reasons": reasons, "grid": None if segmented.grid is None else asdict(segmented.grid)}
    with write_whole(folder / SEGMENTATION) as beside:
        beside.write_text(json.dumps(about), encoding="utf-8")
    _save_array(folder / "lines.npy", segmented.lines)


def write_motion(folder: Path, result: RegistrationResult, title: str) -> None:
    """Write the fields of a method, ``motion.json`` last; ``folder`` is made if missing.

    Everything but ``stages``, the fields of coarser scales, is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _save_array(folder / "ddf.npy", result.ddf.numpy())
    for name in PER_PIXEL:
        values = getattr(result, name)
        if values is not None:
            _save_array(folder / f"{name}.npy", values.numpy())
    took = {"seconds": result.seconds, "processor_seconds": result.processor_seconds}
    with write_whole(folder / MOTION) as beside:
        beside.write_text(json.dumps({"title": title, **took}), encoding="utf-8")


def _save_array(path: Path, values: NDArray[Any]) -> None:
    with write_whole(path) as beside:
        np.save(beside, values)


def read_case(folder: Path) -> tuple[CineCase, ViewProbabilities, NDArray[np.bool_]]:
    """A cine that ``write_cine_cache`` wrote, its views' probabilities and its sector; frames are mapped, not read.

    Raises:
        InputError: it isn't there.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about.get("schema") != SCHEMA:
            raise ValueError("another version of this program wrote it")
        stored = about["probabilities"]
        energy = float("nan") if stored["energy"] is None else stored["energy"]  # JSON has no NaN
        probabilities = ViewProbabilities(stored["by_view"], energy)
        pictures = map_array(folder / "frames.npy")
        frames = pictures.float().div_(255) if pictures.dtype == torch.uint8 else pictures
        seen = np.load(folder / "seen.npy")
        mask = torch.from_numpy(np.load(folder / "mask.npy")) if (folder / "mask.npy").is_file() else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder.name}: no cached data of this cine ({type(error).__name__})") from error
    meta = about["meta"]
    for name in ("spacing", "zoom", "crop"):  # JSON has no tuples
        meta[name] = None if meta[name] is None else tuple(meta[name])
    pairs = frames.unfold(0, 2, 1).movedim(-1, 1)  # ``cine.read.frame_pairs`` as a view, so that nothing is read
    case = CineCase(CineEntry.from_dict(about["entry"]), pairs, mask, MetaTensor(frames[None], meta=meta))
    return case, probabilities, seen


def read_segmented(folder: Path) -> Segmented:
    """What ``write_segmented`` wrote.

    Raises:
        InputError: it isn't there.
    """
    try:
        about = json.loads((folder / SEGMENTATION).read_text(encoding="utf-8"))
        reasons = {int(t): reason for t, reason in about["reasons"].items()}
        areas, lines = np.load(folder / "areas.npy"), np.load(folder / "lines.npy")
        grid = about["grid"] and FrameGrid.from_dict(about["grid"])
        return Segmented(map_array(folder / "labels.npy"), areas, lines, reasons, grid)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder.name}: no cached wall of this cine ({type(error).__name__})") from error


def read_motion(folder: Path) -> RegistrationResult:
    """What ``write_motion`` wrote; fields are mapped, not read.

    Raises:
        InputError: it isn't there.
    """
    try:
        about = json.loads((folder / MOTION).read_text(encoding="utf-8"))
        about.pop("title")
        paths = {name: folder / f"{name}.npy" for name in PER_PIXEL}
        values: dict[str, Any] = {name: map_array(path) for name, path in paths.items() if path.is_file()}
        return RegistrationResult(map_array(folder / "ddf.npy"), **values, **about)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder.name}: no cached motion of this cine ({type(error).__name__})") from error


def read_cache(folder: Path, motion: Path) -> StrainCache:
    """Everything of a cine and of one of its methods.

    Args:
        folder: of ``write_cine_cache`` and ``write_segmented``.
        motion: of ``write_motion``.

    Raises:
        InputError: a part isn't there.
    """
    case, probabilities, seen = read_case(folder)
    result = read_motion(motion)
    return StrainCache(case, probabilities, read_segmented(folder), result, seen, {"motion": result.seconds})


def map_array(path: Path) -> Tensor:
    """An array of a file, mapped into memory: only what is looked at is read; nobody writes to it."""
    return torch.from_numpy(np.lib.format.open_memmap(path, mode="c"))


@contextmanager
def time_block(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of a part, which the case's bar names."""
    start = time.perf_counter()
    with show_step(part):
        yield
    seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - start
