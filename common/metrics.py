"""How well a field registers: the papers' reconstruction measures, and folding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from common.ddf import folding, jacobian_determinant, warp
from common.ncc import masked_mean, nlcc

PAIRS_AT_ONCE = 8


def reconstruction(
    image: Tensor, mask: Tensor | None, ddf: Callable[[slice], Tensor] | None = None, radius: int = 10
) -> dict[str, Tensor]:
    """MSE and mean NLCC of each pair over the mask (NMSR Table 1, SSMSR Table II).

    Args:
        image: ``[N, 2, *S]``, moving and fixed, in [0, 1].
        mask: ``[1 or N, 1, *S]`` bool or None.
        ddf: gives the fields ``[n, d, *S]`` of a slice of pairs; None measures the pairs as they are.
        radius: of the NLCC window in pixels.

    Returns:
        ``mse`` and ``nlcc``, ``[N]`` each.
    """
    rows: dict[str, list[Tensor]] = {"mse": [], "nlcc": []}
    for start in range(0, len(image), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        moving, fixed = image[part, :1], image[part, 1:]
        weight = mask if mask is None or len(mask) == 1 else mask[part]
        warped = moving if ddf is None else warp(moving, ddf(part))
        rows["mse"].append(masked_mean((warped - fixed).square(), weight))
        rows["nlcc"].append(nlcc(fixed, warped, radius, weight))
    return {key: torch.cat(values) for key, values in rows.items()}


def regularity(ddf: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """``folding`` (part of the voxels) and ``jacobian_sd`` of each field ``[N, d, *S]`` over the mask: ``[N]`` each."""
    rows: dict[str, list[Tensor]] = {"folding": [], "jacobian_sd": []}
    for start in range(0, len(ddf), PAIRS_AT_ONCE):
        part = ddf[start : start + PAIRS_AT_ONCE]
        weight = mask if mask is None or len(mask) == 1 else mask[start : start + PAIRS_AT_ONCE]
        determinant = jacobian_determinant(part)[:, None]
        centre = masked_mean(determinant, weight).view(-1, *(1,) * (determinant.dim() - 1))
        rows["folding"].append(folding(part, weight))
        rows["jacobian_sd"].append(masked_mean((determinant - centre).square(), weight).sqrt())
    return {key: torch.cat(values) for key, values in rows.items()}


def soft_dice(a: Tensor, b: Tensor) -> Tensor:
    """Dice of memberships ``[B, C, *S]`` in [0, 1], ``[B, C]``; NaN where both are empty. Differentiable."""
    return 2 * (a * b).flatten(2).sum(2) / (a + b).flatten(2).sum(2)


def warped_dice(ddf: Tensor, image: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """Dice ``[B, C]`` of the carried labels: memberships ``label [B, 2, C, *S]`` of moving and fixed, cut at 1/2."""
    return soft_dice((warp(label[:, 0], ddf) > 0.5).float(), (label[:, 1] > 0.5).float())
