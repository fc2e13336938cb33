"""A scale whose unknown is the stationary velocity field itself, seen through a Gaussian."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cardiac_motion.core.arrays import scale_size
from cardiac_motion.fields.ddf import exponentiate, exponentiate_quickly, rescale, smooth
from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.registration.optimisation import ScaleProblem


@dataclass(frozen=True)
class VelocityStage:
    """Optimises a velocity field by Adam, batch after batch; it goes on from that of the coarser scale.

    Attributes:
        rate: step of Adam in voxels of the field's grid.
        resolution: the field's grid as a part of the full grid, at most; 0.5 halves it.
        sigma: Gaussian in voxels of the grid through which the field is seen (and its gradient smoothed).
        squarings: n > 0 makes each field the exponential of a stationary velocity field (no folding); 0 takes the
            velocity as the displacement.
        strided_scales: scales with NCC windows around every second pixel alone, and the gradient of
            ``exponentiate_quickly``.
    """

    rate: float = 0.2
    resolution: float = 0.5
    sigma: float = 1.0
    squarings: int = 0
    strided_scales: Sequence[float] = ()

    def grid(self, size: Sequence[int], scale: float) -> tuple[int, ...]:
        """Size of the velocity field at a scale of images of a size."""
        return scale_size(size, min(scale, self.resolution))

    def fit(self, problem: ScaleProblem, velocity: Tensor) -> tuple[Tensor, Tensor, float]:
        """Optimise a velocity field.

        Args:
            problem: whose steps are taken of each batch.
            velocity: ``[N, d, *grid]`` that it begins with, in voxels of its grid; not changed.

        Returns:
            the velocity, and the field that it makes, both ``[N, d, *grid]`` in voxels of the grid, on the CPU; the
            mean loss of the last batch's steps.
        """
        velocity, size, mean = velocity.clone(), problem.pairs.shape[2:], 0.0
        loss, exponential = self._variant(problem)
        batches = torch.arange(len(problem.pairs)).split(problem.batch_size)
        with problem.bar(len(batches) * problem.steps) as bar:
            for index in batches:
                batch, mask = problem.pairs[index].to(problem.device), problem.masks(index)
                start = velocity[index].to(problem.device)
                unknown = torch.zeros_like(start, requires_grad=True)
                optimiser = torch.optim.Adam([unknown], lr=self.rate, betas=(0.9, 0.99), eps=1e-3)
                total = 0.0
                for _ in range(problem.steps):
                    seen = start + smooth(unknown, self.sigma)
                    ddf = rescale(exponential(seen), size)
                    value = loss(ddf, batch, mask, problem.regularisation_weight, seen)
                    optimiser.zero_grad()
                    (value * unknown.numel()).backward()  # a sum over the grid: Adam's eps is then of one size
                    optimiser.step()
                    total += float(value.item())
                    bar.update()
                with torch.no_grad():
                    velocity[index] = (start + smooth(unknown, self.sigma)).cpu()
                mean = total / problem.steps
                bar.set_postfix(loss=f"{mean:.4f}")
        with torch.no_grad():
            return velocity, torch.cat([exponential(part) for part in velocity.split(problem.batch_size)]), mean

    def _variant(self, problem: ScaleProblem) -> tuple[RegistrationLoss, Callable[[Tensor], Tensor]]:
        """The loss and the exponential of a scale."""
        loss, exponential = problem.loss, exponentiate
        if problem.scale in self.strided_scales:
            loss, exponential = copy.deepcopy(loss), exponentiate_quickly
            loss.similarity.stride = 2
        return loss, lambda velocity: exponential(velocity, self.squarings) if self.squarings else velocity
