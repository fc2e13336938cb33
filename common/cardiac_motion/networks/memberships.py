"""Network that predicts memberships of structures, trained with labels: an addition to SSMSR, which uses none.

Test-time training then registers an atlas's labels to the memberships predicted for the target, in addition to the
intensities (``MembershipRegistrationLoss``), with the same smoothness and folding penalties.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import UNet
from torch import Tensor, nn


class Memberships(nn.Module):
    """Residual U-Net (MONAI's), applied to each image of a pair with shared weights.

    Args:
        spatial_dims: 2 or 3.
        classes: number of classes, background included.
        channels: channels at 1/2, 1/4, … of the size.
        units: residual units per level.
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
        """Map ``image [B, N, *S]`` to memberships ``[B, N, classes, *S]`` that sum to 1, background first.

        The axes of S must be divisible by 2 to the number of halvings.
        """
        logits = self.unet(image.flatten(0, 1)[:, None])
        memberships: Tensor = logits.softmax(1).unflatten(0, image.shape[:2])
        return memberships
