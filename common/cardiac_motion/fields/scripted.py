"""Warping and rescaling of 2D fields in the subset of Python that ``torch.jit.script`` compiles.

Equivalent to ``warp`` and ``rescale`` of ``fields.ddf``, which TorchScript cannot compile because they cache grids,
support any number of dimensions and format shapes in error messages. Exported networks use these functions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def warp_plane(image: Tensor, ddf: Tensor) -> Tensor:
    """Warp an image: ``image(p + ddf(p))`` for ``image [B, C, H, W]`` and ``ddf [B, 2, H, W]`` in pixels.

    Linear interpolation; the edge is repeated.

    Examples:
        >>> image = torch.arange(5.0).view(1, 1, 1, 5)
        >>> ddf = torch.zeros(1, 2, 1, 5)
        >>> ddf[:, 1] = 1.0  # one column to the right
        >>> warp_plane(image, ddf).flatten().tolist()
        [1.0, 2.0, 3.0, 4.0, 4.0]
    """
    height, width = ddf.shape[2], ddf.shape[3]
    rows = torch.arange(height, device=ddf.device, dtype=ddf.dtype).view(1, height, 1) + ddf[:, 0]
    columns = torch.arange(width, device=ddf.device, dtype=ddf.dtype).view(1, 1, width) + ddf[:, 1]
    rows = rows * (2 / max(height - 1, 1)) - 1
    columns = columns * (2 / max(width - 1, 1)) - 1
    grid = torch.stack([columns, rows], -1)
    return functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def rescale_plane(ddf: Tensor, height: int, width: int) -> Tensor:
    """Resample ``ddf [B, 2, H, W]`` to a grid of ``height`` × ``width``, with vectors in that grid's pixels.

    Examples:
        >>> rescale_plane(torch.full((1, 2, 4, 4), 1.0), 8, 8).unique().tolist()
        [2.0]
    """
    if height == ddf.shape[2] and width == ddf.shape[3]:
        return ddf
    ratio = torch.tensor([height / ddf.shape[2], width / ddf.shape[3]], device=ddf.device, dtype=ddf.dtype)
    sized = functional.interpolate(ddf, size=[height, width], mode="bilinear", align_corners=False)
    return sized * ratio.view(1, 2, 1, 1)
