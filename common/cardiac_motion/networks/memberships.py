"""Memberships of structures, predicted by what labels taught a network: beyond SSMSR, where labels may supervise.

The test-time training then registers an atlas's labels to the memberships predicted of the target, beside the
intensities (``MembershipRegistrationLoss``), with the same smoothness and without folding.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import UNet
from torch import Tensor, nn


class Memberships(nn.Module):
    """A residual U-Net (MONAI's) for each image of a pair, with the same weights.

    Args:
        spatial_dims: 2 or 3.
        classes: background and structures.
        channels: at 1/2, 1/4, … of the size.
        units: residual convolutions a level.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        classes: int = 3,
        channels: Sequence[int] = (32, 64, 128, 192),
        units: int = 2,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.unet = UNet(
            spatial_dims, 1, classes, channels, (2,) * (len(channels) - 1), num_res_units=units, norm="instance"
        )

    def forward(self, image: Tensor) -> Tensor:
        """``image [B, N, *S]`` (axes of S divisible by 2 to the number of halvings) to ``[B, N, classes, *S]``,
        memberships that sum to 1, background first.
        """
        found = self.unet(image.flatten(0, 1)[:, None])
        return found.softmax(1).unflatten(0, image.shape[:2])
