"""Frame-to-frame motion that is consistent with motion over several frames: least squares over all gaps.

Fields between neighbouring frames accumulate their errors over a beat; a field over eight frames has only one error, if
a larger one. Each field estimated over a gap of g frames is a measurement of g composed steps. The steps are corrected
to minimise the squared residuals of all measurements, each divided by its variance. The correction is linear in the
steps of a pixel (its positions over a few frames are close), so there is one sparse system for all, solved by conjugate
gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from cardiac_motion.fields.ddf import compose
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult, are_consecutive, register

_FLOOR = 0.02  # pixels: smallest standard deviation assumed for a measurement


def sum_runs(steps: Tensor, gap: int) -> Tensor:
    """Sum every run of ``gap`` of ``steps [N, …]``: ``[N − gap + 1, …]``.

    Examples:
        >>> sum_runs(torch.tensor([[1.0], [2.0], [4.0]]), 2).flatten().tolist()
        [3.0, 6.0]
    """
    total = torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])
    return total[gap:] - total[:-gap]


def spread_runs(sums: Tensor, gap: int) -> Tensor:
    """Transpose of ``sum_runs``: each step ``[N, …]`` sums the values of all runs that contain it.

    Examples:
        >>> spread_runs(torch.tensor([[3.0], [6.0]]), 2).flatten().tolist()
        [3.0, 9.0, 6.0]
    """
    edge = torch.zeros(gap - 1, *sums.shape[1:], dtype=sums.dtype, device=sums.device)
    return sum_runs(torch.cat([edge, sums, edge]), gap)


def least_squares(misses: dict[int, Tensor], weights: dict[int, Tensor], iterations: int = 30) -> Tensor:
    """Compute the steps ``δ [N, …]`` that minimise ``Σ_g Σ_t w (residual − Σ of the run's δ)²``.

    Args:
        misses: residuals by gap g, ``[N − g + 1, …]``; gap 1 is required.
        weights: likewise, positive.
        iterations: number of conjugate-gradient iterations, for all pixels at once.

    Examples:
        Two steps, each measured as 1 and both together as 5, with equal weights: the error is distributed.

        >>> misses = {1: torch.tensor([[1.0], [1.0]]), 2: torch.tensor([[5.0]])}
        >>> least_squares(misses, {g: torch.ones_like(m) for g, m in misses.items()}).flatten().tolist()
        [2.0, 2.0]
    """

    def normal(steps: Tensor) -> Tensor:
        return sum((spread_runs(weights[g] * sum_runs(steps, g), g) for g in misses), torch.zeros_like(steps))

    residual = sum((spread_runs(weights[g] * miss, g) for g, miss in misses.items()), torch.zeros_like(misses[1]))
    solution, direction = torch.zeros_like(residual), residual.clone()
    size = residual.square().sum(0)
    start = size.clone()
    for _ in range(iterations):
        along = normal(direction)
        step = size / (direction * along).sum(0).clamp_min(1e-30)
        solution = solution + step * direction
        residual = residual - step * along
        new = residual.square().sum(0)
        direction = residual + new / size.clamp_min(1e-30) * direction
        size = new
        if bool((size <= 1e-10 * start).all()):
            break
    return solution


class GapsInferer(RegistrationInferer):
    """Register the pairs of a cine over several gaps, and return the steps that agree best with all fields.

    Args:
        inferer: registers pairs; if it returns the ``deviation`` of its fields, they are weighted by it. The result's
            ``inconsistency`` and ``deviation`` are those of neighbouring frames.
        gaps: frame distances; 1 is always included. ``[1]`` leaves the fields unchanged.
        rounds: number of linearisations.
    """

    def __init__(self, inferer: Inferer, gaps: Sequence[int] = (1, 2, 4, 8), rounds: int = 2) -> None:
        super().__init__()
        if not gaps or min(gaps) < 1 or rounds < 1:
            raise ValueError(f"gaps {list(gaps)} and rounds {rounds} must be at least 1")
        self.inferer: Inferer = inferer
        self.gaps, self.rounds = tuple(sorted({1, *gaps})), rounds

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Register the pairs of one cine, ``inputs [N, 2, H, W]``: fields ``[N, 2, H, W]`` in pixels.

        Pair t has frames t and t + 1. Fields of non-consecutive pairs are returned uncorrected.
        """
        near = register(inputs, network, self.inferer, mask, f"{part}1")
        gaps = [gap for gap in self.gaps if gap <= len(inputs)]
        if len(gaps) == 1 or not are_consecutive(inputs):
            return near
        measured = {1: near}
        for gap in gaps[1:]:
            ends = torch.stack([inputs[: len(inputs) - gap + 1, 0], inputs[gap - 1 :, 1]], 1)
            gap_mask = None if mask is None else mask if len(mask) == 1 else mask[gap - 1 :]
            measured[gap] = register(ends, network, self.inferer, gap_mask, f"{part}{gap}")
        weights = {gap: _weights(result) for gap, result in measured.items()}
        ddf = near.ddf
        for _ in range(self.rounds):
            ddf = ddf + least_squares({g: measured[g].ddf - _compose_runs(ddf, g) for g in gaps}, weights)
        return replace(near, ddf=ddf, stages=())


def _weights(result: RegistrationResult) -> Tensor:
    if result.deviation is None:
        return torch.ones_like(result.ddf)
    return 1 / (result.deviation.square() + _FLOOR**2)


def _compose_runs(ddf: Tensor, gap: int) -> Tensor:
    runs = len(ddf) - gap + 1
    composed = ddf[gap - 1 :]
    for start in range(gap - 2, -1, -1):
        composed = compose(ddf[start : start + runs], composed)
    return composed
