"""Losses and metrics for training on labelled frames with ``cardiac_motion.training.trainer``.

A batch has ``image [B, 1, S, S]`` and ``label``: integers ``[B, 1, S, S]`` for segmentation, ``[B]`` for views.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cardiac_motion.training.frames import BACKGROUND_OR_ATRIUM


def segmentation_loss(logits: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """Soft Dice loss over the batch, mean over the structures (Østvik et al. 2018, section 2.2), plus cross-entropy.

    A pixel labelled ``BACKGROUND_OR_ATRIUM`` is shared between the two classes in the proportion that the network
    predicts: the gradient of the cross-entropy is then that of their joint probability.

    Args:
        logits: ``[B, 4, H, W]``: background and ``LABELS``.
        label: ``[B, 1, H, W]``.
        batch: other entries of the batch, ignored.
    """
    share = logits.softmax(1)
    truth = functional.one_hot(label[:, 0], BACKGROUND_OR_ATRIUM + 1).movedim(-1, 1).to(share)
    divided = share.detach()[:, [0, 3]]
    divided = divided / divided.sum(1, keepdim=True).clamp(min=1e-6)
    first, second = (truth[:, BACKGROUND_OR_ATRIUM] * part for part in divided.unbind(1))
    truth = torch.stack([truth[:, 0] + first, truth[:, 1], truth[:, 2], truth[:, 3] + second], 1)
    both, sizes = (share * truth).sum((0, 2, 3)), (share + truth).sum((0, 2, 3))
    dice = (2 * both + 1) / (sizes + 1)
    return 1 - dice[1:].mean() - (truth * logits.log_softmax(1)).sum(1).mean()


def view_loss(logits: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """Cross-entropy (section 2.1) of ``logits [B, C]`` against ``label [B]``."""
    return functional.cross_entropy(logits, label)


class StructureDice:
    """Dice of one structure in each frame, ``[B]``; NaN if it is absent from both.

    Args:
        value: label of the structure.
    """

    def __init__(self, value: int) -> None:
        self.value = value

    def __call__(self, logits: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
        predicted, truth = logits.argmax(1) == self.value, label[:, 0] == self.value
        return 2 * (predicted & truth).sum((1, 2)) / (predicted.sum((1, 2)) + truth.sum((1, 2)))


def accuracy(logits: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """Return 1 where the largest of ``logits [B, C]`` is the label, else 0: ``[B]``."""
    return (logits.argmax(1) == label).float()
