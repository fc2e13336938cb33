"""Regularity of displacement fields: gradient, Jacobian determinant, folding."""

from __future__ import annotations

import torch
from torch import Tensor

from cardiac_motion.fields.ncc import masked_mean


def gradient(ddf: Tensor) -> Tensor:
    """Gradient ∂u_i/∂x_j by central differences (one-sided at the edges): ``[B, d, d, *S]``, i before j, per voxel.

    Examples:
        >>> ddf = torch.zeros(1, 2, 4, 4)
        >>> ddf[0, 0] = 0.5 * torch.arange(4.0)  # u_row grows by 0.5 a column
        >>> gradient(ddf)[0, :, :, 1, 1].tolist()
        [[0.0, 0.5], [0.0, 0.0]]
    """
    axes = tuple(range(2, ddf.dim()))
    return torch.stack(torch.gradient(ddf, dim=axes), dim=2)


def jacobian_determinant(ddf: Tensor) -> Tensor:
    """Determinant det(I + ∇u) of ``ddf [B, d, *S]``: ``[B, *S]``, the local change of area or volume; ≤ 0 where folded.

    Examples:
        >>> ddf = 0.1 * torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"))[None]
        >>> jacobian_determinant(ddf).allclose(torch.tensor(1.1**2))  # stretched by 10 % along both axes
        True
    """
    jacobian = gradient(ddf).movedim((1, 2), (-2, -1)) + torch.eye(ddf.shape[1], device=ddf.device, dtype=ddf.dtype)
    if ddf.shape[1] == 2:
        return jacobian[..., 0, 0] * jacobian[..., 1, 1] - jacobian[..., 0, 1] * jacobian[..., 1, 0]
    determinant: Tensor = torch.linalg.det(jacobian)
    return determinant


def folding_fraction(ddf: Tensor, mask: Tensor | None = None) -> Tensor:
    """Fraction of the voxels, in [0, 1], at which each field ``[B, d, *S]`` folds: ``[B]``; ``mask [1 or B, 1, *S]``.

    Examples:
        >>> ddf = torch.zeros(1, 2, 4, 4)
        >>> ddf[0, 0] = -2 * torch.arange(4.0)[:, None]  # reverses the order of the rows
        >>> folding_fraction(ddf).tolist()
        [1.0]
    """
    return masked_mean((jacobian_determinant(ddf) <= 0).float()[:, None], mask)


def log_jacobian_sd(ddf: Tensor, mask: Tensor | None = None, offset: float = 0.0) -> Tensor:
    """Standard deviation of ln det(I + ∇u) of each field ``[N, d, *S]`` over the mask, ``[N]``; clamped at 10⁻³.

    Args:
        ddf: fields in voxels.
        mask: ``[1 or N, 1, *S]``.
        offset: added to the determinant; Learn2Reg's evaluation (SDlogJ) adds 3.

    Examples:
        >>> log_jacobian_sd(torch.zeros(2, 2, 8, 8)).tolist()
        [0.0, 0.0]
    """
    logarithm = (jacobian_determinant(ddf) + offset).clamp(min=1e-3).log()[:, None]
    centre = masked_mean(logarithm, mask).view(-1, *(1,) * (logarithm.dim() - 1))
    return masked_mean((logarithm - centre).square(), mask).sqrt()
