"""What must hold before a cine's strain is given: named checks of view, wall, tracking and time course.

A check has a value, limits and a price: a case that fails one is not measured, a beat that fails one is left out, and a
number that rests on what failed is not given. The limits are, widened, the reach of what experts drew in 450
four-chamber frames of CAMUS (Leclerc et al. 2019; lengths, places, tilt, thickness), of 400 patients' contours
(``cardiac_motion.ventricle.shape``) and, of the time course, of physiology.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.measures.beat_strain import FASTEST_HEART, SLOWEST_HEART, BeatStrain, Numbers
from cardiac_motion.strain_pipeline.measures.measures import Measured, mean
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.strain_pipeline.tracking.wall import Wall
from cardiac_motion.ventricle.mesh import intersect_lines
from cardiac_motion.ventricle.shape import read_shape_prior

Array = NDArray[np.float64]

FORCE = "--ignore_checks True measures all the same"
DRIFT, MUCH_DRIFT = "drift against GLS", 0.15  # a share of GLS from which on the reader is warned
BASE, FAR_BASE = "base carried against segmented", 0.08  # of the length, likewise
CASE, BEAT, TIMES = "the case", "the beat", "heart rate and times"
EMPTIED = "ejection fraction tracked against segmented"
NOTHING = "nothing"  # it is said, and measured all the same
LIMITS: Mapping[str, tuple[float | None, float | None, str, str]] = {
    # name: least, greatest, unit, what it costs
    "frames with a wall": (0.5, None, "of the beat's frames", CASE),
    "shape of the wall": (None, 4.0, "standard deviations of experts' contours", CASE),
    "apex towards the probe": (None, 45.0, "degrees between the long axis and the beam", CASE),
    "length against the sector's depth": (0.25, 0.85, "of the depth", CASE),
    "apex below the probe": (0.01, 0.45, "of the depth", CASE),
    "thickness of the wall": (0.06, 0.5, "of the length", CASE),
    "change of the cavity's area": (0.05, 0.85, "of the largest", CASE),
    "crossings of the lines": (None, 0.0, "", BEAT),
    "shape of the tracked wall": (None, 6.0, "standard deviations of experts' contours", BEAT),
    DRIFT: (None, 0.3, "of GLS before compensation", BEAT),
    "cavity carried against segmented": (0.75, None, "Dice at end-systole", BEAT),
    BASE: (None, 0.15, "of the length, at end-systole", BEAT),
    EMPTIED: (None, 16.0, "percentage points apart", BEAT),
    "systole": (0.25, 0.55, "of the beat", BEAT),
    "frames in systole": (4.0, None, "", BEAT),
    "heart rate": (SLOWEST_HEART, FASTEST_HEART, "beats/min", TIMES),
}


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: of it; a key of ``LIMITS``, ``view`` or ``like what was trained on``.
        value: the measured value; None if the cine does not provide it: the check is then not made.
        minimum, maximum: limits, inclusive; None where there is none.
        unit: of the value and the limits.
        consequence: what isn't given where it fails.
        beat: first frame of the beat it is of; None is the case.
    """

    name: str
    value: float | None
    minimum: float | None
    maximum: float | None
    unit: str
    consequence: str
    beat: int | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the value is within the limits; a value that is not finite fails. None if there is no value."""
        if self.value is None:
            return None
        low, high = self.minimum, self.maximum
        return bool(
            np.isfinite(self.value) and (low is None or self.value >= low) and (high is None or self.value <= high)
        )

    def describe(self) -> str:
        """The check in words: name, value, limits.

        Examples:
            >>> check("systole", 0.7, beat=3).describe()
            'systole 0.7 of the beat (from frame 3; limits 0.25 to 0.55)'
        """
        low, high = self.minimum, self.maximum
        limits = f"limits {low:g} to {high:g}" if low is not None and high is not None else ""
        if not limits:
            limits = f"at least {low:g}" if low is not None else "no limit" if high is None else f"at most {high:g}"
        value = "unknown" if self.value is None else f"{self.value:.3g}"
        of = "" if self.beat is None else f"from frame {self.beat}; "
        return f"{self.name} {value}{' ' if self.unit else ''}{self.unit} ({of}{limits})"

    @property
    def status(self) -> str:
        """``passed``, ``FAILED`` or ``not checked``."""
        return {True: "passed", False: "FAILED", None: "not checked"}[self.passed]

    def row(self) -> dict[str, Any]:
        """The entry of ``summary.json``; ``passed`` is null for a check that was not made."""
        found = asdict(self)
        return {"min": found.pop("minimum"), "max": found.pop("maximum"), **found, "passed": self.passed}


def check(name: str, value: float | None, beat: int | None = None) -> Check:
    """A check of ``LIMITS``."""
    minimum, maximum, unit, consequence = LIMITS[name]
    return Check(name, None if value is None else float(value), minimum, maximum, unit, consequence, beat)


def select_failed(checks: Sequence[Check], consequence: str | None = None) -> list[Check]:
    """Return the checks that fail, of one consequence or of all; a check without a value does not fail."""
    return [c for c in checks if c.passed is False and consequence in (None, c.consequence)]


@dataclass(frozen=True)
class Gate:
    """What must hold before the strain of a cine is given.

    Attributes:
        view_threshold: least probability of the view.
        ignore_checks: measure all the same, and mark every page.
    """

    view_threshold: float = 0.5
    ignore_checks: bool = False

    def stop(self, checks: Sequence[Check], source: str) -> None:
        """Stop a case that fails a check of the case.

        Raises:
            InputError: it does, and isn't forced.
        """
        out = select_failed(checks, CASE)
        if out and not self.ignore_checks:
            raise InputError(f"{source}: not measured: {'; '.join(c.describe() for c in out)}; {FORCE}")

    def select_beats(self, checks: Sequence[Check], beats: Sequence[int], source: str) -> list[bool]:
        """Which beats, by their first frames, are given.

        Raises:
            InputError: none.
        """
        if self.ignore_checks:
            return [True] * len(beats)
        out = select_failed(checks, BEAT)
        good = [not any(c.beat == ed for c in out) for ed in beats]
        if not any(good):
            raise InputError(f"{source}: no beat can be trusted: {'; '.join(c.describe() for c in out)}; {FORCE}")
        return good

    def warnings(self, checks: Sequence[Check]) -> list[str]:
        """What to say of the checks that fail."""
        left = {
            NOTHING: "the contour given is measured all the same",
            CASE: "measured by force",
            BEAT: "measured by force" if self.ignore_checks else "the beat is left out",
        }
        said = [
            f"Check failed, {left.get(c.consequence, c.consequence + ' are not given')}: {c.describe()}."
            for c in select_failed(checks)
        ]
        unknown = dict.fromkeys(c.name for c in checks if c.passed is None)
        if unknown:
            said.append(f"Not checked, because there is no value: {', '.join(unknown)}.")
        for c in checks:
            if c.name == DRIFT and c.passed and c.value is not None and c.value > MUCH_DRIFT:
                said.append(f"The wall drifts by {c.value:.0%} of its shortening over the beat from frame {c.beat}.")
            if c.name == BASE and c.passed and c.value is not None and c.value > FAR_BASE:
                said.append(
                    f"The beat from frame {c.beat}: at end-systole the tracked base lies {c.value:.0%} of the length "
                    "from the segmented one; basal segments and GLS may be far off."
                )
        return said


def remove_times(measured: Measured, checks: Sequence[Check]) -> Measured:
    """The same without heart rate and times of the beats whose heart rate is impossible."""
    out = {c.beat for c in select_failed(checks, TIMES)}
    if not out:
        return measured
    beats = []
    for beat in measured.beats:
        if beat["ed"] in out:
            segments = [{**row, **_blank_timed(row)} for row in beat["segments"]]
            beat = cast(BeatStrain, {**beat, "numbers": _blank_timed(beat["numbers"]), "segments": segments})
        beats.append(beat)
    means = {key: mean([beat["numbers"][key] for beat in beats]) for key in measured.means}
    return replace(measured, beats=tuple(beats), means=means)


def _blank_timed(numbers: Mapping[str, Any]) -> Numbers:
    timed = ("_rate", "_ms")
    return {key: None if key.endswith(timed) else value for key, value in numbers.items()}


def wall_checks(wall: Wall, seen: NDArray[np.bool_]) -> list[Check]:
    """Whether a segmented or drawn wall can be a left ventricle seen from its apex.

    Args:
        wall: its lines and beats; the frames of all beats count together, by their medians. Of a drawn wall the frames
            that it was drawn in count alone, and the cavity's area is not checked: it is that of the segmentation.
        seen: the sector, ``[H, W]``.
    """
    frames = np.unique(np.concatenate([np.arange(beat.ed, beat.end + 1) for beat in wall.beats]))
    if wall.drawn:
        frames = np.intersect1d(frames, wall.drawn)
    lines = wall.lines[frames]
    known = np.isfinite(lines).all((1, 2, 3))
    endo, epi = lines[known, 0], lines[known, 2]
    base, apex, length = axis_of(endo)
    rows, columns = np.nonzero(seen)
    depth = float(rows.max() - rows.min())
    probe = np.array([rows.min(), np.median(columns[rows <= rows.min() + 0.03 * depth])])
    beam = (base + apex) / 2 - probe
    inward = base - apex
    cosine = (inward * beam).sum(-1) / np.maximum(np.linalg.norm(inward, axis=-1) * np.linalg.norm(beam, axis=-1), 1e-9)
    areas = wall.areas[frames]
    change = 1 - areas.min() / areas.max() if areas.max() > 0 else 0.0
    values = {
        "frames with a wall": known.mean(),
        "shape of the wall": np.median(read_shape_prior().distances(endo)),
        "apex towards the probe": np.degrees(np.arccos(np.clip(np.median(cosine), -1, 1))),
        "length against the sector's depth": np.median(length) / depth,
        "apex below the probe": np.median(np.linalg.norm(apex - probe, axis=-1)) / depth,
        "thickness of the wall": np.median(np.linalg.norm(epi - endo, axis=-1)) / np.median(length),
        "change of the cavity's area": None if wall.drawn else change,
    }
    return [check(name, value) for name, value in values.items()]


def tracking_checks(
    tracked: TrackedBeat, measured: BeatStrain, wall: Wall, trusted: bool, drawn: bool = False
) -> list[Check]:
    """Whether the wall was carried through a beat as the frames show it, and the beat lasts as one does.

    Args:
        tracked, measured: of one beat.
        wall: segmented.
        trusted: whether frame times are those of the acquisition.
        drawn: whether the contour is the user's, who may know better than the segmentation: what differs from that is
            said and costs nothing.
    """
    ed, es, end = measured["ed"], measured["es"], measured["end"]
    endo, numbers = tracked.lines[:, 0], measured["numbers"]
    size = axis_of(endo[:1])[2][0]
    cavity = wall.frame_labels(slice(es, es + 1))[0].numpy() == 1
    inside = polygon2mask(cavity.shape, endo[es - ed])
    both = inside.sum() + cavity.sum()
    segmented = wall.lines[es, 0]
    base = np.linalg.norm(endo[es - ed][[0, -1]] - segmented[[0, -1]], axis=1).mean() / size
    raw, drift = numbers["gls_uncompensated"], numbers["drift"]
    fractions = numbers["tracked_ejection_fraction"], numbers["ejection_fraction"]
    values: dict[str, float | None] = {
        "crossings of the lines": sum(crossings(line) for line in (endo[0], endo[es - ed], endo[-1])),
        "shape of the tracked wall": read_shape_prior().distances(endo).max(),
        DRIFT: None if drift is None or not raw else abs(drift / raw),
        "cavity carried against segmented": None if not cavity.any() else 2 * (inside & cavity).sum() / both,
        BASE: base if np.isfinite(base) else None,
        EMPTIED: None if fractions[0] is None or fractions[1] is None else abs(fractions[0] - fractions[1]),
        "systole": (es - ed) / (end - ed) if measured["complete_beat"] else None,
        "frames in systole": es - ed,
        "heart rate": numbers["heart_rate"] if trusted else None,
    }
    found = [check(name, value, ed) for name, value in values.items()]
    return [replace(c, consequence=NOTHING) if drawn and c.name.endswith("against segmented") else c for c in found]


def axis_of(endo: Array) -> tuple[Array, Array, Array]:
    """Middle of the base ``[N, 2]``, apex ``[N, 2]`` and length ``[N]`` of contours ``[N, P, 2]``.

    Examples:
        >>> base, apex, length = axis_of(np.array([[[60.0, 20.0], [0.0, 40.0], [60.0, 60.0]]]))
        >>> base.tolist(), apex.tolist(), length.tolist()
        ([[60.0, 40.0]], [[0.0, 40.0]], [60.0])
    """
    base = endo[:, [0, -1]].mean(1)
    away = np.linalg.norm(endo - base[:, None], axis=-1)
    far = away.argmax(1)
    every = np.arange(len(endo))
    return base, endo[every, far], away[every, far]


def crossings(line: Array) -> int:
    """How often a polyline ``[P, 2]`` crosses itself.

    Examples:
        >>> crossings(np.array([[0.0, 0.0], [2.0, 2.0], [2.0, 0.0], [0.0, 2.0]])), crossings(np.eye(2))
        (1, 0)
    """
    start, step = line[:-1], np.diff(line, axis=0)
    first, second = intersect_lines(start, step, start, step)
    hit = (first > 0) & (first < 1) & (second > 0) & (second < 1)
    return int(np.triu(hit, 2).sum())
