"""Schedule of pyramid flow's training (Evain et al. 2022, section III-C.2)."""

from __future__ import annotations

from collections.abc import Sized

import torch

HALVINGS = (0.4, 0.6, 0.8)


def halving_schedule(
    optimizer: torch.optim.Optimizer, epochs: int, loader: Sized
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate is halved after 40, 60 and 80 % of the training, counted in iterations.

    Args:
        optimizer: whose rate falls.
        epochs: of the whole training.
        loader: one pass is an epoch.
    """
    steps = epochs * len(loader)
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(part * steps) for part in HALVINGS], gamma=0.5)
