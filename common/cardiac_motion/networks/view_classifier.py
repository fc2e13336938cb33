"""Classifier of echocardiographic views (Østvik et al. 2018, 10.1007/978-3-030-00889-5_35, section 2.1).

Two convolutions with pooling; three inception modules, each concatenated with its input and followed by a bottleneck
and pooling; two more inception modules without the 5 × 5 route and dropout between them; a 1 × 1 convolution to the
classes, averaged over the image. PReLU throughout. The paper gives 16 and 32 filters for the first two convolutions
and doubles them before every pooling; the width of a route, half the module's, and batch normalisation are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cardiac_motion.ventricle.views import VIEWS


class Inception(nn.Module):
    """Parallel routes of a 1 × 1 bottleneck, followed by a larger kernel but in the first, beside their input.

    Args:
        before: channels in.
        width: channels of a route; ``before + routes · width`` come out.
        kernels: of the routes.
    """

    def __init__(self, before: int, width: int, kernels: Sequence[int] = (1, 3, 5)) -> None:
        super().__init__()
        self.routes = nn.ModuleList(
            nn.Sequential(_block(before, width, 1), *([_block(width, width, kernel)] if kernel > 1 else []))
            for kernel in kernels
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, before, H, W]`` to ``[B, before + routes · width, H, W]``."""
        found = [x]
        for route in self.routes:
            found.append(route(x))
        return torch.cat(found, 1)


class ViewClassifier(nn.Module):
    """Logits of the views of a frame.

    Args:
        classes: how many; ``VIEWS`` by default.
        filters: of the first convolution; doubled before each of the five poolings.
        dropout: between the last two modules.
    """

    def __init__(self, classes: int = len(VIEWS), filters: int = 16, dropout: float = 0.5) -> None:
        super().__init__()
        if classes < 2 or filters < 1:
            raise ValueError(f"expected two classes and one filter at least, got {classes} and {filters}")
        self.classes, self.filters = classes, filters
        parts: list[nn.Module] = [_block(1, filters, 3), nn.MaxPool2d(2)]
        parts += [_block(filters, 2 * filters, 3), nn.MaxPool2d(2)]
        width = 2 * filters
        for _ in range(3):
            parts += [Inception(width, width // 2), _block(width + 3 * (width // 2), 2 * width, 1), nn.MaxPool2d(2)]
            width *= 2
        first = Inception(width, width // 4, (1, 3))
        second = Inception(width + 2 * (width // 4), width // 4, (1, 3))
        parts += [first, nn.Dropout2d(dropout), second]
        self.features = nn.Sequential(*parts)
        self.out = nn.Sequential(nn.Conv2d(width + 4 * (width // 4), classes, 1), PReLU())

    def forward(self, image: Tensor) -> Tensor:
        """``image [B, 1, H, W]`` in [0, 1], both sizes at least 32 (128 in the paper), to logits ``[B, classes]``.

        Raises:
            ValueError: another shape.
        """
        if image.dim() != 4 or image.shape[1] != 1 or min(image.shape[2:]) < 32:
            raise ValueError(f"expected [B, 1, H, W] of at least 32 pixels, got {list(image.shape)}")
        return self.out(self.features(image)).mean((2, 3))


class PReLU(nn.PReLU):
    """``torch.nn.PReLU`` as ``a x + (1 − a) max(x, 0)``, which a CPU computes and differentiates six times as fast."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to the same shape."""
        slope = self.weight.to(x.dtype)[:, None, None]
        return slope * x + (1 - slope) * x.relu()


def _block(before: int, after: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), PReLU(after))
