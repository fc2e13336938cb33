"""Scenarios without anatomy: discs, rings, bands and whole sectors of speckle, with motion that has a closed inverse.

A network trained only on hearts infers the motion from the heart's appearance. Here only the speckle carries
information, and it is physical: scatterers with a fixed point-spread function, so that it changes under rotation and
stretch. Points are (depth, lateral) in mm from the probe; times count frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.ultrasound.image import PROBES, Scanner

SHAPES = ("disc", "ring", "band", "sector")
GROUNDS = ("dark", "still", "drifting")
_MARGIN = 8.0  # mm beyond the sector that contain scatterers
_LEAST = 0.25  # minimum of a ring's inner radius relative to rest


@dataclass(frozen=True)
class BodyMotion:
    """Motion about a centre: an affine map, then a twist and a radial flow that preserves area.

    At phase s (0 at rest): ``x = c + s v + T_s(A_s (X − c))`` with ``A_s = R(s·turn) · [[e^(s a), s b], [0, e^(s d)]]``
    and, in polar coordinates, ``T_s: r² → r² + s k, φ → φ + s τ r'``. Each part has an inverse in closed form.

    Attributes:
        centre: (depth, lateral) mm.
        velocity: (depth, lateral) mm per unit of phase.
        turn: rotation in rad per unit of phase, from depth towards lateral.
        stretch: logarithmic stretch along depth and lateral per unit of phase.
        shear: shear of depth by lateral per unit of phase.
        twist: rad per mm of radius and unit of phase.
        radial: increase of every squared radius in mm² per unit of phase; only for rings around the centre.
    """

    centre: tuple[float, float] = (0.0, 0.0)
    velocity: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    stretch: tuple[float, float] = (0.0, 0.0)
    shear: float = 0.0
    twist: float = 0.0
    radial: float = 0.0

    def _affine(self, phase: float) -> np.ndarray:
        c, s = math.cos(phase * self.turn), math.sin(phase * self.turn)
        a, d = (math.exp(phase * x) for x in self.stretch)
        return np.asarray(np.array([[c, -s], [s, c]]) @ np.array([[a, phase * self.shear], [0.0, d]]))

    def _ends(self, points: Tensor, phase: float) -> tuple[Tensor, Tensor]:
        centre, velocity = points.new_tensor(self.centre), points.new_tensor(self.velocity)
        return centre, centre + phase * velocity

    def forward(self, points: Tensor, phase: float) -> Tensor:
        """Return the positions of material points [..., 2] at a phase."""
        rest, now = self._ends(points, phase)
        moved = (points - rest) @ points.new_tensor(self._affine(phase)).T
        if self.twist or self.radial:
            before = moved.norm(dim=-1)
            after = (before.square() + phase * self.radial).clamp_min(0).sqrt()
            moved = _rotate(moved * (after / before.clamp_min(1e-9))[..., None], phase * self.twist * after)
        return now + moved

    def inverse(self, points: Tensor, phase: float) -> Tensor:
        """Return the material points that are at ``points [..., 2]`` at a phase."""
        rest, now = self._ends(points, phase)
        moved = points - now
        if self.twist or self.radial:
            after = moved.norm(dim=-1)
            before = (after.square() - phase * self.radial).clamp_min(0).sqrt()
            moved = _rotate(moved * (before / after.clamp_min(1e-9))[..., None], -phase * self.twist * after)
        return rest + moved @ points.new_tensor(np.linalg.inv(self._affine(phase))).T


def _rotate(points: Tensor, angle: Tensor) -> Tensor:
    c, s = angle.cos(), angle.sin()
    return torch.stack([c * points[..., 0] - s * points[..., 1], s * points[..., 0] + c * points[..., 1]], dim=-1)


@dataclass(frozen=True)
class TexturedBody:
    """Region of speckle at rest.

    Attributes:
        shape: one of ``SHAPES``.
        centre: (depth, lateral) mm.
        outer: radius of a disc or ring, half the length of a band, mm.
        inner: radius of a ring's hole, half the width of a band, mm.
        angle: angle between a band's length and depth, rad.
    """

    shape: str
    centre: tuple[float, float]
    outer: float
    inner: float = 0.0
    angle: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise InputError(f"shape '{self.shape}' is unknown; use one of {', '.join(SHAPES)}")

    def holds(self, points: Tensor) -> Tensor:
        """Return whether points [..., 2] are inside, bool."""
        gap = points - points.new_tensor(self.centre)
        if self.shape == "sector":
            return torch.ones_like(gap[..., 0], dtype=torch.bool)
        if self.shape == "band":
            c, s = math.cos(self.angle), math.sin(self.angle)
            along, across = c * gap[..., 0] + s * gap[..., 1], c * gap[..., 1] - s * gap[..., 0]
            return (along.abs() <= self.outer) & (across.abs() <= self.inner)
        distance: Tensor = gap.norm(dim=-1)
        return (distance <= self.outer) & (distance >= self.inner)


class Speckle:
    """Cine of a speckled body on a background: any frame, and the exact motion between any two.

    Args:
        body: moving body.
        flow: its motion.
        ground: motion of the surrounding speckle; None leaves the surroundings dark.
        phases: [T], phase of each frame.
        scanner: probe and image formation.
        level: amplitude of the background relative to the body.
        count: number of scatterers in the sector, for body and background each.
        mottle: standard deviation of the logarithm of a smooth brightness variation over the body.
        noise: amplitude of electronic noise relative to the body.
        seed: seed of positions, amplitudes and noise.
    """

    def __init__(
        self,
        body: TexturedBody,
        flow: BodyMotion,
        ground: BodyMotion | None,
        phases: np.ndarray,
        scanner: Scanner,
        level: float = 0.3,
        count: int = 150_000,
        mottle: float = 0.0,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.body, self.flow, self.ground, self.phases, self.scanner = body, flow, ground, np.asarray(phases), scanner
        self.noise, self.seed = noise, seed
        generator = torch.Generator().manual_seed(seed)
        half, depth = scanner.probe.half_angle, scanner.probe.depth
        self.density = count / (half * depth**2)
        low, high = (-_MARGIN, -depth * math.sin(half) - _MARGIN), (depth + _MARGIN, depth * math.sin(half) + _MARGIN)
        self._box = torch.tensor(low), torch.tensor(high)
        self._body_seeds = generator.initial_seed()
        self._places = self._draw(generator)
        self._places = self._places[body.holds(self._places)]
        self._amplitudes = torch.randn(len(self._places), generator=generator)
        if mottle:
            self._amplitudes *= (mottle * _smooth(self._places, generator)).exp()
        self._ground_places = self._draw(generator) if ground is not None else torch.empty(0, 2)
        self._ground_amplitudes = level * torch.randn(len(self._ground_places), generator=generator)

    def _draw(self, generator: torch.Generator) -> Tensor:
        low, high = self._box
        size = high - low
        grown = 0.35 * size  # motion brings scatterers from outside into the sector
        number = round(float((size + 2 * grown).prod()) * self.density)
        return low - grown + torch.rand(number, 2, generator=generator) * (size + 2 * grown)

    def __len__(self) -> int:
        return len(self.phases)

    @property
    def grid(self) -> ImageGrid:
        return self.scanner.grid

    def frames(self, frames: Sequence[int]) -> Tensor:
        """Return B-mode images [T, H, W] in [0, 1] of some frames."""
        images = []
        for frame in frames:
            phase = float(self.phases[frame])
            places, amplitudes = self.flow.forward(self._places, phase), self._amplitudes
            if self.ground is not None:
                around = self.ground.forward(self._ground_places, phase)
                visible = ~self.body.holds(self.flow.inverse(around, phase))
                places = torch.cat([places, around[visible]])
                amplitudes = torch.cat([amplitudes, self._ground_amplitudes[visible]])
            echoes = self.scanner.echoes(places[None], amplitudes[None], self.density)
            if self.noise:
                echoes = echoes + self.noise * self.scanner.respond(self.scanner.noise(self.seed, frame)[None])
            images.append(self.scanner.image(echoes)[0])
        return torch.stack(images)

    def fields(self, fixed: int, moving: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the exact fields of pairs, as ``sequence.Simulation.fields``.

        Returns:
            ddf [T, 2, H, W] in pixels; mask [T, H, W] of speckle with known motion, in the sector in both frames.
        """
        probe, grid = self.scanner.probe, self.grid
        points, start = grid.points(), float(self.phases[fixed])
        material = self.flow.inverse(points, start)
        inside = self.body.holds(material)
        known = inside if self.ground is None else torch.ones_like(inside)
        fields, masks = [], []
        for frame in moving:
            moved = self.flow.forward(material, float(self.phases[frame]))
            if self.ground is not None:
                around = self.ground.forward(self.ground.inverse(points, start), float(self.phases[frame]))
                moved = torch.where(inside[:, None], moved, around)
            visible = (moved.norm(dim=1) <= probe.depth) & (
                torch.atan2(moved[:, 1], moved[:, 0]).abs() <= probe.half_angle
            )
            fields.append(((moved - points) / points.new_tensor(grid.spacing)).T.reshape(2, *grid.shape))
            masks.append((visible & known).reshape(grid.shape) & self.scanner.sector)
        return torch.stack(fields).float(), torch.stack(masks)

    def pair(self, fixed: int, moving: int) -> dict[str, Tensor]:
        """Return a training pair, as ``sequence.Simulation.pair``."""
        images = self.frames([moving, fixed]) if moving != fixed else self.frames([fixed]).expand(2, -1, -1)
        (ddf,), mask = self.fields(fixed, [moving])
        return {"image": images, "ddf": ddf, "mask": mask.float(), "spacing": torch.tensor(self.grid.spacing).float()}


def _smooth(places: Tensor, generator: torch.Generator, waves: int = 12, scale: float = 12.0) -> Tensor:
    """Return a random smooth function of unit variance at positions [N, 2], with wavelengths of about ``2 π scale``."""
    vectors = torch.randn(waves, 2, generator=generator) / scale
    offsets = 2 * math.pi * torch.rand(waves, generator=generator)
    return (places @ vectors.T + offsets).cos().sum(1) * math.sqrt(2 / waves)


def draw_speckle(
    seed: int | Sequence[int],
    probes: Sequence[str] = tuple(PROBES),
    shape: tuple[int, int] = (256, 256),
    frames: int = 9,
    artefact: float = 0.35,
    severity: float = 0.8,
    count: int = 120_000,
) -> tuple[Speckle, dict[str, Any]]:
    """Draw a random scenario without anatomy.

    Args:
        seed: the same seed gives the same cine.
        probes: names in ``PROBES``.
        shape: (rows, columns) of the images.
        frames: number of frames.
        artefact: probability of noise, whose strength is up to ``severity``.
        severity: maximum strength, 0 to 1.
        count: number of scatterers in the sector.

    Returns:
        The cine and its parameters (numbers and names, for a file).
    """
    rng = np.random.default_rng(seed)
    name = str(rng.choice(probes))
    depth, width = float(rng.uniform(70, 180)), float(rng.uniform(60, 90))
    gain = -float(rng.uniform(4, 24))
    probe = PROBES[name].replace(depth=depth, width=width, frame_rate=50.0, gain=gain)
    if probe.focus is not None:
        probe = probe.replace(focus=depth / 2)
    scanner = Scanner(probe, ImageGrid.from_sector(depth, probe.half_angle, shape))
    kind = str(rng.choice(SHAPES))
    reach = depth * math.sin(probe.half_angle)
    centre = (float(rng.uniform(0.4, 0.75)) * depth, float(rng.uniform(-0.35, 0.35)) * reach)
    outer = float(rng.uniform(0.15, 0.42)) * depth
    inner = {"ring": float(rng.uniform(0.4, 0.8)), "band": float(rng.uniform(0.12, 0.5))}.get(kind, 0.0) * outer
    body = TexturedBody(kind, centre, outer, inner, float(rng.uniform(0, math.pi)))
    size = math.exp(rng.uniform(math.log(0.15), math.log(4.0)))  # mm per frame, at the body's edge

    def part(probability: float) -> float:
        return float(rng.normal() if rng.random() < probability else 0.0)

    edge = 0.3 * depth if kind == "sector" else outer
    rigid = rng.random() < 0.5  # half of the scenarios only rotate and shift
    strain = 0.0 if rigid else 0.5
    flow = BodyMotion(
        centre,
        (size * part(0.5) * 0.7, size * part(0.5) * 0.7),
        size / edge * part(0.7),
        (size / edge * part(strain), size / edge * part(strain)),
        size / edge * part(strain),
        0.0 if kind == "band" else size / edge**2 * part(0.3 * strain),
        size * 2 * inner * part(0.6) if kind == "ring" and not rigid else 0.0,
    )
    course = np.linspace(0, 1, frames) * (frames - 1) if rng.random() < 0.6 else _swing(rng, frames)
    minimum = (_LEAST * inner) ** 2 - inner**2
    if flow.radial and (flow.radial * course).min() < minimum:
        course = course * minimum / (flow.radial * course).min()
    course = course * min(1.0, 0.6 / max(1e-9, float(np.abs(np.outer(course, flow.stretch)).max())))
    ground = str(rng.choice(GROUNDS))
    around = {
        "dark": None,
        "still": BodyMotion(),
        "drifting": BodyMotion(velocity=(float(rng.normal() * size * 0.5), float(rng.normal() * size * 0.5))),
    }[ground]
    noise = 10 ** ((-60 + 45 * severity * rng.random()) / 20) if rng.random() < artefact else 0.0
    level = 10 ** (-rng.uniform(0, 30) / 20)
    mottle = float(rng.uniform(0, 0.8)) if rng.random() < 0.6 else 0.0
    speckle = Speckle(body, flow, around, course, scanner, level, count, mottle, noise, int(rng.integers(2**31)))
    drawn = {"scenario": "speckle", "probe": name, "shape": kind, "ground": ground, "mm_a_frame": size, "rigid": rigid}
    return speckle, drawn | {"noise": noise, "level": level, "mottle": mottle}


def _swing(rng: np.random.Generator, frames: int) -> np.ndarray:
    phase = 2 * math.pi * (rng.random() + np.arange(frames) / rng.uniform(10, 40))
    return np.asarray((np.sin(phase) - np.sin(phase[0])) * rng.uniform(2, 5))
