"""Flow from local normalised cross-correlation: block matching's evidence, weighed by a network that knows hearts.

PWC-Net (``pwc_net``) has to learn from its flow loss what makes two patches alike, which takes natural images and days.
Speckle tracking knows: local NCC. Here the cost volume is the local NCC of the images themselves at full resolution,
for all shifts of a few pixels, so that its peak is sub-pixel evidence from the first step on; what is learned is what
block matching lacks: where the wall is, which peaks to believe, and how a wall moves between them. Coarse to fine, the
moving image warped by what is known so far, as in PWC-Net; the last stage runs more than once, with the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.fields.ddf import rescale, warp
from common.networks.pwc_net import convolution, flow_layer, traced_size

DILATIONS = (1, 2, 4, 8, 4, 2, 1)


def standardised(image: Tensor, radius: int, eps: float = 1e-4) -> Tensor:
    """``image [B, 1, H, W]`` less its local mean, over its local standard deviation (window of ``2·radius + 1``)."""
    mean = functional.avg_pool2d(image, 2 * radius + 1, 1, radius, count_include_pad=False)
    centred = image - mean
    variance = functional.avg_pool2d(centred.square(), 2 * radius + 1, 1, radius, count_include_pad=False)
    return centred / (variance + eps).sqrt()


def ncc_volume(fixed: Tensor, moving: Tensor, search: int, stride: int = 4, radius: int = 4) -> Tensor:
    """Local NCC of two images for every shift of ``search`` pixels at most, on a grid ``stride`` times coarser.

    Args:
        fixed, moving: ``[B, 1, H, W]``, H and W multiples of ``stride``.
        search: greatest shift in pixels along either axis.
        stride: of the grid in pixels; each of its places looks at a window of twice that size.
        radius: of the window of the local mean and deviation.

    Returns:
        ``[B, (2·search + 1)², H / stride, W / stride]``, about −1 to 1, shifts by rows from (−search, −search).
    """
    height, width = fixed.shape[2:]
    fixed = standardised(fixed, radius)
    around = functional.pad(standardised(moving, radius), (search,) * 4)
    shifts = range(2 * search + 1)
    products = torch.cat([fixed * around[:, :, i : i + height, j : j + width] for i in shifts for j in shifts], 1)
    return functional.avg_pool2d(products, 2 * stride, stride, stride // 2, count_include_pad=False)


class Stage(nn.Module):
    """One estimate: NCC volume, appearance and the flow so far, to a better flow, all on a grid of 1 / ``stride``.

    Args:
        search: of the NCC volume, pixels of this stage's images.
        width: channels of the trunk.
        stride: of its grid.
    """

    def __init__(self, search: int, width: int, stride: int = 4) -> None:
        super().__init__()
        self.search, self.stride = search, stride
        halvings = stride.bit_length() - 1
        widths = [2] + [width // 4 * min(2**n, 2) for n in range(halvings)]
        self.appearance = nn.Sequential(*(convolution(a, b, stride=2) for a, b in pairwise(widths)))
        self.begin = convolution((2 * search + 1) ** 2 + widths[-1] + 2, width)
        self.trunk = nn.ModuleList(convolution(width, width, dilation=d) for d in DILATIONS)
        self.flow = flow_layer(width)
        with torch.no_grad():
            for layer in self.trunk:
                layer[0].weight *= 0.3  # type: ignore[index]  # a residual adds little at first
            nn.init.normal_(self.flow.weight, std=1e-3)  # training begins at no motion

    def forward(self, image: Tensor, flow: Tensor) -> Tensor:
        """``image [B, 2, H, W]`` and the flow so far ``[B, 2, H / stride, W / stride]`` (pixels of the image) to the
        next flow."""
        moving, fixed = image[:, :1], image[:, 1:]
        flow = flow.float()
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):  # half precision has no sub-pixels
            moving = warp(moving, rescale(flow.detach() / self.stride, image.shape[2:]))
            volume = ncc_volume(fixed, moving, self.search, self.stride)
        seen = self.appearance(torch.cat([moving, fixed], 1) - 0.5)
        x = self.begin(torch.cat([volume, seen, flow.detach()], 1))
        for layer in self.trunk:
            x = x + layer(x)
        return flow + self.flow(x).float()


class NCCFlow(nn.Module):
    """A displacement field from an image pair (contract network).

    Any size is taken: the pair is padded by its edge, and the field cropped.

    Args:
        scales: halvings of the images at each stage, coarse to fine.
        searches: of each stage, in its pixels.
        widths: of each stage.
        passes: runs of each stage.
        stride: of the flow's grid in pixels of a stage.
    """

    def __init__(
        self,
        scales: Sequence[int] = (2, 1, 0),
        searches: Sequence[int] = (3, 3, 3),
        widths: Sequence[int] = (64, 64, 64),
        passes: Sequence[int] = (1, 1, 2),
        stride: int = 4,
    ) -> None:
        super().__init__()
        self.scales, self.passes, self.stride = tuple(scales), tuple(passes), stride
        self.stages = nn.ModuleList(Stage(s, w, stride) for s, w in zip(searches, widths, strict=True))

    def forward(self, image: Tensor, pyramid: bool = False) -> Tensor | list[Tensor]:
        """The field of a pair.

        Args:
            image: ``[B, 2, H, W]``, moving and fixed, unit range.
            pyramid: give the estimates of all passes instead, for a loss.

        Returns:
            ``ddf [B, 2, H, W]`` in pixels; or a list of such fields, the last the best.

        Raises:
            ValueError: another shape.
        """
        if image.dim() != 4 or image.shape[1] != 2:
            raise ValueError(f"expected [B, 2, H, W], got {tuple(image.shape)}")
        image = traced_size(image)
        size, multiple = image.shape[2:], self.stride * 2 ** max(self.scales)
        below, beside = (-n % multiple for n in size)
        image = functional.pad(image, (0, beside, 0, below), mode="replicate")
        whole = image.shape[2:]
        fields: list[Tensor] = []
        flow = image.new_zeros(len(image), 2, *(n // multiple for n in whole))
        for stage, halvings, passes in zip(self.stages, self.scales, self.passes, strict=True):
            scaled = functional.avg_pool2d(image, 2**halvings) if halvings else image
            flow = rescale(flow, [n // self.stride for n in scaled.shape[2:]])
            for _ in range(passes):
                flow = stage(scaled, flow)
                fields.append(flow * 2**halvings)  # pixels of the whole image
        full = [
            rescale(field * (field.shape[2] / whole[0]), whole)[:, :, : size[0], : size[1]]
            for field in (fields if pyramid else fields[-1:])
        ]
        return full if pyramid else full[-1]
