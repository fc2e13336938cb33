"""Flows of blood that are known exactly: a pair of vortices and Hill's vortex in a still pool, and filling.

Points are (depth, lateral) in mm, velocities mm/s, times s. Positive vorticity turns counter-clockwise on the picture
(depth downwards, lateral to the right), as in ``flow``. In filling the stream function is given on the chords
between the two sides of the moving endocardium: at the wall it has exactly the wall's own flux, so that nothing goes
through it and the flow is incompressible in the plane whatever is added within.
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
_TINY = 1e-3  # mm, of the differences that give the vorticity where there is no formula
_STEP = 0.8  # mm that a particle goes at most in a step of the Runge-Kutta method
_APEX = 0.99  # of the way to the apex, where the chords end
_NEWTON = 4
_SAMPLES = 241  # of the wall, between which its flux is integrated


class Flow:
    """A flow in a pool that may move."""

    def velocity(self, points: Array, time: float) -> Array:
        """Velocity [P, 2] in mm/s at ``points`` [P, 2] in mm; beyond the pool that of its edge, or the formula's."""
        raise NotImplementedError

    def is_inside(self, points: Array, time: float) -> Flags:
        """Which points lie in the pool, [P]."""
        raise NotImplementedError

    def reach(self, time: float) -> tuple[Array, Array]:
        """Opposite corners, in mm, of a box around the pool."""
        raise NotImplementedError

    def vorticity(self, points: Array, time: float) -> Array:
        """Vorticity [P] in 1/s, counter-clockwise positive, by differences of the exact velocity."""
        found = []
        for axis in (0, 1):
            shift = np.eye(2)[axis] * _TINY
            found.append((self.velocity(points + shift, time) - self.velocity(points - shift, time)) / (2 * _TINY))
        return np.asarray(found[0][:, 1] - found[1][:, 0])


@dataclass(frozen=True)
class LambOseenPair(Flow):
    """Two Lamb-Oseen vortices that turn against each other in a round pool, kept in it by their images.

    The image of a point vortex in a circle makes the circle a stream line (Milne-Thomson); that of a vortex with a core
    does so up to exp(−d²/core²), d the distance from the wall.

    Attributes:
        centre: of the pool, mm.
        radius: of the pool, mm.
        offset: of each vortex from the middle, to the sides, mm.
        core: mm, the radius at which the vorticity has fallen to 1/e.
        circulation: mm²/s of the right one, counter-clockwise positive; the left one has the opposite.
    """

    centre: tuple[float, float] = (75.0, 0.0)
    radius: float = 26.0
    offset: float = 12.0
    core: float = 6.0
    circulation: float = 8000.0

    def _vortices(self) -> list[tuple[float, float]]:
        """(lateral place from the middle, circulation) of the vortices and of their images."""
        image = self.radius**2 / self.offset
        return [
            (self.offset, self.circulation),
            (-self.offset, -self.circulation),
            (image, -self.circulation),
            (-image, self.circulation),
        ]

    def velocity(self, points: Array, time: float) -> Array:
        found = np.zeros_like(points)
        for place, circulation in self._vortices():
            depth, lateral = (points - self.centre - np.array([0.0, place])).T
            square = np.maximum(depth**2 + lateral**2, 1e-12)
            turning = circulation / (2 * math.pi * square) * -np.expm1(-square / self.core**2)
            found += np.stack([-lateral, depth], 1) * turning[:, None]
        return found

    def vorticity(self, points: Array, time: float) -> Array:
        found = np.zeros(len(points))
        for place, circulation in self._vortices():
            square = ((points - self.centre - np.array([0.0, place])) ** 2).sum(1)
            found += circulation / (math.pi * self.core**2) * np.exp(-square / self.core**2)
        return found

    def is_inside(self, points: Array, time: float) -> Flags:
        return np.asarray(np.linalg.norm(points - self.centre, axis=1) < self.radius)

    def reach(self, time: float) -> tuple[Array, Array]:
        return np.subtract(self.centre, self.radius), np.add(self.centre, self.radius)


@dataclass(frozen=True)
class HillVortex(Flow):
    """The slice through the axis of Hill's spherical vortex (Hill 1894), seen with it: it fills its pool.

    The axis is that of depth. The flow is incompressible in space; in the slice it has a divergence, as every slice of
    a ring vortex has. Each half has the circulation 5 · speed · radius.

    Attributes:
        centre, radius: of the pool, mm.
        speed: of the vortex through the still fluid around, mm/s; on the axis it flows with 3/2 of it.
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
    """Flow in a pool whose wall moves, with a jet from the mitral side and an eddy on either side of it.

    Args:
        contours: the endocardium [T, 36, 2] in mm at times [T] in s, from one end of the base over the apex to the
            other.
        start, stop: s, between which it is asked for; at ``start`` the eddies begin to move from the base to the apex.
        eddies: mm²/s, the stream function in the middle of an eddy.
        inlet, outlet: where across the base the jet comes in and the outflow goes out, 0 to 1 from the first point.
        jet: how much of the flow through the base is in the jet, 0 to 1.
        travel: of the way from base to apex that the eddies go in a second.

    Raises:
        InputError: ``contours`` gives no open contours.
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
            raise InputError(f"filling: expected contours [T, points, 2], got {wall.shape}")
        self._wall = CubicSpline(times, wall)
        self.start, self.eddies, self.inlet, self.outlet, self.jet = start, eddies, inlet, outlet, jet
        self.travel = travel
        self._at = lru_cache(maxsize=64)(self._prepare)

    def _prepare(self, time: float) -> _Moment:
        return _Moment(self._wall(time), self._wall(time, 1))

    def contour(self, time: float) -> Array:
        """The endocardium [points, 2] in mm."""
        return np.asarray(self._wall(time))

    def flux(self, time: float) -> float:
        """mm²/s by which the wall widens the pool, and that come in through a base at rest."""
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
        """How much of the flux through a chord passes before ``eta``, and its derivatives."""
        middle, width = (self.inlet, 0.16) if gain > 0 else (self.outlet, 0.14)
        low, high = np.tanh(-middle / width), np.tanh((1 - middle) / width)
        bent = (np.tanh((eta - middle) / width) - low) / (high - low)
        slope = 1 / np.cosh((eta - middle) / width) ** 2 / width / (high - low)
        weight, weight_s = self.jet * (1 - s) ** 2, -2 * self.jet * (1 - s)
        return eta + weight * (bent - eta), weight_s * (bent - eta), 1 + weight * (slope - 1)

    def _eddy(self, s: Array, eta: Array, time: float, side: float) -> tuple[Array, Array]:
        """∂/∂s and ∂/∂η of the eddies' stream function."""
        place = 0.28 + self.travel * (time - self.start)
        total_s, total_eta = np.zeros_like(s), np.zeros_like(s)
        for offset, sign, wide in ((0.24, 1.0, 0.13), (-0.24, -1.0, 0.15)):
            middle, long = self.inlet + offset, 0.15
            bell = np.exp(-(((s - place) / long) ** 2) / 2 - ((eta - middle) / wide) ** 2 / 2)
            edge, edge_eta = 16 * (eta * (1 - eta)) ** 2, 32 * eta * (1 - eta) * (1 - 2 * eta)
            ends, ends_s = s * (1 - s) ** 3 / 0.1055, (1 - s) ** 2 * (1 - 4 * s) / 0.1055
            scale = side * sign * self.eddies * bell
            total_s += scale * edge * (ends_s - ends * (s - place) / long**2)
            total_eta += scale * ends * (edge_eta - edge * (eta - middle) / wide**2)
        return total_s, total_eta

    def is_inside(self, points: Array, time: float) -> Flags:
        low, high = self.reach(time)
        found: Flags = np.asarray(((points >= low) & (points <= high)).all(1))
        s, eta, met = self._at(time).locate(points[found])
        found[found] = met & (s >= 0) & (s <= _APEX) & (eta >= 0) & (eta <= 1)
        return found

    def reach(self, time: float) -> tuple[Array, Array]:
        contour = self.contour(time)
        return contour.min(0) - 1, contour.max(0) + 1


class _Moment:
    """The chords of a pool at one time: s from 0 at the base to 1 at the apex, η from 0 to 1 across."""

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
        """Points [P, 2] in mm."""
        return np.asarray((1 - eta)[:, None] * self._curve(s / 2) + eta[:, None] * self._curve(1 - s / 2))

    def tangents(self, s: Array, eta: Array) -> tuple[Array, Array]:
        """∂P/∂s and ∂P/∂η, [P, 2] each."""
        left, right = self._curve(s / 2, 1) / 2, -self._curve(1 - s / 2, 1) / 2
        along = (1 - eta)[:, None] * left + eta[:, None] * right
        return along, self._curve(1 - s / 2) - self._curve(s / 2)

    def locate(self, points: Array) -> tuple[Array, Array, Flags]:
        """(s, η) of points, and whether they were found there to a micrometre."""
        s, eta = self._nodes[self._tree.query(points)[1]].T.copy()
        for _ in range(_NEWTON):
            off = points - self.place(s, eta)
            along, across = self.tangents(s, eta)
            determinant = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
            determinant = np.where(np.abs(determinant) < 1e-6, 1e-6, determinant)
            s = np.clip(s + (off[:, 0] * across[:, 1] - off[:, 1] * across[:, 0]) / determinant, -0.05, 1.0)
            eta = np.clip(eta + (off[:, 1] * along[:, 0] - off[:, 0] * along[:, 1]) / determinant, -0.05, 1.05)
        met = np.linalg.norm(points - self.place(s, eta), axis=1) < 1e-3
        return s, eta, met


def advect(flow: Flow, points: Array, start: float, stop: float) -> tuple[Array, Flags]:
    """Where particles at ``points`` [P, 2] at one time are at another, earlier or later.

    Returns:
        places [P, 2] in mm, and whether these are in the pool, [P]; who left through the base stays out.
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
