"""Supervised multi-scale loss for pyramid flow with known motion (Evain et al. 2022, eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.loss import _Loss

from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.ncc import masked_mean
from cardiac_motion.networks.pwc_net import cost_volume, normalise_features

_WINDOW = 32  # pixels over which unbiased errors average out
_STILL = 0.02  # squared pixels: pairs with less motion are ignored in slopes
_FORGET = 0.005  # update rate of the running mean, per pair
TEMPERATURE = 0.12  # for normalised costs; the value that a trainable temperature converged to at level 2
FLOWNET = (0.005, 0.01, 0.02, 0.08, 0.32)  # FlowNet's weights, from the finest level to the coarsest


class MultiScaleFlowLoss(_Loss):
    """``Σ_l α_l Σ_x |w_l(x) − w_GT,l(x)|`` over the valid pixels, per pair; regularisation is by weight decay.

    The ground truth at level l is the mean over the valid pixels of each of its pixels, weighted by their fraction.

    Args:
        weights: α from the finest level to the coarsest; FlowNet's by default.
        finest: level of the finest field; level l is the grid of 1 / 2^l.
        reduction: ``sum`` over the pixels, as in the papers, or ``mean``, which does not depend on the number of valid
            pixels.
        unit: number of pixels per unit of the error; 20 for natural images.
        eps: added under the root, in squared units.
        relative: in pixels. If positive, the error of each pair is averaged over its valid pixels and divided by
            (``relative`` + mean true displacement of the pair), so that pairs with large motion do not dominate.
        matching: weight of ``matching_loss`` relative to the error of the same level. The fields must then carry their
            cost volumes (``PWCNet.forward(evidence=True)``). It supervises the features directly; the endpoint error
            reaches them through the estimator only.
    """

    def __init__(
        self,
        weights: Sequence[float] = FLOWNET,
        finest: int = 2,
        reduction: str = "sum",
        unit: float = 1.0,
        eps: float = 1e-6,
        relative: float = 0.0,
        matching: float = 0.0,
    ) -> None:
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction must be sum or mean, got {reduction}")
        self.weights, self.finest, self.reduction, self.unit, self.eps = tuple(weights), finest, reduction, unit, eps
        self.relative, self.matching = relative, matching

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"weights={self.weights}, finest={self.finest}, reduction={self.reduction}, unit={self.unit}"

    def forward(
        self,
        ddf: Tensor | Sequence[Tensor],
        field: Tensor,
        mask: Tensor | None = None,
        **batch: Tensor,
    ) -> Tensor:
        """Compute the loss of a batch.

        Args:
            ddf: fields from the coarsest level to the finest, ``[B, 2, h, w]`` in pixels of the image; those of a
                padded image extend beyond the ground truth at the bottom and right. A single field of the image's size
                has weight 1 (validation).
            field: ground truth ``[B, 2, H, W]`` in pixels.
            mask: ``[B, 1, H, W]``, 1 where the ground truth is known; None is everywhere.
            batch: other entries of the batch, ignored.

        Raises:
            ValueError: the numbers of levels and weights differ, or fields do not cover the ground truth.
        """
        valid = torch.ones_like(field[:, :1]) if mask is None else mask.to(field)
        scale = self.relative + (field.norm(dim=1, keepdim=True) * valid).flatten(1).sum(1) / _total(valid)
        if isinstance(ddf, Tensor):
            return self._level(ddf, field, valid, scale)
        if len(ddf) != len(self.weights):
            raise ValueError(f"{len(self.weights)} weights do not match the fields of {len(ddf)} levels")
        terms = []
        for level, (weight, estimate) in enumerate(zip(self.weights, reversed(ddf), strict=True), self.finest):
            truth, share = _coarsen(field, valid, estimate.shape[2:], 2**level)
            terms.append(weight * self._level(estimate[:, :2], truth, share, scale))
            if self.matching:
                missing = (truth - estimate[:, 2:4]) / 2**level
                terms.append(weight * self.matching * matching_loss(estimate[:, 4:], missing, share))
        return torch.stack(terms).sum()

    def _level(self, estimate: Tensor, field: Tensor, valid: Tensor, scale: Tensor) -> Tensor:
        error = ((estimate - field) / self.unit).square().sum(1, keepdim=True).add(self.eps).sqrt() * valid
        if self.relative:
            return (error.flatten(1).sum(1) / _total(valid) / scale).mean()
        return error.sum() / (valid.sum().clamp_min(1e-6) if self.reduction == "mean" else len(estimate))


def _total(valid: Tensor) -> Tensor:
    return valid.flatten(1).sum(1).clamp_min(1e-3)


def matching_loss(cost: Tensor, shift: Tensor, valid: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy between the softmax of a cost volume and the true shift.

    The target of a sub-pixel shift is shared among its four neighbouring integer shifts by bilinear weights. Pixels
    whose shift lies outside the search window are ignored.

    Args:
        cost: ``[B, (2·r + 1)², h, w]``, normalised costs in the order of ``cost_volume``.
        shift: true shift ``[B, 2, h, w]`` in pixels of the volume.
        valid: weight of each pixel ``[B, 1, h, w]``; pixels below 0.5 are ignored.
        temperature: divisor of the costs.

    Examples:
        >>> cost = torch.zeros(1, 9, 1, 1)
        >>> cost[0, 5] = 1.0  # one column to the right
        >>> right, wrong = (torch.tensor([0.0, x]).view(1, 2, 1, 1) for x in (1.0, 0.0))
        >>> bool(matching_loss(cost, right, torch.ones(1, 1, 1, 1)) < 0.01)
        True
        >>> bool(matching_loss(cost, wrong, torch.ones(1, 1, 1, 1)) > 8)
        True
    """
    across = math.isqrt(cost.shape[1])
    radius = across // 2
    counts = valid * (valid >= 0.5) * (shift.abs().amax(1, keepdim=True) < radius + 0.5)
    shift = shift.clamp(-radius, radius)
    first = shift.floor().clamp(max=radius - 1)
    part = shift - first
    likely = functional.log_softmax(cost / temperature, 1)
    likelihood = torch.zeros_like(valid)
    for below, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        index = (first[:, :1] + below + radius) * across + first[:, 1:] + right + radius
        share = (part[:, :1] if below else 1 - part[:, :1]) * (part[:, 1:] if right else 1 - part[:, 1:])
        likelihood = likelihood + share * likely.gather(1, index.long())
    return -(likelihood * counts).sum() / counts.sum().clamp_min(1e-3)


class MatchingLoss(_Loss):
    """Train only the features of a PWC-Net: ``matching_loss`` after warping by the ground truth minus a random shift.

    A step takes a sixth of the time of a step of the whole network.

    Args:
        levels: pyramid levels that are trained.
        radius: search radius of the cost volume, in pixels of a level.
        small, large: standard deviation of the random shift, in pixels of a level; 40 % of pairs have the large one.
            A smooth component with half of this standard deviation varies within the pair.
    """

    def __init__(
        self, levels: Sequence[int] = (2, 3, 4, 5), radius: int = 4, small: float = 0.25, large: float = 1.5
    ) -> None:
        super().__init__()
        self.levels, self.radius, self.small, self.large = tuple(levels), radius, small, large

    def forward(self, ddf: Sequence[Tensor], field: Tensor, mask: Tensor | None = None, **batch: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            ddf: features of the moving and the fixed image, ``[B, 2C, h, w]``, at levels 1, 2, … (``FeatureInferer``).
            field: ground truth ``[B, 2, H, W]`` in pixels.
            mask: ``[B, 1, H, W]``, 1 where the ground truth is known; None is everywhere.
            batch: other entries of the batch, ignored.
        """
        valid = torch.ones_like(field[:, :1]) if mask is None else mask.to(field)
        terms = []
        for level in self.levels:
            moving, fixed = ddf[level - 1].chunk(2, 1)
            size = fixed.shape[2:]
            truth, share = _coarsen(field, valid, size, 2**level)
            wide = torch.where(torch.rand(len(field), 1, 1, 1) < 0.4, self.large, self.small)
            slow = functional.interpolate(torch.randn(len(field), 2, 4, 4), size, mode="bicubic", align_corners=False)
            shift = ((torch.randn(len(field), 2, 1, 1) + 0.5 * slow) * wide).to(field)
            moving = warp(moving, truth / 2**level - shift, padding="zeros")
            fixed, moving = normalise_features(fixed, self.radius), normalise_features(moving, self.radius)
            cost = cost_volume(fixed, moving, self.radius) * fixed.shape[1]
            terms.append(matching_loss(cost, shift, share))
        return torch.stack(terms).sum()


def _coarsen(field: Tensor, valid: Tensor, size: Sequence[int], factor: int) -> tuple[Tensor, Tensor]:
    """Average the ground truth onto a coarser grid, which may extend beyond the bottom and right edges (padding)."""
    below, beside = (n * factor - have for n, have in zip(size, field.shape[2:], strict=True))
    if min(below, beside) < 0:
        raise ValueError(f"a field of {tuple(size)} at 1/{factor} does not cover an image of {tuple(field.shape[2:])}")
    padding = (0, beside, 0, below)
    share = functional.avg_pool2d(functional.pad(valid, padding), factor)
    mean = functional.avg_pool2d(functional.pad(field * valid, padding), factor)
    return mean / share.clamp_min(1e-6), share


def endpoint_error(ddf: Tensor, field: Tensor, mask: Tensor | None = None, **batch: Tensor) -> Tensor:
    """Mean endpoint error (section III-D.1) of each pair over its mask, in pixels: ``[B]``; NaN if the mask is empty.

    Args:
        ddf, field: ``[B, 2, H, W]`` in pixels.
        mask: ``[B, 1, H, W]``; None is everywhere.
        batch: other entries of the batch, ignored.

    Examples:
        >>> truth = torch.zeros(1, 2, 4, 4)
        >>> ddf = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> endpoint_error(ddf, truth).tolist()
        [5.0]
    """
    return masked_mean(torch.linalg.vector_norm(ddf - field, dim=1, keepdim=True), mask)


def endpoint_error_mm(ddf: Tensor, field: Tensor, mask: Tensor, spacing: Tensor, **batch: Tensor) -> Tensor:
    """Return ``endpoint_error`` in mm, with ``spacing [B, 2]`` in mm per pixel (row, column).

    Examples:
        >>> truth, mask = torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4)
        >>> ddf = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> endpoint_error_mm(ddf, truth, mask, torch.tensor([[2.0, 2.0]])).tolist()
        [10.0]
    """
    scale = spacing[:, :, None, None].to(ddf)
    return endpoint_error(ddf * scale, field * scale, mask)


class PassesFlowLoss(_Loss):
    """``Σ_k γ^(K−k) · mean |w_k − w_GT|`` over the valid pixels, for the estimates of K passes at the image's size.

    All pairs have equal weight, whatever their number of valid pixels. If the last estimate has two more channels, the
    log scale ``log b`` of its error, the negative log-likelihood ``|error| / b + log b`` (Laplace) is added. The field
    is detached there, so this term trains only the scale.

    Args:
        gamma: γ, the weight of a pass relative to that of the next (Teed and Deng 2020, eq. 7).
        eps: added under the root, in squared pixels.
        likelihood: weight of the likelihood.
        relative: in pixels; if positive, a pair's errors are divided by the sum of this and the mean magnitude of its
            true motion, so that large motion does not dominate.
        bias: weight of the last estimate's errors after averaging over windows of 32 pixels, divided by half of
            ``relative`` plus the pair's mean motion: errors that do not average out impair strain most.
        slope: weight of the last estimate's mean over- or underestimation, the regression of its error on the true
            motion. The best estimate of a single pair is too small, as with any weak evidence, and the shortfall
            accumulates over steps; therefore the running mean over pairs, not each pair's own value, is driven to 0.
    """

    shortfall: Tensor

    def __init__(
        self,
        gamma: float = 0.6,
        eps: float = 1e-6,
        likelihood: float = 0.02,
        relative: float = 0.0,
        bias: float = 0.0,
        slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.gamma, self.eps, self.likelihood, self.relative, self.bias = gamma, eps, likelihood, relative, bias
        self.slope = slope
        self.register_buffer("shortfall", torch.zeros(()))

    def forward(
        self, ddf: Tensor | Sequence[Tensor], field: Tensor, mask: Tensor | None = None, **batch: Tensor
    ) -> Tensor:
        """Compute the loss of a batch.

        Args:
            ddf: a field, or those of all passes, ``[B, 2, H, W]`` in pixels; the last one may have two more channels.
            field: ground truth ``[B, 2, H, W]``.
            mask: weights ``[B, 1, H, W]``, 1 where the ground truth is known; None is everywhere.
            batch: other entries of the batch, ignored.
        """
        fields = [ddf] if isinstance(ddf, Tensor) else list(ddf)
        weight = torch.ones_like(field[:, :1]) if mask is None else mask.to(field)
        weight = weight / weight.flatten(1).sum(1).clamp(min=1.0)[:, None, None, None]
        unit = torch.ones_like(weight[:, :1, :1, :1])
        if self.relative:
            unit = (field.norm(dim=1, keepdim=True) * weight).flatten(1).sum(1)[:, None, None, None]
        biased = self._bias(fields[-1][:, :2] - field, weight / (self.relative / 2 + unit)) if self.bias else 0.0
        share, weight = weight, weight / (self.relative + unit)
        terms = [
            self.gamma ** (len(fields) - 1 - k)
            * ((estimate[:, :2] - field).square().sum(1, keepdim=True) + self.eps).sqrt()
            for k, estimate in enumerate(fields)
        ]
        if fields[-1].shape[1] == 4:
            mean, scale = fields[-1].split(2, 1)
            terms.append(
                self.likelihood * ((mean.detach() - field).abs() * (-scale).exp() + scale).mean(1, keepdim=True)
            )
        loss = (torch.stack(terms).sum(0) * weight).flatten(1).sum(1).mean() + self.bias * biased
        return loss + self.slope * self._slope(fields[-1][:, :2], field, share) if self.slope else loss

    def _slope(self, estimate: Tensor, field: Tensor, weight: Tensor) -> Tensor:
        """Return the running mean times this batch's mean; its gradient is that of half the mean's square."""
        moved = (field.square().sum(1, keepdim=True) * weight).flatten(1).sum(1)
        along = ((estimate - field) * field).sum(1, keepdim=True) * weight
        slopes = (along.flatten(1).sum(1) / (moved + _STILL))[moved > _STILL / 2]
        if not len(slopes):
            return estimate.new_zeros(())
        if self.training and torch.is_grad_enabled():
            for one in slopes.detach().clamp(-1, 1):
                self.shortfall.mul_(1 - _FORGET).add_(one, alpha=_FORGET)
        return self.shortfall * slopes.clamp(-1, 1).mean()

    def _bias(self, error: Tensor, weight: Tensor) -> Tensor:
        size, half = _WINDOW, _WINDOW // 2
        residual = functional.avg_pool2d(error * weight, size, half, half).square().sum(1).add(1e-16).sqrt()
        counted = functional.avg_pool2d(weight, size, half, half).flatten(1).sum(1).clamp(min=1e-12)
        return (residual.flatten(1).sum(1) / counted * weight.flatten(1).sum(1)).mean()
