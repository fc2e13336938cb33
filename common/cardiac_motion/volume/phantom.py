"""Synthetic volume that resembles a hippocampus, for a first run and for tests; not a medical image."""

from __future__ import annotations

import numpy as np
import torch

from cardiac_motion.fields.ddf import identity_grid, warp
from cardiac_motion.fields.random import random_field

SHAPE = (36, 50, 36)


def phantom(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy volume with a curved, tapering structure in two parts; its bending depends on the seed.

    Args:
        seed: seed of the shape, the intensities and the noise.
        shape: size in voxels of 1 mm, RAS axes.

    Returns:
        The volume (float32, arbitrary units) and its label map (uint8: 1 the anterior part, head; 2 the body).

    Examples:
        >>> volume, label = phantom(0, (24, 40, 24))
        >>> volume.shape, np.unique(label).tolist()
        ((24, 40, 24), [0, 1, 2])
    """
    rng = torch.Generator().manual_seed(seed)
    x, y, z = (g - (n - 1) / 2 for g, n in zip(identity_grid(shape, torch.zeros(1))[0], shape, strict=True))
    axis = 0.012 * y.square() - 2
    radius = (5.5 + 0.12 * y).clamp(min=2.5)
    distance = (((x - 0.15 * y) / 1.1).square() + (z - axis).square()).sqrt() / radius
    structure = torch.sigmoid(8 * (1 - torch.maximum(distance, y.abs() / 19)))
    fluid = torch.sigmoid(3 * (1 - (((x - 8).square() + (z - axis - 5).square()).sqrt() / 4)))
    white = torch.sigmoid(0.8 * (z - axis - 8)) + torch.sigmoid(0.8 * (-z + axis - 9))
    texture = 0.06 * torch.sin(0.5 * x) * torch.cos(0.4 * y) * torch.sin(0.6 * z)
    image = (0.45 + 0.35 * white + 0.15 * structure - 0.3 * fluid + texture)[None, None]
    labels = torch.stack([structure * (y > 4), structure * (y <= 4)])[None]
    field = random_field(shape, 1.6, 10, rng) + 1.5 * torch.randn(1, 3, 1, 1, 1, generator=rng)
    image, labels = warp(image, field), warp(labels, field)
    image = image + 0.02 * torch.randn(image.shape, generator=rng)
    label = torch.cat([torch.full_like(image, 0.5), labels], 1).argmax(1)[0]
    gain = 500 + 500 * torch.rand(1, generator=rng)
    return (image[0, 0] * gain).numpy().astype(np.float32), label.numpy().astype(np.uint8)
