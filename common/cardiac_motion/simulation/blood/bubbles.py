"""Microbubbles of contrast in a flow: few, bright, passive, in at the mitral plane and out at the outflow tract.

The concentration stays even, as it does in an incompressible flow: the bubbles of a frame are those of the frame before
carried on, without those that left, and what came in. Who came in is found backwards: of points scattered evenly over
the pool those whose way leads out of it. Out-of-plane motion takes bubbles at a rate and brings others anywhere.
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
    """Bubbles and what they look like.

    Attributes:
        concentration: bubbles a mm² of the slice.
        level: their mean power, dB below white.
        spread: standard deviation of the logarithm of their amplitudes: sizes differ.
        loss: share that leaves the slice in a second, and is replaced by others (1/s).
        tissue: dB that contrast-specific imaging takes from tissue.
        noise: dB below white.

    Raises:
        InputError: a concentration that is not positive, or a loss below 0.
    """

    concentration: float = 0.6
    level: float = -14.0
    spread: float = 0.7
    loss: float = 0.0
    tissue: float = 14.0
    noise: float = -45.0

    def __post_init__(self) -> None:
        if not self.concentration > 0 or self.loss < 0 or self.spread < 0:
            raise InputError(f"contrast: concentration {self.concentration}, loss {self.loss} and spread {self.spread}")


def scatter(flow: Flow, time: float, concentration: float, rng: np.random.Generator) -> Array:
    """Points [P, 2] in mm spread evenly over the pool."""
    low, high = flow.reach(time)
    count = rng.poisson(float(np.prod(high - low)) * concentration)
    points = low + (high - low) * rng.random((count, 2))
    return points[flow.is_inside(points, time)]


def bubbles(flow: Flow, times: Sequence[float], contrast: Contrast, seed: int) -> list[tuple[Array, Array]]:
    """Places [P, 2] in mm and amplitudes [P] (mean power 1) of the bubbles at each of ``times`` in s."""
    rng = np.random.default_rng([seed, 0])

    def sizes(count: int) -> Array:
        drawn = np.exp(contrast.spread * rng.standard_normal(count) - contrast.spread**2)
        return np.asarray(drawn * rng.choice([-1.0, 1.0], count))

    places = scatter(flow, times[0], contrast.concentration, rng)
    amplitudes = sizes(len(places))
    found = [(places, amplitudes)]
    for before, now in pairwise(times):
        places, kept = advect(flow, places, before, now)
        kept &= rng.random(len(kept)) >= -math.expm1(-contrast.loss * (now - before))
        new = scatter(flow, now, contrast.concentration, rng)
        entered = ~advect(flow, new, now, before)[1]
        entered |= rng.random(len(new)) < -math.expm1(-contrast.loss * (now - before))
        places = np.concatenate([places[kept], new[entered]])
        amplitudes = np.concatenate([amplitudes[kept], sizes(int(entered.sum()))])
        found.append((places, amplitudes))
    return found


def contrast_frames(
    scanner: Scanner,
    pool: Sequence[tuple[Array, Array]],
    tissue: tuple[Tensor, Tensor],
    density: float,
    contrast: Contrast,
    seed: int,
) -> Tensor:
    """B-mode frames [T, H, W] in [0, 1] of bubbles before tissue.

    Args:
        scanner: probe and picture.
        pool: of ``bubbles``.
        tissue: places [T, N, 2] in mm and amplitudes [T, N] of its scatterers.
        density: of these, a mm².
        contrast: levels.
        seed: of the noise.
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
