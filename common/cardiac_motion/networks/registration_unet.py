"""The registration U-Net of NMSR and SSMSR: VoxelMorph's (Balakrishnan et al. 2019), in 2D and 3D.

Implemented here because MONAI's ``VoxelMorph`` scales a field of half resolution the wrong way and fails in 2D.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cardiac_motion.fields.ddf import exponentiate

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}


class RegistrationUNet(nn.Module):
    """Network that estimates the displacement field of an image pair.

    Encoder of stride-2 convolutions, decoder with skip connections, then convolutions at full size; LeakyReLU 0.2. The
    last layer starts near zero, so an untrained network returns the identity. Images may have any size: the pair is
    edge-padded to a multiple of ``2 ** len(encoder)``, and the field cropped.

    Args:
        spatial_dims: 2 or 3.
        encoder: channels at 1/2, 1/4, …
        decoder: channels of the decoder, one per level.
        full: channels of the convolutions at full size.
        squarings: 0 returns the network's output as displacement; n > 0 takes it as a stationary velocity field and
            integrates it by n squarings (a diffeomorphism). Only with 0 can it be scripted (TorchScript).
    """

    __constants__ = ("integrates",)

    def __init__(
        self,
        spatial_dims: int = 2,
        encoder: Sequence[int] = (16, 32, 32, 32),
        decoder: Sequence[int] = (32, 32, 32, 32),
        full: Sequence[int] = (32, 16, 16),
        squarings: int = 0,
    ) -> None:
        super().__init__()
        if spatial_dims not in CONVOLUTION:
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
        if len(encoder) != len(decoder):
            raise ValueError(f"encoder and decoder need equal numbers of levels, got {len(encoder)} and {len(decoder)}")
        self.spatial_dims, self.squarings, self.integrates = spatial_dims, squarings, squarings > 0

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
            convolution = CONVOLUTION[spatial_dims](inputs, outputs, 3, stride=stride, padding=1)
            nn.init.kaiming_normal_(convolution.weight, a=0.2)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            return nn.Sequential(convolution, nn.LeakyReLU(0.2))

        widths = [2, *encoder]
        self.encoder = nn.ModuleList(block(a, b, 2) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList()
        channels = widths[-1]
        for width, skip in zip(decoder, widths[-2::-1], strict=True):
            self.decoder.append(block(channels, width))
            channels = width + skip
        full_widths = [channels, *full]
        self.full = nn.Sequential(*(block(a, b) for a, b in pairwise(full_widths)))
        self.flow = CONVOLUTION[spatial_dims](full_widths[-1], spatial_dims, 3, padding=1)
        nn.init.normal_(self.flow.weight, std=1e-5)
        nn.init.zeros_(self.flow.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Map ``image [B, 2, *S]`` (moving, fixed; unit range) to ``ddf [B, d, *S]`` in voxels."""
        if image.dim() != self.spatial_dims + 2 or image.shape[1] != 2:
            raise ValueError(f"expected [B, 2, *S] with {self.spatial_dims} spatial axes, got {list(image.shape)}")
        size = image.shape[2:]
        multiple = 1 << len(self.encoder)
        margin: list[int] = []
        for n in size[::-1]:
            margin += [0, -n % multiple]
        x = functional.pad(image, margin, mode="replicate")
        skips: list[Tensor] = []
        for down in self.encoder:
            skips.append(x)
            x = down(x)
        for up in self.decoder:
            x = torch.cat([functional.interpolate(up(x), scale_factor=2.0), skips.pop()], 1)
        field: Tensor = self.flow(self.full(x))
        for axis, n in enumerate(size, 2):
            field = field.narrow(axis, 0, n)
        if self.integrates:
            field = exponentiate(field, self.squarings)
        return field
