"""What registration minimises: −NCC² + λ·smoothness (NMSR eq. 2, 3; SSMSR eq. 1, 2), and the intensities' error."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from common.ddf import warp
from common.ncc import LocalNCCLoss, masked_mean


def diffusion(ddf: Tensor) -> Tensor:
    """L_S: the mean over voxels of Σᵢⱼ (∂uᵢ/∂xⱼ)² by forward differences, as the papers take them.

    Args:
        ddf: ``[B, d, *S]`` in voxels.

    Returns:
        A scalar. The mean (the papers' sum over |Ω|) keeps λ the same at every scale.
    """
    return torch.stack([ddf.diff(dim=axis).square().mean() for axis in range(2, ddf.dim())]).sum() * ddf.shape[1]


class RegistrationLoss(_Loss):
    """−NCC² over the mask, plus λ·diffusion, plus the error of the intensities if asked.

    Args:
        radius: of the NCC window in pixels.
        smoothness: λ of the papers, 10 there; a call may give another.
        intensity: weight of the mean square error of the intensities; 0 as in the papers.
        eps: variance under which a window counts as flat.
    """

    def __init__(self, radius: int = 6, smoothness: float = 10.0, intensity: float = 0.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.similarity = LocalNCCLoss(radius, eps)
        self.smoothness, self.intensity = smoothness, intensity

    def extra_repr(self) -> str:
        return f"smoothness={self.smoothness}, intensity={self.intensity}"

    def forward(
        self,
        ddf: Tensor,
        image: Tensor,
        mask: Tensor | None = None,
        smoothness: float | None = None,
        velocity: Tensor | None = None,
    ) -> Tensor:
        """The loss of one batch.

        Args:
            ddf: ``[B, d, *S]`` in voxels.
            image: ``[B, 2, *S]``, moving and fixed.
            mask: ``[B or 1, 1, *S]`` in [0, 1]; None takes every pixel.
            smoothness: λ of this call.
            velocity: what is smoothed instead of ``ddf``, on its own grid, where the field comes from one.
        """
        moving, fixed = image[:, :1], image[:, 1:]
        warped = warp(moving, ddf)
        weight = self.smoothness if smoothness is None else smoothness
        loss = self.similarity(warped, fixed, mask) + weight * diffusion(ddf if velocity is None else velocity)
        if self.intensity:
            loss = loss + self.intensity * masked_mean((warped - fixed).square(), mask).mean()
        return loss
