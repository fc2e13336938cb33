"""How uncertain the numbers of a beat are: intervals from sampled tracks, walls and frames.

A sample moves the tracked lines by errors that are alike along the wall: of the track, as large as the filter says
(``TrackedBeat.deviation``), which grow from end-diastole on; of the wall, as large as segmented lines lie across the
tracked ones (``line_sd``), the same in every frame; and it takes end-diastole up to a frame later, end-systole up to
one to either side. What no sampling shows, that the motion falls short or goes too far on a whole heart, is ``METHOD``:
the root mean square error on simulated patients whose motion is known. Both add as variances; intervals hold 90 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.ventricle import strain

Array = NDArray[np.float64]
Interval = tuple[float, float]

QUANTILE = 1.645  # standard deviations to either side that hold 90 %
SAMPLES = 100
SHARE = 0.25  # of the deviations that filter and segmentation tell: with all of them, every interval held the truth
ALIKE = 0.1  # standard deviation of the Gaussian along the wall over which errors are alike, part of the line
METHOD: Mapping[str, float] = {"gls": 2.8, "segment": 6.1, "long_axis_strain": 2.8, "ejection_fraction": 7.5}
"""Root mean square errors in points of %. Of strain, of two simulated patients in five scenarios, less one that was
stopped. Of ejection fraction, of 48 of the 50 patients of CAMUS's valid list, single frames against experts' contours;
the other two, whose borders are lost at end-diastole, are more than 25 points off."""
REPEAT: Mapping[str, float] = {name: float(np.sqrt(2)) * error for name, error in METHOD.items()}
"""Standard deviation of the difference of two measurements' method errors: as if they had nothing in common."""


def sampling_variance(interval: Interval, method: float) -> float:
    """The variance of a value's own sampling, from its 90 % interval and the method's error.

    Examples:
        >>> round(sampling_variance((-20 - 1.645 * 2.5, -20 + 1.645 * 2.5), 2.0), 3)
        2.25
    """
    return max(((interval[1] - interval[0]) / 2 / QUANTILE) ** 2 - method**2, 0.0)


def errors_along(points: int, count: int, rng: np.random.Generator) -> Array:
    """Gaussian errors of unit variance that are alike along a line: ``[count, P, 2]``.

    Examples:
        >>> found = errors_along(120, 400, np.random.default_rng(0))
        >>> found.shape, bool(abs(found.std() - 1) < 0.1)
        ((400, 120, 2), True)
    """
    sigma = ALIKE * points
    margin = int(4 * sigma)
    white = rng.standard_normal((count, points + 2 * margin, 2))
    smooth = gaussian_filter1d(white, sigma, axis=1)[:, margin : margin + points]
    return np.asarray(smooth * np.sqrt(2 * sigma * np.sqrt(np.pi)))


def sample_lines(tracked: TrackedBeat, layer: int, frames: Sequence[int], count: int, seed: int = 0) -> Array:
    """Samples of one line at some frames of a beat: ``[count, len(frames), P, 2]`` pixels.

    Args:
        tracked: with ``deviation`` and ``line_sd``.
        layer: 0 endocardium, 1 mid-wall, 2 epicardium.
        frames: from end-diastole.
        count: of samples.
        seed: of the errors.
    """
    assert tracked.deviation is not None and tracked.line_sd is not None
    rng, points = np.random.default_rng(seed), tracked.lines.shape[2]
    track, wall = (errors_along(points, count, rng) for _ in range(2))
    deviation = SHARE * tracked.deviation[list(frames), layer][None, :, :, None]
    moved = tracked.lines[list(frames), layer][None] + deviation * track[:, None]
    return np.asarray(moved + SHARE * tracked.line_sd[layer][None, None, :, None] * wall[:, None])


def intervals(
    tracked: TrackedBeat,
    numbers: Mapping[str, float | None],
    segments: Sequence[Mapping[str, Any]],
    layer: int,
    steps: Sequence[float],
    compensated: bool,
    count: int = SAMPLES,
) -> tuple[dict[str, Interval], list[Interval | None]]:
    """The 90 % intervals of a beat's end-systolic numbers and segments, %.

    Args:
        tracked: the beat, with ``deviation`` and ``line_sd``; without them there are no intervals.
        numbers: ``gls`` and ``long_axis_strain`` as measured; None has no interval.
        segments: rows with ``name``, ``rejected`` and ``end_systolic``.
        layer: whose strain ``gls`` and the segments are.
        steps: (row, column) size of a pixel.
        compensated: whether an even drift was taken away.
        count: of samples.
    """
    if tracked.deviation is None or tracked.line_sd is None:
        return {}, [None] * len(segments)
    beat, last = tracked.beat, len(tracked.lines) - 1
    es, end = beat.es - beat.ed, beat.end - beat.ed
    frames = [0, min(1, last), max(es - 1, 0), es, min(es + 1, last), end]
    rng = np.random.default_rng(1)
    first, later = rng.integers(0, 2, count) * rng.integers(0, 2, count), rng.integers(2, 5, count)
    every = np.arange(count)

    def shortening(sizes: Array) -> Array:
        """Strain ``[count]`` of sizes ``[count, frames]``, %."""
        raw = 100 * (sizes[every, later] / sizes[every, first] - 1)
        drift = 100 * (sizes[:, -1] / sizes[every, first] - 1) if compensated else 0.0
        return np.asarray(raw - drift * es / max(end, 1))

    lines = sample_lines(tracked, layer, frames, count)
    endo = lines if layer == 0 else sample_lines(tracked, 0, frames, count)
    flat = lines.reshape(-1, *lines.shape[2:])
    lengths = strain.segment_lengths(flat, steps, len(segments)).reshape(len(segments), count, len(frames))
    kept = [k for k, row in enumerate(segments) if not row["rejected"]]
    found: dict[str, Array] = {}
    if kept:
        found["gls"] = shortening(lengths[kept].sum(0))
    axes = np.stack([strain.long_axis(one, steps) for one in endo])
    found["long_axis_strain"] = shortening(axes)
    whole = {
        name: interval(value, float(samples.std()), METHOD[name])
        for name, samples in found.items()
        if (value := numbers.get(name)) is not None
    }
    parts = [
        None
        if row["end_systolic"] is None
        else interval(row["end_systolic"], float(shortening(lengths[k]).std()), METHOD["segment"])
        for k, row in enumerate(segments)
    ]
    return whole, parts


def interval(value: float, deviation: float, method: float) -> Interval:
    """The 90 % interval around a value of a sampled deviation and the method's error.

    Examples:
        >>> interval(-20.0, 0.0, 2.0)
        (-23.29, -16.71)
    """
    half = QUANTILE * float(np.hypot(deviation, method))
    return value - half, value + half


def interval_of_mean(values: Sequence[Interval], spread: float, method: float) -> Interval:
    """The interval of the mean of several beats or views: sampled errors are their own, the method's is shared.

    Args:
        values: intervals of each.
        spread: standard deviation of the values themselves; 0 of one.
        method: error that all share.
    """
    centre = float(np.mean(values))
    own = [max(((high - low) / 2 / QUANTILE) ** 2 - method**2, 0.0) for low, high in values]
    half = QUANTILE * float(np.sqrt((np.sum(own) / len(own) + spread**2) / len(own) + method**2))
    return centre - half, centre + half
