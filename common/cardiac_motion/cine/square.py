"""The square around a frame's imaging sector that is the input of image networks, and the mapping back.

A frame enters a network as a square around its imaging sector, with its aspect preserved, resized to the network's size
(Østvik et al. 2018, 10.1007/978-3-030-00889-5_35: 256² for segmentation, section 2.2; 128² for the view, section 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.errors import InputError


@dataclass(frozen=True)
class FrameGrid:
    """A grid of square cells over a part of a frame, finer or coarser than the frame's pixels.

    Attributes:
        shape: (rows, columns) of the frame.
        size: (rows, columns) of the grid.
        top, left: start of the grid's first row and column, in frame pixels from the frame's edge.
        step: side of a cell in frame pixels.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    top: float
    left: float
    step: float

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> FrameGrid:
        """Restore a grid from its attributes in JSON.

        Examples:
            >>> stored = {"shape": [9, 8], "size": [4, 3], "top": 1.0, "left": 2.0, "step": 1.5}
            >>> FrameGrid.from_dict(stored) == FrameGrid((9, 8), (4, 3), 1.0, 2.0, 1.5)
            True
        """
        return cls(tuple(stored["shape"]), tuple(stored["size"]), stored["top"], stored["left"], stored["step"])

    def to_frame(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points ``[..., 2]`` (row, column) of the grid to frame pixels.

        Examples:
            >>> FrameGrid((90, 80), (30, 20), 10.0, 20.0, 2.0).to_frame([0.0, 1.0]).tolist()
            [10.5, 22.5]
        """
        return np.asarray(
            (np.asarray(points, dtype=np.float64) + 0.5) * self.step - 0.5 + np.array([self.top, self.left])
        )

    def paste_labels(self, labels: Tensor) -> Tensor:
        """Resample labels ``[N, *size]`` to the frame's pixels, ``[N, H, W]``, by the nearest cell; 0 outside the grid.

        Examples:
            >>> FrameGrid((2, 5), (1, 2), 0.0, 1.0, 2.0).paste_labels(torch.tensor([[[1, 2]]])).tolist()
            [[[0, 1, 1, 2, 2], [0, 1, 1, 2, 2]]]
        """
        pasted = labels.new_zeros((len(labels), *self.shape))
        cells = [
            ((torch.arange(n, dtype=torch.float64) + 0.5 - first) / self.step).floor().long()
            for n, first in zip(self.shape, (self.top, self.left), strict=True)
        ]
        rows, columns = ((at >= 0) & (at < n) for at, n in zip(cells, self.size, strict=True))
        part = labels[:, cells[0][rows]][:, :, cells[1][columns]]
        pasted[:, rows.nonzero(), columns.nonzero()[:, 0]] = part
        return pasted

    def mirror(self) -> FrameGrid:
        """Return the grid of the frame mirrored left to right."""
        return replace(self, left=self.shape[1] - self.left - self.size[1] * self.step)


@dataclass(frozen=True)
class FrameSquare:
    """A square of a frame's pixels, possibly beyond the frame's edge, resized to ``size``².

    Attributes:
        shape: (rows, columns) of the frame.
        top, left: first row and column of the square.
        side: side of the square in frame pixels.
        size: side of the resized square.
    """

    shape: tuple[int, int]
    top: int
    left: int
    side: int
    size: int

    @classmethod
    def from_mask(cls, mask: Tensor | NDArray[np.bool_], size: int) -> FrameSquare:
        """Return the smallest square around the true pixels of ``mask [H, W]``, centred on their bounding box.

        Raises:
            InputError: the mask is empty.
        """
        array = np.asarray(mask)
        if array.ndim != 2 or not array.any():
            raise InputError(f"no imaging sector: the mask {array.shape} is empty or not [H, W]")
        rows, columns = (np.flatnonzero(array.any(axis)) for axis in (1, 0))
        side = int(max(np.ptp(rows), np.ptp(columns))) + 1
        top, left = (int(at[0] + at[-1] + 1 - side) // 2 for at in (rows, columns))
        return cls((array.shape[0], array.shape[1]), top, left, side, size)

    def take(self, frames: Tensor) -> Tensor:
        """Resample ``frames [N, H, W]`` to ``[N, 1, size, size]``; black beyond the frame."""
        if tuple(frames.shape[1:]) != self.shape:
            raise ValueError(f"expected [N, {self.shape[0]}, {self.shape[1]}], got {tuple(frames.shape)}")
        height, width = self.shape
        right, bottom = self.left + self.side - width, self.top + self.side - height
        square = functional.pad(frames, (-self.left, right, -self.top, bottom))
        return functional.interpolate(
            square[:, None], (self.size, self.size), mode="bilinear", align_corners=False, antialias=True
        )

    def paste(self, maps: Tensor, beyond: Sequence[float]) -> Tensor:
        """Resample ``maps [N, C, size, size]`` to the frame, ``[N, C, H, W]``; ``beyond[c]`` outside the square."""
        square = functional.interpolate(maps, (self.side, self.side), mode="bilinear", align_corners=False)
        height, width = self.shape
        margins = (self.left, width - self.left - self.side, self.top, height - self.top - self.side)
        outside = maps.new_tensor(list(beyond))[:, None, None]
        return functional.pad(square - outside, margins) + outside

    def grid(self, rows: slice, columns: slice, finer: int = 1) -> FrameGrid:
        """Return the grid of a part of the square, with ``finer`` cells per pixel along either axis."""
        step = self.side / self.size
        size = ((rows.stop - rows.start) * finer, (columns.stop - columns.start) * finer)
        return FrameGrid(self.shape, size, self.top + rows.start * step, self.left + columns.start * step, step / finer)
