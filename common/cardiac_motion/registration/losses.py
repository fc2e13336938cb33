"""What registration minimises: −NCC² + λ·smoothness (NMSR eq. 2, 3; SSMSR eq. 1, 2), and the intensities' error.

Forward differences are written here: MONAI's ``DiffusionLoss`` takes central ones, which are zero on a checkerboard.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.ncc import LocalNCCLoss, masked_mean
from cardiac_motion.registration.overlap import soft_dice


def diffusion(ddf: Tensor) -> Tensor:
    """L_S: the mean over voxels of Σᵢⱼ (∂uᵢ/∂xⱼ)² by forward differences, as the papers take them.

    Args:
        ddf: ``[B, d, *S]`` in voxels.

    Returns:
        A scalar. The mean (the papers' sum over |Ω|) keeps λ the same at every scale.

    Examples:
        >>> ddf = torch.zeros(1, 2, 5, 5)
        >>> ddf[0, 0] = 0.5 * torch.arange(5.0)  # one of four derivatives is 1/2
        >>> diffusion(ddf).item()
        0.25
    """
    return torch.stack([ddf.diff(dim=axis).square().mean() for axis in range(2, ddf.dim())]).sum() * ddf.shape[1]


def curl_div(ddf: Tensor) -> Tensor:
    """Second-order smoothness of a fluid: the mean of ‖∇ div u‖² + ‖∇ curl u‖² over voxels.

    Suter 1994 (10.1109/CVPR.1994.323930), Corpetti, Mémin and Pérez 2002 (10.1109/34.990137): turning and spreading may
    be strong as long as they are even, where the diffusion flattens both. By forward differences on the cells of the
    grid; as in ``diffusion``, of fields of two components.

    Args:
        ddf: ``[B, 2, H, W]`` in pixels.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
        >>> turning = torch.stack([-column, row])[None]
        >>> curl_div(turning).item(), diffusion(turning).item()  # what turns rigidly costs nothing
        (0.0, 2.0)
    """
    return torch.stack([part.diff(dim=axis).square().mean() for part in _cells(ddf) for axis in (1, 2)]).sum()


def expansion(ddf: Tensor) -> Tensor:
    """The mean of (div u)² over the cells of the grid of ``ddf [B, 2, H, W]``: what no incompressible flow has.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
        >>> expansion(torch.stack([row, column])[None]).item(), expansion(torch.stack([-column, row])[None]).item()
        (4.0, 0.0)
    """
    return _cells(ddf)[0].square().mean()


def _cells(ddf: Tensor) -> tuple[Tensor, Tensor]:
    """Divergence and curl of ``[B, 2, H, W]`` in the middle of each four pixels, ``[B, H − 1, W − 1]``."""
    row, column = ddf[:, 0], ddf[:, 1]
    along_rows = [0.5 * (c.diff(dim=1)[:, :, 1:] + c.diff(dim=1)[:, :, :-1]) for c in (row, column)]
    along_columns = [0.5 * (c.diff(dim=2)[:, 1:] + c.diff(dim=2)[:, :-1]) for c in (row, column)]
    return along_rows[0] + along_columns[1], along_rows[1] - along_columns[0]


REGULARISERS = {"diffusion": diffusion, "curl_div": curl_div}


class RegistrationLoss(_Loss):
    """−NCC² over the mask, plus λ·smoothness, plus the error of the intensities and the divergence if asked.

    Args:
        radius: of the NCC window in pixels.
        regularisation_weight: λ of the papers, 10 there; a call may give another.
        mse_weight: weight of the mean square error of the intensities; 0 as in the papers.
        eps: variance under which a window counts as flat.
        regulariser: ``diffusion`` as in the papers, or ``curl_div``, which suits flow (2D).
        divergence: weight of ``expansion``; large, it makes the field of a plane incompressible (2D).

    Raises:
        InputError: no such regulariser.
    """

    def __init__(
        self,
        radius: int = 6,
        regularisation_weight: float = 10.0,
        mse_weight: float = 0.0,
        eps: float = 1e-6,
        regulariser: str = "diffusion",
        divergence: float = 0.0,
    ) -> None:
        super().__init__()
        if regulariser not in REGULARISERS:
            raise InputError(f"regulariser must be one of {', '.join(REGULARISERS)}; got {regulariser}")
        self.similarity = LocalNCCLoss(radius, eps)
        self.regularisation_weight, self.mse_weight, self.regulariser, self.divergence = (
            regularisation_weight,
            mse_weight,
            regulariser,
            divergence,
        )

    def extra_repr(self) -> str:
        flow = f"regulariser={self.regulariser}, divergence={self.divergence}"
        return f"regularisation_weight={self.regularisation_weight}, mse_weight={self.mse_weight}, {flow}"

    def forward(
        self,
        ddf: Tensor,
        image: Tensor,
        mask: Tensor | None = None,
        regularisation_weight: float | None = None,
        velocity: Tensor | None = None,
        **batch: Tensor,
    ) -> Tensor:
        """The loss of one batch; what else it holds (labels to validate with, say) is not looked at.

        Args:
            ddf: ``[B, d, *S]`` in voxels.
            image: ``[B, 2, *S]``, moving and fixed.
            mask: ``[B or 1, 1, *S]`` in [0, 1]; None takes every pixel.
            regularisation_weight: λ of this call.
            velocity: what is smoothed instead of ``ddf``, on its own grid, where the field comes from one.
        """
        moving, fixed = image[:, :1], image[:, 1:]
        warped = warp(moving, ddf)
        weight = self.regularisation_weight if regularisation_weight is None else regularisation_weight
        smoothed = ddf if velocity is None else velocity
        loss: Tensor = self.similarity(warped, fixed, mask) + weight * REGULARISERS[self.regulariser](smoothed)
        if self.divergence:
            loss = loss + self.divergence * expansion(smoothed)
        if self.mse_weight:
            loss = loss + self.mse_weight * masked_mean((warped - fixed).square(), mask).mean()
        return loss


class LabelledLoss(RegistrationLoss):
    """``RegistrationLoss`` plus 1 − Dice of the warped memberships: labels supervise, at training time alone.

    Args:
        overlap: weight of the labels' part.
        kwargs: of ``RegistrationLoss``.
    """

    def __init__(self, overlap: float = 1.0, **kwargs: float) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.overlap = overlap

    def forward(self, ddf: Tensor, image: Tensor, *given: Any, label: Tensor | None = None, **batch: Any) -> Tensor:
        """The loss of a batch; ``label [B, 2, C, *S]`` holds the memberships of moving and fixed, no background.

        Raises:
            ValueError: no label.
        """
        if label is None:
            raise ValueError("a labelled loss needs the labels of both images")
        return super().forward(ddf, image, *given, **batch) + self.mismatch(ddf, label)

    def mismatch(self, ddf: Tensor, label: Tensor) -> Tensor:
        """The labels' part: weight times (1 − Dice) of the warped moving and the fixed memberships."""
        return self.overlap * (1 - soft_dice(warp(label[:, 0], ddf), label[:, 1]).mean())


class MembershipRegistrationLoss(LabelledLoss):
    """``LabelledLoss`` of pairs that carry memberships beside the intensities.

    At test time the moving memberships are an atlas's labels, and the fixed ones what a network predicts of the target.
    """

    def forward(self, ddf: Tensor, image: Tensor, *given: Any, label: Tensor | None = None, **batch: Any) -> Tensor:
        """As ``RegistrationLoss``, of ``image [B, 2 (1 + C), *S]``: moving intensities and memberships, then fixed.

        ``label``, which a batch may hold to validate with, is not looked at.
        """
        moving, fixed = image.chunk(2, 1)
        pair = torch.cat([moving[:, :1], fixed[:, :1]], 1)
        both = torch.stack([moving[:, 1:], fixed[:, 1:]], 1)
        return super().forward(ddf, pair, *given, label=both, **batch)


class FieldLoss(RegistrationLoss):
    """``RegistrationLoss`` plus the mean square error of the field: NeurReg's supervision (Zhu et al. 2020).

    Args:
        regression: weight of the field's part, per squared voxel.
        kwargs: of ``RegistrationLoss``.
    """

    def __init__(self, regression: float = 1.0, **kwargs: float) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.regression = regression

    def forward(self, ddf: Tensor, image: Tensor, mask: Tensor | None = None, field: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """The loss of a batch; ``field [B, d, *S]`` in voxels is the one that the pair was simulated with.

        Raises:
            ValueError: no field.
        """
        if field is None:
            raise ValueError("a field loss needs the simulated field")
        error = masked_mean((ddf - field).square(), mask).mean()
        return super().forward(ddf, image, mask) + self.regression * error


class MembershipLoss(_Loss):
    """1 − Dice, plus the cross-entropy, of predicted memberships: what teaches ``Memberships``.

    Args:
        entropy: weight of the cross-entropy.
    """

    def __init__(self, entropy: float = 1.0) -> None:
        super().__init__()
        self.entropy = entropy

    def forward(self, memberships: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
        """The loss of a batch: ``memberships [B, N, 1 + C, *S]``, background first, and ``label [B, N, C, *S]``."""
        found, truth = memberships.flatten(0, 1).float(), label.flatten(0, 1)
        whole = torch.cat([1 - truth.sum(1, keepdim=True), truth], 1)
        overlap = soft_dice(found[:, 1:], truth).mean()
        return 1 - overlap - self.entropy * (whole * found.clamp(min=1e-6).log()).sum(1).mean()
