"""Walls drawn by the user: by dragging handles, or by three clicks to which a ventricular shape is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.contour import THICKNESS
from cardiac_motion.serving.settings import HANDLES
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.mesh import arc_length, column_fractions, interpolate_fractions
from cardiac_motion.ventricle.shape import ShapePrior, read_shape_prior

Array = NDArray[np.float64]

REACH = 0.1  # distance, in ventricular lengths, to either side of a contour in which the border is searched
CLICK = 0.02  # standard deviation of a click, in ventricular lengths
EDGE = 0.05  # standard deviation of a detected border, in ventricular lengths
ROUNDS = 12  # iterations of the border search
BLUR = 0.015  # standard deviation of the Gaussian that smooths the image, in ventricular lengths


def move_wall(lines: Array, handles: Mapping[str, Any]) -> Array:
    """Return the lines ``[3, P, 2]`` of a wall after moving its handles; a cubic spline interpolates between them.

    Moving the endocardium moves the whole wall; moving the epicardium changes only the thickness.

    Args:
        lines: lines of the wall, pixels.
        handles: ``at`` (fractions of the line's length), ``moved`` (displacement of each handle in rows and columns)
            and ``border`` (``endocardium`` or ``epicardium``).

    Raises:
        InputError: too few or too many handles, or ``at`` does not increase.
    """
    at, moved = np.asarray(handles["at"], dtype=float), np.asarray(handles["moved"], dtype=float)
    low, high = HANDLES
    if not low <= len(at) <= high or moved.shape != (len(at), 2) or (np.diff(at) <= 0).any():
        raise InputError(f"handles must be {low} to {high} increasing fractions of a line, each with a (row, column)")
    along = CubicSpline(at, moved, bc_type="natural")(np.linspace(0, 1, lines.shape[1]))
    shares = (0.0, 0.5, 1.0) if handles.get("border") == "epicardium" else (1.0, 1.0, 1.0)
    return np.stack([line + share * along for line, share in zip(lines, shares, strict=True)])


def place_wall(
    clicks: Any,
    frame: NDArray[np.floating],
    points: int,
    thickness: float | None = None,
    prior: ShapePrior | None = None,
) -> Array:
    """Return the wall ``[3, points, 2]`` through three clicks: both ends of the mitral annulus and the apex.

    The contour is the most probable one of the shape prior that passes through the clicks and, between them, follows
    the border from dark blood to the brighter wall (Cootes et al. 1995, 10.1006/cviu.1995.1004: borders are searched
    across the contour, and the prior is fitted to them).

    Args:
        clicks: (row, column) of the two annulus points, in either order, and of the apex; pixels.
        frame: ``[H, W]`` in [0, 1].
        points: number of points per line.
        thickness: wall thickness in pixels; None uses ``contour.THICKNESS`` of the length.
        prior: shape prior; None uses the project's.

    Raises:
        InputError: the clicks are not three plausible points of a ventricle within the image.
    """
    marks = np.asarray(clicks, dtype=float)
    if marks.shape != (3, 2) or not np.isfinite(marks).all():
        raise InputError("placing a wall needs three points (row, column): two of the annulus, and the apex")
    if (marks < 0).any() or (marks > np.array(frame.shape) - 1).any():
        raise InputError("a point is outside the image")
    prior = prior or read_shape_prior()
    first, second, apex = marks
    if first[1] > second[1]:
        first, second = second, first
    base = (first + second) / 2
    length = float(np.linalg.norm(base - apex))
    if length < 20 or np.linalg.norm(second - first) < 0.1 * length or np.linalg.norm(second - first) > 1.5 * length:
        raise InputError("the three points do not form an annulus and an apex: click base, opposite base, apex")
    axis = (base - apex) / length
    across = np.array([-axis[1], axis[0]])
    across *= np.sign((second - first) @ across)
    turn = np.stack([axis, across])  # (along, across) of (row, column)
    count = len(prior.mean)
    scale = 1 / length
    targets, weights = np.zeros((count, 2)), np.zeros((count, 2))
    for k, mark in ((0, first), (count // 2, apex), (count - 1, second)):
        targets[k], weights[k] = scale * turn @ (mark - base), CLICK**-2
    basis = prior.components.reshape(len(prior.components), -1).T
    smooth = ndimage.gaussian_filter(np.asarray(frame, dtype=float), BLUR * length)

    def fit(aims: Array, stiff: Array) -> Array:
        """Return the most probable shape ``[count, 2]`` given the target points, weighted by their stiffness."""
        normal = basis.T @ (stiff.ravel()[:, None] * basis) + np.eye(basis.shape[1])
        coefficients = np.linalg.solve(normal, basis.T @ (stiff * (aims - prior.mean)).ravel())
        return np.asarray(prior.mean + (basis @ coefficients).reshape(count, 2))

    shape = fit(targets, weights)
    for _ in range(ROUNDS):
        borders, confidence = _borders(smooth, base + length * shape @ turn, REACH * length)
        aims, stiff = targets.copy(), weights.copy()
        inner = [k for k in range(count) if k not in (0, count // 2, count - 1)]
        aims[inner] = scale * (borders[inner] - base) @ turn.T
        stiff[inner] = confidence[inner, None] * EDGE**-2
        shape = fit(aims, stiff)
    contour = base + length * shape @ turn
    contour[[0, count // 2, -1]] = first, apex, second
    return offset_wall(contour, points, thickness or THICKNESS * length)


def _borders(smooth: Array, contour: Array, reach: float) -> tuple[Array, Array]:
    """Find the steepest rise in brightness across a contour ``[K, 2]`` within ``reach``; its confidence in [0, 1]."""
    outward = normals(contour)
    steps = np.linspace(-reach, reach, 41)
    at = contour[:, None] + steps[None, :, None] * outward[:, None]
    values = ndimage.map_coordinates(smooth, at.reshape(-1, 2).T, order=1, mode="nearest").reshape(len(contour), -1)
    rise = np.gradient(values, axis=1) * np.exp(-0.5 * (steps / reach) ** 2)
    best = rise.argmax(1)
    every = np.arange(len(contour))
    confidence = np.clip(rise[every, best] / max(float(np.quantile(rise.max(1), 0.8)), 1e-6), 0, 1)
    return at[every, best], confidence


def normals(line: Array) -> Array:
    """Return unit vectors perpendicular to a line ``[P, 2]``, pointing outward."""
    tangent = np.gradient(ndimage.gaussian_filter1d(line, 2, axis=0, mode="nearest"), axis=0)
    outward = np.stack([-tangent[:, 1], tangent[:, 0]], -1) / np.linalg.norm(tangent, axis=1, keepdims=True)
    return np.asarray(outward * np.sign(((line - line.mean(0)) * outward).sum()))


def offset_wall(contour: Array, points: int, thickness: float) -> Array:
    """Return the wall ``[3, points, 2]`` outside an endocardium ``[K, 2]``, from base over apex to base."""
    smooth = CubicSpline(np.linspace(0, 1, len(contour)), contour)(np.linspace(0, 1, 10 * len(contour)))
    apex = int(np.linalg.norm(smooth - smooth[[0, -1]].mean(0), axis=1).argmax())
    length = arc_length(smooth)
    line = interpolate_fractions(smooth, column_fractions(float(length[apex] / length[-1]), points))
    return np.stack([line + share * thickness * normals(line) for share in (0.0, 0.5, 1.0)])


def contour_content(drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Return drawn walls in the format of ``--contour`` (``cardiac_motion.cine.wall_files.read_drawn_walls``).

    Args:
        drawn: frame number, as text, to the wall's lines in pixels of the file.
    """
    frames = sorted(drawn, key=int)
    return {
        "drawn": [int(t) for t in frames],
        **{name: [drawn[t][k] for t in frames] for k, name in enumerate(LAYERS)},
    }
