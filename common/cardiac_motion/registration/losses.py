"""Registration losses: −NCC² + λ·smoothness (NMSR eq. 2, 3; SSMSR eq. 1, 2), and additional terms.

Forward differences are implemented here because MONAI's ``DiffusionLoss`` uses central ones, which are zero on a
checkerboard.
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
    """L_S: the mean over voxels of Σᵢⱼ (∂uᵢ/∂xⱼ)² by forward differences, as in the papers.

    Args:
        ddf: ``[B, d, *S]`` in voxels.

    Returns:
        A scalar. The mean (the papers' sum over |Ω|) makes λ independent of the scale.

    Examples:
        >>> ddf = torch.zeros(1, 2, 5, 5)
        >>> ddf[0, 0] = 0.5 * torch.arange(5.0)  # one of four derivatives is 1/2
        >>> diffusion(ddf).item()
        0.25
    """
    return torch.stack([ddf.diff(dim=axis).square().mean() for axis in range(2, ddf.dim())]).sum() * ddf.shape[1]


def curl_div(ddf: Tensor) -> Tensor:
    """Second-order div-curl regulariser for fluids: the mean of ‖∇ div u‖² + ‖∇ curl u‖² over voxels.

    Suter 1994 (10.1109/CVPR.1994.323930), Corpetti, Mémin and Pérez 2002 (10.1109/34.990137): rotation and expansion
    are not penalised as long as they are uniform, whereas diffusion suppresses both. By forward differences on the
    cells of the grid; for fields with two components.

    Args:
        ddf: ``[B, 2, H, W]`` in pixels.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
        >>> turning = torch.stack([-column, row])[None]
        >>> curl_div(turning).item(), diffusion(turning).item()  # rigid rotation is not penalised
        (0.0, 2.0)
    """
    return torch.stack([part.diff(dim=axis).square().mean() for part in _cells(ddf) for axis in (1, 2)]).sum()


def expansion(ddf: Tensor) -> Tensor:
    """Mean of (div u)² over the cells of the grid of ``ddf [B, 2, H, W]``; zero for an incompressible flow.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
        >>> expansion(torch.stack([row, column])[None]).item(), expansion(torch.stack([-column, row])[None]).item()
        (4.0, 0.0)
    """
    return _cells(ddf)[0].square().mean()


def _cells(ddf: Tensor) -> tuple[Tensor, Tensor]:
    """Return divergence and curl of ``[B, 2, H, W]`` at the centre of each four pixels, ``[B, H − 1, W − 1]``."""
    row, column = ddf[:, 0], ddf[:, 1]
    along_rows = [0.5 * (c.diff(dim=1)[:, :, 1:] + c.diff(dim=1)[:, :, :-1]) for c in (row, column)]
    along_columns = [0.5 * (c.diff(dim=2)[:, 1:] + c.diff(dim=2)[:, :-1]) for c in (row, column)]
    return along_rows[0] + along_columns[1], along_rows[1] - along_columns[0]


REGULARISERS = {"diffusion": diffusion, "curl_div": curl_div}


class RegistrationLoss(_Loss):
    """−NCC² over the mask plus λ·smoothness, optionally plus the intensity error and the divergence.

    Args:
        radius: radius of the NCC window in pixels.
        regularisation_weight: λ, 10 in the papers; a call may override it.
        mse_weight: weight of the mean squared error of the intensities; 0 as in the papers.
        eps: variance below which a window is flat.
        regulariser: ``diffusion`` as in the papers, or ``curl_div``, which suits blood flow (2D).
        divergence: weight of ``expansion``; a large weight makes a planar field incompressible (2D).

    Raises:
        InputError: unknown regulariser.
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
        """Return the arguments, for ``repr``."""
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
        """Compute the loss of a batch.

        Args:
            ddf: ``[B, d, *S]`` in voxels.
            image: ``[B, 2, *S]``, moving and fixed.
            mask: ``[B or 1, 1, *S]`` in [0, 1]; None is everywhere.
            regularisation_weight: λ of this call.
            velocity: velocity field of ``ddf``, on its own grid, which is regularised instead of ``ddf`` if given.
            batch: other entries of the batch, such as labels for validation, ignored.
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
    """``RegistrationLoss`` plus 1 − Dice of the warped memberships: supervision by labels, during training only.

    Args:
        overlap: weight of the label term.
        kwargs: arguments of ``RegistrationLoss``.
    """

    def __init__(self, overlap: float = 1.0, **kwargs: float) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.overlap = overlap

    def forward(self, ddf: Tensor, image: Tensor, *given: Any, label: Tensor | None = None, **batch: Any) -> Tensor:
        """Compute the loss of a batch; ``label [B, 2, C, *S]`` has memberships of moving and fixed, without background.

        Raises:
            ValueError: ``label`` is missing.
        """
        if label is None:
            raise ValueError("a labelled loss needs the labels of both images")
        return super().forward(ddf, image, *given, **batch) + self.mismatch(ddf, label)

    def mismatch(self, ddf: Tensor, label: Tensor) -> Tensor:
        """Return the label term: weight times (1 − Dice) of the warped moving and the fixed memberships."""
        return self.overlap * (1 - soft_dice(warp(label[:, 0], ddf), label[:, 1]).mean())


class MembershipRegistrationLoss(LabelledLoss):
    """``LabelledLoss`` for pairs that contain memberships in addition to intensities.

    At test time the moving memberships are an atlas's labels, and the fixed ones a network's prediction for the target.
    """

    def forward(self, ddf: Tensor, image: Tensor, *given: Any, label: Tensor | None = None, **batch: Any) -> Tensor:
        """Compute the loss of ``image [B, 2 (1 + C), *S]``: moving intensities and memberships, then fixed ones.

        ``label``, which a batch may contain for validation, is ignored.
        """
        moving, fixed = image.chunk(2, 1)
        pair = torch.cat([moving[:, :1], fixed[:, :1]], 1)
        both = torch.stack([moving[:, 1:], fixed[:, 1:]], 1)
        return super().forward(ddf, pair, *given, label=both, **batch)


class FieldLoss(RegistrationLoss):
    """``RegistrationLoss`` plus the mean squared error of the field: NeurReg's supervision (Zhu et al. 2020).

    Args:
        regression: weight of the field's error, per squared voxel.
        kwargs: arguments of ``RegistrationLoss``.
    """

    def __init__(self, regression: float = 1.0, **kwargs: float) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.regression = regression

    def forward(self, ddf: Tensor, image: Tensor, mask: Tensor | None = None, field: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Compute the loss of a batch; ``field [B, d, *S]`` in voxels is the one with which the pair was simulated.

        Raises:
            ValueError: ``field`` is missing.
        """
        if field is None:
            raise ValueError("a field loss needs the simulated field")
        error = masked_mean((ddf - field).square(), mask).mean()
        return super().forward(ddf, image, mask) + self.regression * error


class MembershipLoss(_Loss):
    """Training loss of ``Memberships``: 1 − Dice plus cross-entropy of the predicted memberships.

    Args:
        entropy: weight of the cross-entropy.
    """

    def __init__(self, entropy: float = 1.0) -> None:
        super().__init__()
        self.entropy = entropy

    def forward(self, memberships: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
        """Compute the loss of ``memberships [B, N, 1 + C, *S]``, background first, and ``label [B, N, C, *S]``."""
        predicted, truth = memberships.flatten(0, 1).float(), label.flatten(0, 1)
        whole = torch.cat([1 - truth.sum(1, keepdim=True), truth], 1)
        overlap = soft_dice(predicted[:, 1:], truth).mean()
        return 1 - overlap - self.entropy * (whole * predicted.clamp(min=1e-6).log()).sum(1).mean()
