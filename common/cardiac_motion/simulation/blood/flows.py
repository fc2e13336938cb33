"""Blood flows known exactly: a pair of vortices and Hill's vortex in a static pool, and filling.

Points are (depth, lateral) in mm, velocities mm/s, times s. Positive vorticity turns counter-clockwise in the image
(depth downwards, lateral to the right), as in ``flow``. For filling, the stream function is defined on chords between
the two sides of the moving endocardium: at the wall its flux is exactly that of the wall, so that no blood crosses it
and the flow is incompressible in the plane, whatever is added inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.mesh import Array

Flags = NDArray[np.bool_]
_TINY = 1e-3  # mm, step of finite differences where the vorticity has no formula
_STEP = 0.8  # mm, maximum path of a particle in a step of the Runge-Kutta method
_APEX = 0.99  # fraction of the distance to the apex at which the chords end
_NEWTON = 4
_SAMPLES = 241  # samples of the wall between which its flux is integrated


class Flow:
    """Flow in a pool that may move."""

    def velocity(self, points: Array, time: float) -> Array:
        """Return the velocity [P, 2] in mm/s at ``points`` [P, 2] in mm; outside the pool, extrapolated."""
        raise NotImplementedError

    def is_inside(self, points: Array, time: float) -> Flags:
        """Return whether points are in the pool, [P]."""
        raise NotImplementedError

    def reach(self, time: float) -> tuple[Array, Array]:
        """Return opposite corners, in mm, of a box around the pool."""
        raise NotImplementedError

    def vorticity(self, points: Array, time: float) -> Array:
        """Return the vorticity [P] in 1/s, counter-clockwise positive, by differences of the exact velocity."""
        slopes = []
        for axis in (0, 1):
            shift = np.eye(2)[axis] * _TINY
            slopes.append((self.velocity(points + shift, time) - self.velocity(points - shift, time)) / (2 * _TINY))
        return np.asarray(slopes[0][:, 1] - slopes[1][:, 0])


@dataclass(frozen=True)
class LambOseenPair(Flow):
    """Two counter-rotating Lamb-Oseen vortices in a circular pool, confined by their images.

    The image of a point vortex in a circle makes the circle a stream line (Milne-Thomson); that of a vortex with a core
    does so up to exp(−d²/core²), where d is the distance from the wall.

    Attributes:
        centre: centre of the pool, mm.
        radius: radius of the pool, mm.
        offset: lateral distance of each vortex from the centre, mm.
        core: radius at which the vorticity has fallen to 1/e, mm.
        circulation: circulation of the right vortex, mm²/s, counter-clockwise positive; the left one has the opposite.
    """

    centre: tuple[float, float] = (75.0, 0.0)
    radius: float = 26.0
    offset: float = 12.0
    core: float = 6.0
    circulation: float = 8000.0

    def _vortices(self) -> list[tuple[float, float]]:
        """Return (lateral position from the centre, circulation) of the vortices and of their images."""
        image = self.radius**2 / self.offset
        return [
            (self.offset, self.circulation),
            (-self.offset, -self.circulation),
            (image, -self.circulation),
            (-image, self.circulation),
        ]

    def velocity(self, points: Array, time: float) -> Array:
        total = np.zeros_like(points)
        for position, circulation in self._vortices():
            depth, lateral = (points - self.centre - np.array([0.0, position])).T
            square = np.maximum(depth**2 + lateral**2, 1e-12)
            turning = circulation / (2 * math.pi * square) * -np.expm1(-square / self.core**2)
            total += np.stack([-lateral, depth], 1) * turning[:, None]
        return total

    def vorticity(self, points: Array, time: float) -> Array:
        total = np.zeros(len(points))
        for position, circulation in self._vortices():
            square = ((points - self.centre - np.array([0.0, position])) ** 2).sum(1)
            total += circulation / (math.pi * self.core**2) * np.exp(-square / self.core**2)
        return total

    def is_inside(self, points: Array, time: float) -> Flags:
        return np.asarray(np.linalg.norm(points - self.centre, axis=1) < self.radius)

    def reach(self, time: float) -> tuple[Array, Array]:
        return np.subtract(self.centre, self.radius), np.add(self.centre, self.radius)


@dataclass(frozen=True)
class HillVortex(Flow):
    """Slice through the axis of Hill's spherical vortex (Hill 1894) in its own frame of reference; it fills the pool.

    The axis is the depth axis. The flow is incompressible in 3D; in the slice it has a divergence, as every slice of
    a ring vortex. Each half has the circulation 5 · speed · radius.

    Attributes:
        centre, radius: of the pool, mm.
        speed: speed of the vortex through the surrounding still fluid, mm/s; on the axis the flow has 3/2 of it.
    """

    centre: tuple[float, float] = (75.0, 0.0)
    radius: float = 24.0
    speed: float = 200.0

    def velocity(self, points: Array, time: float) -> Array:
        depth, lateral = ((points - self.centre) / self.radius).T
        return 1.5 * self.speed * np.stack([2 * lateral**2 + depth**2 - 1, -depth * lateral], 1)

    def vorticity(self, points: Array, time: float) -> Array:
        lateral = (points - self.centre)[:, 1]
        return -7.5 * self.speed * lateral / self.radius**2

    def is_inside(self, points: Array, time: float) -> Flags:
        return np.asarray(np.linalg.norm(points - self.centre, axis=1) < self.radius)

    def reach(self, time: float) -> tuple[Array, Array]:
        return np.subtract(self.centre, self.radius), np.add(self.centre, self.radius)


class Filling(Flow):
    """Flow in a pool with a moving wall: a jet from the mitral side with an eddy on either side.

    Args:
        contours: function of times [T] in s that returns the endocardium [T, 36, 2] in mm, from one end of the base
            over the apex to the other.
        start, stop: time range, s; at ``start`` the eddies begin to move from the base to the apex.
        eddies: stream function at the centre of an eddy, mm²/s.
        inlet, outlet: position of inflow jet and outflow across the base, 0 to 1 from the first point.
        jet: fraction of the flow through the base that is in the jet, 0 to 1.
        travel: fraction of the distance from base to apex that the eddies move per second.

    Raises:
        InputError: ``contours`` does not return open contours.
    """

    def __init__(
        self,
        contours: Callable[[Array], Array],
        start: float,
        stop: float,
        eddies: float = 3000.0,
        inlet: float = 0.58,
        outlet: float = 0.25,
        jet: float = 0.6,
        travel: float = 1.2,
    ) -> None:
        times = np.linspace(start - 0.004, stop + 0.004, max(8, round((stop - start) / 0.004)))
        wall = np.asarray(contours(times))
        if wall.ndim != 3 or wall.shape[1] < 8 or wall.shape[2] != 2:
            raise InputError(f"filling: contours must have shape [T, points, 2], got {wall.shape}")
        self._wall = CubicSpline(times, wall)
        self.start, self.eddies, self.inlet, self.outlet, self.jet = start, eddies, inlet, outlet, jet
        self.travel = travel
        self._at = lru_cache(maxsize=64)(self._prepare)

    def _prepare(self, time: float) -> _Moment:
        return _Moment(self._wall(time), self._wall(time, 1))

    def contour(self, time: float) -> Array:
        """Return the endocardium [points, 2] in mm."""
        return np.asarray(self._wall(time))

    def flux(self, time: float) -> float:
        """Return the rate of change of the pool's area in mm²/s, which is the inflow through a base at rest."""
        return self._at(time).gain

    def velocity(self, points: Array, time: float) -> Array:
        moment = self._at(time)
        s, eta, _ = moment.locate(points)
        s, eta = np.clip(s, 0.0, _APEX), np.clip(eta, 0.0, 1.0)
        left, right = moment.flux(s / 2), moment.flux(1 - s / 2)
        left_s, right_s = moment.flux(s / 2, 1) / 2, -moment.flux(1 - s / 2, 1) / 2
        share, share_s, share_eta = self._share(s, eta, moment.gain)
        eddy_s, eddy_eta = self._eddy(s, eta, time, moment.side)
        by_s = left_s + (right_s - left_s) * share + (right - left) * share_s + eddy_s
        by_eta = (right - left) * share_eta + eddy_eta
        along, across = moment.tangents(s, eta)
        determinant = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
        by_depth = (by_s * across[:, 1] - by_eta * along[:, 1]) / determinant
        by_lateral = (by_eta * along[:, 0] - by_s * across[:, 0]) / determinant
        return np.stack([-by_lateral, by_depth], 1)

    def _share(self, s: Array, eta: Array, gain: float) -> tuple[Array, Array, Array]:
        """Return the fraction of the flux through a chord that passes before ``eta``, and its derivatives."""
        middle, width = (self.inlet, 0.16) if gain > 0 else (self.outlet, 0.14)
        low, high = np.tanh(-middle / width), np.tanh((1 - middle) / width)
        bent = (np.tanh((eta - middle) / width) - low) / (high - low)
        slope = 1 / np.cosh((eta - middle) / width) ** 2 / width / (high - low)
        weight, weight_s = self.jet * (1 - s) ** 2, -2 * self.jet * (1 - s)
        return eta + weight * (bent - eta), weight_s * (bent - eta), 1 + weight * (slope - 1)

    def _eddy(self, s: Array, eta: Array, time: float, side: float) -> tuple[Array, Array]:
        """Return ∂/∂s and ∂/∂η of the eddies' stream function."""
        position = 0.28 + self.travel * (time - self.start)
        total_s, total_eta = np.zeros_like(s), np.zeros_like(s)
        for offset, sign, wide in ((0.24, 1.0, 0.13), (-0.24, -1.0, 0.15)):
            middle, long = self.inlet + offset, 0.15
            bell = np.exp(-(((s - position) / long) ** 2) / 2 - ((eta - middle) / wide) ** 2 / 2)
            edge, edge_eta = 16 * (eta * (1 - eta)) ** 2, 32 * eta * (1 - eta) * (1 - 2 * eta)
            ends, ends_s = s * (1 - s) ** 3 / 0.1055, (1 - s) ** 2 * (1 - 4 * s) / 0.1055
            scale = side * sign * self.eddies * bell
            total_s += scale * edge * (ends_s - ends * (s - position) / long**2)
            total_eta += scale * ends * (edge_eta - edge * (eta - middle) / wide**2)
        return total_s, total_eta

    def is_inside(self, points: Array, time: float) -> Flags:
        low, high = self.reach(time)
        inside: Flags = np.asarray(((points >= low) & (points <= high)).all(1))
        s, eta, converged = self._at(time).locate(points[inside])
        inside[inside] = converged & (s >= 0) & (s <= _APEX) & (eta >= 0) & (eta <= 1)
        return inside

    def reach(self, time: float) -> tuple[Array, Array]:
        contour = self.contour(time)
        return contour.min(0) - 1, contour.max(0) + 1


class _Moment:
    """Chords of a pool at one time: s from 0 at the base to 1 at the apex, η from 0 to 1 across."""

    def __init__(self, wall: Array, moving: Array) -> None:
        fraction = np.linspace(0, 1, len(wall))
        self._curve = CubicSpline(fraction, wall)
        fine = np.linspace(0, 1, _SAMPLES)
        speed, tangent = CubicSpline(fraction, moving)(fine), self._curve(fine, 1)
        through = CubicSpline(fine, speed[:, 1] * tangent[:, 0] - speed[:, 0] * tangent[:, 1]).antiderivative()
        self._through, self._apex = through, float(through(0.5))
        middle = self._curve(0.75)[1] - self._curve(0.25)[1]
        self.side = float(np.sign(middle))  # 1 where the second side is to the right
        self.gain = float(self.side * (through(1.0) - through(0.0)))
        s, eta = np.meshgrid(np.linspace(-0.02, 1.0, 90), np.linspace(-0.02, 1.02, 50), indexing="ij")
        self._nodes = np.stack([s.ravel(), eta.ravel()], 1)
        self._tree = cKDTree(self.place(*self._nodes.T))

    def flux(self, f: Array, order: int = 0) -> Array:
        """Through the wall from the apex to the fraction ``f`` of it, mm²/s, or its derivative of that order."""
        return np.asarray(self._through(f, order) - (0.0 if order else self._apex))

    def place(self, s: Array, eta: Array) -> Array:
        """Return points [P, 2] in mm."""
        return np.asarray((1 - eta)[:, None] * self._curve(s / 2) + eta[:, None] * self._curve(1 - s / 2))

    def tangents(self, s: Array, eta: Array) -> tuple[Array, Array]:
        """Return ∂P/∂s and ∂P/∂η, [P, 2] each."""
        left, right = self._curve(s / 2, 1) / 2, -self._curve(1 - s / 2, 1) / 2
        along = (1 - eta)[:, None] * left + eta[:, None] * right
        return along, self._curve(1 - s / 2) - self._curve(s / 2)

    def locate(self, points: Array) -> tuple[Array, Array, Flags]:
        """Return (s, η) of points, and whether the inversion converged to a micrometre."""
        s, eta = self._nodes[self._tree.query(points)[1]].T.copy()
        for _ in range(_NEWTON):
            residual = points - self.place(s, eta)
            along, across = self.tangents(s, eta)
            determinant = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
            determinant = np.where(np.abs(determinant) < 1e-6, 1e-6, determinant)
            s = np.clip(s + (residual[:, 0] * across[:, 1] - residual[:, 1] * across[:, 0]) / determinant, -0.05, 1.0)
            step = (residual[:, 1] * along[:, 0] - residual[:, 0] * along[:, 1]) / determinant
            eta = np.clip(eta + step, -0.05, 1.05)
        converged = np.linalg.norm(points - self.place(s, eta), axis=1) < 1e-3
        return s, eta, converged


def advect(flow: Flow, points: Array, start: float, stop: float) -> tuple[Array, Flags]:
    """Advect particles at ``points`` [P, 2] from one time to another, earlier or later.

    Returns:
        Positions [P, 2] in mm, and whether they are in the pool, [P]; a particle that left through the base stays out.
    """
    here, speed = points.copy(), np.linalg.norm(flow.velocity(points, start), axis=1).max(initial=0.0)
    count = max(1, math.ceil(1.2 * speed * abs(stop - start) / _STEP))
    h = (stop - start) / count
    for n in range(count):
        t = start + n * h
        a = flow.velocity(here, t)
        b = flow.velocity(here + 0.5 * h * a, t + 0.5 * h)
        c = flow.velocity(here + 0.5 * h * b, t + 0.5 * h)
        here = here + h / 6 * (a + 2 * b + 2 * c + flow.velocity(here + h * c, t + h))
    return here, flow.is_inside(here, stop)
