"""Contrast microbubbles in a flow: few, bright, passive; they enter at the mitral plane and leave by the outflow tract.

Their concentration stays uniform, as in an incompressible flow: the bubbles of a frame are those of the previous frame,
advected, minus those that left, plus those that entered. The latter are found by backward advection: among points
distributed uniformly over the pool, those whose path leads out of it. Out-of-plane motion replaces bubbles at a rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.blood.flows import Flow, advect
from cardiac_motion.simulation.ultrasound.image import Scanner
from cardiac_motion.ventricle.mesh import Array


@dataclass(frozen=True)
class Contrast:
    """Properties of the contrast.

    Attributes:
        concentration: bubbles per mm² of the slice.
        level: mean power of bubbles, dB below white.
        spread: standard deviation of the logarithm of their amplitudes, because sizes differ.
        loss: fraction that leaves the slice per second and is replaced by others (1/s).
        tissue: suppression of tissue by contrast-specific imaging, dB.
        noise: noise level, dB below white.

    Raises:
        InputError: the concentration is not positive, or the loss or spread is negative.
    """

    concentration: float = 0.6
    level: float = -14.0
    spread: float = 0.7
    loss: float = 0.0
    tissue: float = 14.0
    noise: float = -45.0

    def __post_init__(self) -> None:
        if not self.concentration > 0 or self.loss < 0 or self.spread < 0:
            raise InputError(
                f"contrast: concentration {self.concentration} must be positive, loss {self.loss} and spread "
                f"{self.spread} must not be negative"
            )


def scatter(flow: Flow, time: float, concentration: float, rng: np.random.Generator) -> Array:
    """Return points [P, 2] in mm distributed uniformly over the pool."""
    low, high = flow.reach(time)
    count = rng.poisson(float(np.prod(high - low)) * concentration)
    points = low + (high - low) * rng.random((count, 2))
    return points[flow.is_inside(points, time)]


def bubbles(flow: Flow, times: Sequence[float], contrast: Contrast, seed: int) -> list[tuple[Array, Array]]:
    """Return positions [P, 2] in mm and amplitudes [P] (mean power 1) of the bubbles at each of ``times`` in s."""
    rng = np.random.default_rng([seed, 0])

    def sizes(count: int) -> Array:
        drawn = np.exp(contrast.spread * rng.standard_normal(count) - contrast.spread**2)
        return np.asarray(drawn * rng.choice([-1.0, 1.0], count))

    places = scatter(flow, times[0], contrast.concentration, rng)
    amplitudes = sizes(len(places))
    moments = [(places, amplitudes)]
    for before, now in pairwise(times):
        places, inside = advect(flow, places, before, now)
        inside &= rng.random(len(inside)) >= -math.expm1(-contrast.loss * (now - before))
        new = scatter(flow, now, contrast.concentration, rng)
        entered = ~advect(flow, new, now, before)[1]
        entered |= rng.random(len(new)) < -math.expm1(-contrast.loss * (now - before))
        places = np.concatenate([places[inside], new[entered]])
        amplitudes = np.concatenate([amplitudes[inside], sizes(int(entered.sum()))])
        moments.append((places, amplitudes))
    return moments


def contrast_frames(
    scanner: Scanner,
    pool: Sequence[tuple[Array, Array]],
    tissue: tuple[Tensor, Tensor],
    density: float,
    contrast: Contrast,
    seed: int,
) -> Tensor:
    """Return B-mode frames [T, H, W] in [0, 1] of bubbles and tissue.

    Args:
        scanner: probe and image formation.
        pool: result of ``bubbles``.
        tissue: positions [T, N, 2] in mm and amplitudes [T, N] of its scatterers.
        density: scatterers per mm².
        contrast: levels.
        seed: seed of the noise.
    """
    bright = 10 ** (contrast.level / 20) * math.sqrt(density / contrast.concentration)
    dim = 10 ** (-contrast.tissue / 20)
    frames = []
    for number, ((places, amplitudes), ground, levels) in enumerate(zip(pool, *tissue, strict=True)):
        points = torch.cat([torch.from_numpy(places).float(), ground.float()])
        values = torch.cat([torch.from_numpy(bright * amplitudes).float(), dim * levels.float()])
        echoes = scanner.echoes(points[None], values[None], density)
        hiss = scanner.noise(seed, number)[:, :, None].expand(-1, -1, 2).reshape(echoes.shape[1:])
        frames.append(scanner.image(echoes + 10 ** (contrast.noise / 20) * hiss)[0])
    return torch.stack(frames)
