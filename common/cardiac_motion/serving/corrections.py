"""A cine measured with what the user says of it: its edits, what they stand for, and what is kept between two of them.

Edits are a JSON object: ``ed`` and ``es`` (frames), ``view``, ``layer``, ``exclude_segments`` (names),
``ignore_checks``, ``drawn`` (frame to the wall's three lines in pixels of the file), ``spacing`` ((row, column) of the
file's pixels in mm) and ``frame_rate`` (frames/s). What is not there is automatic.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from numpy.typing import NDArray

from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.cine.scale import replace_frame_rate, replace_spacing
from cardiac_motion.cine.wall_files import check_drawn_walls
from cardiac_motion.core.errors import InputError
from cardiac_motion.serving.drawing import contour_content
from cardiac_motion.serving.requests import find_labelled_frame
from cardiac_motion.serving.settings import METHODS
from cardiac_motion.serving.volumes import label_of
from cardiac_motion.strain_pipeline.cache import StrainCache, measure_cached, read_cache, replace_entry
from cardiac_motion.strain_pipeline.quality.check_words import blocking_checks
from cardiac_motion.strain_pipeline.quality.checks import BEAT, Check, Gate, select_failed
from cardiac_motion.strain_pipeline.strain_case import StrainCase
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.strain_pipeline.tracking.track_cache import TrackCache
from cardiac_motion.strain_pipeline.tracking.wall import wall_in

BUNDLE = "bundles/strain_pipeline"
MEASURING = ("layer", "exclude_segments", "ignore_checks")  # edits that decide what is measured of a tracked wall
CASES = 6  # of which a process keeps what it has read and tracked

Array = NDArray[np.float64]
Edits = Mapping[str, Any]

_cache: OrderedDict[tuple[str, str, int], StrainCache] = OrderedDict()
_tracks: OrderedDict[str, TrackCache] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Corrected:
    """A measured cine, and why its numbers are not given.

    Attributes:
        study: what was measured.
        blocked: the failed checks for which no number is given; empty where there are none, or they are ignored.
    """

    study: StrainCase
    blocked: Sequence[Check]


@dataclass(frozen=True)
class OpenGate(Gate):
    """Measures what fails, so that its wall can be seen and corrected; the numbers are withheld elsewhere.

    Beats that fail are excluded where others remain, as by ``Gate``.
    """

    def stop(self, checks: Sequence[Check], source: str) -> None:
        """Nothing is stopped."""

    def select_beats(self, checks: Sequence[Check], beats: Sequence[int], source: str) -> list[bool]:
        """Which beats are given: those that pass; all where none does."""
        failed = {check.beat for check in select_failed(checks, BEAT)}
        good = [ed not in failed for ed in beats]
        return good if any(good) else [True] * len(beats)


def configure(method: str = "cpwc", **options: Any) -> Any:
    """The strain pipeline's configuration with a method of motion."""
    if method not in METHODS:
        raise InputError(f"method {method!r}: there are {', '.join(METHODS)}")
    files = config_files(BUNDLE, further=[f"motion_{method}.json"])
    return parse_config(files, {"mlflow": False, "output_dir": "output", **options})


@lru_cache(32)
def configure_measuring(method: str, options: str) -> tuple[Any, Any, Any]:
    """Measures, fusion and gate of a method and the bundle's options (JSON)."""
    parser = configure(method, **json.loads(options))
    gate = content(parser, "gate")
    return (
        content(parser, "measures"),
        content(parser, "fusion"),
        gate if gate.ignore_checks else OpenGate(gate.view_threshold),
    )


def measure_with_edits(folder: Path, method: str, edits: Edits) -> Corrected:
    """The strain of a case with the user's edits.

    Where no wall is drawn, the wall of a label that came with the cine is taken.

    Args:
        folder: of the case.
        method: of motion; its fields are there.
        edits: of the user.

    Raises:
        InputError: it can't be measured so.
    """
    cached = prepare(folder, method, edits)
    options = json.dumps(measure_options(edits), sort_keys=True)
    study = measure_cached(cached, *configure_measuring(method, options), track=tracks_of(folder))
    return Corrected(study, [] if edits.get("ignore_checks") else blocking_checks(study.checks))


def track_with_edits(folder: Path, method: str, edits: Edits) -> tuple[CineCase, tuple[TrackedBeat, ...]]:
    """A case and its tracked beats, without a measurement; arguments and errors as of ``measure_with_edits``."""
    cached = prepare(folder, method, edits)
    wall = wall_in(cached.case, cached.segmented, cached.drawn)
    fusion = configure_measuring(method, "{}")[1]
    return cached.case, tracks_of(folder)(cached.case, wall, cached.result, fusion, cached.seen)


def prepare(folder: Path, method: str, edits: Edits) -> StrainCache:
    """What is kept of a case, with the user's edits of its wall, view, end-diastole, end-systole and calibration."""
    cached = read_cache_once(folder, method)
    said = {name: edits.get(key) for name, key in (("ed", "ed"), ("es", "es"), ("assumed_view", "view"))}
    case = calibrate(cached.case, edits)
    drawn: Mapping[int, Array] = {}
    if edits.get("drawn"):
        zoom = case.cine.meta.get("zoom", (1.0, 1.0))
        drawn = check_drawn_walls(
            contour_content(edits["drawn"]), case.file_size, cached.segmented.lines.shape[2], zoom
        )
    else:
        said |= find_label(folder, edits)
    return replace(replace_entry(replace(cached, case=case), **said), drawn=drawn)


def read_cache_once(folder: Path, method: str) -> StrainCache:
    """What is kept of a case, read once as long as its fields are the same."""
    motion = folder / "motion" / method
    stamp = motion / "motion.json"
    key = (str(folder), method, stamp.stat().st_mtime_ns if stamp.is_file() else 0)
    if key not in _cache:
        _cache[key] = read_cache(folder / "kept", motion)
        while len(_cache) > CASES:
            _cache.popitem(last=False)
    _cache.move_to_end(key)
    return _cache[key]


def tracks_of(folder: Path) -> TrackCache:
    """The tracked beats of a case."""
    key = str(folder)
    if key not in _tracks:
        _tracks[key] = TrackCache(folder / "tracked")
        while len(_tracks) > CASES:
            _tracks.popitem(last=False)
    _tracks.move_to_end(key)
    return _tracks[key]


def calibrate(case: CineCase, edits: Edits) -> CineCase:
    """The case with the user's spacing and frame rate.

    Raises:
        InputError: they are impossible.
    """
    meta: Mapping[str, Any] = case.cine.meta
    if edits.get("spacing") is not None:
        meta = replace_spacing(meta, edits["spacing"])
    if edits.get("frame_rate") is not None:
        meta = replace_frame_rate(meta, float(edits["frame_rate"]), case.cine.shape[1])
    if meta is case.cine.meta:
        return case
    return replace(case, cine=MetaTensor(case.cine.as_tensor(), meta=dict(meta)))


def find_label(folder: Path, edits: Edits) -> dict[str, Any]:
    """The contour, and end-diastole, of the label that came with a cine; nothing where none did."""
    label = label_of({"case": str(folder)})
    if label is None:
        return {}
    return {"contour": label, **({} if edits.get("ed") is not None else find_labelled_frame(label))}


def measure_options(edits: Edits) -> dict[str, Any]:
    """The options of the bundle that decide what is measured of a tracked wall."""
    return {name: edits[name] for name in MEASURING if edits.get(name)}
