"""The straightened wall: material points by their place along and across it, their motion, and fields that carry them.

Geometry of the registration in material coordinates (``material_wall``, whose head has the formula): s runs along the
wall from base to base, d across it from endocardium to epicardium, both from 0 to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline, CubicSpline
from torch import Tensor
from torch.nn import functional

from cardiac_motion.fields.points import track

Array = NDArray[np.float64]

_NODES_ACROSS = 7  # at which the fields are followed
_RIDGE = 0.02  # of an affine fit's slopes: without depth to tell a slope from, there is none
_DEEPEST = 40  # samples across the wall
_CELLS = 10  # across the wall, of the grid on which its motion is laid down; none is smaller than a pixel
_BEYOND = 0.3  # of the thickness: how far outside the wall its own motion is continued before it fades


@dataclass(frozen=True)
class WallSettings:
    """Settings of the registration; lengths are fractions of the wall's mid-wall length.

    Attributes:
        samples: along the wall, at most; a sample is never smaller than a pixel.
        window: length of a window along the wall.
        windows_across: overlapping windows across the wall.
        controls: control points of the correction along the wall, at least 4.
        controls_across: across the wall, at least 2.
        floor: c of ψ, in (0, 1].
        along, across, over_time, size: λ_s, λ_d, λ_t and λ_0, a control point or a frame apart.
        standing: shares of the fine structure that stands still, at which it begins to be removed and is removed whole.
        coarsest: standard deviation of the Gaussian that is subtracted from the frames, fraction of the thickness.
        midwall: standard deviation of the Gaussian of the affine fit of v, fraction of the wall's thickness.
        scales: of each scale, the standard deviation of the Gaussian that smooths the frames (samples), and κ of the
            reference frame.
        iterations: of Newton's method at each scale, at most.
        tolerance: pixels; a scale ends when no control point moves further,
        least_gain: or when the sum is lowered by no more than this fraction.
    """

    samples: int = 300
    window: float = 0.05
    windows_across: int = 3
    controls: int = 30
    controls_across: int = 3
    floor: float = 0.9
    along: float = 1.0
    across: float = 0.1
    over_time: float = 3.0
    size: float = 0.03
    standing: tuple[float, float] = (0.65, 0.95)
    coarsest: float = 0.14
    midwall: float = 0.6
    scales: tuple[tuple[float, float], ...] = ((2.0, 10.0), (0.7, 10.0))
    iterations: int = 8
    tolerance: float = 0.02
    least_gain: float = 1e-4


class StraightWall:
    """A wall's material grid in the reference frame.

    Args:
        endo, epi: ``[P, 2]`` (row, column) in pixels, point k of one across the wall from point k of the other.
        settings: how finely it is sampled.
    """

    def __init__(self, endo: Array, epi: Array, settings: WallSettings) -> None:
        middle = (np.asarray(endo) + epi) / 2
        arc = np.concatenate([[0.0], np.linalg.norm(np.diff(middle, axis=0), axis=1).cumsum()])
        self.length, self.fractions = float(arc[-1]), arc / arc[-1]
        self.thickness = float(np.linalg.norm(epi - np.asarray(endo), axis=1).mean())
        self._lines = [CubicSpline(self.fractions, line) for line in (endo, epi)]
        count = int(np.clip(round(self.length), 24, settings.samples))
        self.pixels = self.length / count  # a sample along the wall
        depth = int(np.clip(round(self.thickness / self.pixels) + 1, 6, _DEEPEST))
        self.s, self.d = (np.arange(count) + 0.5) / count, (np.arange(depth) + 0.5) / depth

    def points(self, s: Array, d: Array) -> Array:
        """Points ``[S, D, 2]`` of the reference frame; beyond 0 and 1 the wall goes on straight.

        Examples:
            >>> line = np.stack([np.linspace(0, 30, 31), np.zeros(31)], -1)
            >>> wall = StraightWall(line, line + [0, 10], WallSettings())
            >>> wall.points(np.array([0.5, 1.1]), np.array([0.2]))[:, 0].round(6).tolist()
            [[15.0, 2.0], [33.0, 2.0]]
        """
        endo, epi = (_continue_straight(line, s)[:, None] for line in self._lines)
        return np.asarray(endo + (epi - endo) * d[None, :, None])


def _continue_straight(spline: CubicSpline, s: Array, axis: int = 0) -> Array:
    inside = np.clip(s, 0, 1)
    beyond = (s - inside).reshape([-1] + [1] * (spline.c.ndim - 2 - axis))
    return np.asarray(spline(inside) + spline(inside, 1) * beyond)


def linear_basis(d: Array, count: int) -> Array:
    """Linear B-splines ``[D, count]`` on [0, 1]; they go on straight beyond.

    Examples:
        >>> linear_basis(np.array([0.25, 1.5]), 3).tolist()
        [[0.5, 0.5, 0.0], [0.0, -1.0, 2.0]]
    """
    cell = np.clip(np.floor(d * (count - 1)).astype(int), 0, count - 2)
    share, rows = d * (count - 1) - cell, np.arange(len(d))
    basis = np.zeros((len(d), count))
    basis[rows, cell], basis[rows, cell + 1] = 1 - share, share
    return basis


def cubic_basis(s: Array, count: int) -> Array:
    """Clamped cubic B-splines ``[S, count]`` on [0, 1]; they go on straight beyond.

    Examples:
        >>> cubic_basis(np.array([0.0, 0.5, 1.0]), 5).round(3).tolist()
        [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.25, 0.5, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]]
    """
    knots = np.concatenate([[0.0] * 3, np.linspace(0, 1, count - 2), [1.0] * 3])
    spline, inside = BSpline(knots, np.eye(count), 3), np.clip(s, 0, 1)
    return np.asarray(spline(inside) + spline(inside, 1) * (s - inside)[:, None])


def affine_smoother(points: Array, weight: Array, sigma: float) -> Array:
    """The matrix ``[N, N]`` that replaces values at points by the affine function that fits them best around each.

    Args:
        points: ``[N, 2]``.
        weight: ``[N]``; a Gaussian of the distance multiplies it.
        sigma: of the Gaussian, the points' unit.

    Examples:
        >>> row, column = np.mgrid[:6.0, :6.0].reshape(2, -1)
        >>> plane = 2 + 0.5 * row - column
        >>> fitted = affine_smoother(np.stack([row, column], -1), np.ones(36), 2.0) @ plane
        >>> bool(np.abs(fitted - plane).max() < 0.2)
        True
    """
    offset = (points[None] - points[:, None]) / sigma
    near = weight[None] * np.exp(-0.5 * (offset**2).sum(-1))
    basis = np.concatenate([np.ones((*near.shape, 1)), offset], -1)
    normal = np.einsum("ij,ijk,ijl->ikl", near, basis, basis, optimize=True) + 1e-12 * np.eye(3)
    normal += (_RIDGE * near.sum(1))[:, None, None] * np.diag([0.0, 1.0, 1.0])
    return np.asarray(np.einsum("ik,ijk,ij->ij", np.linalg.inv(normal)[:, 0], basis, near, optimize=True))


class WallMotion:
    """Displacements of a wall since its reference frame, anywhere in it.

    Args:
        wall: the wall.
        nodes: s ``[N]`` at which ``start`` is known.
        start: v ``[T, N, M, 2]`` in pixels, evenly spaced across the wall.
        correction: u ``[T, Ks, Kd, 2]`` in pixels.
    """

    def __init__(self, wall: StraightWall, nodes: Array, start: Array, correction: Array) -> None:
        self.wall, self.nodes, self.began, self.correction = wall, nodes, start, correction
        self._spline = CubicSpline(nodes, start, axis=1)

    def start(self, s: Array, d: Array) -> Array:
        """v ``[T, S, D, 2]``."""
        along = _continue_straight(self._spline, s, 1)
        return np.asarray(np.einsum("tsmn,dm->tsdn", along, linear_basis(d, self.began.shape[2]), optimize=True))

    def displacement(self, s: Array, d: Array) -> Array:
        """``[T, S, D, 2]`` (row, column) in pixels."""
        added = spread_controls(self.correction, *spline_bases(s, d, self.correction.shape))
        return np.asarray(self.start(s, d) + added)

    def path(self, s: Array, d: Array) -> Array:
        """Places ``[T, S, D, 2]`` (row, column) in pixels."""
        return np.asarray(self.wall.points(s, d) + self.displacement(s, d))


def spline_bases(s: Array, d: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Bases ``[S, Ks]`` along and ``[D, Kd]`` across of control points ``[T, Ks, Kd, 2]`` (``shape``).

    Examples:
        >>> [basis.shape for basis in spline_bases(np.array([0.5]), np.array([0.0, 1.0]), (3, 5, 2, 2))]
        [(1, 5), (2, 2)]
    """
    return cubic_basis(s, shape[1]), linear_basis(d, shape[2])


def spread_controls(u: Array, along: Array, across: Array) -> Array:
    """Values ``[T, S, D, 2]`` of control points ``u [T, Ks, Kd, 2]`` by the bases of ``spline_bases``.

    Examples:
        >>> along, across = spline_bases(np.array([0.3]), np.array([0.6]), (1, 5, 2, 2))
        >>> spread_controls(np.ones((1, 5, 2, 2)), along, across).round(6).tolist()
        [[[[1.0, 1.0]]]]
    """
    return np.asarray(np.einsum("sk,tkln,dl->tsdn", along, u, across, optimize=True))


def begin(wall: StraightWall, ddf: Tensor, first: int, settings: WallSettings) -> WallMotion:
    """The motion that fields give, regularised by the affine motion around each point inside the wall; no correction.

    Args:
        wall: in frame ``first``.
        ddf: ``[T − 1, 2, H, W]`` in pixels, pair t with moving = frame t, fixed = frame t + 1.
        first: the reference frame.
        settings: their ``midwall`` and numbers of control points.

    Examples:
        >>> line = np.stack([np.linspace(10, 50, 41), np.full(41, 20.0)], -1)
        >>> wall, down = StraightWall(line, line + [0, 8], WallSettings()), torch.zeros(2, 2, 60, 60)
        >>> down[:, 0] = -1.0  # each frame shows at p what the one before shows a row above
        >>> motion, middle = begin(wall, down, 0, WallSettings()), np.array([0.5])
        >>> motion.displacement(middle, middle)[:, 0, 0, 0].round(3).tolist()
        [0.0, 1.0, 2.0]
    """
    nodes = np.linspace(0, 1, int(np.clip(round(6 * wall.length / wall.thickness), 24, 72)))
    across = np.linspace(0, 1, _NODES_ACROSS)
    points = wall.points(nodes, across).reshape(-1, 2)
    moved = track(torch.from_numpy(points).float(), ddf, first).double().numpy() - points
    deep = np.minimum(
        np.minimum(across, 1 - across)[None] * wall.thickness, np.minimum(nodes, 1 - nodes)[:, None] * wall.length
    )
    moved = affine_smoother(points, deep.ravel() ** 2 + 1e-6, settings.midwall * wall.thickness) @ moved
    none = np.zeros((len(moved), settings.controls, settings.controls_across, 2))
    return WallMotion(wall, nodes, moved.reshape(len(moved), len(nodes), len(across), 2), none)


def write_fields(motion: WallMotion, ddf: Tensor) -> Tensor:
    """Fields between neighbouring frames that carry the wall as ``motion`` does; away from it they fade into others.

    Args:
        motion: of T frames.
        ddf: ``[T − 1, 2, H, W]`` in pixels; what they are at a wall's thickness from it and beyond.

    Returns:
        ``[T − 1, 2, H, W]``.

    Examples:
        >>> line = np.stack([np.linspace(10, 50, 41), np.full(41, 20.0)], -1)
        >>> wall, still = StraightWall(line, line + [0, 8], WallSettings()), torch.zeros(1, 2, 60, 60)
        >>> down = np.stack([np.zeros((24, 7, 2)), np.tile([1.0, 0.0], (24, 7, 1))])  # a row down in the second frame
        >>> motion = WallMotion(wall, np.linspace(0, 1, 24), down, np.zeros((2, 5, 2, 2)))
        >>> field = write_fields(motion, still)[0, 0]
        >>> round(field[30, 24].item(), 3), field[30, 55].item()
        (-1.0, 0.0)
    """
    wall = motion.wall
    ends, cell = _BEYOND * wall.thickness / wall.length, max(1.0, wall.thickness / _CELLS)
    s = np.linspace(-ends, 1 + ends, math.ceil(1.5 * wall.length / cell * (1 + 2 * ends)))
    d = np.linspace(-_BEYOND, 1 + _BEYOND, math.ceil(1.5 * wall.thickness / cell * (1 + 2 * _BEYOND)))
    path = motion.path(s, d).reshape(len(ddf) + 1, -1, 2)
    size, margin = np.array(ddf.shape[2:]), math.ceil(wall.thickness) + 2
    low = np.clip(np.floor(path.min((0, 1))).astype(int) - margin, 0, size - 2)
    high = np.clip(np.ceil(path.max((0, 1))).astype(int) + margin + 1, low + 2, size)
    cells = np.ceil((high - low - 1) / cell).astype(int)
    scale = cells / (high - low - 1)
    made = ddf.clone()
    for t in range(len(ddf)):
        part = made[t, :, low[0] : high[0], low[1] : high[1]]
        maps = _raster((path[t + 1] - low) * scale, path[t] - path[t + 1], cells + 1, wall.thickness / cell)
        *field, near = functional.interpolate(maps[None], part.shape[1:], mode="bilinear", align_corners=True)[0]
        part += near * (torch.stack(field) - part)
    return made


def _raster(points: Array, values: Array, size: NDArray[np.int64], reach: float) -> Tensor:
    """``[3, *size]``: values ``[P, 2]`` at points on a grid, continued outwards, and 1 there to 0 at ``reach`` away."""
    corner = np.floor(points).astype(int)
    share = points - corner
    sums = np.zeros((3, int(size.prod())))
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = corner + [row, column]
        weight = np.abs(1 - row - share[:, 0]) * np.abs(1 - column - share[:, 1])
        weight = weight * ((at >= 0) & (at < size)).all(1)
        flat = np.clip(at[:, 0], 0, size[0] - 1) * size[1] + np.clip(at[:, 1], 0, size[1] - 1)
        for k, value in enumerate((values[:, 0], values[:, 1], 1.0)):
            sums[k] += np.bincount(flat, weight * value, sums.shape[1])
    maps = sums.reshape(3, *size)
    covered = maps[2] > 0.5
    wide = ndimage.gaussian_filter(maps.astype(np.float32), (0, reach / 3, reach / 3), mode="constant", truncate=3)
    field = np.where(covered, maps[:2] / np.maximum(maps[2], 0.5), wide[:2] / np.maximum(wide[2], 1e-9))
    near = np.clip(1 - ndimage.distance_transform_edt(~covered) / reach, 0, 1)
    return torch.from_numpy(np.concatenate([field, (near**2 * (3 - 2 * near))[None]])).float()
