"""Phantoms with analytic motion: a rotating disc, a compressed block and a contracting ring.

Points are (depth, lateral) in mm, float64, and time is the fraction of the motion, from 0 to 1. A phantom maps its
material forward and backward in closed form, so fields are exact. Methods are scored by the quantities that matter for
the heart: the rotation of the disc and the strains of the block and of the ring.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.core.errors import InputError

Array = NDArray[np.float64]

CENTRE = (70.0, 0.0)  # mm, centre of every phantom
DISC_RADIUS, DISC_ANGLE = 30.0, 12.0  # mm, degrees from depth towards lateral
BLOCK_HALF, BLOCK_SQUEEZE = (20.0, 28.0), 0.12  # half size in mm (depth, lateral), fraction by which the depth shrinks
RING_INNER, RING_OUTER, RING_CONTRACTED = 18.0, 28.0, 14.0  # mm: radii at rest, and the inner one at the end
MARGIN = 0.1  # fraction of the phantom along its border that is excluded from measurements
_RAYS, _LATTICE = 72, 2.0  # rays of the ring's probe points; mm between the probe points of the other phantoms


@dataclass(frozen=True)
class Phantom:
    """A shape and its motion.

    Attributes:
        name: name of the phantom.
        inside: maps points [N, 2] at rest to bool [N].
        moved: maps points [N, 2] at rest to their positions [N, 2] at a fraction of the motion.
        rest: inverse of ``moved``.
        reach: half size in mm of a box around the centre that the phantom never leaves, (depth, lateral).
    """

    name: str
    inside: Callable[[Array], NDArray[np.bool_]]
    moved: Callable[[Array, float], Array]
    rest: Callable[[Array, float], Array]
    reach: tuple[float, float]

    def displacement(self, points: Array, at: float, to: float) -> Array:
        """Displacement [N, 2] in mm, from ``at`` to ``to``, of the material that is at ``points`` [N, 2] at ``at``."""
        return self.moved(self.rest(points, at), to) - points

    def covers(self, points: Array, at: float) -> NDArray[np.bool_]:
        """Return which of ``points`` [N, 2] lie in the body at ``at``: [N]."""
        return self.inside(self.rest(points, at))


def _disc() -> Phantom:
    def rotate(points: Array, share: float) -> Array:
        angle = math.radians(DISC_ANGLE) * share
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return np.asarray((points - CENTRE) @ turn.T + CENTRE)

    return Phantom(
        "disc",
        lambda points: np.asarray(np.linalg.norm(points - CENTRE, axis=1) <= DISC_RADIUS),
        rotate,
        lambda points, share: rotate(points, -share),
        (DISC_RADIUS, DISC_RADIUS),
    )


def _block() -> Phantom:
    def stretch(share: float) -> Array:
        left = 1 - BLOCK_SQUEEZE * share
        return np.array([left, 1 / left])

    return Phantom(
        "block",
        lambda points: np.asarray((np.abs(points - CENTRE) <= BLOCK_HALF).all(1)),
        lambda points, share: (points - CENTRE) * stretch(share) + CENTRE,
        lambda points, share: (points - CENTRE) / stretch(share) + CENTRE,
        (BLOCK_HALF[0], BLOCK_HALF[1] / (1 - BLOCK_SQUEEZE)),
    )


def _ring() -> Phantom:
    def shrink(points: Array, share: float) -> Array:
        """Shrink radially so that the area between each circle and the inner border is preserved."""
        lost = share * (RING_INNER**2 - RING_CONTRACTED**2)
        away = points - CENTRE
        radius = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        return np.asarray(away / radius * np.sqrt(np.maximum(radius**2 - lost, 1e-18)) + CENTRE)

    def is_inside(points: Array) -> NDArray[np.bool_]:
        radius = np.linalg.norm(points - CENTRE, axis=1)
        return np.asarray((radius >= RING_INNER) & (radius <= RING_OUTER))

    return Phantom("ring", is_inside, shrink, lambda points, share: shrink(points, -share), (RING_OUTER, RING_OUTER))


PHANTOMS = {body.name: body for body in (_disc(), _block(), _ring())}


def get_phantom(name: str) -> Phantom:
    """Return the phantom of that name.

    Raises:
        InputError: an unknown name.

    Examples:
        >>> get_phantom("disc").displacement(np.array([CENTRE]), 0.0, 1.0).round(6).tolist()
        [[0.0, 0.0]]
    """
    if name not in PHANTOMS:
        raise InputError(f"body {name!r}: expected one of {', '.join(PHANTOMS)}")
    return PHANTOMS[name]


def probe_points(name: str) -> Array:
    """Return the points [N, 2] at rest, in mm, that ``phantom_errors`` compares; a margin at the border is excluded.

    Examples:
        >>> bool(get_phantom("block").inside(probe_points("block")).all())
        True
    """
    if name == "ring":
        turns = np.linspace(0, 2 * math.pi, _RAYS, endpoint=False)
        depths = RING_INNER + (RING_OUTER - RING_INNER) * np.array([2 * MARGIN, 0.5, 1 - 2 * MARGIN])
        rays = np.stack([np.cos(turns), np.sin(turns)], 1)
        return np.concatenate([depth * rays + CENTRE for depth in depths])
    body = get_phantom(name)
    axes = [np.arange(c - r, c + r + 1e-9, _LATTICE) for c, r in zip(CENTRE, body.reach, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    return points[body.inside((points - CENTRE) / (1 - MARGIN) + CENTRE)]


def phantom_errors(name: str, tracked: Array) -> dict[str, float]:
    """Compute the errors of tracked points against the true motion of a phantom.

    Args:
        name: name of the phantom.
        tracked: positions [N, 2] in mm of ``probe_points(name)`` at the end of the motion, as tracked.

    Returns:
        ``track_mm``, the mean distance from the true positions; for the disc ``rotation`` (tracked − true angle, % of
        the true one) and ``disc_strain``; for the block ``block_depth`` and ``block_lateral``; for the ring
        ``ring_radial`` and ``ring_circumferential``: tracked − true strain, percentage points.

    Examples:
        >>> points = probe_points("disc")
        >>> round(phantom_errors("disc", get_phantom("disc").moved(points, 0.5))["rotation"])
        -50
    """
    start = probe_points(name)
    truth = get_phantom(name).moved(start, 1.0)
    result = {"track_mm": float(np.linalg.norm(tracked - truth, axis=1).mean())}
    if name == "ring":
        strains = [_ring_strains(start, end) for end in (tracked, truth)]
        names = ("ring_radial", "ring_circumferential")
        return result | {n: 100 * (a - b) for n, a, b in zip(names, *strains, strict=True)}
    fit, true = _affine(start, tracked), _affine(start, truth)
    if name == "disc":
        angles = [math.atan2(f[1, 0] - f[0, 1], f[0, 0] + f[1, 1]) for f in (fit, true)]
        size = math.sqrt(max(float(np.linalg.det(fit)), 0.0)) - 1
        return result | {"rotation": 100 * (angles[0] / angles[1] - 1), "disc_strain": 100 * size}
    return result | {f"block_{n}": 100 * float(fit[k, k] - true[k, k]) for k, n in enumerate(("depth", "lateral"))}


def _affine(start: Array, end: Array) -> Array:
    """Fit the matrix [2, 2] that maps points [N, 2] to others by least squares, both centred."""
    return np.asarray(np.linalg.lstsq(start - start.mean(0), end - end.mean(0), rcond=None)[0].T)


def _ring_strains(start: Array, end: Array) -> tuple[float, float]:
    """Return radial strain across the wall, mean over the rays, and circumferential mid-wall strain, as fractions."""

    def lengths(points: Array) -> tuple[Array, float]:
        inner, middle, outer = np.split(points, 3)
        around = float(np.linalg.norm(np.roll(middle, -1, axis=0) - middle, axis=1).sum())
        return np.linalg.norm(outer - inner, axis=1), around

    (across, around), (across_end, around_end) = lengths(start), lengths(end)
    return float((across_end / across).mean()) - 1, around_end / around - 1
