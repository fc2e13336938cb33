"""Position of an image's pixels in mm from the middle of the probe's face, depth first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError


@dataclass(frozen=True)
class ImageGrid:
    """Regular grid of pixels in the imaging plane.

    Attributes:
        shape: (rows, columns).
        spacing: mm per pixel, (row, column).
        origin: position of the first pixel's centre in mm from the probe, (depth, lateral).

    Examples:
        >>> grid = ImageGrid((3, 3), spacing=(2.0, 1.0), origin=(0.0, -1.0))
        >>> grid.points()[4].tolist()  # the middle pixel, mm
        [2.0, 0.0]
        >>> grid.to_pixels(torch.tensor([2.0, 0.0])).tolist()
        [1.0, 1.0]
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    origin: tuple[float, float]

    def __post_init__(self) -> None:
        if min(self.shape) < 2 or not all(math.isfinite(s) and s > 0 for s in self.spacing):
            raise InputError(f"image grid: shape {self.shape} and spacing {self.spacing} mm must be positive")

    @classmethod
    def from_sector(cls, depth: float, half_angle: float, shape: tuple[int, int]) -> ImageGrid:
        """Return the square pixels that just contain a sector of ``depth`` mm and ``half_angle`` rad to each side."""
        width = 2 * depth * math.sin(half_angle)
        spacing = max(depth / (shape[0] - 1), width / (shape[1] - 1))
        return cls(shape, (spacing, spacing), (0.0, -spacing * (shape[1] - 1) / 2))

    def points(self, device: torch.device | str = "cpu") -> Tensor:
        """Return pixel centres [H * W, 2] in mm, float64, row by row."""
        axes = [
            origin + step * torch.arange(count, dtype=torch.float64, device=device)
            for count, step, origin in zip(self.shape, self.spacing, self.origin, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 2)

    def to_pixels(self, points: Tensor) -> Tensor:
        """Convert points [..., 2] from mm to pixels (row, column)."""
        return (points - points.new_tensor(self.origin)) / points.new_tensor(self.spacing)
