"""Contours of the left ventricle from a segmentation, and the myocardial mesh of the c-PWC-Net paper.

Evain et al. 2022 (10.1109/TMI.2022.3151606), section II-A.3 and Fig. 1: the base is the segment between the two
extreme endocardial points, the apex the epicardial point farthest from it; 36 points are spread evenly along the
epicardium, 18 per wall, and each is joined to the endocardium by a perpendicular segment of 5 points: 180 points, 280
triangles. All points are ``(row, column)`` in the unit of the contours, usually mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from cardiac_motion.core.arrays import largest_component
from cardiac_motion.core.errors import InputError

Array = NDArray[np.float64]

_SMOOTHING = 1.5  # px; smooths a mask before its outline is extracted: shifts it by less than a pixel
_CONTOUR_POINTS = 200
_PERPENDICULAR = 0.7  # weight of the perpendicular in pairing epicardium and endocardium; the rest is arc length
_FURTHEST = 0.12  # fraction of the endocardium's length: a perpendicular further from its arc-length place is rejected


@dataclass(frozen=True)
class Mesh:
    """A wall as a layered mesh.

    Attributes:
        nodes: [columns * layers, 2]; node ``column * layers + layer``, layer 0 on the inner contour. Columns of an open
            wall run from one base over the apex to the other base; those of a closed one run around it.
        triangles: [M, 3] indices into ``nodes``, all with the same orientation.
        columns: number of points along the wall.
        layers: number of points across the wall.
        closed: whether the last column is joined to the first (a ring, as in the short axis).
    """

    nodes: Array
    triangles: NDArray[np.int64]
    columns: int
    layers: int
    closed: bool = False

    @property
    def inner(self) -> Array:
        """The inner (endocardial) contour, [columns, 2]."""
        return self.nodes[:: self.layers]

    @property
    def outer(self) -> Array:
        """The outer (epicardial) contour, [columns, 2]."""
        return self.nodes[self.layers - 1 :: self.layers]

    def outlines(self) -> list[NDArray[np.int64]]:
        """Return the closed outlines as node indices: one for an open wall, inner and outer for a ring."""
        index = np.arange(self.columns * self.layers).reshape(self.columns, self.layers)
        if self.closed:
            return [index[:, 0], index[:, -1]]
        return [np.concatenate([index[:, 0], index[-1, 1:], index[-2::-1, -1], index[0, -2:0:-1]])]


def signed_areas(nodes: Array, triangles: NDArray[np.int64]) -> Array:
    """Return signed areas [..., M] of triangles [M, 3] over nodes [..., N, 2], in the nodes' unit squared.

    Examples:
        >>> signed_areas(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]]), np.array([[0, 1, 2], [0, 2, 1]])).tolist()
        [3.0, -3.0]
    """
    a, b, c = (nodes[..., triangles[:, k], :] for k in range(3))
    return 0.5 * ((b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0])


def arc_length(points: Array) -> Array:
    """Return the length along a polyline [n, 2] up to each point, [n].

    Examples:
        >>> arc_length(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])).tolist()
        [0.0, 5.0, 6.0]
    """
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def interpolate_fractions(points: Array, fractions: Array) -> Array:
    """Return points [k, 2] at fractions (0 to 1) of a polyline's length.

    Examples:
        >>> interpolate_fractions(np.array([[0.0, 0.0], [0.0, 4.0], [6.0, 4.0]]), np.array([0.0, 0.5, 1.0])).tolist()
        [[0.0, 0.0], [1.0, 4.0], [6.0, 4.0]]
    """
    length = arc_length(points)
    return np.stack([np.interp(fractions * length[-1], length, points[:, d]) for d in range(2)], axis=1)


def column_fractions(apex: float, columns: int) -> Array:
    """Return the fractions of a contour's length of ``columns`` points, with equal numbers on either side of the apex.

    Examples:
        >>> column_fractions(0.6, 4).round(3).tolist(), column_fractions(0.6, 5).round(3).tolist()
        ([0.0, 0.4, 0.733, 1.0], [0.0, 0.3, 0.6, 0.8, 1.0])
    """
    last = columns - 1
    return np.asarray(np.interp(np.arange(columns), [0.0, last / 2, last], [0.0, apex, 1.0]))


def is_inside_outlines(points: Array, outlines: Sequence[Array]) -> NDArray[np.bool_]:
    """Return whether points [P, 2] lie inside closed polylines, by the even-odd rule (a ring's hole is outside).

    Examples:
        >>> square = np.array([[0.0, 0.0], [0.0, 4.0], [4.0, 4.0], [4.0, 0.0]])
        >>> points = np.array([[0.5, 0.5], [5.0, 1.0], [2.0, 2.0]])
        >>> is_inside_outlines(points, [square, square / 2 + 1.0]).tolist()  # with a hole
        [True, False, False]
    """
    inside = np.zeros(len(points), dtype=bool)
    order = np.argsort(points[:, 0], kind="stable")
    rows, columns = points[order].T
    for outline in outlines:
        for (y0, x0), (y1, x1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            if y0 != y1:
                spans = slice(*np.searchsorted(rows, sorted((y0, y1))))
                inside[spans] ^= columns[spans] < x0 + (rows[spans] - y0) * (x1 - x0) / (y1 - y0)
    result = np.empty_like(inside)
    result[order] = inside
    return result


def myocardial_contours(
    mask: NDArray[np.integer],
    spacing: tuple[float, float] = (1.0, 1.0),
    cavity: int = 1,
    myocardium: int = 2,
    name: str = "mask",
) -> tuple[Array, Array]:
    """Extract endocardium and epicardium as open curves from the left base (lower columns) over the apex to the right.

    Args:
        mask: labels [H, W].
        spacing: pixel size in mm, (row, column).
        cavity: label of the cavity.
        myocardium: label of the wall around it.
        name: name of the mask in error messages.

    Returns:
        Endocardium and epicardium, each [200, 2], (row, column) in mm from the first pixel's centre.

    Raises:
        InputError: a label is missing, or the wall does not surround the cavity.

    Examples:
        >>> row, column = np.mgrid[:80, :80]
        >>> across = np.hypot((row - 60) / 2, column - 40)
        >>> labels = np.where(across < 18, 1, np.where(across < 24, 2, 0)) * (row <= 60)
        >>> endo, epi = myocardial_contours(labels, spacing=(0.5, 0.5))
        >>> endo.shape, bool(abs(endo[:, 0].min() - (60 - 36) / 2) < 0.5)  # mm: the apex
        ((200, 2), True)
    """
    if mask.ndim != 2:
        raise InputError(f"{name}: expected a mask [H, W], got shape {tuple(mask.shape)}")
    for label, structure in ((cavity, "cavity"), (myocardium, "myocardium")):
        if not (mask == label).any():
            present = np.unique(mask).tolist()
            raise InputError(f"{name}: no {structure} (label {label}); labels present: {present}")
    inside, wall = largest_component(mask == cavity), largest_component(mask == myocardium)
    contour = _outline(inside)
    touching = ndimage.map_coordinates(ndimage.distance_transform_edt(~np.pad(wall, 8)), (contour + 8).T, order=1) < 2.5
    if touching.mean() < 0.3 or touching.all():
        raise InputError(f"{name}: the myocardium (label {myocardium}) does not surround the cavity up to an open base")
    endo = _longest_run(contour, touching)
    centre = endo[[0, -1]].mean(0)
    hull = _outline(ndimage.binary_fill_holes(inside | wall | ndimage.binary_closing(inside | wall, iterations=2)))
    down = centre - hull[np.argmax(np.linalg.norm(hull - centre, axis=1))]
    down /= np.linalg.norm(down)
    across = (endo[-1] - endo[0]) / np.linalg.norm(endo[-1] - endo[0])
    corners = [int(np.argmax((hull - centre) @ (down + side * across))) for side in (-1.0, 1.0)]
    apex = int(np.argmin((hull - centre) @ down))
    epi = _cut_between(hull, corners[0], corners[1], apex)
    curves = [interpolate_fractions(curve, np.linspace(0, 1, _CONTOUR_POINTS)) for curve in (endo, epi)]
    if endo[0, 1] > endo[-1, 1]:
        curves = [curve[::-1] for curve in curves]
    return curves[0] * np.asarray(spacing), curves[1] * np.asarray(spacing)


def myocardial_mesh(endo: Array, epi: Array, columns: int = 36, layers: int = 5, name: str = "contours") -> Mesh:
    """Build the paper's mesh between two open contours.

    Args:
        endo, epi, columns, name: as in ``pair_contours``.
        layers: points across the wall.

    Raises:
        InputError: the contours cross, or there is no wall between them.

    Examples:
        >>> angle = np.linspace(0, np.pi, 101)
        >>> endo, epi = (np.stack([60 - 2 * r * np.sin(angle), 40 - r * np.cos(angle)], -1) for r in (18, 24))
        >>> mesh = myocardial_mesh(endo, epi)
        >>> mesh.nodes.shape, mesh.triangles.shape
        ((180, 2), (280, 3))
    """
    return wall_mesh(*pair_contours(endo, epi, columns, name), layers, name=name)


def pair_contours(endo: Array, epi: Array, columns: int = 36, name: str = "contours") -> tuple[Array, Array]:
    """Pair points of two open contours across the wall, ``[columns, 2]`` each.

    Each epicardial point is paired with the point where its perpendicular meets the endocardium; where perpendiculars
    would cross, the order along the wall takes precedence.

    Args:
        endo: endocardium [n, 2] from base to base.
        epi: epicardium [m, 2], likewise, starting on the same side.
        columns: points along the wall, half of them on each side of the apex; if odd, the middle one is the apex.
        name: name of the contours in error messages.

    Raises:
        InputError: the contours cross.

    Examples:
        >>> angle = np.linspace(0, np.pi, 101)
        >>> endo, epi = (np.stack([60 - 2 * r * np.sin(angle), 40 - r * np.cos(angle)], -1) for r in (18, 24))
        >>> inner, outer = pair_contours(endo, epi)
        >>> bool(np.allclose(inner[:, 1] + inner[::-1, 1], 80))  # symmetric about the apex
        True
    """
    _check_open_contours(endo, epi, name)
    base = endo[[0, -1]].mean(0)
    outer = interpolate_fractions(epi, column_fractions(_apex_fraction(epi, base), columns))
    even = column_fractions(_apex_fraction(endo, base), columns)
    hits = _perpendiculars(outer, endo, even)
    ordered = 0.5 * (np.maximum.accumulate(hits) + np.minimum.accumulate(hits[::-1])[::-1])
    paired = ndimage.gaussian_filter1d(_PERPENDICULAR * ordered + (1 - _PERPENDICULAR) * even, 1.0, mode="nearest")
    paired[0], paired[-1] = 0.0, 1.0
    return interpolate_fractions(endo, np.sort(paired)), outer


def wall_mesh(inner: Array, outer: Array, layers: int = 5, closed: bool = False, name: str = "contours") -> Mesh:
    """Build the mesh between paired points of two contours, [columns, 2] each.

    Raises:
        InputError: a triangle is empty or inverted, which means that the contours cross.

    Examples:
        >>> inner = np.stack([np.zeros(4), np.arange(4.0)], -1)
        >>> mesh = wall_mesh(inner, inner + [2.0, 0.0], layers=3)
        >>> float(signed_areas(mesh.nodes, mesh.triangles).sum())  # 2 × 3
        6.0
    """
    columns = len(inner)
    share = np.linspace(0, 1, layers)[None, :, None]
    nodes = (inner[:, None] * (1 - share) + outer[:, None] * share).reshape(-1, 2)
    index = np.arange(columns * layers).reshape(columns, layers)
    following = np.roll(index, -1, axis=0) if closed else index[1:]
    here = index if closed else index[:-1]
    a, b, c, d = here[:, :-1], here[:, 1:], following[:, :-1], following[:, 1:]
    triangles = np.stack([a, b, d, a, d, c], axis=-1).reshape(-1, 3)
    areas = signed_areas(nodes, triangles)
    if np.sign(areas).sum() < 0:
        triangles, areas = triangles[:, ::-1].copy(), -areas
    if (areas <= 0).any():
        raise InputError(f"{name}: the inner and the outer contour cross ({(areas <= 0).sum()} inverted triangles)")
    return Mesh(nodes, triangles, columns, layers, closed)


def _outline(region: NDArray[np.bool_]) -> Array:
    pad = 8
    smooth = ndimage.gaussian_filter(np.pad(region, pad).astype(np.float64), _SMOOTHING)
    return np.asarray(max(measure.find_contours(smooth, 0.5), key=len)[:-1] - pad)


def _longest_run(points: Array, keep: NDArray[np.bool_]) -> Array:
    start = int(np.argmin(keep))
    points, keep = np.roll(points, -start, axis=0), np.roll(keep, -start)
    labels, count = ndimage.label(keep)
    longest = 1 + int(np.argmax(np.bincount(labels[labels > 0])[1:])) if count else 0
    return np.asarray(points[labels == longest])


def _cut_between(points: Array, start: int, end: int, via: int) -> Array:
    n = len(points)
    forward = [(start + k) % n for k in range((end - start) % n + 1)]
    if via not in forward:
        forward = [(start - k) % n for k in range((start - end) % n + 1)]
    return points[forward]


def _apex_fraction(points: Array, base: Array) -> float:
    length = arc_length(points)
    return float(length[np.argmax(np.linalg.norm(points - base, axis=1))] / length[-1])


def intersect_lines(start: Array, step: Array, other: Array, other_step: Array) -> tuple[Array, Array]:
    """Intersect each line ``[N, 2]`` with each other line ``[M, 2]``: positions in units of the two steps, ``[N, M]``.

    Not finite where the lines are parallel.

    Examples:
        >>> one, across = np.array([[0.0, 0.0]]), np.array([[2.0, -1.0]])
        >>> intersect_lines(one, np.array([[4.0, 0.0]]), across, np.array([[0.0, 4.0]]))
        (array([[0.5]]), array([[0.25]]))
    """
    cross = step[:, None, 0] * other_step[None, :, 1] - step[:, None, 1] * other_step[None, :, 0]
    gap = other[None] - start[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        along = (gap[..., 0] * other_step[None, :, 1] - gap[..., 1] * other_step[None, :, 0]) / cross
        along_other = (gap[..., 0] * step[:, None, 1] - gap[..., 1] * step[:, None, 0]) / cross
    return along, along_other


def _perpendiculars(outer: Array, endo: Array, fallback: Array) -> Array:
    """Return the fraction of the endocardium that each outer point's perpendicular meets first, else ``fallback``."""
    tangent = np.gradient(outer, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal *= np.sign(np.sum(normal * (endo.mean(0) - outer)))
    start, edge = endo[:-1], np.diff(endo, axis=0)
    distance, along = intersect_lines(outer, normal, start, edge)
    hit = (distance > 0) & (along >= 0) & (along <= 1)
    first = np.argmin(np.where(hit, distance, np.inf), axis=1)
    rows = np.arange(len(outer))
    length = arc_length(endo)
    met = (length[first] + along[rows, first] * np.diff(length)[first]) / length[-1]
    return np.where(hit.any(1) & (np.abs(met - fallback) < _FURTHEST), met, fallback)


def _check_open_contours(endo: Array, epi: Array, name: str) -> None:
    for layer, contour in (("endocardium", endo), ("epicardium", epi)):
        if contour.ndim != 2 or contour.shape[1] != 2 or len(contour) < 8 or not np.isfinite(contour).all():
            raise InputError(f"{name}: the {layer} must be [n >= 8, 2] finite points, got shape {contour.shape}")
    start, end = endo[:-1, None], endo[1:, None]
    first, last = epi[None, :-1], epi[None, 1:]

    def side(a: Array, b: Array, c: Array) -> Array:
        return np.sign((b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0])

    crossing = (side(start, end, first) != side(start, end, last)) & (
        side(first, last, start) != side(first, last, end)
    )
    if crossing.any():
        raise InputError(f"{name}: the endocardium and the epicardium cross ({int(crossing.sum())} times)")
    if is_inside_outlines(endo, [epi]).mean() < 0.8:
        raise InputError(f"{name}: the endocardium does not lie within the epicardium; are the two swapped?")
