"""Label overlap: soft and hard Dice, and the 95 % Hausdorff distance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.metrics import compute_hausdorff_distance
from torch import Tensor

from cardiac_motion.fields.ddf import warp


def soft_dice(a: Tensor, b: Tensor) -> Tensor:
    """Dice of memberships ``[B, C, *S]`` in [0, 1], ``[B, C]``; NaN if both are empty. Differentiable.

    Examples:
        >>> a, b = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
        >>> soft_dice(a, b).tolist()
        [[0.5]]
    """
    return 2 * (a * b).flatten(2).sum(2) / (a + b).flatten(2).sum(2)


def warped_dice(ddf: Tensor, image: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """Dice ``[B, C]`` of propagated labels: ``label [B, 2, C, *S]`` of moving and fixed, thresholded at 1/2.

    Args:
        ddf: ``[B, d, *S]`` in voxels.
        image: ignored.
        label: memberships of moving and fixed.
        batch: other entries of the batch, ignored.

    Examples:
        >>> label = torch.zeros(1, 2, 1, 4, 4)
        >>> label[:, 0, :, 1], label[:, 1, :, 2] = 1.0, 1.0  # the moving structure is one row above the fixed one
        >>> ddf = torch.zeros(1, 2, 4, 4)
        >>> ddf[:, 0] = -1.0
        >>> warped_dice(ddf, torch.zeros(1, 2, 4, 4), label).tolist()
        [[1.0]]
    """
    return soft_dice((warp(label[:, 0], ddf) > 0.5).float(), (label[:, 1] > 0.5).float())


def membership_dice(memberships: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """Dice ``[B·N, C]`` of predicted memberships ``[B, N, 1 + C, *S]`` (largest wins) with ``label`` (above 1/2).

    Args:
        memberships: predicted memberships, background first.
        label: reference memberships ``[B, N, C, *S]``, without background.
        batch: other entries of the batch, ignored.

    Examples:
        >>> memberships = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).T.view(1, 1, 2, 2)  # two pixels
        >>> membership_dice(memberships, torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)).tolist()
        [[1.0]]
    """
    predicted = memberships.flatten(0, 1).argmax(1, keepdim=True)
    parts = torch.cat([(predicted == value).float() for value in range(1, memberships.shape[2])], 1)
    return soft_dice(parts, (label.flatten(0, 1) > 0.5).float())


def segmentation_scores(
    predicted: Tensor, truth: Tensor, labels: dict[int, str], spacing: Sequence[float]
) -> dict[str, float]:
    """Compute Dice and 95 % Hausdorff distance of each structure, and their means over the structures.

    Args:
        predicted, truth: label maps of equal shape ``[*S]``.
        labels: names by value.
        spacing: voxel size in mm along each axis.

    Returns:
        ``dice_<name>`` in [0, 1], ``hd95_<name>`` in mm, ``dice``, ``hd95`` and ``missed`` (number of structures that
        are in only one map: their Dice is 0, their distance NaN and excluded from the mean). Structures that are in
        neither are NaN.

    Examples:
        >>> truth = torch.zeros(12, 12)
        >>> truth[4:8, 4:8] = 1
        >>> scores = segmentation_scores(truth.roll(1, 0), truth, {1: "cavity"}, (0.5, 0.5))
        >>> scores["dice_cavity"], scores["hd95_cavity"]  # one of four rows is missed, half a millimetre away
        (0.75, 0.5)
    """
    scores: dict[str, float] = {}
    missed = 0
    for value, name in labels.items():
        a, b = predicted == value, truth == value
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
