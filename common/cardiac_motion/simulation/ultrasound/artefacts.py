"""Image artefacts, each with a strength from 0 (absent) to 1 (severe) and a seed.

An artefact acts on the scatterers' coefficients (decorrelation, out-of-plane motion) or on the complex echoes
(reverberation, clutter, shadow, attenuation, noise), before compression, so that it interferes with the speckle as a
wave. None changes the motion. Every frame can be computed alone, and the same seed gives the same artefact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError

if TYPE_CHECKING:
    from cardiac_motion.simulation.ultrasound.image import Scanner


@dataclass(frozen=True)
class Artefact:
    """Base class of artefacts.

    Attributes:
        strength: 0 (absent) to 1 (severe).
        seed: seed of its random parameters.

    Raises:
        InputError: the strength is outside [0, 1].
    """

    strength: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise InputError(f"{type(self).__name__}: strength {self.strength} is outside 0 to 1")

    def scatterers(self, units: Tensor, frames: Sequence[int], contraction: np.ndarray) -> Tensor:
        """Return changed coefficients of unit variance [T, N]; ``contraction`` [T] is from 0 to 1."""
        return units

    def echoes(self, echoes: Tensor, frames: Sequence[int], scanner: Scanner) -> Tensor:
        """Return changed echoes [T, R, 2 U]."""
        return echoes

    def _generator(self, device: torch.device, *more: int) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, *map(ord, type(self).__name__), *more]).generate_state(1)
        return torch.Generator(device).manual_seed(int(state[0]))

    def _random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, *map(ord, type(self).__name__)])


@dataclass(frozen=True)
class Decorrelation(Artefact):
    """Random drift of coefficients: a stationary AR(1) process with correlation ``1 - 0.15 strength`` per frame."""

    def scatterers(self, units: Tensor, frames: Sequence[int], contraction: np.ndarray) -> Tensor:
        if self.strength == 0:
            return units
        rho = 1 - 0.15 * self.strength
        state, states = units[0], {0: units[0]}
        for frame in range(1, max(frames, default=0) + 1):
            fresh = torch.randn(state.shape, generator=self._generator(units.device, frame), device=units.device)
            state = rho * state + math.sqrt(1 - rho**2) * fresh
            if frame in frames:
                states[frame] = state
        return torch.stack([states[frame] for frame in frames])


@dataclass(frozen=True)
class OutOfPlane(Artefact):
    """Motion through the imaging plane: by end-systole the heart shifts by up to ``strength`` slice thicknesses.

    Each scatterer has an elevation, and a Gaussian of it as its weight; scatterers that leave on one side re-enter on
    the other.
    """

    def scatterers(self, units: Tensor, frames: Sequence[int], contraction: np.ndarray) -> Tensor:
        if self.strength == 0:
            return units
        thickness = 1 / 4.0  # relative to the range of elevations: two standard deviations of the Gaussian
        height = torch.rand(units.shape[-1], generator=self._generator(units.device), device=units.device)
        moved = torch.as_tensor(self.strength * thickness * contraction, dtype=units.dtype, device=units.device)
        gap = (height + moved[:, None] + 0.5) % 1 - 0.5
        sigma = thickness / 2
        weight = torch.exp(-0.5 * (gap / sigma) ** 2)
        return units * (weight / math.sqrt(sigma * math.sqrt(math.pi)))


@dataclass(frozen=True)
class Reverberation(Artefact):
    """Bright static patches, as between ribs and probe: one to three arcs at regular depths (paper, II-A.4).

    Their level is -20 to +5 dB relative to white tissue.
    """

    def echoes(self, echoes: Tensor, frames: Sequence[int], scanner: Scanner) -> Tensor:
        if self.strength == 0:
            return echoes
        rng, probe = self._random(), scanner.probe
        angle = rng.choice([-1, 1]) * rng.uniform(0.3, 0.85) * probe.half_angle
        first = rng.uniform(0.2, 0.5) * probe.depth
        spacing, count = rng.uniform(0.06, 0.14) * probe.depth, int(rng.integers(1, 4))
        width, height = math.radians(rng.uniform(3, 7)), rng.uniform(2, 5)
        ranges, angles = scanner.ranges[:, None], torch.asin(scanner.steering.clamp(-1, 1))
        arcs = [torch.exp(-0.5 * ((ranges - first - k * spacing) / height) ** 2) * 0.6**k for k in range(count)]
        patch = torch.stack(arcs).sum(0) * torch.exp(-0.5 * ((angles - angle) / width) ** 2)
        level = 10 ** ((-20 + 25 * self.strength) / 20)
        return echoes + scanner.respond((level * patch * scanner.noise(self.seed, 0))[None])


@dataclass(frozen=True)
class NearFieldClutter(Artefact):
    """Haze in the first centimetres that hardly moves; -25 to 0 dB relative to white tissue at the probe."""

    def echoes(self, echoes: Tensor, frames: Sequence[int], scanner: Scanner) -> Tensor:
        if self.strength == 0:
            return echoes
        fade = 10 ** ((-25 + 25 * self.strength) / 20) * torch.exp(-scanner.ranges[:, None] / 18.0)
        first, second = (scanner.respond((fade * scanner.noise(self.seed, k))[None]) for k in (1, 2))
        turn = torch.as_tensor(np.asarray(frames) * 0.03, dtype=torch.float32, device=echoes.device)[:, None, None]
        return echoes + turn.cos() * first + turn.sin() * second


@dataclass(frozen=True)
class Attenuation(Artefact):
    """Uncompensated loss with depth: up to 1.6 dB/cm beyond 3 cm."""

    def echoes(self, echoes: Tensor, frames: Sequence[int], scanner: Scanner) -> Tensor:
        loss = 0.16 * self.strength * (scanner.ranges[:, None] - 30).clamp_min(0)
        return echoes * 10 ** (-loss / 20)


@dataclass(frozen=True)
class RibShadow(Artefact):
    """Dark wedge of 8 to 18 degrees behind a rib at 1.5 to 3 cm, attenuated by up to 30 dB."""

    def echoes(self, echoes: Tensor, frames: Sequence[int], scanner: Scanner) -> Tensor:
        rng, probe = self._random(), scanner.probe
        angle = rng.choice([-1, 1]) * rng.uniform(0.3, 0.9) * probe.half_angle
        width, top = math.radians(rng.uniform(4, 9)), rng.uniform(15, 30)
        angles = torch.asin(scanner.sines.clamp(-1, 1))
        across = torch.sigmoid((width - (angles - angle).abs()) / (0.15 * width))
        below = torch.sigmoid((scanner.ranges[:, None] - top) / 3)
        return echoes * 10 ** (-30 * self.strength * across * below / 20)


@dataclass(frozen=True)
class Noise(Artefact):
    """Electronic noise, independent per frame, -60 to -35 dB relative to white tissue and 6 dB higher at full depth."""

    def echoes(self, echoes: Tensor, frames: Sequence[int], scanner: Scanner) -> Tensor:
        if self.strength == 0:
            return echoes
        level = -60 + 25 * self.strength + 6 * scanner.ranges[:, None] / scanner.probe.depth
        grids = torch.stack([scanner.noise(self.seed, 1000 + frame) for frame in frames])
        return echoes + scanner.respond(grids * 10 ** (level / 20))


ARTEFACTS: dict[str, type[Artefact]] = {
    "decorrelation": Decorrelation,
    "out_of_plane": OutOfPlane,
    "reverberation": Reverberation,
    "near_field_clutter": NearFieldClutter,
    "attenuation": Attenuation,
    "rib_shadow": RibShadow,
    "noise": Noise,
}
