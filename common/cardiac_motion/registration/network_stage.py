"""Optimisation of a scale whose unknowns are the weights of a network (NMSR eq. 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from ignite.metrics import Average
from torch import Tensor, nn

from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.registration.optimisation import ScaleProblem, predict_fields


@dataclass(frozen=True)
class NetworkStage:
    """Train a network on the pairs of a case by Adam; a step is a batch, and pairs are shuffled in each epoch.

    Attributes:
        learning_rate: Adam's learning rate.
        carry_weights: start each scale from the weights of the coarser scale (NMSR_VI) instead of the given ones.
        patience: epochs (passes over the pairs) without an improvement of ``min_delta`` after which a scale ends; 0
            disables early stopping.
        min_delta: smallest improvement of the loss.
    """

    learning_rate: float = 1e-3
    carry_weights: bool = True
    patience: int = 0
    min_delta: float = 1e-4

    def fit(self, problem: ScaleProblem, network: nn.Module) -> tuple[Tensor, int, float]:
        """Train ``network`` in place.

        Returns:
            Its fields ``[N, d, *S·s]`` in voxels of the scale, on the CPU; the number of steps, in whole epochs; the
            loss of the last epoch.
        """
        pairs, loss = problem.pairs, problem.loss
        layout = torch.channels_last if pairs.dim() == 4 else torch.contiguous_format  # a fifth to a third faster
        network = network.train().to(memory_format=layout)  # type: ignore[call-overload]
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        batches = min(problem.steps, -(-len(pairs) // problem.batch_size))
        epochs = -(-problem.steps // batches)

        def step(engine: Engine, index: Tensor) -> float:
            batch = pairs[index].to(problem.device).contiguous(memory_format=layout)
            value = loss(network(batch), batch, problem.masks(index), problem.regularisation_weight)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            return float(value.item())

        engine = Engine(step)
        Average().attach(engine, "loss")
        if self.patience:
            stop = EarlyStopping(self.patience, lambda e: -e.state.metrics["loss"], engine, min_delta=self.min_delta)
            engine.add_event_handler(Events.EPOCH_COMPLETED, stop)
        with problem.bar(epochs * batches) as bar:
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: bar.update())
            engine.add_event_handler(
                Events.EPOCH_COMPLETED, lambda e: bar.set_postfix(loss=f"{e.state.metrics['loss']:.4f}")
            )
            engine.run(_shuffle(problem), max_epochs=epochs, epoch_length=batches)
        fields = predict_fields(network, pairs, problem.batch_size, problem.progress)
        return fields, engine.state.iteration, float(engine.state.metrics["loss"])


def _shuffle(problem: ScaleProblem) -> Iterator[Tensor]:
    """Yield index batches endlessly; each epoch has all pairs in another order."""
    order = torch.Generator().manual_seed(problem.seed)
    while True:
        yield from torch.randperm(len(problem.pairs), generator=order).split(problem.batch_size)


class ZeroField(nn.Module):
    """A zero field for every pair: stands where a registration runs no network."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))  # which is on some device

    def forward(self, image: Tensor) -> Tensor:
        """Map ``image [B, 2, *S]`` to ``[B, d, *S]`` zeros."""
        return self.weight * image.new_zeros(len(image), image.dim() - 2, *image.shape[2:])


def make_network(
    scales: Sequence[float], field_scales: Sequence[float], checkpoint: str | None = None, **options: Any
) -> nn.Module:
    """Return the network that ``MultiScaleTestTimeTraining`` trains: a ``RegistrationUNet``, if any scale needs one.

    Args:
        scales, field_scales: as in ``MultiScaleTestTimeTraining``.
        checkpoint: file of weights that the network is loaded with, or None.
        options: of ``RegistrationUNet``.

    Examples:
        >>> type(make_network([0.5, 1.0], [0.5, 1.0])).__name__  # the field itself is the unknown at every scale
        'ZeroField'
        >>> type(make_network([0.5, 1.0], [1.0], spatial_dims=2)).__name__
        'RegistrationUNet'
    """
    if checkpoint is None and set(scales) <= set(field_scales):
        return ZeroField()
    return RegistrationUNet(**options)
