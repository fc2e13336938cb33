"""Measurement of a cine with the user's edits, and what is cached between two edits.

Edits are a JSON object: ``ed`` and ``es`` (frames), ``view``, ``layer``, ``exclude_segments`` (names),
``ignore_checks``, ``drawn`` (frame to the wall's three lines in pixels of the file), ``spacing`` ((row, column) of the
file's pixels in mm) and ``frame_rate`` (frames/s). Missing values are determined automatically.
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
from cardiac_motion.serving.volumes import find_uploaded_label
from cardiac_motion.strain_pipeline.cache import StrainCache, measure_cached, read_cache, replace_entry
from cardiac_motion.strain_pipeline.quality.check_words import blocking_checks
from cardiac_motion.strain_pipeline.quality.checks import BEAT, Check, Gate, select_failed
from cardiac_motion.strain_pipeline.strain_case import StrainCase
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.strain_pipeline.tracking.track_cache import TrackCache
from cardiac_motion.strain_pipeline.tracking.wall import wall_in

BUNDLE = "bundles/strain_pipeline"
MEASURING = ("layer", "exclude_segments", "ignore_checks")  # edits that affect only the measurement of a tracked wall
CASES = 6  # cached per process

Array = NDArray[np.float64]
Edits = Mapping[str, Any]

_cache: OrderedDict[tuple[str, str, int], StrainCache] = OrderedDict()
_tracks: OrderedDict[str, TrackCache] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Corrected:
    """Measured cine, and the checks that withhold its results.

    Attributes:
        study: measured cine.
        blocked: failed checks because of which no result is given; empty if none failed or they are ignored.
    """

    study: StrainCase
    blocked: Sequence[Check]


@dataclass(frozen=True)
class OpenGate(Gate):
    """Gate that also measures cines that fail, so that the wall can be shown and corrected; results are withheld later.

    Beats that fail are excluded if others remain, as in ``Gate``.
    """

    def stop(self, checks: Sequence[Check], source: str) -> None:
        """Do nothing."""

    def select_beats(self, checks: Sequence[Check], beats: Sequence[int], source: str) -> list[bool]:
        """Return whether to use each beat: those that pass, or all if none does."""
        failed = {check.beat for check in select_failed(checks, BEAT)}
        good = [ed not in failed for ed in beats]
        return good if any(good) else [True] * len(beats)


def configure(method: str = "cpwc", **options: Any) -> Any:
    """Return the strain pipeline's configuration with a motion method."""
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; use one of {', '.join(METHODS)}")
    files = config_files(BUNDLE, further=[f"motion_{method}.json"])
    return parse_config(files, {"mlflow": False, "output_dir": "output", **options})


@lru_cache(32)
def configure_measuring(method: str, options: str) -> tuple[Any, Any, Any]:
    """Return measures, fusion and gate for a method and the bundle's options (JSON)."""
    parser = configure(method, **json.loads(options))
    gate = content(parser, "gate")
    return (
        content(parser, "measures"),
        content(parser, "fusion"),
        gate if gate.ignore_checks else OpenGate(gate.view_threshold),
    )


def measure_with_edits(folder: Path, method: str, edits: Edits) -> Corrected:
    """Measure the strain of a case with the user's edits.

    If no wall is drawn, that of a label uploaded with the cine is used.

    Args:
        folder: folder of the case, which contains the fields of the method.
        method: motion method.
        edits: the user's edits.

    Raises:
        InputError: the case cannot be measured with these edits.
    """
    cached = prepare(folder, method, edits)
    options = json.dumps(measure_options(edits), sort_keys=True)
    study = measure_cached(cached, *configure_measuring(method, options), track=open_track_cache(folder))
    return Corrected(study, [] if edits.get("ignore_checks") else blocking_checks(study.checks))


def track_with_edits(folder: Path, method: str, edits: Edits) -> tuple[CineCase, tuple[TrackedBeat, ...]]:
    """Return a case and its tracked beats without measuring; arguments and errors as in ``measure_with_edits``."""
    cached = prepare(folder, method, edits)
    wall = wall_in(cached.case, cached.segmented, cached.drawn)
    fusion = configure_measuring(method, "{}")[1]
    return cached.case, open_track_cache(folder)(cached.case, wall, cached.result, fusion, cached.seen)


def prepare(folder: Path, method: str, edits: Edits) -> StrainCache:
    """Return the cached case with the user's edits of wall, view, end-diastole, end-systole and calibration."""
    cached = read_cache_once(folder, method)
    fields = {name: edits.get(key) for name, key in (("ed", "ed"), ("es", "es"), ("assumed_view", "view"))}
    case = calibrate(cached.case, edits)
    drawn: Mapping[int, Array] = {}
    if edits.get("drawn"):
        zoom = case.cine.meta.get("zoom", (1.0, 1.0))
        drawn = check_drawn_walls(
            contour_content(edits["drawn"]), case.file_size, cached.segmented.lines.shape[2], zoom
        )
    else:
        fields |= find_label(folder, edits)
    return replace(replace_entry(replace(cached, case=case), **fields), drawn=drawn)


def read_cache_once(folder: Path, method: str) -> StrainCache:
    """Return the cached data of a case; they are read once as long as the fields are unchanged."""
    motion = folder / "motion" / method
    stamp = motion / "motion.json"
    key = (str(folder), method, stamp.stat().st_mtime_ns if stamp.is_file() else 0)
    if key not in _cache:
        _cache[key] = read_cache(folder / "kept", motion)
        while len(_cache) > CASES:
            _cache.popitem(last=False)
    _cache.move_to_end(key)
    return _cache[key]


def open_track_cache(folder: Path) -> TrackCache:
    """Return the cache of a case's tracked beats."""
    key = str(folder)
    if key not in _tracks:
        _tracks[key] = TrackCache(folder / "tracked")
        while len(_tracks) > CASES:
            _tracks.popitem(last=False)
    _tracks.move_to_end(key)
    return _tracks[key]


def calibrate(case: CineCase, edits: Edits) -> CineCase:
    """Return the case with the user's spacing and frame rate.

    Raises:
        InputError: a value is impossible.
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
    """Return the contour and end-diastole of the label uploaded with a cine; empty if there is none."""
    label = find_uploaded_label({"case": str(folder)})
    if label is None:
        return {}
    return {"contour": label, **({} if edits.get("ed") is not None else find_labelled_frame(label))}


def measure_options(edits: Edits) -> dict[str, Any]:
    """Return the bundle's options that affect only the measurement of a tracked wall."""
    return {name: edits[name] for name in MEASURING if edits.get(name)}
