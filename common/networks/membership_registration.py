"""Registration that looks at what the labels taught it: memberships of both images, then a diffeomorphism between them.

Beyond SSMSR, where labels may supervise the training: one network predicts the structures of either image, a second
registers the pair, with those memberships beside the intensities, by a stationary velocity field. At run time neither
image's label is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn import functional

from common.ddf import rescale
from common.networks.registration_unet import RegistrationUNet


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
        memberships that sum to 1, background first."""
        found = self.unet(image.flatten(0, 1)[:, None])
        return found.softmax(1).unflatten(0, image.shape[:2])


class MembershipRegistration(nn.Module):
    """A field from an image pair and the memberships predicted of both (contract network).

    Args:
        spatial_dims: 2 or 3.
        classes, channels, units: of ``Memberships``.
        encoder, decoder, full: of the ``RegistrationUNet`` that works at half the size.
        squarings: of the velocity field.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        classes: int = 3,
        channels: Sequence[int] = (32, 64, 128, 192),
        units: int = 2,
        encoder: Sequence[int] = (48, 64, 96),
        decoder: Sequence[int] = (96, 64, 48),
        full: Sequence[int] = (32,),
        squarings: int = 5,
    ) -> None:
        super().__init__()
        self.memberships = Memberships(spatial_dims, classes, channels, units)
        self.register = RegistrationUNet(spatial_dims, encoder, decoder, full, squarings, inputs=2 * classes)
        self.pool = {2: functional.avg_pool2d, 3: functional.avg_pool3d}[spatial_dims]

    def forward(self, image: Tensor) -> Tensor:
        """``image [B, 2, *S]`` (moving, fixed; unit range) to ``ddf [B, d, *S]`` in voxels."""
        structures = self.memberships(image)[:, :, 1:].flatten(1, 2)
        ddf = self.register(self.pool(torch.cat([image, structures.to(image.dtype)], 1), 2))
        return rescale(ddf.float(), image.shape[2:])
