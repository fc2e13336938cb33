"""Registration metrics: reconstruction metrics of the papers, and regularity of the field."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cardiac_motion.core.bars import show_bar
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.ncc import lncc2, masked_mean
from cardiac_motion.fields.regularity import folding_fraction, jacobian_determinant

PAIRS_AT_ONCE = 8


def reconstruction(
    image: Tensor, mask: Tensor | None, ddf: Callable[[slice], Tensor] | None = None, radius: int = 10
) -> dict[str, Tensor]:
    """Compute MSE and mean LNCC² of each pair over the mask (NMSR Table 1, SSMSR Table II).

    Args:
        image: ``[N, 2, *S]``, moving and fixed, in [0, 1].
        mask: ``[1 or N, 1, *S]`` bool or None.
        ddf: returns the fields ``[n, d, *S]`` of a slice of pairs; None evaluates the unregistered pairs.
        radius: radius of the LNCC² window in pixels.

    Returns:
        ``mse`` and ``lncc2``, ``[N]`` each.

    Examples:
        >>> image = torch.rand(3, 1, 24, 24).expand(-1, 2, -1, -1)  # moving and fixed are the same
        >>> scores = reconstruction(image, None, radius=4)
        >>> scores["mse"].tolist(), scores["lncc2"].allclose(torch.ones(3), atol=1e-3)
        ([0.0, 0.0, 0.0], True)
    """
    rows: dict[str, list[Tensor]] = {"mse": [], "lncc2": []}
    for start in show_bar(range(0, len(image), PAIRS_AT_ONCE), "similarity", "batch"):
        part = slice(start, start + PAIRS_AT_ONCE)
        moving, fixed = image[part, :1], image[part, 1:]
        weight = mask if mask is None or len(mask) == 1 else mask[part]
        warped = moving if ddf is None else warp(moving, ddf(part))
        rows["mse"].append(masked_mean((warped - fixed).square(), weight))
        rows["lncc2"].append(lncc2(fixed, warped, radius, weight))
    return {key: torch.cat(values) for key, values in rows.items()}


def regularity(ddf: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """Compute ``folding_fraction`` and ``jacobian_det_sd`` of each field ``[N, d, *S]`` over the mask: ``[N]`` each.

    Examples:
        >>> {name: values.tolist() for name, values in regularity(torch.zeros(1, 2, 8, 8), None).items()}
        {'folding_fraction': [0.0], 'jacobian_det_sd': [0.0]}
    """
    rows: dict[str, list[Tensor]] = {"folding_fraction": [], "jacobian_det_sd": []}
    for start in show_bar(range(0, len(ddf), PAIRS_AT_ONCE), "regularity", "batch"):
        part = ddf[start : start + PAIRS_AT_ONCE]
        weight = mask if mask is None or len(mask) == 1 else mask[start : start + PAIRS_AT_ONCE]
        determinant = jacobian_determinant(part)[:, None]
        centre = masked_mean(determinant, weight).view(-1, *(1,) * (determinant.dim() - 1))
        rows["folding_fraction"].append(folding_fraction(part, weight))
        rows["jacobian_det_sd"].append(masked_mean((determinant - centre).square(), weight).sqrt())
    return {key: torch.cat(values) for key, values in rows.items()}
