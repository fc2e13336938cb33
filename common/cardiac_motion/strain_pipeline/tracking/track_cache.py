"""Tracked beats that are kept: the same wall, end-diastole and motion are tracked once.

Layer, view, excluded segments and end-systole change what is measured of a tracked wall, not the wall. A beat is kept
under a digest of everything that its tracking reads: the lines of its frames, which of them were drawn, the frame that
it starts from, its first and last frame, the settings, the fields, and the program itself.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.tracking.motion import Fusion, TrackedBeat, track_beat, widen_sector
from cardiac_motion.strain_pipeline.tracking.wall import Wall, find_nearest_frame
from cardiac_motion.ventricle.beats import Beat, refine_end_systole
from cardiac_motion.ventricle.strain import cavity_areas

PACKAGES = ("strain_pipeline/tracking", "registration", "fields", "ventricle", "cine", "core")
"""Folders whose code decides how a wall is tracked."""

TrackBeat = Callable[..., TrackedBeat]


@cache
def code_stamp() -> str:
    """Digest of the code that tracks a wall: what another version kept is not taken."""
    root = Path(__file__).parents[2]
    found = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (root / package).glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


class TrackCache:
    """Tracks the beats of a wall, each once; callable as ``motion.track_wall``.

    Args:
        folder: where tracked beats are kept, a file each, for other processes too; None keeps them in memory alone.
        in_memory, in_folder: so many at most, the latest.
        track: what tracks a beat (``motion.track_beat``).

    Attributes:
        tracked: how many beats were really tracked.
    """

    def __init__(
        self,
        folder: Path | None = None,
        in_memory: int = 24,
        in_folder: int = 100,
        track: TrackBeat = track_beat,
    ) -> None:
        self.folder, self.in_memory, self.in_folder, self.track = folder, in_memory, in_folder, track
        self.beats: OrderedDict[str, TrackedBeat] = OrderedDict()
        self.tracked = 0

    def __call__(
        self,
        case: CineCase,
        wall: Wall,
        result: RegistrationResult,
        fusion: Fusion | None = None,
        seen: NDArray[np.bool_] | None = None,
    ) -> tuple[TrackedBeat, ...]:
        """The wall carried through each of its beats; arguments as of ``motion.track_wall``."""
        fusion, seen = fusion or Fusion(), widen_sector(case.cine) if seen is None else seen
        found = []
        for beat in wall.beats:
            key = beat_key(case, wall, result, beat, fusion)
            tracked = self._find(key)
            if tracked is None:
                tracked = self.track(case, wall, result, beat, fusion, seen)
                self.tracked += 1
                self._keep(key, tracked)
            refined = beat if case.entry.es is not None else refine_end_systole(beat, cavity_areas(tracked.lines[:, 0]))
            found.append(replace(tracked, beat=refined))
        return tuple(found)

    def _find(self, key: str) -> TrackedBeat | None:
        if key in self.beats:
            self.beats.move_to_end(key)
            return self.beats[key]
        path = self.folder and self.folder / f"{key}.npz"
        if path is None or not path.is_file():
            return None
        try:
            tracked = read_tracked(path)
        except (OSError, ValueError, KeyError, BadZipFile):
            return None
        self._remember(key, tracked)
        return tracked

    def _remember(self, key: str, tracked: TrackedBeat) -> None:
        self.beats[key] = tracked
        while len(self.beats) > self.in_memory:
            self.beats.popitem(last=False)

    def _keep(self, key: str, tracked: TrackedBeat) -> None:
        self._remember(key, tracked)
        if self.folder is None:
            return
        with write_whole(self.folder / f"{key}.npz") as beside:
            write_tracked(beside, tracked)
        kept = sorted(self.folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        for old in kept[: -self.in_folder]:
            old.unlink(missing_ok=True)


def beat_key(case: CineCase, wall: Wall, result: RegistrationResult, beat: Beat, fusion: Fusion) -> str:
    """The digest that a tracked beat is kept under: its end-systole is no part of it."""
    lines = np.ascontiguousarray(wall.lines[beat.ed : beat.end + 1])
    drawn = [t for t in wall.drawn if beat.ed <= t <= beat.end]
    known = np.asarray(np.isfinite(wall.lines).all((1, 2, 3)))
    start = drawn[0] if drawn else find_nearest_frame(known, beat)
    said = [beat.ed, beat.end, start, drawn, case.size, sorted(asdict(fusion).items()), code_stamp()]
    found = hashlib.sha256(repr(said).encode())
    found.update(lines.tobytes())
    found.update(field_digest(result, beat))
    return found.hexdigest()[:40]


def field_digest(result: RegistrationResult, beat: Beat) -> bytes:
    """A digest of the fields of a beat, of every 16th pixel: two methods, or two settings of one, differ everywhere."""
    found = hashlib.sha256()
    for fields in (result.ddf, result.inconsistency):
        if fields is not None:
            part = fields[beat.ed : beat.end, ..., ::16, ::16]
            found.update(np.ascontiguousarray(part.numpy()).tobytes())
    return found.digest()


def write_tracked(path: Path, tracked: TrackedBeat) -> None:
    """Write a tracked beat as NumPy's archive."""
    beat = tracked.beat
    arrays: dict[str, Any] = {
        name: value
        for name in ("lines", "lncc2", "fb_error", "outside", "deviation", "line_sd")
        if (value := getattr(tracked, name)) is not None
    }
    np.savez(path, beat=np.array([beat.ed, beat.es, beat.end, beat.complete]), **arrays)


def read_tracked(path: Path) -> TrackedBeat:
    """What ``write_tracked`` wrote."""
    with np.load(path) as stored:
        ed, es, end, complete = (int(value) for value in stored["beat"])
        arrays = {name: stored[name] if name in stored else None for name in ("fb_error", "deviation", "line_sd")}
        beat = Beat(ed, es, end, bool(complete))
        return TrackedBeat(beat, stored["lines"], stored["lncc2"], outside=stored["outside"], **arrays)
