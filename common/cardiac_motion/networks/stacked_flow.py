"""The stacked flow network of the automatic strain paper: two branches for large and small motion, and their fusion.

Østvik et al. 2018 (10.1007/978-3-030-00889-5_35), section 2.3, after FlowNet 2.0 (Ilg et al. 2017,
10.1109/CVPR.2017.179): large displacements by three consecutive U-Nets, the first with an explicit correlation of
feature maps, the other two given the moving image warped by the current flow and the remaining brightness error; small
ones by one U-Net whose first layer has a smaller kernel and no stride; a small network fuses both. The networks are
trained one after the other (``STAGES``). The fixed image is the first one of the optical-flow literature; the field
pulls back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import rescale, warp
from cardiac_motion.networks.pwc_net import (
    SLOPE,
    cost_volume,
    fix_traced_size,
    flow_layer,
    normalise_features,
    upsampling_layer,
)

STAGES = ("correlation", "second", "third", "small", "fusion")
WIDTHS = (64, 128, 256, 512, 512, 1024)  # channels of FlowNet's six levels
KERNELS = (7, 5, 5, 3, 3, 3)
FINEST = 2  # level of a U-Net's finest flow: a quarter of the size


def convolution(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Build a convolution with He initialisation, followed by LeakyReLU.

    Examples:
        >>> tuple(convolution(2, 16, kernel=7, stride=2)(torch.rand(1, 2, 8, 8)).shape)
        (1, 16, 4, 4)
    """
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.LeakyReLU(SLOPE))


class FlowUNet(nn.Module):
    """FlowNet's U-Net: features down to 1/64, flows from there up to a quarter of the size.

    Args:
        inputs: number of input channels.
        widths: channels of the levels.
        first: (kernel, stride) of the first layer; with a stride of 1, another strided layer follows.
        correlate: the input is a pair, whose features are computed separately for two levels and correlated at the
            third.
        radius: search radius of the correlation in pixels of the third level.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int] = WIDTHS,
        first: tuple[int, int] = (7, 2),
        correlate: bool = False,
        radius: int = 6,
    ) -> None:
        super().__init__()
        self.correlate, self.radius = correlate, radius
        self.down = nn.ModuleList()
        before = inputs // 2 if correlate else inputs
        for level, (width, kernel) in enumerate(zip(widths, KERNELS, strict=True)):
            if level == 0:
                layers = [convolution(before, width, *first)]
                if first[1] == 1:
                    layers.append(convolution(width, width, 3, 2))
            else:
                layers = [convolution(before, width, kernel, 2)]
            if level >= 2 and not (correlate and level == 2):
                layers.append(convolution(width, width))
            self.down.append(nn.Sequential(*layers))
            before = width
        if correlate:
            self.beside = convolution(widths[2], max(2, widths[2] // 8), 1)
            together = (2 * radius + 1) ** 2 + max(2, widths[2] // 8)
            self.together = convolution(together, widths[2])
        self.flows, self.ups, self.raises = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = widths[-1]
        for width in widths[-2 : FINEST - 2 : -1]:
            self.flows.append(flow_layer(channels))
            self.raises.append(upsampling_layer(2))
            self.ups.append(nn.Sequential(nn.Upsample(scale_factor=2.0), convolution(channels, width // 2)))
            channels = width + width // 2 + 2
        self.flows.append(flow_layer(channels))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return flows ``[B, 2, h, w]`` from 1/64 to 1/4 of ``image [B, inputs, H, W]``, in pixels; 64 divides H, W."""
        maps: list[Tensor] = []
        x = torch.cat(image.chunk(2, 1)) if self.correlate else image
        for level, down in enumerate(self.down):
            x = down(x)
            if self.correlate and level < 2:
                maps.append(x.chunk(2)[1])
                continue
            if self.correlate and level == 2:
                moving, fixed = x.chunk(2)
                correlation = cost_volume(
                    normalise_features(fixed, self.radius), normalise_features(moving, self.radius), self.radius
                )
                cost = functional.leaky_relu(correlation * fixed.shape[1], SLOPE)
                x = self.together(torch.cat([self.beside(fixed), cost], 1))
            maps.append(x)
        fields = [self.flows[0](x)]
        for k, (up, raising) in enumerate(zip(self.ups, self.raises, strict=True), 1):
            x = torch.cat([maps[-1 - k], up(x), raising(fields[-1])], 1)
            fields.append(self.flows[k](x))
        return fields


class StackedFlow(nn.Module):
    """Network that estimates the displacement field of an image pair by two branches and their fusion.

    Images may have any size: the pair is edge-padded to a multiple of 64, and the field cropped.

    Args:
        width: factor on FlowNet's channel counts; 1 is the original.
        radius: search radius of the correlation at an eighth of the size; 20 in the original.
        stage: sub-network of ``STAGES`` to train; the others are frozen. None freezes all.

    Raises:
        InputError: an unknown stage.
    """

    def __init__(self, width: float = 0.25, radius: int = 6, stage: str | None = None) -> None:
        super().__init__()
        if stage is not None and stage not in STAGES:
            raise InputError(f"stage {stage!r}: expected one of {', '.join(STAGES)}")
        widths = [max(4, round(n * width)) for n in WIDTHS]
        self.stage = stage
        self.correlation = FlowUNet(2, widths, correlate=True, radius=radius)
        self.second, self.third = FlowUNet(6, widths), FlowUNet(6, widths)
        self.small = FlowUNet(2, widths, first=(3, 1))
        narrow = max(4, round(64 * width))
        self.fusion = nn.Sequential(
            convolution(9, narrow), convolution(narrow, narrow, 3, 2), convolution(narrow, 2 * narrow),
            nn.Upsample(scale_factor=2.0), convolution(2 * narrow, narrow), flow_layer(narrow),
        )  # fmt: skip
        for name in STAGES:
            getattr(self, name).requires_grad_(name == stage)

    def forward(self, image: Tensor, pyramid: bool = False) -> Tensor | list[Tensor]:
        """Return the field of a pair.

        Args:
            image: ``[B, 2, H, W]``, moving and fixed, unit range.
            pyramid: return the estimates of the trained stage instead, for a loss: the fields of all levels from the
                coarsest to the finest, ``[B, 2, h, w]`` in pixels of the image; for the fusion, the field at full size.

        Returns:
            ``ddf [B, 2, H, W]`` in pixels.

        Raises:
            ValueError: ``image`` has another shape.
        """
        if image.dim() != 4 or image.shape[1] != 2:
            raise ValueError(f"expected [B, 2, H, W], got {tuple(image.shape)}")
        image = fix_traced_size(image)
        size = image.shape[2:]
        below, beside = (-n % 64 for n in size)
        pair = functional.pad(image, (0, beside, 0, below), mode="replicate")
        fields: list[Tensor] = self.correlation(pair)
        for name in ("second", "third"):
            if pyramid and self.stage == ("correlation" if name == "second" else "second"):
                return fields
            fields = getattr(self, name)(stack_inputs(pair, enlarge(fields[-1], pair)))
        if pyramid and self.stage == "third":
            return fields
        small: list[Tensor] = self.small(pair)
        if pyramid and self.stage == "small":
            return small
        large_field, small_field = (enlarge(estimates[-1], pair) for estimates in (fields, small))
        both = [x for field in (large_field, small_field) for x in measure_fit(pair, field)]
        choice = torch.cat([pair[:, 1:], *both], 1)
        mean = (large_field + small_field) / 2
        field: Tensor = mean + self.fusion(choice)
        return field[:, :, : size[0], : size[1]]


def enlarge(field: Tensor, image: Tensor) -> Tensor:
    """Resample a coarse flow (in pixels of ``image``) to the image grid.

    Examples:
        >>> field = enlarge(torch.ones(1, 2, 4, 4), torch.zeros(1, 1, 16, 16))  # a pixel of the image stays one
        >>> tuple(field.shape), float(field.mean())
        ((1, 2, 16, 16), 1.0)
    """
    ratio = field.new_tensor([n / m for n, m in zip(image.shape[2:], field.shape[2:], strict=True)])
    return rescale(field / ratio.view(1, 2, 1, 1), image.shape[2:])


def measure_fit(pair: Tensor, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a field, its magnitude, and the remaining brightness error ``[B, 1, H, W]``.

    Examples:
        >>> pair = torch.rand(1, 1, 16, 16).expand(1, 2, 16, 16)
        >>> field, size, error = measure_fit(pair, torch.zeros(1, 2, 16, 16))
        >>> float(size.max()), bool(error.max() < 1e-5)
        (0.0, True)
    """
    error = (pair[:, 1:] - warp(pair[:, :1], field)).abs()
    return field, field.norm(dim=1, keepdim=True), error


def stack_inputs(pair: Tensor, field: Tensor) -> Tensor:
    """Stack the inputs of the second and third U-Net: the pair, the warped image, the flow and the brightness error.

    Examples:
        >>> tuple(stack_inputs(torch.rand(1, 2, 16, 16), torch.zeros(1, 2, 16, 16)).shape)
        (1, 6, 16, 16)
    """
    warped = warp(pair[:, :1], field)
    return torch.cat([pair, warped, field, (pair[:, 1:] - warped).abs()], 1)
