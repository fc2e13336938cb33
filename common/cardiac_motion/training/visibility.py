"""Where a pair's true motion can be seen at all."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cardiac_motion.fields.scripted import warp_plane
from cardiac_motion.networks.ncc_flow import standardise

_RADIUS, _WINDOW = 4, 13  # pixels: of what a place is compared by, and of the averages, which are taken twice
_HIDDEN, _SEEN = 0.1, 0.4  # mean local NCC
_LEAST = 0.1


def visibility(image: Tensor, field: Tensor) -> Tensor:
    """How much a pixel counts, ``[1, H, W]`` from 0.1 to 1: by the local NCC of the fixed image and the moving one
    warped by the truth. What has changed beyond recognition teaches nothing but to guess.

    Args:
        image: ``[2, H, W]``, moving and fixed.
        field: the true field ``[2, H, W]`` in pixels.

    Examples:
        >>> import torch
        >>> visibility(torch.rand(1, 40, 40).expand(2, -1, -1), torch.zeros(2, 40, 40)).min().item()
        1.0
    """
    moving, fixed = image[None, :1], image[None, 1:]
    alike = standardise(fixed, _RADIUS) * standardise(warp_plane(moving, field[None]), _RADIUS)
    for _ in range(2):
        alike = functional.avg_pool2d(alike, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)
    return ((alike[0] - _HIDDEN) / (_SEEN - _HIDDEN)).clamp(_LEAST, 1)
