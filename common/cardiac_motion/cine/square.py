"""The square around a frame's imaging sector in which image networks see it, and the way back.

A frame enters a network as a square around its imaging sector, aspect kept, resized to the network's size (Østvik et
al. 2018, 10.1007/978-3-030-00889-5_35: 256² for segmentation, section 2.2; 128² for the view, section 2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.errors import InputError


@dataclass(frozen=True)
class FrameSquare:
    """A square of a frame's pixels, which may reach over the frame's edge, resized to ``size``².

    Attributes:
        shape: (rows, columns) of the frame.
        top, left: its first row and column.
        side: pixels.
        size: of the resized square.
    """

    shape: tuple[int, int]
    top: int
    left: int
    side: int
    size: int

    @classmethod
    def from_mask(cls, mask: Tensor | NDArray[np.bool_], size: int) -> FrameSquare:
        """The least square about the true pixels of ``mask [H, W]``, centred on their bounding box.

        Raises:
            InputError: nothing in the mask.
        """
        array = np.asarray(mask)
        if array.ndim != 2 or not array.any():
            raise InputError(f"no imaging sector: the mask {array.shape} is empty or not [H, W]")
        rows, columns = (np.flatnonzero(array.any(axis)) for axis in (1, 0))
        side = int(max(np.ptp(rows), np.ptp(columns))) + 1
        top, left = (int(found[0] + found[-1] + 1 - side) // 2 for found in (rows, columns))
        return cls((array.shape[0], array.shape[1]), top, left, side, size)

    def take(self, frames: Tensor) -> Tensor:
        """``frames [N, H, W]`` to ``[N, 1, size, size]``; black beyond the frame."""
        if tuple(frames.shape[1:]) != self.shape:
            raise ValueError(f"expected [N, {self.shape[0]}, {self.shape[1]}], got {tuple(frames.shape)}")
        height, width = self.shape
        right, bottom = self.left + self.side - width, self.top + self.side - height
        square = functional.pad(frames, (-self.left, right, -self.top, bottom))
        return functional.interpolate(
            square[:, None], (self.size, self.size), mode="bilinear", align_corners=False, antialias=True
        )

    def paste(self, maps: Tensor, beyond: Sequence[float]) -> Tensor:
        """``maps [N, C, size, size]`` on the frame's pixels, ``[N, C, H, W]``; ``beyond[c]`` outside the square."""
        square = functional.interpolate(maps, (self.side, self.side), mode="bilinear", align_corners=False)
        height, width = self.shape
        margins = (self.left, width - self.left - self.side, self.top, height - self.top - self.side)
        outside = maps.new_tensor(list(beyond))[:, None, None]
        return functional.pad(square - outside, margins) + outside
