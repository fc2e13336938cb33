"""End-diastole, end-systole and beats of a cine, from the cavity's area, from R waves, or as they are given.

End-diastole is the largest cavity (a surrogate of mitral-valve closure) or the R wave, end-systole the smallest one (a
surrogate of aortic-valve closure), as Voigt et al. 2015 (10.1093/ehjci/jeu184) name them. A beat goes from one
end-diastole to the next, or to the last frame where the cine ends before.
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

SHORTEST = 0.35  # s from one end-diastole to the next
SHORTEST_FRAMES = 8  # the same where times are unknown
PROMINENCE = 0.35  # of the range of the area: smaller bumps are no beat
LEAST_CHANGE = 0.03  # of the largest area: less is no contraction
PLATEAU = 0.015  # of the range: areas so near to the largest are as large
WHOLE = 0.65  # of what was ejected has come back by the last frame of a whole beat
FIRST = 0.1  # of the range: a first frame so near to the largest area that follows is end-diastole
NEARLY = 0.7  # of the range of the area: so much ejected by the last frame is near end-systole
SLOW = 0.5  # of the fastest ejection: a cavity that shrinks no faster in the last frames is near end-systole


@dataclass(frozen=True)
class Beat:
    """One beat, in frames.

    Attributes:
        ed, es: end-diastole and end-systole; ``es`` is ``end`` where the cine ends a little before end-systole.
        end: last frame; the next end-diastole where the beat is whole.
        complete: whether the cine holds the beat to its end.
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
    """The beats of a cine, in order of time.

    Args:
        areas: of the cavity in each frame, any unit, ``[T]``.
        times: of the frames, s.
        r_waves: times of R waves, s from the first frame; each is an end-diastole.
        ed, es: given by the user; there is one beat then.
        name: what an error calls the cine.

    Raises:
        InputError: ``ed`` and ``es`` contradict each other or the cine, or no whole systole is in it.

    Examples:
        >>> areas = 1000 - 200 * (1 - np.cos(2 * np.pi * np.arange(51) / 25))  # two beats of 25 frames
        >>> find_beats(areas, list(0.04 * np.arange(51)))
        [Beat(ed=0, es=12, end=25, complete=True), Beat(ed=25, es=37, end=50, complete=True)]
    """
    values = np.asarray(areas, dtype=np.float64)
    last = len(values) - 1
    for word, frame in (("ED", ed), ("ES", es)):
        if frame is not None and not 0 <= frame <= last:
            raise InputError(f"{name}: {word} at frame {frame}, the cine has frames 0 to {last}")
    if ed is not None and es is not None and es <= ed:
        raise InputError(f"{name}: ED at frame {ed} and ES at frame {es}; end-systole comes after end-diastole")
    step = (times[-1] - times[0]) / last if times else None
    smooth = gaussian_filter1d(values, 0.02 / step if step else 1.0, mode="nearest")
    span = float(np.ptp(smooth))
    if span < LEAST_CHANGE * smooth.max() and (ed is None or es is None):
        raise InputError(
            f"{name}: the cavity's area changes by {span / smooth.max():.0%} only, no beat is seen; give --ed and --es"
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
        found = _beat(smooth, span, start, following, es=None)
        if found is not None:
            beats.append(found)
    if not beats:
        raise InputError(
            f"{name}: holds no whole systole (end-diastole, then end-systole): half a beat; give --ed and --es"
        )
    return beats


def refine_end_systole(beat: Beat, areas: ArrayLike) -> Beat:
    """The beat with its end-systole at the smallest cavity inside the tracked endocardium.

    What is segmented anew in each frame jumps about where the base is hardly seen; what is tracked does not. Of a whole
    beat, whose cavity ends as it began, an even drift is taken away first. A beat that ends before its end-systole
    stays as it is.

    Args:
        beat: as found before it was tracked.
        areas: inside the tracked endocardium, of the frames from ``beat.ed`` to ``beat.end``.

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
    """End-diastoles: peaks of the area, each taken in the middle of its plateau; cines are cut at R waves, so the first
    frame stands for a peak little above it, and the last one for a peak where ``WHOLE`` of the stroke has come back.
    """
    padded = np.pad(smooth, 1, constant_values=smooth.min() - 1)
    peaks, _ = find_peaks(padded, prominence=PROMINENCE * span, distance=least_distance, plateau_size=(1, None))
    found = {_middle(smooth, int(p) - 1, smooth[int(p) - 1] - PLATEAU * span) for p in peaks}
    first = min(found, default=0)
    if first and smooth[:first].min() >= smooth[first] - FIRST * span:
        found = found - {first} | {0}
    starts = sorted(found)
    if len(starts) > 1 and starts[-1] == len(smooth) - 1:
        least = smooth[starts[-2] :].min()
        if smooth[-1] - least < WHOLE * (smooth[starts[-2]] - least):
            starts.pop()
    return starts


def _middle(smooth: Array, at: int, level: float) -> int:
    """The middle of the run around ``at`` in which the area stays above ``level``; where the run is cut off by the
    cine's first or last frame, that frame: cines are cut at R waves.
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
    """The beat that begins at ``start``, or None where the cine ends before its end-systole."""
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
    return Beat(start, es, end, following is not None or bool(back >= WHOLE * ejected > 0))


def _find_given_beat(
    smooth: Array, span: float, starts: Sequence[int], least_distance: int, ed: int | None, es: int | None, name: str
) -> Beat:
    """The one beat that a given end-diastole or end-systole belongs to."""
    if ed is None:
        assert es is not None
        before = [s for s in starts if s < es]
        if not before:
            raise InputError(f"{name}: no end-diastole before the given ES, frame {es}; give --ed too")
        ed = before[-1]
    following = min((s for s in starts if s >= ed + least_distance and (es is None or s > es)), default=None)
    found = _beat(smooth, span, ed, following, es)
    if found is None:
        raise InputError(f"{name}: no end-systole after the given ED, frame {ed}: half a beat; give --es too")
    return found
