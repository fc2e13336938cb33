"""Flow from local normalised cross-correlation: block matching interpreted by a network trained on cardiac motion.

PWC-Net (``pwc_net``) must learn from its flow loss which patches match, which takes natural images and days. Speckle
tracking has such a measure: local NCC. Here the cost volume is the local NCC of the images themselves at full
resolution, for all shifts of a few pixels, so that its peak gives sub-pixel evidence from the first step on. The
network learns what block matching lacks: where the wall is, which peaks to trust, how the wall moves between them, and
which surroundings are static. As in PWC-Net, estimation is coarse to fine and the moving image is warped by the current
flow; the later stages run more than once with the same weights. Large motion is searched at half size in wide windows
on a coarse grid, because images of an eighth of the size show no speckle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cardiac_motion.fields.scripted import rescale_plane, warp_plane
from cardiac_motion.networks.pwc_net import convolution, flow_layer

DILATIONS = (1, 2, 4, 8, 4, 2, 1)
CONTEXT = (1, 2, 4)
START = 0.1  # pixels: initial scale of the predicted error


def _window_sums(image: Tensor, axis: int, radius: int) -> Tensor:
    """Sum ``2·radius + 1`` neighbours of ``image [B, 1, H, W]`` along an axis (2 or 3), with zeros outside.

    Windows of 1, 2, 4, … neighbours are built by doubling; those that make up the width are added.
    """
    margin = [0, 0, radius, radius] if axis == 2 else [radius, radius, 0, 0]
    window = functional.pad(image, margin)
    size, width, length, done = 1, 2 * radius + 1, image.shape[axis], 1
    total = window.narrow(axis, 0, length)
    while 2 * size <= width:
        count = window.shape[axis] - size
        window = window.narrow(axis, 0, count) + window.narrow(axis, size, count)
        size *= 2
        if size & width:
            total = total + window.narrow(axis, done, length)
            done += size
    return total


def _box(image: Tensor, radius: int) -> Tensor:
    """Mean of ``image [B, 1, H, W]`` over windows of ``2·radius + 1``, over the part of a window inside the image."""
    for axis in (2, 3):
        size = image.shape[axis]
        index = torch.arange(size, device=image.device)
        count = (index + radius).clamp(max=size - 1) - (index - radius).clamp(min=0) + 1
        shape = [1, 1, size, 1] if axis == 2 else [1, 1, 1, size]
        image = _window_sums(image, axis, radius) / count.to(image.dtype).view(shape)
    return image


def standardise(image: Tensor, radius: int = 4, eps: float = 1e-4) -> Tensor:
    """Subtract the local mean of ``image [B, 1, H, W]`` and divide by the local sd (windows of ``2·radius + 1``).

    Examples:
        >>> image = torch.rand(1, 1, 32, 32)
        >>> bool((standardise(image) - standardise(3 * image + 5)).abs().max() < 0.05)  # neither gain nor offset counts
        True
    """
    centred = image - _box(image, radius)
    return centred / (_box(centred.square(), radius) + eps).sqrt()


def _standardise_pair(image: Tensor) -> Tensor:
    """Standardise both images of a pair ``[B, 2, H, W]``, in single precision even under autocast."""
    if torch.jit.is_scripting():  # no autocast by run-time device in TorchScript; exports run in float32
        return standardise(image.flatten(0, 1)[:, None]).view_as(image)
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):  # half precision is too coarse
        return standardise(image.flatten(0, 1)[:, None]).view_as(image)


def ncc_volume(fixed: Tensor, moving: Tensor, search: int, stride: int) -> Tensor:
    """Compute the local NCC of two standardised images for all shifts, on a grid ``stride`` times coarser.

    The sums over a window are those of its four blocks. A block's sums for all shifts are one small convolution of its
    surroundings with the block: three to fifteen times faster than multiplying the whole images for each shift.

    Args:
        fixed, moving: ``[B, 1, H, W]`` as ``standardise`` returns them, H and W multiples of ``stride``.
        search: largest shift in pixels along either axis.
        stride: spacing of the grid in pixels, even; the window at each grid point is twice as wide.

    Returns:
        ``[B, (2·search + 1)², H / stride, W / stride]``, about −1 to 1, shifts by rows from (−search, −search).

    Examples:
        >>> image = standardise(torch.rand(1, 1, 32, 48))
        >>> volume = ncc_volume(image, image, search=2, stride=4)
        >>> volume.shape, bool((volume.argmax(1) == 12).all())  # the middle of 5 × 5 shifts
        (torch.Size([1, 25, 8, 12]), True)
    """
    half, side = stride // 2, stride + 2 * search
    margin, further = [half] * 4, [half + search] * 4
    fixed, around = functional.pad(fixed, margin), functional.pad(moving, further)
    if search == 0:
        sums = functional.avg_pool2d(fixed * around, stride) * (stride * stride)
    else:
        blocks = fixed[:, 0].unfold(1, stride, stride).unfold(2, stride, stride)
        surroundings = around[:, 0].unfold(1, side, stride).unfold(2, side, stride)
        batch, rows, columns = blocks.shape[0], blocks.shape[1], blocks.shape[2]
        count = batch * rows * columns
        surroundings = surroundings.reshape(1, count, side, side)
        sums = functional.conv2d(surroundings, blocks.reshape(count, 1, stride, stride), groups=count)
        sums = sums.view(batch, rows, columns, (2 * search + 1) * (2 * search + 1)).permute(0, 3, 1, 2)
    area = functional.avg_pool2d(functional.pad(torch.ones_like(moving[:1]), margin), stride) * (stride * stride)
    return _join_blocks(sums) / _join_blocks(area)


def _join_blocks(sums: Tensor) -> Tensor:
    """Sum over windows of two by two blocks."""
    sums = sums[:, :, 1:] + sums[:, :, :-1]
    return sums[..., 1:] + sums[..., :-1]


def _zero_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Build a 1×1 convolution with zero weights, whose output is zero until trained."""
    layer = nn.Conv2d(inputs, outputs, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Context(nn.Module):
    """Context from a half and a quarter of the grid; its output is zero until trained.

    Args:
        width: input and output channels.
        deep: internal channels.
    """

    def __init__(self, width: int, deep: int) -> None:
        super().__init__()
        self.down, self.further = convolution(width, deep, stride=2), convolution(deep, deep, stride=2)
        self.near = nn.ModuleList(convolution(deep, deep, dilation=d) for d in CONTEXT)
        self.far = nn.ModuleList(convolution(deep, deep, dilation=d) for d in CONTEXT)
        self.out = _zero_convolution(deep, width)
        with torch.no_grad():
            for layer in (*self.near, *self.far):
                layer[0].weight *= 0.3

    def forward(self, x: Tensor) -> Tensor:
        """Return the context ``[B, width, h, w]`` to be added to ``x [B, width, h, w]``."""
        near = self.down(x)
        far = self.further(near)
        for layer in self.far:
            far = far + layer(far)
        near = near + functional.interpolate(far, near.shape[2:], mode="bilinear", align_corners=False)
        for layer in self.near:
            near = near + layer(near)
        return functional.interpolate(self.out(near), x.shape[2:], mode="bilinear", align_corners=False)


class Stage(nn.Module):
    """One estimation stage: NCC volume, appearance and current flow to an improved flow, on a grid of 1 / ``stride``.

    Args:
        search: search radius of the NCC volume in pixels of this stage's images.
        width: channels of the trunk.
        stride: grid spacing in pixels of this stage's images.
        deep: channels of ``Context``; with 0 there is no context and no input from the previous pass.
        before: channels of the previous pass.
    """

    def __init__(self, search: int, width: int, stride: int = 4, deep: int = 0, before: int = 0) -> None:
        super().__init__()
        self.search, self.stride = search, stride
        halvings = stride.bit_length() - 1
        widths = [2] + [width // 4 * min(2**n, 2) for n in range(halvings)]
        self.appearance = nn.Sequential(*(convolution(a, b, stride=2) for a, b in pairwise(widths)))
        self.begin = convolution((2 * search + 1) ** 2 + widths[-1] + 2, width)
        self.trunk = nn.ModuleList(convolution(width, width, dilation=d) for d in DILATIONS)
        self.flow = flow_layer(width)
        self.context = Context(width, deep) if deep else None
        self.still = _zero_convolution(1, width) if deep else None
        self.before = _zero_convolution(before, width) if deep and before else None
        with torch.no_grad():
            for layer in self.trunk:
                layer[0].weight *= 0.3  # type: ignore[index]  # residuals are small at first
            nn.init.normal_(self.flow.weight, std=1e-3)  # training starts near zero motion

    def forward(
        self, image: Tensor, standard: Tensor, flow: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the next flow and the trunk's features.

        Args:
            image: ``[B, 2, H, W]``.
            standard: the standardised pair, in single precision.
            flow: current flow, ``[B, 2, H / stride, W / stride]`` in pixels of the image.
            before: features of the previous pass, on any grid.
        """
        moving, fixed = image[:, :1], image[:, 1:]
        flow = flow.float().detach()  # each pass is trained on its own update; no gradient flows to earlier passes
        if torch.jit.is_scripting():  # no autocast by run-time device in TorchScript; exports run in float32
            volume, unmoved, moving = self._evidence(moving, standard, flow)
        else:
            with torch.no_grad(), torch.autocast(image.device.type, enabled=False):  # half precision is too coarse
                volume, unmoved, moving = self._evidence(moving, standard, flow)
        appearance = self.appearance(torch.cat([moving, fixed], 1) - 0.5)
        x = torch.cat([volume, appearance, flow], 1)
        if not x.is_cuda:  # dilated convolutions on a CPU are three times faster in this layout
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.begin(x)
        if self.still is not None:
            x = x + self.still(unmoved)
        if self.before is not None and before is not None:
            if before.shape[2:] != x.shape[2:]:
                before = functional.interpolate(before, x.shape[2:], mode="bilinear", align_corners=False)
            x = x + self.before(before)
        if self.context is not None:
            x = x + self.context(x)
        for layer in self.trunk:
            x = x + layer(x)
        return flow + self.flow(x).float(), x

    def _evidence(self, moving: Tensor, standard: Tensor, flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the NCC of all shifts around the current flow, that of zero motion, and the warped moving image."""
        target = standard[:, 1:]
        unmoved = target[:, :0]
        if self.still is not None:
            unmoved = ncc_volume(target, standard[:, :1], 0, self.stride)
        moving = warp_plane(moving, rescale_plane(flow / self.stride, moving.shape[2], moving.shape[3]))
        return ncc_volume(target, standardise(moving), self.search, self.stride), unmoved, moving


class NCCFlow(nn.Module):
    """Network that estimates the displacement field of an image pair, and the scale of its error.

    Images may have any size: the pair is edge-padded, and the field cropped.

    Args:
        scales: number of halvings of the images at each stage, coarse to fine.
        searches: search radius of each stage in its pixels.
        widths: channels of each stage.
        passes: number of passes of each stage.
        stride: grid spacing in pixels of a stage; one for all, or one per stage.
        deep: channels of each stage's ``Context``; 0 for none.
    """

    def __init__(
        self,
        scales: Sequence[int] = (1, 1, 0),
        searches: Sequence[int] = (12, 3, 3),
        widths: Sequence[int] = (64, 64, 64),
        passes: Sequence[int] = (1, 2, 2),
        stride: int | Sequence[int] = (8, 4, 4),
        deep: int = 96,
    ) -> None:
        super().__init__()
        self.scales, self.passes = tuple(scales), tuple(passes)
        self.strides = (stride,) * len(scales) if isinstance(stride, int) else tuple(stride)
        self.multiple = max(n << halvings for n, halvings in zip(self.strides, scales, strict=True))
        earlier = [0 if passes[0] == 1 else widths[0], *widths[:-1]]
        self.stages = nn.ModuleList(
            Stage(s, w, n, deep, b) for s, w, n, b in zip(searches, widths, self.strides, earlier, strict=True)
        )
        self.spread = nn.Conv2d(widths[-1], 2, 3, padding=1)
        nn.init.zeros_(self.spread.weight)
        nn.init.constant_(self.spread.bias, math.log(START))  # type: ignore[arg-type]

    def forward(self, image: Tensor, pyramid: bool = False) -> Tensor | list[Tensor]:
        """Return the field of a pair.

        Args:
            image: ``[B, 2, H, W]``, moving and fixed, unit range.
            pyramid: return the estimates of all passes instead, for a loss.

        Returns:
            ``ddf [B, 2, H, W]`` in pixels; with ``pyramid``, a list of such fields. The last one is the best and has
            two more channels: the log scale, in pixels, of a Laplace distribution of its error along rows and columns.

        Raises:
            ValueError: ``image`` has another shape.
        """
        fields, scale = self._estimates(image)
        if pyramid:
            return fields[:-1] + [torch.cat([fields[-1], scale], 1)]
        return fields[-1]

    def forward_with_deviation(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the field ``[B, 2, H, W]`` of a pair and the standard deviation of its error, both in pixels."""
        fields, scale = self._estimates(image)
        return fields[-1], math.sqrt(2) * scale.exp()

    def refine(self, image: Tensor, ddf: Tensor) -> Tensor:
        """Refine a nearly correct field ``[B, 2, H, W]`` of a pair with the finest stage only."""
        return self._estimates(image, ddf)[0][-1]

    def _estimates(self, image: Tensor, start: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        if image.dim() != 4 or image.shape[1] != 2:
            raise ValueError(f"expected [B, 2, H, W], got {list(image.shape)}")
        height, width = image.shape[2], image.shape[3]
        below, beside = -height % self.multiple, -width % self.multiple
        image = functional.pad(image, [0, beside, 0, below], mode="replicate")
        tall, wide = image.shape[2], image.shape[3]
        fields: list[Tensor] = []
        features: Tensor | None = None
        whole = image.new_zeros([image.shape[0], 2, tall // self.multiple, wide // self.multiple])
        first = 0
        if start is not None:
            first = len(self.scales) - 1
            whole = functional.pad(start, [0, beside, 0, below], mode="replicate")
        number, size_of_standard = 0, -1
        standard = image
        for stage, halvings, stride, passes in zip(self.stages, self.scales, self.strides, self.passes):  # noqa: B905, no strict in TorchScript
            scaled = functional.avg_pool2d(image, 1 << halvings) if halvings > 0 else image
            size = [scaled.shape[2] // stride, scaled.shape[3] // stride]
            if number >= first and size_of_standard != halvings:  # once for all passes at one size
                standard, size_of_standard = _standardise_pair(scaled), halvings
            for _ in range(passes if number >= first else 0):
                flow = functional.interpolate(whole, size, mode="bilinear", align_corners=False) / (1 << halvings)
                flow, features = stage(scaled, standard, flow, features)
                whole = flow * (1 << halvings)  # pixels of the whole image
                fields.append(whole)
            number += 1
        assert features is not None
        scale = self.spread(features.detach()).float()
        scale = functional.interpolate(scale, [tall, wide], mode="bilinear", align_corners=False)
        full: list[Tensor] = []
        for field in fields if self.training else fields[-1:]:
            pixels = rescale_plane(field * (field.shape[2] / tall), tall, wide)
            full.append(pixels[:, :, :height, :width])
        return full, scale[:, :, :height, :width]
