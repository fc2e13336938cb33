"""End-diastole, end-systole and beats of a cine, from the cavity's area, from R waves, or as given by the user.

End-diastole is the frame of the largest cavity (a surrogate of mitral-valve closure) or the R wave, end-systole that of
the smallest cavity (a surrogate of aortic-valve closure), as in Voigt et al. 2015 (10.1093/ehjci/jeu184). A beat lasts
from one end-diastole to the next, or to the last frame of the cine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from cardiac_motion.core.errors import InputError

Array = NDArray[np.float64]

SHORTEST = 0.35  # shortest beat in seconds
SHORTEST_FRAMES = 8  # shortest beat in frames where times are unknown
PROMINENCE = 0.35  # fraction of the area's range: smaller peaks are not end-diastoles
MIN_CHANGE = 0.03  # fraction of the largest area: smaller changes are not a contraction
PLATEAU = 0.015  # fraction of the range: areas this close to the maximum belong to its plateau
REFILLED = 0.65  # fraction of the stroke that has refilled by the last frame of a complete beat
FIRST = 0.1  # fraction of the range: a first frame this close to the next peak is end-diastole
NEARLY = 0.7  # fraction of the range: with this much ejected by the last frame, the cine ends near end-systole
SLOW = 0.5  # fraction of the fastest ejection: slower ejection in the last frames means near end-systole


@dataclass(frozen=True)
class Beat:
    """One beat, in frames.

    Attributes:
        ed, es: end-diastole and end-systole; ``es`` equals ``end`` if the cine ends shortly before end-systole.
        end: last frame; the next end-diastole if the beat is complete.
        complete: whether the cine contains the whole beat.
    """

    ed: int
    es: int
    end: int
    complete: bool


def find_beats(
    areas: ArrayLike,
    times: Sequence[float] | None = None,
    r_waves: Sequence[float] | None = None,
    ed: int | None = None,
    es: int | None = None,
    name: str = "cine",
) -> list[Beat]:
    """Find the beats of a cine, in order of time.

    Args:
        areas: area of the cavity in each frame ``[T]``, in any unit.
        times: times of the frames in s.
        r_waves: times of R waves in s from the first frame; each is an end-diastole.
        ed, es: frames given by the user; one beat is then returned.
        name: name of the cine in error messages.

    Raises:
        InputError: ``ed`` and ``es`` are inconsistent or outside the cine, or the cine contains no complete systole.

    Examples:
        >>> areas = 1000 - 200 * (1 - np.cos(2 * np.pi * np.arange(51) / 25))  # two beats of 25 frames
        >>> find_beats(areas, list(0.04 * np.arange(51)))
        [Beat(ed=0, es=12, end=25, complete=True), Beat(ed=25, es=37, end=50, complete=True)]
    """
    values = np.asarray(areas, dtype=np.float64)
    last = len(values) - 1
    for phase, frame in (("ED", ed), ("ES", es)):
        if frame is not None and not 0 <= frame <= last:
            raise InputError(f"{name}: {phase} at frame {frame} is outside the cine, frames 0 to {last}")
    if ed is not None and es is not None and es <= ed:
        raise InputError(f"{name}: ED at frame {ed}, ES at frame {es}; end-systole must follow end-diastole")
    step = (times[-1] - times[0]) / last if times else None
    smooth = gaussian_filter1d(values, 0.02 / step if step else 1.0, mode="nearest")
    span = float(np.ptp(smooth))
    if span < MIN_CHANGE * smooth.max() and (ed is None or es is None):
        raise InputError(
            f"{name}: the cavity's area changes by only {span / smooth.max():.0%}, too little for a beat; "
            "give the frames with --ed and --es"
        )
    least_distance = max(2, round(SHORTEST / step)) if step else SHORTEST_FRAMES
    starts = _starts(smooth, span, least_distance)
    if r_waves and times and step:
        inside = [wave for wave in r_waves if times[0] - step <= wave <= times[-1] + step]
        starts = sorted({int(np.abs(np.asarray(times) - wave).argmin()) for wave in inside}) or starts
    if ed is not None or es is not None:
        return [_find_given_beat(smooth, span, starts, least_distance, ed, es, name)]
    beats = []
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        beat = _beat(smooth, span, start, following, es=None)
        if beat is not None:
            beats.append(beat)
    if not beats:
        raise InputError(
            f"{name}: contains no complete systole (end-diastole followed by end-systole); give --ed and --es"
        )
    return beats


def refine_end_systole(beat: Beat, areas: ArrayLike) -> Beat:
    """Move the end-systole of a beat to the smallest cavity inside the tracked endocardium.

    Frame-by-frame segmentation is unstable where the base is poorly visible; tracking is not. In a complete beat, whose
    cavity ends at its initial size, linear drift is removed first. A beat that ends before its end-systole is returned
    unchanged.

    Args:
        beat: beat as found before tracking.
        areas: area inside the tracked endocardium in the frames from ``beat.ed`` to ``beat.end``.

    Examples:
        >>> refine_end_systole(Beat(0, 2, 4, True), [100.0, 80.0, 70.0, 60.0, 100.0])
        Beat(ed=0, es=3, end=4, complete=True)
    """
    values = np.asarray(areas, dtype=np.float64)
    if beat.es == beat.end:
        return beat
    if beat.complete:
        values = values - np.linspace(0, values[-1] - values[0], len(values))
    es = beat.ed + 1 + int(values[1:-1].argmin())
    return replace(beat, es=es)


def _starts(smooth: Array, span: float, least_distance: int) -> list[int]:
    """Find end-diastoles: peaks of the area, each at the middle of its plateau.

    Cines are often cut at R waves: the first frame replaces a first peak that is hardly larger, and a peak at the last
    frame counts only if ``REFILLED`` of the stroke has refilled.
    """
    padded = np.pad(smooth, 1, constant_values=smooth.min() - 1)
    peaks, _ = find_peaks(padded, prominence=PROMINENCE * span, distance=least_distance, plateau_size=(1, None))
    peaks_at = {_middle(smooth, int(p) - 1, smooth[int(p) - 1] - PLATEAU * span) for p in peaks}
    first = min(peaks_at, default=0)
    if first and smooth[:first].min() >= smooth[first] - FIRST * span:
        peaks_at = peaks_at - {first} | {0}
    starts = sorted(peaks_at)
    if len(starts) > 1 and starts[-1] == len(smooth) - 1:
        smallest = smooth[starts[-2] :].min()
        if smooth[-1] - smallest < REFILLED * (smooth[starts[-2]] - smallest):
            starts.pop()
    return starts


def _middle(smooth: Array, at: int, level: float) -> int:
    """Return the middle of the run around ``at`` in which the area stays above ``level``.

    If the run reaches the cine's first or last frame, return that frame: cines are often cut at R waves.
    """
    first = last = at
    while first > 0 and smooth[first - 1] >= level:
        first -= 1
    while last < len(smooth) - 1 and smooth[last + 1] >= level:
        last += 1
    if first == 0:
        return 0
    return last if last == len(smooth) - 1 else (first + last) // 2


def _beat(smooth: Array, span: float, start: int, following: int | None, es: int | None) -> Beat | None:
    """Return the beat that begins at ``start``, or None if the cine ends before its end-systole."""
    end = len(smooth) - 1 if following is None else following
    if end - start < 2:
        return None
    if es is None:
        es = start + int(smooth[start : end + 1].argmin())
        if smooth[start] - smooth[es] < 0.5 * span:
            return None
        if following is None and es >= end - 1:
            falls = -np.diff(smooth[start : end + 1])
            if smooth[start] - smooth[es] < NEARLY * span or falls[-2:].mean() > SLOW * falls.max():
                return None
            es = end
    ejected = smooth[start] - smooth[es]
    back = smooth[end] - smooth[es : end + 1].min()
    return Beat(start, es, end, following is not None or bool(back >= REFILLED * ejected > 0))


def _find_given_beat(
    smooth: Array, span: float, starts: Sequence[int], least_distance: int, ed: int | None, es: int | None, name: str
) -> Beat:
    """Return the beat that contains the given end-diastole or end-systole."""
    if ed is None:
        assert es is not None
        before = [s for s in starts if s < es]
        if not before:
            raise InputError(f"{name}: no end-diastole before the given ES, frame {es}; give --ed as well")
        ed = before[-1]
    following = min((s for s in starts if s >= ed + least_distance and (es is None or s > es)), default=None)
    beat = _beat(smooth, span, ed, following, es)
    if beat is None:
        raise InputError(f"{name}: no end-systole after the given ED, frame {ed}; give --es as well")
    return beat
