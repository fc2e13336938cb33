"""Dense displacement fields (DDF): warp, compose, rescale, invert, exponentiate.

A field ``ddf [B, d, *S]`` is in voxels, in array axis order, on the fixed image's grid, and pulls back:
``warped(p) = moving(p + ddf(p))``. Pixel centres lie at whole numbers; resampling keeps the image's edges in place
(``align_corners=False``), so a length scales by the ratio of the sizes. Warp and scaling-and-squaring are written here
because MONAI's ``Warp`` and ``DVF2DDF`` rebuild their grid at every call and neither sample points nor compose fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@lru_cache(maxsize=16)
def _identity(size: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    axes = [torch.arange(n, device=device, dtype=dtype) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def identity_grid(size: Sequence[int], like: Tensor) -> Tensor:
    """Coordinates of the pixel centres, ``[1, d, *S]`` in pixels, on the device and in the type of ``like``.

    Examples:
        >>> identity_grid((2, 3), torch.zeros(1))[0].tolist()
        [[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]
    """
    made = (
        _identity.__wrapped__ if torch.compiler.is_compiling() else _identity
    )  # an export's tensors aren't to be kept
    return made(tuple(size), like.device, like.dtype)


def sample(image: Tensor, points: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Values of an image at points.

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
    size = image.shape[2:]
    scale = points.new_tensor([2 / max(n - 1, 1) for n in size])
    grid = (points.movedim(1, -1) * scale - 1).flip(-1)
    return functional.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=True)


def warp(image: Tensor, ddf: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """``image(p + ddf(p))`` for ``image [B, C, *S]`` and ``ddf [B, d, *S]``: ``[B, C, *S]``.

    Raises:
        ValueError: batch, dimension or size don't fit.

    Examples:
        >>> image = torch.arange(5.0).view(1, 1, 1, 5)
        >>> ddf = torch.zeros(1, 2, 1, 5)
        >>> ddf[:, 1] = 1.0  # one column to the right
        >>> warp(image, ddf).flatten().tolist()  # the edge is repeated
        [1.0, 2.0, 3.0, 4.0, 4.0]
    """
    if ddf.dim() != image.dim() or ddf.shape[1] != image.dim() - 2 or ddf.shape[2:] != image.shape[2:]:
        raise ValueError(f"a field for an image {tuple(image.shape)} has d={image.dim() - 2}, got {tuple(ddf.shape)}")
    return sample(image, identity_grid(ddf.shape[2:], ddf) + ddf, mode, padding)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """The one field that does what ``first`` and then ``second`` do: ``second(p) + first(p + second(p))``.

    ``warp(warp(image, first), second)`` is ``warp(image, compose(first, second))`` up to interpolation. It is
    φ¹∘φ², the first line of SSMSR eq. 5. The expanded lines there, and NMSR eq. 4, exchange the two fields under the
    sum, which does not pull back the image that the next scale was registered to.

    Args:
        first, second: ``[B, d, *S]`` in voxels.

    Examples:
        >>> one, two = torch.full((1, 2, 4, 4), 1.0), torch.full((1, 2, 4, 4), 2.0)
        >>> compose(one, two).unique().tolist()  # translations add
        [3.0]
    """
    return second + warp(first, second)


def rescale(ddf: Tensor, size: Sequence[int]) -> Tensor:
    """P₂ of NMSR eq. 4: the field on a grid of ``size``, its vectors in the new grid's voxels.

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
    return functional.interpolate(ddf, size=tuple(size), mode=LINEAR[len(old)], align_corners=False) * ratio


def downsample(image: Tensor, size: Sequence[int]) -> Tensor:
    """P₁ of NMSR eq. 1: ``image [B, C, *S]`` averaged onto a smaller grid (area means: no aliasing).

    Examples:
        >>> downsample(torch.tensor([[[[0.0, 2.0, 4.0, 6.0]]]]), (1, 2)).tolist()
        [[[[1.0, 5.0]]]]
    """
    return (
        image if tuple(size) == tuple(image.shape[2:]) else functional.interpolate(image, size=tuple(size), mode="area")
    )


def invert(ddf: Tensor, iterations: int = 50, tolerance: float = 1e-3) -> Tensor:
    """The inverse field by fixed-point iteration, ``v ← −u(p + v(p))`` (Chen et al. 2008).

    Args:
        ddf: ``[B, d, *S]`` in voxels, without folding.
        iterations: at most.
        tolerance: largest change of a vector, in voxels, at which the iteration stops.

    Returns:
        ``v [B, d, *S]`` with ``compose(u, v) ≈ 0``; outside the image the edge's field is taken.

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
    """Displacement of a stationary velocity field after unit time, by scaling and squaring (Arsigny et al. 2006).

    Args:
        velocity: ``[B, d, *S]`` in voxels per unit time.
        squarings: the field is halved and composed with itself so many times.

    Examples:
        >>> exponentiate(torch.full((1, 2, 4, 4), 1.5)).unique().tolist()  # a translation takes its own time
        [1.5]
    """
    ddf = velocity / float(2**squarings)
    for _ in range(squarings):
        ddf = compose(ddf, ddf)
    return ddf


@lru_cache(maxsize=16)
def _gaussian_matrix(n: int, sigma: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``[n, n]``, row i the Gaussian around pixel i; what lies outside counts for the edge."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=device)
    kernel = torch.softmax(-offsets.to(dtype).square() / (2 * sigma**2), 0)
    columns = (torch.arange(n, device=device)[:, None] + offsets).clamp_(0, n - 1)
    matrix = torch.zeros(n, n, device=device, dtype=dtype)
    return matrix.scatter_add_(1, columns, kernel.expand(n, -1))


def smooth(ddf: Tensor, sigma: float) -> Tensor:
    """``ddf [B, d, *S]`` convolved with a Gaussian of ``sigma`` voxels (cut at 3σ; the edge is repeated).

    As a product with a banded matrix an axis: the gradient of a single-channel convolution would take 40 % of a step of
    registration.

    Examples:
        >>> smooth(torch.full((1, 2, 5, 5), 3.0), 2.0).allclose(torch.tensor(3.0))  # what is even stays
        True
    """
    if sigma <= 0:
        return ddf
    for axis in range(2, ddf.dim()):
        matrix = _gaussian_matrix(ddf.shape[axis], sigma, ddf.device, ddf.dtype)
        ddf = (ddf.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return ddf


def between_grids(ddf: Tensor, fixed_affine: np.ndarray, moving_affine: np.ndarray) -> Tensor:
    """The same mapping for a moving image that lies elsewhere: from its voxels to millimetres, and to fixed voxels.

    ``ddf [B, 3, *S]`` leads from voxel p of the fixed grid to voxel p + u of a moving grid of the same size. What comes
    back is v, in voxels of the fixed grid, with ``fixed_affine(p + v) = moving_affine(p + u)`` in millimetres.
    Places are taken in double precision and never added to ``ddf``, which would round it as a number of the size of p.

    Examples:
        >>> fixed, moving = np.diag([2.0, 2.0, 2.0, 1.0]), np.diag([2.0, 2.0, 2.0, 1.0])
        >>> moving[:3, 3] = 6.0  # mm: the moving image begins three voxels further
        >>> between_grids(torch.zeros(1, 3, 2, 2, 2), fixed, moving).unique().tolist()
        [3.0]
    """
    matrix = np.linalg.inv(fixed_affine) @ moving_affine
    grid = identity_grid(ddf.shape[2:], torch.zeros(1, dtype=torch.float64))
    offset = torch.einsum("ij,bjxyz->bixyz", torch.as_tensor(matrix[:3, :3] - np.eye(3)), grid)
    offset = offset + torch.as_tensor(matrix[:3, 3]).view(1, 3, 1, 1, 1)
    return torch.einsum("ij,bjxyz->bixyz", torch.as_tensor(matrix[:3, :3]).to(ddf), ddf) + offset.to(ddf)
