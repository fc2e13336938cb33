"""PWC-Net and its variants for echocardiography: a feature pyramid, warped, compared and refined from coarse to fine.

PWC-Net (Sun et al. 2018, 10.1109/CVPR.2018.00931); the customised c-PWC-Net (Evain et al. 2022,
10.1109/TMI.2022.3151606, section II-B, Fig. 3 and 4): a contextual sub-network at every level and densely connected
estimators; and the changes of EchoPWC-Net (Østvik et al. 2021, 10.1109/TMI.2021.3054566) as that paper describes them:
no warping of features, features of the first image propagated, finer levels. Level l is the grid of 1 / 2^l. The first
image of the optical-flow literature is the fixed one here, and its flow into the second is the pull-back field.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn import functional

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import rescale, warp
from cardiac_motion.networks.weights import unwrap

SLOPE = 0.1  # negative slope of every LeakyReLU
DILATIONS = (1, 2, 4, 8, 16, 1)
_TILE = 8  # pixels: tiles multiplied with their surroundings at once, two to eighteen times faster than by offset


def normalise_features(features: Tensor, radius: int = 4, eps: float = 1e-6) -> Tensor:
    """Subtract the mean of features ``[B, C, H, W]`` over the search window, and normalise over the channels.

    The mean is the window's, not the map's: otherwise all tissue next to a dark cavity would look the same.

    Examples:
        >>> features = torch.rand(1, 8, 16, 16)
        >>> tuple(normalise_features(features).norm(dim=1).round(decimals=3).unique().tolist())
        (1.0,)
    """
    mean = functional.avg_pool2d(features, 2 * radius + 1, 1, radius, count_include_pad=False)
    centred = features - mean
    return centred / (centred.square().sum(1, keepdim=True) + eps).sqrt()


def cost_volume(fixed: Tensor, moving: Tensor, radius: int = 4) -> Tensor:
    """Correlate each position of one feature map with its surroundings in the other (PWC-Net eq. 2).

    Args:
        fixed, moving: features ``[B, C, H, W]``.
        radius: search radius in pixels of this level.

    Returns:
        ``[B, (2·radius + 1)², H, W]``: the mean over the channels of ``fixed(p) · moving(p + o)``, with offsets o by
        rows, from (−radius, −radius); positions outside the map count 0.

    Examples:
        >>> features = torch.zeros(1, 1, 8, 8)
        >>> features[0, 0, 3, 4] = 1.0
        >>> cost = cost_volume(features, features.roll(1, 2), radius=1)  # moved down by one row
        >>> tuple(cost.shape), int(cost[0, :, 3, 4].argmax())  # offset (1, 0) of the nine
        ((1, 9, 8, 8), 7)
    """
    batch, channels, height, width = fixed.shape
    side, across = _TILE + 2 * radius, 2 * radius + 1  # widths of a tile's surroundings and of the search window
    below, beside = -height % _TILE, -width % _TILE
    tiles = functional.pad(fixed, (0, beside, 0, below)).unfold(2, _TILE, _TILE).unfold(3, _TILE, _TILE)
    rows, columns = tiles.shape[2:4]
    around = functional.pad(moving, (radius, radius + beside, radius, radius + below))
    around = around.unfold(2, side, _TILE).unfold(3, side, _TILE)
    products = torch.bmm(
        tiles.permute(0, 2, 3, 4, 5, 1).reshape(-1, _TILE**2, channels),
        around.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels, side**2),
    )
    position, offset = (
        (torch.arange(n, device=fixed.device)[:, None] * side + torch.arange(n, device=fixed.device)).flatten()
        for n in (_TILE, across)
    )
    cost = products.gather(2, (position[:, None] + offset).expand(len(products), -1, -1)) / channels
    cost = cost.view(batch, rows, columns, _TILE, _TILE, across**2).permute(0, 5, 1, 3, 2, 4)
    return cost.reshape(batch, across**2, rows * _TILE, columns * _TILE)[:, :, :height, :width]


def convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Build a 3×3 convolution with He initialisation, followed by LeakyReLU.

    Examples:
        >>> tuple(convolution(2, 16, stride=2)(torch.rand(1, 2, 8, 8)).shape)
        (1, 16, 4, 4)
    """
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.LeakyReLU(SLOPE))


def flow_layer(inputs: int) -> nn.Conv2d:
    """Build a 3×3 convolution to a flow; its He weights are divided by 10, so that training starts near zero motion.

    Examples:
        >>> tuple(flow_layer(16)(torch.rand(1, 16, 8, 8)).shape)
        (1, 2, 8, 8)
    """
    layer = nn.Conv2d(inputs, 2, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, a=1.0)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        layer.weight *= 0.1
    return layer


def upsampling_layer(channels: int) -> nn.ConvTranspose2d:
    """Build a transposed convolution to two channels at twice the size.

    Examples:
        >>> tuple(upsampling_layer(16)(torch.rand(1, 16, 8, 8)).shape)
        (1, 2, 16, 16)
    """
    layer = nn.ConvTranspose2d(channels, 2, 4, stride=2, padding=1)
    nn.init.kaiming_normal_(layer.weight, a=1.0)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def fix_traced_size(image: Tensor) -> Tensor:
    """Return ``image``; when traced (TorchScript), fix its size, for which alone the trace's constants hold.

    Examples:
        >>> image = torch.rand(1, 2, 8, 8)
        >>> fix_traced_size(image) is image
        True
    """
    return image.expand([int(n) for n in image.shape]) if torch.jit.is_tracing() else image


class Estimator(nn.Module):
    """Five convolutions and a flow layer; if ``dense``, each output is concatenated with its input (Fig. 4)."""

    def __init__(self, inputs: int, widths: Sequence[int], dense: bool) -> None:
        super().__init__()
        self.dense = dense
        self.layers = nn.ModuleList()
        self.channels = inputs
        for width in widths:
            self.layers.append(convolution(self.channels, width))
            self.channels = self.channels + width if dense else width
        self.flow = flow_layer(self.channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features ``[B, channels, H, W]`` and flow ``[B, 2, H, W]`` of ``x [B, inputs, H, W]``."""
        for layer in self.layers:
            x = torch.cat([layer(x), x], 1) if self.dense else layer(x)
        return x, self.flow(x)


class PWCNet(nn.Module):
    """Network that estimates the displacement field of an image pair by pyramid, warping and cost volume.

    Images may have any size: the pair is edge-padded to a multiple of ``2 ** len(pyramid)``, and the field cropped.

    Args:
        pyramid: channels of the features at levels 1, 2, …; each level has a strided convolution and two more.
        estimator: channels of the convolutions of each level's estimator.
        context: channels of the contextual sub-network, dilated by 1, 2, 4, 8, 16, 1; a flow layer follows.
        dense: densely connected estimators (PWC-Net as released, and c-PWC-Net).
        contexts: levels with a contextual sub-network; None is the finest only, as in PWC-Net. c-PWC-Net has one at
            every level.
        finest: level of the last estimate; 2 is a quarter of the size.
        warping: warp the features of the moving image by the coarser flow; EchoPWC-Net does not.
        propagate: feed the upsampled fixed features of the coarser level to the estimator as well, and the fixed
            features to the coarsest estimator: an interpretation of EchoPWC-Net's propagated features.
        radius: search radius of the cost volume in pixels of a level.
        normalise: use normalised cross-correlation of the features, from −1 to 1, as in c-PWC-Net; otherwise the mean
            product, as in PWC-Net. With the latter, a small randomly initialised network had not begun to learn the
            tests' translations after 200 steps; with the former, 50 steps suffice.
        unit: pixels of the image per unit of flow inside the network; 20 for natural images.
        width: factor on every channel count, for a small variant.

    Raises:
        InputError: a level is not in the pyramid, or the numbers of channels do not match.
    """

    def __init__(
        self,
        pyramid: Sequence[int] = (16, 32, 64, 96, 128, 196),
        estimator: Sequence[int] = (128, 128, 96, 64, 32),
        context: Sequence[int] = (128, 128, 128, 96, 64, 32),
        dense: bool = True,
        contexts: Sequence[int] | None = None,
        finest: int = 2,
        warping: bool = True,
        propagate: bool = False,
        radius: int = 4,
        normalise: bool = True,
        unit: float = 20.0,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        levels = len(pyramid)
        if not 1 <= finest <= levels:
            raise InputError(f"finest level {finest}: the pyramid has levels 1 to {levels}")
        contexts = [finest] if contexts is None else list(contexts)
        if not set(contexts) <= set(range(finest, levels + 1)):
            raise InputError(f"contexts {contexts}: must be within the flow levels, {finest} to {levels}")
        if len(context) != len(DILATIONS):
            raise InputError(f"context {list(context)}: expected {len(DILATIONS)} channel counts")
        pyramid, estimator, context = ([max(2, round(n * width)) for n in c] for c in (pyramid, estimator, context))
        self.levels, self.finest, self.warping, self.propagate = levels, finest, warping, propagate
        self.radius, self.normalise, self.unit = radius, normalise, unit
        self.features = nn.ModuleList(
            nn.Sequential(convolution(a, b, stride=2), convolution(b, b), convolution(b, b))
            for a, b in pairwise([1, *pyramid])
        )
        self.estimators, self.contexts, self.ups = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        channels = 0
        for level in range(levels, finest - 1, -1):
            inputs = (2 * radius + 1) ** 2
            if level < levels:
                self.ups[str(level)] = nn.ModuleList([upsampling_layer(2), upsampling_layer(channels)])
                inputs += pyramid[level - 1] + 4 + (pyramid[level] if propagate else 0)
            elif propagate:
                inputs += pyramid[level - 1]
            estimate = Estimator(inputs, estimator, dense)
            self.estimators[str(level)] = estimate
            channels = estimate.channels
            if level in contexts:
                widths = zip(pairwise([channels, *context]), DILATIONS, strict=True)
                self.contexts[str(level)] = nn.Sequential(
                    *(convolution(a, b, dilation=d) for (a, b), d in widths), flow_layer(context[-1])
                )

    def forward(self, image: Tensor, pyramid: bool = False, evidence: bool = False) -> Tensor | list[Tensor]:
        """Return the field of a pair.

        Args:
            image: ``[B, 2, H, W]``, moving and fixed, unit range.
            pyramid: return the estimates of all levels instead, for a multi-scale loss.
            evidence: with ``pyramid``, also return the initial flow and the cost volume of each level.

        Returns:
            ``ddf [B, 2, H, W]`` in pixels; with ``pyramid``, a list of fields from the coarsest to the finest level,
            ``[B, 2, h, w]`` on the grid of 1 / 2^l of the padded image, in pixels of the image. With ``evidence``, two
            more channels are the flow that warped the moving features, in the same unit, and the rest the cost volume.

        Raises:
            ValueError: ``image`` has another shape.
        """
        if image.dim() != 4 or image.shape[1] != 2:
            raise ValueError(f"expected [B, 2, H, W], got {tuple(image.shape)}")
        image = fix_traced_size(image)
        size, multiple = image.shape[2:], 2**self.levels
        below, beside = (-n % multiple for n in size)
        padded = functional.pad(image, (0, beside, 0, below), mode="replicate")
        fields = self._estimate(padded, pyramid and evidence)
        if pyramid:
            return fields
        full = [n * 2**self.finest for n in fields[-1].shape[2:]]
        ratio = fields[-1].new_tensor([f / n for f, n in zip(full, fields[-1].shape[2:], strict=True)])
        field = rescale(fields[-1] / ratio.view(1, 2, 1, 1), full)
        return field[:, :, : size[0], : size[1]]

    def feature_maps(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Compute the features ``[B, C, h, w]`` of the moving and the fixed image at levels 1, 2, ….

        Args:
            image: ``[B, 2, H, W]``; height and width are multiples of ``2 ** len(pyramid)``.
        """
        both = torch.cat([image[:, :1], image[:, 1:]])
        if not both.is_cuda:  # a step takes 12 % less time on a CPU
            both = both.contiguous(memory_format=torch.channels_last)
        maps = []
        for halve in self.features:
            both = halve(both)
            moving, fixed = both.chunk(2)
            maps.append((moving, fixed))
        return maps

    def _cost(self, fixed: Tensor, moving: Tensor) -> Tensor:
        if not self.normalise:
            return cost_volume(fixed, moving, self.radius)
        fixed, moving = normalise_features(fixed, self.radius), normalise_features(moving, self.radius)
        return cost_volume(fixed, moving, self.radius) * fixed.shape[1]

    def _estimate(self, image: Tensor, evidence: bool = False) -> list[Tensor]:
        maps = self.feature_maps(image)
        fields: list[Tensor] = []
        flow = features = torch.empty(0)
        for level in range(self.levels, self.finest - 1, -1):
            moving, fixed = maps[level - 1]
            inputs = []
            start = moving.new_zeros(len(moving), 2, *moving.shape[2:])
            if level < self.levels:
                flow, features = (
                    up(x)
                    for up, x in zip(self.ups[str(level)], (flow, features), strict=True)  # type: ignore[call-overload]
                )
                if self.warping:
                    scaled = flow.float() * (self.unit / 2**level)
                    moving = warp(moving.float(), scaled, padding="zeros").to(moving.dtype)
                    start = scaled * 2**level
                inputs = [fixed, flow, features]
            elif self.propagate:
                inputs = [fixed]
            if self.propagate and level < self.levels:
                inputs.append(functional.interpolate(maps[level][1], scale_factor=2.0, mode="bilinear"))
            correlation = self._cost(fixed, moving)
            cost = functional.leaky_relu(correlation, SLOPE)
            features, flow = self.estimators[str(level)](torch.cat([cost, *inputs], 1))
            if str(level) in self.contexts:
                flow = flow + self.contexts[str(level)](features)
            field = flow * self.unit
            fields.append(torch.cat([field, start.detach(), correlation], 1) if evidence else field)
        return fields


class PyramidInferer(Inferer):
    """MONAI inferer for training: returns the fields of all levels by calling ``forward``, for distributed training.

    Args:
        evidence: also return the initial flow and cost volume of each level, for ``MultiScaleFlowLoss(matching=…)``.
    """

    def __init__(self, evidence: bool = False) -> None:
        super().__init__()
        self.options = {"evidence": True} if evidence else {}

    def __call__(self, inputs: Tensor, network: nn.Module) -> list[Tensor]:  # type: ignore[override]
        """Return the fields ``[B, 2, h, w]``, coarse to fine, of ``inputs [B, 2, H, W]``."""
        fields: list[Tensor] = network(inputs, pyramid=True, **self.options)
        return fields


class FeatureInferer(Inferer):
    """MONAI inferer that returns the features of a PWC-Net, to train them on their own (``MatchingLoss``).

    Args:
        levels: number of levels, from the finest; 0 for all.
    """

    def __init__(self, levels: int = 0) -> None:
        super().__init__()
        self.levels = levels

    def __call__(self, inputs: Tensor, network: nn.Module) -> list[Tensor]:  # type: ignore[override]
        """Return the pair's features ``[B, 2C, h, w]`` at levels 1, 2, … of ``inputs [B, 2, H, W]``."""
        whole: Any = unwrap(network)
        maps = whole.feature_maps(inputs)
        return [torch.cat(pair, 1) for pair in maps[: self.levels or None]]
