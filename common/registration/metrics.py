"""How well a field registers: the papers' reconstruction measures, and folding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.metrics import compute_hausdorff_distance
from torch import Tensor

from common.fields.ddf import folding, jacobian_determinant, warp
from common.fields.ncc import masked_mean, nlcc

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


def membership_dice(memberships: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """Dice ``[B·N, C]`` of predicted memberships ``[B, N, 1 + C, *S]``: the largest decides; ``label`` cut at 1/2."""
    found = memberships.flatten(0, 1).argmax(1, keepdim=True)
    parts = torch.cat([(found == value).float() for value in range(1, memberships.shape[2])], 1)
    return soft_dice(parts, (label.flatten(0, 1) > 0.5).float())


def segmentation_scores(
    found: Tensor, truth: Tensor, labels: dict[int, str], spacing: Sequence[float]
) -> dict[str, float]:
    """Dice and 95 % Hausdorff distance of each structure, and their means over the structures.

    Args:
        found, truth: label maps of one shape ``[*S]``.
        labels: value to name.
        spacing: of the voxels in mm, one an axis.

    Returns:
        ``dice_<name>`` in [0, 1], ``hd95_<name>`` in mm, ``dice``, ``hd95`` and ``missed`` (structures that are in one
        map only: their Dice is 0, their distance NaN and left out of the mean). What is in neither is NaN.
    """
    scores: dict[str, float] = {}
    missed = 0
    for value, name in labels.items():
        a, b = found == value, truth == value
        total, both = int(a.sum() + b.sum()), bool(a.any() and b.any())
        missed += bool(total) and not both
        scores[f"dice_{name}"] = 2 * int((a & b).sum()) / total if total else float("nan")
        scores[f"hd95_{name}"] = (
            float(compute_hausdorff_distance(a[None, None], b[None, None], True, percentile=95, spacing=tuple(spacing)))
            if both
            else float("nan")
        )
    for measure in ("dice", "hd95"):
        values = torch.tensor([scores[f"{measure}_{name}"] for name in labels.values()])
        scores[measure] = float(values.nanmean())
    return {**scores, "missed": float(missed)}


def log_jacobian_sd(ddf: Tensor, mask: Tensor | None = None) -> Tensor:
    """Standard deviation of ln det(I + ∇u) of each field ``[N, d, *S]`` over the mask, ``[N]``; folds count as 10⁻³."""
    logarithm = jacobian_determinant(ddf).clamp(min=1e-3).log()[:, None]
    centre = masked_mean(logarithm, mask).view(-1, *(1,) * (logarithm.dim() - 1))
    return masked_mean((logarithm - centre).square(), mask).sqrt()
