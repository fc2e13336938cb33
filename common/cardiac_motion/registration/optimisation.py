"""One scale of test-time registration as an optimisation problem: images, loss, number of steps."""

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
    """What is optimised at a scale.

    Attributes:
        scale: s, in (0, 1].
        pairs: ``[N, 2, *S·s]``: moving, warped by the field of the coarser scales, and fixed; unit range.
        mask: ``[1 or N, 1, *S·s]``, where the loss counts; None is everywhere.
        loss: of a field and its pairs.
        steps: of the optimiser.
        regularisation_weight: λ of this scale.
        batch_size: pairs a step.
        device: on which it is optimised.
        seed: of the order of the pairs.
        progress: show a bar.
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
        """The masks of some pairs, where each has its own."""
        if self.mask is None:
            return None
        return (self.mask if len(self.mask) == 1 else self.mask[index]).to(self.device)

    def bar(self, total: int) -> tqdm[Any]:
        """A bar of so many steps, with the scale as its name."""
        name = f"scale {Fraction(self.scale).limit_denominator(64)}"
        return tqdm(total=total, desc=name, unit="step", disable=not self.progress, mininterval=0.5)


@torch.no_grad()
def predict_fields(network: nn.Module, pairs: Tensor, batch_size: int, progress: bool = True) -> Tensor:
    """The network's fields ``[N, d, *S]`` of ``pairs [N, 2, *S]``, on the CPU.

    Args:
        network: contract network; put into evaluation mode.
        pairs: moving, fixed; unit range.
        batch_size: pairs at a time.
        progress: show a bar.

    Examples:
        >>> tuple(predict_fields(nn.Conv2d(2, 2, 1), torch.rand(3, 2, 4, 5), 2, progress=False).shape)
        (3, 2, 4, 5)
    """
    network, device = network.eval(), next(network.parameters()).device
    parts: Iterable[Tensor] = pairs.split(batch_size)
    parts = show_bar(parts, "fields", "batch") if progress else parts
    return torch.cat([network(part.to(device).float()).cpu() for part in parts])
