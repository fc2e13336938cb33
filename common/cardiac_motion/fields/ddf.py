"""Dense displacement fields (DDF): warp, compose, rescale, invert, exponentiate.

A field ``ddf [B, d, *S]`` is in voxels, in array axis order, on the fixed image's grid, and pulls back:
``warped(p) = moving(p + ddf(p))``. Pixel centres lie at whole numbers; resampling keeps the image's edges in place
(``align_corners=False``), so a length scales by the ratio of the sizes. Warp and scaling-and-squaring are implemented
here because MONAI's ``Warp`` and ``DVF2DDF`` rebuild their grid at every call and neither samples points nor composes
fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@lru_cache(maxsize=16)
def _identity(size: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    axes = [torch.arange(n, device=device, dtype=dtype) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def identity_grid(size: Sequence[int], like: Tensor) -> Tensor:
    """Return the coordinates of the pixel centres, ``[1, d, *S]`` in pixels, with device and type of ``like``.

    Examples:
        >>> identity_grid((2, 3), torch.zeros(1))[0].tolist()
        [[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]
    """
    # an export must not cache its tensors
    build = _identity.__wrapped__ if torch.compiler.is_compiling() else _identity
    return build(tuple(size), like.device, like.dtype)


class _Normalised(torch.autograd.Function):
    """Points ``[B, d, *P]`` in pixels to the grid of ``grid_sample``: ``[B, *P, d]`` from −1 to 1, last axis first.

    Plain operations would make a registration step 10 to 20 % slower.
    """

    @staticmethod
    def forward(ctx: Any, points: Tensor, size: tuple[int, ...]) -> Tensor:
        ctx.scales = [2 / max(n - 1, 1) for n in size]
        grid = points.new_empty((len(points), *points.shape[2:], len(size)))
        for axis, scale in enumerate(ctx.scales):
            torch.mul(points[:, axis], scale, out=grid[..., len(size) - 1 - axis])
        return grid.sub_(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        count = len(ctx.scales)
        result = grad.new_empty((len(grad), count, *grad.shape[1:-1]))
        for axis, scale in enumerate(ctx.scales):
            torch.mul(grad[..., count - 1 - axis], scale, out=result[:, axis])
        return result, None


def sample(image: Tensor, points: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Sample an image at points.

    Args:
        image: ``[B, C, *S]``.
        points: ``[B, d, *P]`` in pixels, array axis order.
        mode: ``bilinear`` (linear in 3D too), ``nearest`` (no gradient) or ``bicubic`` (2D).
        padding: ``border`` repeats the edge, ``zeros`` puts 0 outside.

    Returns:
        ``[B, C, *P]``.

    Examples:
        >>> image = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> sample(image, torch.tensor([[[[0.5, 1.0]], [[0.5, 0.0]]]])).tolist()  # at (0.5, 0.5) and (1, 0)
        [[[[1.5, 2.0]]]]
    """
    size = tuple(image.shape[2:])
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # a custom autograd function cannot be exported
        scale = points.new_tensor([2 / max(n - 1, 1) for n in size])
        grid = (points.movedim(1, -1) * scale - 1).flip(-1)
    else:
        grid = _Normalised.apply(points, size)  # type: ignore[no-untyped-call]
    return functional.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=True)


def warp(image: Tensor, ddf: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Warp an image: ``image(p + ddf(p))`` for ``image [B, C, *S]`` and ``ddf [B, d, *S]``, ``[B, C, *S]``.

    Raises:
        ValueError: batch, dimension or size do not match.

    Examples:
        >>> image = torch.arange(5.0).view(1, 1, 1, 5)
        >>> ddf = torch.zeros(1, 2, 1, 5)
        >>> ddf[:, 1] = 1.0  # one column to the right
        >>> warp(image, ddf).flatten().tolist()  # the edge is repeated
        [1.0, 2.0, 3.0, 4.0, 4.0]
    """
    if ddf.dim() != image.dim() or ddf.shape[1] != image.dim() - 2 or ddf.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"an image {tuple(image.shape)} needs a field with {image.dim() - 2} channels, got {tuple(ddf.shape)}"
        )
    return sample(image, identity_grid(ddf.shape[2:], ddf) + ddf, mode, padding)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Compose two fields, ``first`` then ``second``: ``second(p) + first(p + second(p))``.

    ``warp(warp(image, first), second)`` equals ``warp(image, compose(first, second))`` up to interpolation: φ¹∘φ², the
    first line of SSMSR eq. 5. The expanded lines there, and NMSR eq. 4, swap the two fields in the sum; that field does
    not pull back the image to which the next scale was registered.

    Args:
        first, second: ``[B, d, *S]`` in voxels.

    Examples:
        >>> one, two = torch.full((1, 2, 4, 4), 1.0), torch.full((1, 2, 4, 4), 2.0)
        >>> compose(one, two).unique().tolist()  # translations add
        [3.0]
    """
    return second + warp(first, second)


def rescale(ddf: Tensor, size: Sequence[int]) -> Tensor:
    """Resample a field to a grid of ``size``, with vectors in the new grid's voxels (P₂ of NMSR eq. 4).

    Args:
        ddf: ``[B, d, *S]``.
        size: d whole numbers.

    Examples:
        >>> rescale(torch.full((1, 2, 4, 4), 1.0), (8, 8)).unique().tolist()  # a voxel is two on a grid twice as fine
        [2.0]
    """
    old = ddf.shape[2:]
    if tuple(size) == tuple(old):
        return ddf
    ratio = ddf.new_tensor([n / o for n, o in zip(size, old, strict=True)]).view(1, -1, *(1,) * len(old))
    larger = math.prod(size) > math.prod(old)  # multiply on the smaller of the two grids
    ddf = functional.interpolate(
        ddf * ratio if larger else ddf, size=tuple(size), mode=LINEAR[len(old)], align_corners=False
    )
    return ddf if larger else ddf * ratio


def downsample(image: Tensor, size: Sequence[int]) -> Tensor:
    """Average ``image [B, C, *S]`` onto a smaller grid by area means, without aliasing (P₁ of NMSR eq. 1).

    Examples:
        >>> downsample(torch.tensor([[[[0.0, 2.0, 4.0, 6.0]]]]), (1, 2)).tolist()
        [[[[1.0, 5.0]]]]
    """
    return (
        image if tuple(size) == tuple(image.shape[2:]) else functional.interpolate(image, size=tuple(size), mode="area")
    )


def invert(ddf: Tensor, iterations: int = 50, tolerance: float = 1e-3) -> Tensor:
    """Invert a field by fixed-point iteration, ``v ← −u(p + v(p))`` (Chen et al. 2008).

    Args:
        ddf: ``[B, d, *S]`` in voxels, without folding.
        iterations: maximum number of iterations.
        tolerance: largest change of a vector in voxels at which the iteration stops.

    Returns:
        ``v [B, d, *S]`` with ``compose(u, v) ≈ 0``; outside the image the field at the edge is used.

    Examples:
        >>> invert(torch.full((1, 2, 4, 4), 1.5)).allclose(torch.tensor(-1.5))
        True
    """
    inverse = -ddf
    for _ in range(iterations):
        previous, inverse = inverse, -warp(ddf, inverse)
        if (inverse - previous).abs().amax() < tolerance:
            break
    return inverse


def exponentiate(velocity: Tensor, squarings: int = 7) -> Tensor:
    """Integrate a stationary velocity field over unit time by scaling and squaring (Arsigny et al. 2006).

    Args:
        velocity: ``[B, d, *S]`` in voxels per unit time.
        squarings: number of times that the field is halved at first and then composed with itself.

    Examples:
        >>> exponentiate(torch.full((1, 2, 4, 4), 1.5)).unique().tolist()  # a translation is unchanged
        [1.5]
    """
    ddf = velocity / float(2**squarings)
    for _ in range(squarings):
        ddf = compose(ddf, ddf)
    return ddf


class _Transported(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, velocity: Tensor, squarings: int) -> Tensor:
        ctx.save_for_backward(velocity)
        return exponentiate(velocity, squarings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (velocity,) = ctx.saved_tensors
        return 0.5 * (warp(grad, -0.25 * velocity) + warp(grad, -0.75 * velocity)), None


def exponentiate_quickly(velocity: Tensor, squarings: int = 7) -> Tensor:
    """Run ``exponentiate`` with as few squarings as the largest velocity needs, and with an approximate gradient.

    A change δv of the velocity moves the end of a path by the integral of δv along the path, so the gradient at the end
    is distributed along the path: here at two positions, 1/4 and 3/4, ignoring the stretching between neighbouring
    paths. This is exact for a uniform velocity; where neighbours move similarly it descends as well as the exact
    gradient, at a fifth of the cost.

    Args:
        velocity: ``[B, d, *S]`` in voxels per unit time.
        squarings: maximum number; fewer are used as long as the first step is below half a voxel.

    Examples:
        >>> velocity = torch.full((1, 2, 9, 9), 1.5, requires_grad=True)
        >>> exponentiate_quickly(velocity).sum().backward()
        >>> velocity.grad.unique().tolist()
        [1.0]
    """
    largest = float(velocity.detach().abs().amax())
    needed = math.ceil(math.log2(max(largest, 0.5) / 0.5))
    ddf: Tensor = _Transported.apply(velocity, min(needed, squarings))  # type: ignore[no-untyped-call]
    return ddf


def _gaussian(sigma: float) -> list[float]:
    """Return the weights of the neighbours 0, 1, … to either side."""
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(max(1, round(3 * sigma)) + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    return [weight / total for weight in weights]


def _sum_shifted(x: Tensor, axis: int, weights: Sequence[float]) -> Tensor:
    """Return the weighted sum of ``x`` and its neighbours along an axis, inside ``x`` only; the map is self-adjoint."""
    result, n = x * weights[0], x.shape[axis]
    for shift, weight in enumerate(weights[1:n], 1):
        for target, source in ((shift, 0), (0, shift)):
            result.narrow(axis, target, n - shift).add_(x.narrow(axis, source, n - shift), alpha=weight)
    return result


def _edges(n: int, weights: Sequence[float]) -> Iterator[tuple[int, int, int, float]]:
    """Iterate over the neighbours outside of ``n`` pixels, on either side.

    Yields the first pixel that has such a neighbour, how many have it, the repeated edge pixel, and the weight.
    """
    for shift, weight in enumerate(weights[1:], 1):
        count = min(shift, n)
        yield 0, count, 0, weight
        yield n - count, count, n - 1, weight


class _Smooth(torch.autograd.Function):
    """Gaussian along one axis as in-place shifted sums, and its adjoint; outside the image the edge is repeated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, weights: Sequence[float]) -> Tensor:
        ctx.axis, ctx.weights = axis, weights
        result = _sum_shifted(x, axis, weights)
        for first, count, edge, weight in _edges(x.shape[axis], weights):
            result.narrow(axis, first, count).add_(x.narrow(axis, edge, 1), alpha=weight)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        axis, weights = ctx.axis, ctx.weights
        result = _sum_shifted(grad, axis, weights)
        for first, count, edge, weight in _edges(grad.shape[axis], weights):
            outside = grad.narrow(axis, first, count).sum(axis, keepdim=True)
            result.narrow(axis, edge, 1).add_(outside, alpha=weight)
        return result, None, None


def smooth(ddf: Tensor, sigma: float) -> Tensor:
    """Convolve ``ddf [B, d, *S]`` with a Gaussian of ``sigma`` voxels (cut off at 3σ; the edge is repeated).

    Computed as sums of shifted views: a product with a banded matrix took nine times as long, and the gradient of a
    single-channel convolution 40 % of a registration step.

    Examples:
        >>> smooth(torch.full((1, 2, 5, 5), 3.0), 2.0).allclose(torch.tensor(3.0))  # a constant is unchanged
        True
    """
    if sigma <= 0:
        return ddf
    weights = _gaussian(sigma)
    for axis in range(2, ddf.dim()):
        ddf = _Smooth.apply(ddf, axis, weights)  # type: ignore[no-untyped-call]
    return ddf


def change_grids(ddf: Tensor, fixed_affine: np.ndarray, moving_affine: np.ndarray) -> Tensor:
    """Express a mapping to a moving image with another affine as a field on the fixed grid.

    ``ddf [B, 3, *S]`` maps voxel p of the fixed grid to voxel p + u of a moving grid of the same size. Returns v, in
    voxels of the fixed grid, with ``fixed_affine(p + v) = moving_affine(p + u)`` in millimetres. Positions are computed
    in double precision and never added to ``ddf``, which would lose precision.

    Examples:
        >>> fixed, moving = np.diag([2.0, 2.0, 2.0, 1.0]), np.diag([2.0, 2.0, 2.0, 1.0])
        >>> moving[:3, 3] = 6.0  # mm: the moving image begins three voxels further on
        >>> change_grids(torch.zeros(1, 3, 2, 2, 2), fixed, moving).unique().tolist()
        [3.0]
    """
    matrix = np.linalg.inv(fixed_affine) @ moving_affine
    grid = identity_grid(ddf.shape[2:], torch.zeros(1, dtype=torch.float64))
    offset = torch.einsum("ij,bjxyz->bixyz", torch.as_tensor(matrix[:3, :3] - np.eye(3)), grid)
    offset = offset + torch.as_tensor(matrix[:3, 3]).view(1, 3, 1, 1, 1)
    return torch.einsum("ij,bjxyz->bixyz", torch.as_tensor(matrix[:3, :3]).to(ddf), ddf) + offset.to(ddf)
