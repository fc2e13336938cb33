"""Motion around the wall: the scenarios of a simulated heart, each known exactly.

A network trained only with static surroundings learns to predict them. So the scenario is drawn at random:

* ``static``: the tissue around the wall, including the blood pool, is static (Evain et al. 2022);
* ``coupled``: all tissue follows the wall, decaying with distance (``motion``);
* ``sliding``: wall and cavity slide along a nearly static pericardium;
* ``chambers``: as ``coupled``, but the right ventricle, the atria and the valve plane have their own motion and timing,
  and the leaflets open and close;
* ``respiratory``: one of the others, and the whole image moves and rotates by millimetres relative to the probe.

Points are (depth, lateral) in mm from the probe, times in s from end-diastole. A material point X of the plane is at
``g_t(M_t(X) + s_t(X))``: M is the wall's motion with its extension, s that of the chambers, g that of the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.contraction import time_course
from cardiac_motion.simulation.heart.motion import Motion
from cardiac_motion.simulation.heart.surroundings import Chamber, Leaflet, PictureMotion, opening
from cardiac_motion.ventricle.mesh import Array, is_inside_outlines

ANATOMICAL = ("static", "coupled", "sliding", "chambers", "respiratory")
KEEP = 4.0  # mm around moving tissue in which a field continues smoothly instead of stopping
_LATTICE = 2.0  # mm, grid step of the chambers' motion
_WINDOW = 15.0  # mm from the wall over which the chambers' motion increases from 0
_STEEPEST = 0.35  # maximum gradient of the chambers' motion
_ITERATIONS, _TOLERANCE = 60, 1e-5  # of the inverse; tolerance in mm
_LEAFLET = 2.0  # mm around a leaflet in which the field is not valid


class Scenario:
    """Motion of the wall and of everything else in the image.

    Args:
        motion: motion of the wall and, depending on ``region``, of its surroundings.
        region: tissue that follows ``motion``: ``wall``, ``heart`` (the wall and its cavity) or ``plane`` (everything).
        name: name of the scenario.
        drift: shift of the tissue outside the region at end-systole, mm.
        chambers: chambers with additional motion.
        leaflets: leaflets of the valve.
        picture_motion: motion of the whole image.

    Raises:
        InputError: the region is unknown.
    """

    def __init__(
        self,
        motion: Motion,
        region: str = "plane",
        name: str = "coupled",
        drift: tuple[float, float] = (0.0, 0.0),
        chambers: Sequence[Chamber] = (),
        leaflets: Sequence[Leaflet] = (),
        picture_motion: PictureMotion | None = None,
    ) -> None:
        if region not in ("wall", "heart", "plane"):
            raise InputError(f"region '{region}' is unknown; use wall, heart or plane")
        self.motion, self.region, self.name, self.drift = motion, region, name, drift
        self.chambers, self.leaflets, self.picture_motion = tuple(chambers), tuple(leaflets), picture_motion
        if self.chambers:
            self._lattice, self._low = self._tabulate()

    def outlines(self, times: Array) -> list[Array]:
        """Return closed outlines [T, K, 2] of the region at times, before the image's motion; none for the plane."""
        if self.region == "plane":
            return []
        wall, mesh = self.motion.wall(times), self.motion.mesh
        if self.region == "wall":
            return [wall[:, o] for o in mesh.outlines()]
        return [wall[:, mesh.layers - 1 :: mesh.layers]]

    def chamber_motion(self, points: Tensor) -> Tensor:
        """Return each chamber's displacement at its peak, [K, P, 2], at material points [P, 2] at end-diastole."""
        if not self.chambers:
            return points.new_zeros(0, len(points), 2)
        size = points.new_tensor([n - 1 for n in self._lattice.shape[2:]])
        where = ((points - self._low.to(points)) / _LATTICE / size * 2 - 1).flip(-1)
        values = functional.grid_sample(self._lattice.to(points), where[None, None], align_corners=True)
        return values[0, :, 0].reshape(len(self.chambers), 2, -1).movedim(1, 2)

    def courses(self, times: Array) -> Tensor:
        """Return the time courses [T, K] of the chambers."""
        rate = self.motion.heart_rate
        return torch.as_tensor(np.stack([c.course(times, rate) for c in self.chambers], 1), device=self.motion.device)

    def heart(self, triangle: Tensor, barycentric: Tensor, own: Tensor, times: Array) -> Tensor:
        """Return positions [T, P, 2] of material points of the region, before the image's motion.

        ``own`` is the result of ``chamber_motion``.
        """
        places = self.motion.positions(triangle, barycentric, times)
        if not len(own):
            return places
        return places + torch.einsum("tk,kpd->tpd", self.courses(times).to(own.dtype), own).to(places.dtype)

    def ground(self, points: Tensor, times: Array) -> Tensor:
        """Return positions [T, P, 2] of tissue outside the region, before the image's motion."""
        course = torch.as_tensor(time_course(np.asarray(times), self.motion.heart_rate)).to(points)
        return points + course[:, None, None] * points.new_tensor(self.drift)

    def apply_picture_motion(self, places: Tensor, times: Sequence[float] | Array) -> Tensor:
        """Apply the image's motion to positions [T, P, 2]."""
        if self.picture_motion is None:
            return places
        return torch.stack([self.picture_motion.forward(p, float(t)) for p, t in zip(places, times, strict=True)])

    def undo_picture_motion(self, points: Tensor, time: float) -> Tensor:
        """Undo the image's motion for points [P, 2]."""
        return points if self.picture_motion is None else self.picture_motion.inverse(points, time)

    def locate(self, points: Tensor, time: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return material coordinates of points [P, 2] before the image's motion, as ``Motion.locate``, and ``own``.

        The chambers' motion is inverted by iteration to 1e-5 mm; points without convergence count as outside.
        """
        points = points.to(self.motion.device, torch.float64)
        triangle, barycentric, inside = self.motion.locate(points, time)
        if not self.chambers:
            return triangle, barycentric, inside, self.chamber_motion(points)
        start = self.motion.nodes(np.zeros(1))[0]
        course = self.courses(np.array([time]))[0]
        active = torch.arange(len(points), device=points.device)
        before = torch.zeros_like(points)
        for _ in range(_ITERATIONS):
            material = _interpolate(start, self.motion.triangles[triangle[active]], barycentric[active])
            moved = torch.einsum("k,kpd->pd", course, self.chamber_motion(material))
            unfinished = (moved - before[active]).norm(dim=-1) > _TOLERANCE
            before[active] = moved
            active = active[unfinished]
            if not len(active):
                break
            triangle[active], barycentric[active], inside[active] = self.motion.locate(
                points[active] - before[active], time
            )
        inside[active] = False
        material = _interpolate(start, self.motion.triangles[triangle], barycentric)
        return triangle, barycentric, inside, self.chamber_motion(material)

    def displacement(self, points: Tensor, at: float, to: Sequence[float]) -> dict[str, Tensor]:
        """Return the displacement of what is imaged at ``points`` from one time to others.

        Args:
            points: [P, 2] in mm.
            at: s.
            to: [T] in s.

        Returns:
            ``moved`` [T, P, 2] in mm; and, [P] bool, ``inside`` (within the bounds), ``region`` (moves with the heart,
            and the field is valid), ``ground`` (does not, and is away from tissue that does), ``wall``. Within 4 mm of
            the region, ``moved`` continues that of the region smoothly.
        """
        times, start = np.asarray(to, dtype=np.float64), self.undo_picture_motion(points.to(self.motion.device), at)
        triangle, barycentric, inside, own = self.locate(start, at)
        positions = self.heart(triangle, barycentric, own, times)
        wall = inside & (triangle < len(self.motion.mesh.triangles))
        region, ground = inside, torch.zeros_like(inside)
        outlines = [o[0] for o in self.outlines(np.array([at]))]
        if outlines:
            region = (
                wall if self.region == "wall" else torch.as_tensor(is_inside_outlines(start.cpu().numpy(), outlines))
            )
            region = inside & region.to(inside.device)
            clear = signed_distance(start.float(), [o[None] for o in outlines])[0] > KEEP
            rest = self.ground(start, np.array([at]))[0] - start
            around = self.ground(start - rest, times)
            positions = torch.where(clear[:, None], around, positions)
            ground = inside & clear
        for time in (at, *times):
            region = region & ~self._is_near_leaflets(start, float(time))
        moved = self.apply_picture_motion(positions, times) - points.to(self.motion.device)
        moved = torch.where(inside[:, None], moved, 0.0)
        return {"moved": moved, "inside": inside, "region": region, "ground": ground, "wall": wall}

    def leaflet_places(self, along: Tensor, across: Tensor, times: Array) -> Tensor:
        """Return positions [T, L·n, 2] of points of every leaflet: ``along`` [n] from 0 to 1, ``across`` [n] mm."""
        inner = self.motion.contours(times)[0]
        open_by = opening(times, self.motion.heart_rate)
        positions = []
        for leaflet in self.leaflets:
            hinge, tip = (torch.as_tensor(e).to(along)[:, None] for e in leaflet.ends(inner, open_by))
            axis = tip - hinge
            normal = torch.stack([-axis[..., 1], axis[..., 0]], -1) / leaflet.length
            positions.append(hinge + along[:, None] * axis + across[:, None] * normal)
        return torch.cat(positions, 1)

    def _is_near_leaflets(self, points: Tensor, time: float) -> Tensor:
        near = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        if self.leaflets:
            along = torch.linspace(0, 1, 20, dtype=points.dtype, device=points.device)
            places = self.leaflet_places(along, torch.zeros_like(along), np.array([time]))[0]
            box = ((points > places.amin(0) - _LEAFLET) & (points < places.amax(0) + _LEAFLET)).all(1)
            near[box] = torch.cdist(points[box], places).amin(1) < _LEAFLET
        return near

    def _tabulate(self) -> tuple[Tensor, Tensor]:
        """Tabulate the chambers' displacements on a lattice [1, 2 K, h, w], with its corner [2] in mm.

        They increase from 0 over ``_WINDOW`` from the wall, and are reduced if their gradient is too large.
        """
        ends = [[(c.centre[d] - 4 * c.size, c.centre[d] + 4 * c.size) for c in self.chambers] for d in (0, 1)]
        low, high = [min(a for a, _ in e) for e in ends], [max(b for _, b in e) for e in ends]
        axes = [torch.arange(a, b + _LATTICE, _LATTICE, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
        shape = tuple(len(a) for a in axes)
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        nodes = self.motion.mesh.nodes
        distance = signed_distance(points.float(), [nodes[o][None] for o in self.motion.mesh.outlines()])[0]
        part = (distance / _WINDOW).clamp(0, 1).double()
        window = (part * part * (3 - 2 * part))[:, None]
        moved = torch.stack([window * chamber.basis(points) for chamber in self.chambers])
        grid = moved.reshape(-1, *shape, 2)
        steep = sum(float(grid.diff(dim=d).norm(dim=-1).max()) / _LATTICE for d in (1, 2))
        grid = grid * min(1.0, _STEEPEST / max(1e-9, steep))
        lattice = grid.movedim(-1, 1).reshape(1, -1, *shape)
        lattice[..., 0, :], lattice[..., -1, :], lattice[..., 0], lattice[..., -1] = 0, 0, 0, 0
        device = self.motion.device
        return lattice.to(device), torch.tensor(low, dtype=torch.float64, device=device)


def _interpolate(nodes: Tensor, corners: Tensor, barycentric: Tensor) -> Tensor:
    return (nodes[corners] * barycentric[..., None]).sum(1)


def signed_distance(points: Tensor, outlines: Sequence[np.ndarray]) -> Tensor:
    """Return the distance [T, P] in mm of points [P, 2] to closed outlines [T, K, 2], negative inside (even-odd)."""
    squared, inside = None, None
    for outline in outlines:
        a = torch.as_tensor(outline, dtype=torch.float32, device=points.device)[:, :, None]
        b = torch.roll(a, -1, dims=1)
        edge, gap = b - a, points - a
        along = ((gap * edge).sum(-1) / (edge * edge).sum(-1).clamp_min(1e-12)).clamp(0, 1)
        nearest = (gap - along[..., None] * edge).square().sum(-1).amin(1)
        spans = (points[:, 0] >= torch.minimum(a, b)[..., 0]) & (points[:, 0] < torch.maximum(a, b)[..., 0])
        slope = edge[..., 1] / torch.where(edge[..., 0] == 0, 1.0, edge[..., 0])
        crossed = (spans & (points[:, 1] < a[..., 1] + gap[..., 0] * slope)).sum(1) % 2 == 1
        squared = nearest if squared is None else torch.minimum(squared, nearest)
        inside = crossed if inside is None else inside ^ crossed
    assert squared is not None and inside is not None
    return torch.where(inside, -squared.sqrt(), squared.sqrt())


def draw_scenario(
    rng: np.random.Generator, weights: Mapping[str, float], motion: Motion
) -> tuple[Scenario, dict[str, Any]]:
    """Draw a random scenario around a motion.

    Args:
        rng: NumPy random generator.
        weights: weights of the names in ``ANATOMICAL``.
        motion: motion of the wall.

    Returns:
        The scenario and its parameters.

    Raises:
        InputError: a scenario is unknown, a weight is negative, or all are 0.
    """
    unknown, total = set(weights) - set(ANATOMICAL), float(sum(weights.values()))
    if unknown or min(weights.values(), default=-1.0) < 0 or total <= 0:
        raise InputError(f"scenarios {dict(weights)} must be non-negative weights of {', '.join(ANATOMICAL)}")
    names = list(weights)
    name = str(rng.choice(names, p=[weights[n] / total for n in names]))
    base, picture_motion = name, None
    if name == "respiratory":
        base = str(rng.choice(["coupled", "static", "sliding", "chambers"]))
        shift = rng.normal(0, 1, 2) * (3.0, 2.0)
        centre = motion.mesh.nodes.mean(0)
        picture_motion = PictureMotion(
            (float(centre[0]), float(centre[1])),
            math.radians(rng.normal(0, 2.5)),
            (float(shift[0]), float(shift[1])),
            float(rng.uniform(2.0, 5.0)),
            float(rng.uniform(0, 2 * math.pi)),
        )
    region = {"static": "wall", "sliding": "heart"}.get(base, "plane")
    drift = (0.0, 0.0)
    chambers: list[Chamber] = []
    leaflets: list[Leaflet] = []
    if base == "sliding":
        moved = rng.normal(0, 0.4, 2)
        drift = (float(moved[0]), float(moved[1]))
    if base == "chambers":
        chambers, leaflets = _chambers(rng, motion)
    scenario = Scenario(motion, region, name, drift, chambers, leaflets, picture_motion)
    drawn: dict[str, Any] = {"scenario": name, "base": base, "drift_mm": list(drift)}
    if picture_motion is not None:
        drawn |= {"picture_degrees": math.degrees(picture_motion.angle), "picture_mm": list(picture_motion.shift)}
    return scenario, drawn


def _chambers(rng: np.random.Generator, motion: Motion) -> tuple[list[Chamber], list[Leaflet]]:
    mesh = motion.mesh
    inner = mesh.inner
    base, apex = 0.5 * (inner[0] + inner[-1]), inner[len(inner) // 2]
    axis = (base - apex) / np.linalg.norm(base - apex)
    across = np.array([-axis[1], axis[0]]) * rng.choice([-1, 1])
    width, length = float(np.linalg.norm(inner[-1] - inner[0])), float(np.linalg.norm(base - apex))

    def chamber(centre: Array, size: float, swelling: float, shift: Array, inverted: bool) -> Chamber:
        delay = float(rng.normal(0, 0.02))
        where, by = (float(centre[0]), float(centre[1])), (float(shift[0]), float(shift[1]))
        return Chamber(where, size, swelling, by, delay, inverted)

    def amount(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    beside = width / 2 + amount(22, 32)
    chambers = [
        chamber(base + amount(18, 28) * axis, amount(12, 18), amount(0.05, 0.3), amount(-2, 2) * axis, True),
        chamber(
            base + amount(10, 25) * axis + beside * across,
            amount(12, 18),
            amount(0.05, 0.3),
            amount(-2, 2) * axis,
            True,
        ),
        chamber(
            apex + amount(0.4, 0.7) * length * axis + beside * across,
            amount(12, 20),
            -amount(0.05, 0.3),
            -amount(0, 6) * axis,
            False,
        ),
    ]
    leaflets = [
        Leaflet(last, 0.5 * width * amount(0.8, 1.0), amount(0.1, 0.5), amount(1.0, 1.5)) for last in (False, True)
    ]
    return chambers, [] if mesh.closed else leaflets
