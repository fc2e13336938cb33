"""Optimisation of a scale whose unknown is the stationary velocity field itself, smoothed by a Gaussian."""

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
    """Optimise a velocity field by Adam, batch by batch, starting from that of the coarser scale.

    Attributes:
        rate: Adam's step size in voxels of the field's grid.
        resolution: maximum size of the field's grid relative to the full grid; 0.5 halves it.
        sigma: standard deviation in voxels of the Gaussian that smooths the field (and its gradient).
        squarings: n > 0 makes each field the exponential of a stationary velocity field (no folding); 0 uses the
            velocity as displacement.
        strided_scales: scales at which only NCC windows around every second pixel are used, with the gradient of
            ``exponentiate_quickly``.
    """

    rate: float = 0.2
    resolution: float = 0.5
    sigma: float = 1.0
    squarings: int = 0
    strided_scales: Sequence[float] = ()

    def grid(self, size: Sequence[int], scale: float) -> tuple[int, ...]:
        """Return the size of the velocity field at a scale, for images of ``size``."""
        return scale_size(size, min(scale, self.resolution))

    def fit(self, problem: ScaleProblem, velocity: Tensor) -> tuple[Tensor, Tensor, float]:
        """Optimise a velocity field.

        Args:
            problem: optimisation problem; its number of steps is per batch.
            velocity: initial velocity ``[N, d, *grid]`` in voxels of its grid; not modified.

        Returns:
            The velocity and its displacement field, both ``[N, d, *grid]`` in voxels of the grid, on the CPU; the mean
            loss of the last batch's steps.
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
                    smoothed = start + smooth(unknown, self.sigma)
                    ddf = rescale(exponential(smoothed), size)
                    value = loss(ddf, batch, mask, problem.regularisation_weight, smoothed)
                    optimiser.zero_grad()
                    (value * unknown.numel()).backward()  # summed over the grid, so that Adam's eps is scale-free
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
        """Return the loss and the exponential of a scale."""
        loss, exponential = problem.loss, exponentiate
        if problem.scale in self.strided_scales:
            loss, exponential = copy.deepcopy(loss), exponentiate_quickly
            loss.similarity.stride = 2
        return loss, lambda velocity: exponential(velocity, self.squarings) if self.squarings else velocity
