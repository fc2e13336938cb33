"""One scale of test-time registration as an optimisation problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cardiac_motion.core.bars import show_bar
from cardiac_motion.registration.losses import RegistrationLoss


@dataclass(frozen=True, eq=False)
class ScaleProblem:
    """Optimisation problem of a scale.

    Attributes:
        scale: s, in (0, 1].
        pairs: ``[N, 2, *S·s]``: moving, warped by the field of the coarser scales, and fixed; unit range.
        mask: ``[1 or N, 1, *S·s]``, the region of the loss; None is everywhere.
        loss: loss of a field and its pairs.
        steps: number of optimisation steps.
        regularisation_weight: λ of this scale.
        batch_size: pairs per step.
        device: device of the optimisation.
        seed: seed of the order of the pairs.
        progress: show a progress bar.
    """

    scale: float
    pairs: Tensor
    mask: Tensor | None
    loss: RegistrationLoss
    steps: int
    regularisation_weight: float
    batch_size: int
    device: torch.device
    seed: int = 0
    progress: bool = True

    def masks(self, index: Tensor) -> Tensor | None:
        """Return the masks of the pairs ``index``, or the common one."""
        if self.mask is None:
            return None
        return (self.mask if len(self.mask) == 1 else self.mask[index]).to(self.device)

    def bar(self, total: int) -> tqdm[Any]:
        """Return a progress bar of ``total`` steps, named after the scale."""
        name = f"scale {Fraction(self.scale).limit_denominator(64)}"
        return tqdm(total=total, desc=name, unit="step", disable=not self.progress, mininterval=0.5)


@torch.no_grad()
def predict_fields(network: nn.Module, pairs: Tensor, batch_size: int, progress: bool = True) -> Tensor:
    """Predict the fields ``[N, d, *S]`` of ``pairs [N, 2, *S]``, on the CPU.

    Args:
        network: registration network; it is switched to evaluation mode.
        pairs: moving, fixed; unit range.
        batch_size: pairs per batch.
        progress: show a progress bar.

    Examples:
        >>> tuple(predict_fields(nn.Conv2d(2, 2, 1), torch.rand(3, 2, 4, 5), 2, progress=False).shape)
        (3, 2, 4, 5)
    """
    network, device = network.eval(), next(network.parameters()).device
    parts: Iterable[Tensor] = pairs.split(batch_size)
    parts = show_bar(parts, "fields", "batch") if progress else parts
    return torch.cat([network(part.to(device).float()).cpu() for part in parts])
