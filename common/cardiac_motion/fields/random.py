"""Random smooth displacement fields."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cardiac_motion.fields.ddf import rescale


def random_field(size: tuple[int, ...], amplitude: float, spacing: int, generator: torch.Generator) -> torch.Tensor:
    """Draw a smooth random displacement ``[1, d, *size]`` in voxels.

    Args:
        size: size of the grid.
        amplitude: standard deviation in voxels at the control points.
        spacing: spacing of the control points in voxels; the field is linear between them.
        generator: random number generator.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> field = random_field((32, 48), 1.5, 8, generator)
        >>> tuple(field.shape), 0.5 < field.std().item() < 2.0
        ((1, 2, 32, 48), True)
    """
    coarse = [max(2, round(n / spacing)) for n in size]
    field = torch.randn(1, len(size), *coarse, generator=generator)
    ratio = torch.tensor([n / m for n, m in zip(size, coarse, strict=True)]).view(1, -1, *(1,) * len(size))
    return amplitude * rescale(field / ratio, size)


def random_deformation(size: Sequence[int], deviation: float, generator: torch.Generator) -> Tensor:
    """Draw a random smooth field ``[1, d, *size]`` of ``deviation`` voxels: a shift, a coarse and a finer part.

    Examples:
        >>> random_deformation((16, 16, 16), 0.0, torch.Generator()).abs().max().item()
        0.0
    """
    size = tuple(size)
    shift = torch.randn(1, len(size), *(1,) * len(size), generator=generator)
    slow, fast = random_field(size, 1.0, 24, generator), random_field(size, 1.0, 10, generator)
    return deviation * (0.5 * shift + 0.7 * slow + 0.5 * fast)
