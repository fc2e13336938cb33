"""Length, strain and excursion of the left ventricle from a contour tracked through a cine.

Evain et al. 2022, section III-D.2: the endocardial contour's length gives the global longitudinal strain (GLS), the
distance from the apex to the middle of the base the mitral annular plane systolic excursion (MAPSE), both as Lagrangian
strain relative to end-diastole (eq. 2). Contours are open polylines ``[T, P, 2]`` (row, column) in pixels, from one
base over the apex to the other; ``spacing`` is the pixel size in mm (row, column), or None if unknown.

Segments, strain rate, timing and drift follow Voigt et al. 2015 (10.1093/ehjci/jeu184), the volume is by the method of
discs (Lang et al. 2015, 10.1093/ehjci/jev014).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardiac_motion.core.errors import InputError

Array = NDArray[np.float64]


def scale_to_mm(contours: ArrayLike, spacing: Sequence[float] | None) -> Array:
    """Scale contours ``[..., P, 2]`` to mm, or leave them in pixels if the spacing is unknown.

    Examples:
        >>> scale_to_mm([[2.0, 3.0]], (0.5, 2.0)).tolist()
        [[1.0, 6.0]]
    """
    return np.asarray(contours, dtype=np.float64) * np.asarray(spacing or (1.0, 1.0), dtype=np.float64)


def length(contours: ArrayLike, spacing: Sequence[float] | None = None) -> Array:
    """Length of each polyline ``[..., P, 2]`` in mm (pixels without spacing): ``[...]``.

    Examples:
        >>> float(length([[0.0, 0.0], [3.0, 4.0]])), float(length([[0.0, 0.0], [3.0, 4.0]], (2.0, 2.0)))
        (5.0, 10.0)
    """
    return np.asarray(np.linalg.norm(np.diff(scale_to_mm(contours, spacing), axis=-2), axis=-1).sum(-1))


def long_axis(contours: ArrayLike, spacing: Sequence[float] | None = None, ed: int = 0) -> Array:
    """Distance from the apex to the middle of the base in each frame, mm (pixels without spacing): ``[T]``.

    The apex is the contour's point farthest from the middle of the base at frame ``ed``; the same material point is the
    apex in every frame.

    Examples:
        >>> wall = np.array([[60.0, 20.0], [0.0, 40.0], [60.0, 60.0]])  # base, apex, base
        >>> long_axis([wall, 0.8 * wall]).tolist()
        [60.0, 48.0]
    """
    points = scale_to_mm(contours, spacing)
    base = (points[:, 0] + points[:, -1]) / 2
    apex = int(np.linalg.norm(points[ed] - base[ed], axis=-1).argmax())
    return np.asarray(np.linalg.norm(points[:, apex] - base, axis=-1))


def lagrangian(lengths: ArrayLike, ed: int = 0) -> Array:
    """(L − L_ED) / L_ED as a fraction (eq. 2): ``[T]`` of lengths ``[T]``.

    Raises:
        InputError: no such frame, or the length at end-diastole is 0.

    Examples:
        >>> lagrangian([100.0, 75.0, 125.0]).tolist()
        [0.0, -0.25, 0.25]
    """
    values = np.asarray(lengths, dtype=np.float64)
    if not 0 <= ed < len(values):
        raise InputError(f"end-diastole at frame {ed} is outside the cine, frames 0 to {len(values) - 1}")
    if not values[ed] > 0:
        raise InputError("the contour's length at end-diastole is 0")
    return np.asarray(values / values[ed] - 1)


def gls(contours: ArrayLike, spacing: Sequence[float] | None = None, ed: int = 0) -> Array:
    """Global longitudinal strain of the whole contour as a fraction, negative for shortening: ``[T]``.

    Non-square pixels need the spacing; for square ones it makes no difference.

    Examples:
        >>> line = np.array([[0.0, 0.0], [0.0, 10.0]])
        >>> gls([line, 0.75 * line]).tolist()
        [0.0, -0.25]
    """
    return lagrangian(length(contours, spacing), ed)


def long_axis_strain(contours: ArrayLike, spacing: Sequence[float] | None = None, ed: int = 0) -> Array:
    """Strain of the long axis, the paper's MAPSE, as a fraction, negative for shortening: ``[T]``.

    Examples:
        >>> wall = np.array([[60.0, 20.0], [0.0, 40.0], [60.0, 60.0]])
        >>> long_axis_strain([wall, 0.75 * wall]).tolist()
        [0.0, -0.25]
    """
    return lagrangian(long_axis(contours, spacing, ed), ed)


def mapse_mm(contours: ArrayLike, spacing: Sequence[float] | None, ed: int = 0) -> Array:
    """Shortening of the long axis since end-diastole in mm, positive in systole: ``[T]``.

    Raises:
        InputError: the spacing is unknown.

    Examples:
        >>> wall = np.array([[60.0, 20.0], [0.0, 40.0], [60.0, 60.0]])
        >>> mapse_mm([wall, 0.75 * wall], (0.5, 0.5)).tolist()
        [0.0, 7.5]
    """
    if spacing is None:
        raise InputError("MAPSE in mm needs the pixel spacing, which this cine does not provide")
    axis = long_axis(contours, spacing, ed)
    return np.asarray(axis[ed] - axis)


def peak_systolic(strain: ArrayLike, ed: int, es: int) -> float:
    """Return the minimum strain from end-diastole to end-systole, a fraction (section III-D.2).

    Args:
        strain: ``[T]``.
        ed, es: frames; if ES comes first in the cine, the frames between the two are used as well.

    Examples:
        >>> peak_systolic([0.0, -0.10, -0.15, -0.20], ed=0, es=2)
        -0.15
    """
    first, last = sorted((ed, es))
    return float(np.asarray(strain, dtype=np.float64)[first : last + 1].min())


def cavity_areas(contours: ArrayLike, spacing: Sequence[float] | None = None) -> NDArray[np.float64]:
    """Areas ``[T]`` enclosed by contours ``[T, P, 2]`` and the straight base, mm² or, without spacing, pixels².

    Examples:
        >>> cavity_areas([[[0.0, 0.0], [0.0, 4.0], [3.0, 4.0], [3.0, 0.0]]], (0.5, 0.5)).tolist()
        [3.0]
    """
    points = scale_to_mm(contours, spacing)
    ahead = np.roll(points, -1, axis=1)
    return np.asarray(0.5 * np.abs((points[..., 1] * ahead[..., 0] - ahead[..., 1] * points[..., 0]).sum(-1)))


def end_systole(contours: ArrayLike, spacing: Sequence[float] | None = None) -> int:
    """Frame of the smallest area between contour and base, a surrogate of aortic-valve closure.

    Examples:
        >>> square = np.array([[0.0, 0.0], [0.0, 4.0], [4.0, 4.0], [4.0, 0.0]])
        >>> end_systole([square, 0.7 * square, 0.9 * square])
        1
    """
    return int(cavity_areas(contours, spacing).argmin())


def segment_bounds(points: int, count: int = 6) -> NDArray[np.int64]:
    """Return the first points of ``count`` segments of a contour of ``points``, and its last point: ``[count + 1]``.

    Examples:
        >>> segment_bounds(121).tolist()
        [0, 20, 40, 60, 80, 100, 120]
    """
    return np.rint(np.linspace(0, points - 1, count + 1)).astype(np.int64)


def segment_lengths(contours: ArrayLike, spacing: Sequence[float] | None = None, count: int = 6) -> Array:
    """Lengths ``[count, T]`` of the segments of contours ``[T, P, 2]``, mm (pixels without spacing), from base to base.

    With equal numbers of points on either side of the apex (``contours.wall_contours``), the first half of the segments
    are basal, mid and apical on one wall, the others apical, mid and basal on the other.

    Examples:
        >>> line = np.stack([np.zeros(7), np.arange(7.0)], -1)
        >>> segment_lengths([line, 2 * line]).T.tolist()
        [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]]
    """
    points = scale_to_mm(contours, spacing)
    bounds = segment_bounds(points.shape[1], count)
    return np.stack([length(points[:, a : b + 1]) for a, b in pairwise(bounds)])


def strain_rate(curve: ArrayLike, times: Sequence[float]) -> Array:
    """Derivative of a strain curve ``[T]`` by central differences, 1/s.

    Args:
        curve: strain ``[T]`` as a fraction.
        times: times of the frames in s.

    Examples:
        >>> strain_rate([0.0, -0.125, -0.25], [0.0, 0.25, 0.5]).tolist()
        [-0.5, -0.5, -0.5]
    """
    rate: Array = np.gradient(np.asarray(curve, dtype=np.float64), np.asarray(times, dtype=np.float64))
    return rate


def drift(curve: ArrayLike, ed: int, end: int) -> float:
    """Drift of a strain curve ``[T]`` at ``end``, the end-diastole after ``ed``: its residual strain, a fraction.

    Examples:
        >>> drift([0.0, -0.2, 0.03], ed=0, end=2)
        0.03
    """
    values = np.asarray(curve, dtype=np.float64)
    return float(values[end] - values[ed])


def remove_drift(curve: ArrayLike, ed: int, end: int) -> Array:
    """Subtract linear drift from ``ed`` to ``end`` from a strain curve ``[T]``.

    Examples:
        >>> remove_drift([0.0, -0.25, 0.5], ed=0, end=2).tolist()
        [0.0, -0.5, 0.0]
    """
    values = np.asarray(curve, dtype=np.float64)
    return values - drift(values, ed, end) * (np.arange(len(values)) - ed) / (end - ed)


def peak(curve: ArrayLike, ed: int, end: int) -> tuple[float, int]:
    """Return the minimum strain of a whole beat, a fraction, and its frame.

    Examples:
        >>> peak([0.0, -0.15, -0.18, -0.05], ed=0, end=3)
        (-0.18, 2)
    """
    frame = ed + int(np.asarray(curve, dtype=np.float64)[ed : end + 1].argmin())
    return float(np.asarray(curve)[frame]), frame


def post_systolic_index(end_systolic: float, peak: float) -> float:
    """100 · (peak − end-systolic) / peak, in %; NaN if the segment never shortens.

    Examples:
        >>> post_systolic_index(end_systolic=-15.0, peak=-20.0)
        25.0
    """
    return 100 * (peak - end_systolic) / peak if peak < 0 else float("nan")


def mechanical_dispersion(times_to_peak: ArrayLike) -> float:
    """Sample standard deviation of the segments' times to peak strain, in their unit; NaN for fewer than two.

    Examples:
        >>> mechanical_dispersion([380.0, 400.0, 420.0])
        20.0
    """
    values = np.asarray(times_to_peak, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def disc_diameters(contour: ArrayLike, spacing: Sequence[float], discs: int = 20) -> tuple[Array, float]:
    """Measure the widths of a cavity across its long axis, from the base to the apex.

    Args:
        contour: endocardium ``[P, 2]``, closed by a straight base.
        spacing: pixel size in mm (row, column).
        discs: number of discs of equal height; each is measured at mid-height.

    Returns:
        Diameters ``[discs]`` and length of the long axis, in mm.

    Examples:
        >>> widths, height = disc_diameters([[10.0, 0.0], [0.0, 5.0], [10.0, 10.0]], (1.0, 1.0), discs=2)
        >>> widths.tolist(), height  # of a triangle, at a quarter and three quarters of its height
        ([7.5, 2.5], 10.0)
    """
    points = scale_to_mm(contour, spacing)
    base = (points[0] + points[-1]) / 2
    apex = points[np.linalg.norm(points - base, axis=1).argmax()]
    height = float(np.linalg.norm(apex - base))
    axis = (apex - base) / height
    along, across = (points - base) @ axis, (points - base) @ np.array([-axis[1], axis[0]])
    ahead_along, ahead_across = np.roll(along, -1), np.roll(across, -1)
    widths = []
    for level in (np.arange(discs) + 0.5) / discs * height:
        crossed = (along <= level) != (ahead_along <= level)
        share = (level - along[crossed]) / (ahead_along[crossed] - along[crossed])
        where = np.sort(across[crossed] + share * (ahead_across[crossed] - across[crossed]))
        widths.append(float(np.sum(where[1::2] - where[::2])))
    return np.array(widths), height


def disc_volume(
    contour: ArrayLike,
    spacing: Sequence[float] | None,
    other: ArrayLike | None = None,
    other_spacing: Sequence[float] | None = None,
    discs: int = 20,
) -> float:
    """Volume of the cavity in ml by the method of discs, from one view or from two perpendicular ones (biplane).

    Args:
        contour: endocardium ``[P, 2]`` in pixels.
        spacing: pixel size in mm (row, column).
        other, other_spacing: endocardium and pixel size of the second view; the longer of the two axes is used.
        discs: number of discs.

    Raises:
        InputError: the spacing is unknown.

    Examples:
        >>> angle = np.linspace(0, np.pi, 1001)
        >>> half_ellipse = np.stack([60 - 60 * np.sin(angle), 30 - 30 * np.cos(angle)], -1)  # 60 mm long, 60 mm wide
        >>> round(disc_volume(half_ellipse, (1.0, 1.0), discs=100)), round(2 / 3 * np.pi * 6 * 3 * 3)  # ml
        (113, 113)
    """
    if spacing is None or (other is not None and other_spacing is None):
        raise InputError("a volume needs the pixel spacing, which this cine does not provide")
    widths, height = disc_diameters(contour, spacing, discs)
    across = widths
    if other is not None and other_spacing is not None:
        across, second = disc_diameters(other, other_spacing, discs)
        height = max(height, second)
    return float(np.pi / 4 * np.sum(widths * across) * height / discs / 1000)


def ejection_fraction(end_diastolic: float, end_systolic: float) -> float:
    """Fraction of the end-diastolic volume that is ejected, in %; NaN if that volume is 0.

    Examples:
        >>> ejection_fraction(end_diastolic=120.0, end_systolic=48.0)
        60.0
    """
    return 100 * (end_diastolic - end_systolic) / end_diastolic if end_diastolic > 0 else float("nan")
