"""Weights of pixels by how well a pair's true motion can be observed."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cardiac_motion.fields.scripted import warp_plane
from cardiac_motion.networks.ncc_flow import standardise

_RADIUS, _WINDOW = 4, 13  # pixels: radius of the local NCC, and width of the averages, which are applied twice
_HIDDEN, _SEEN = 0.1, 0.4  # mean local NCC
_LOWEST = 0.1


def visibility(image: Tensor, field: Tensor) -> Tensor:
    """Weight pixels, ``[1, H, W]`` from 0.1 to 1, by the local NCC of the fixed and the truly warped moving image.

    Where tissue has changed beyond recognition, a network could only learn to guess.

    Args:
        image: ``[2, H, W]``, moving and fixed.
        field: the true field ``[2, H, W]`` in pixels.

    Examples:
        >>> import torch
        >>> visibility(torch.rand(1, 40, 40).expand(2, -1, -1), torch.zeros(2, 40, 40)).min().item()
        1.0
    """
    moving, fixed = image[None, :1], image[None, 1:]
    correlation = standardise(fixed, _RADIUS) * standardise(warp_plane(moving, field[None]), _RADIUS)
    for _ in range(2):
        correlation = functional.avg_pool2d(correlation, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)
    return ((correlation[0] - _HIDDEN) / (_SEEN - _HIDDEN)).clamp(_LOWEST, 1)
