"""Blood pool masks: their long axis, and validation before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cardiac_motion.core.errors import InputError

Array = NDArray[np.float64]
LEAST_PIXELS = 100  # of a pool in a frame
LEAST_INSIDE = 0.9  # of a pool's pixels that must lie in the sector


@dataclass(frozen=True, eq=False)
class LongAxis:
    """From the middle of the base to the apex, in the unit of the steps it was found with.

    Attributes:
        base: (row, column).
        apex: (row, column); in an apical view it is the end nearer to the probe, above.
    """

    base: Array
    apex: Array

    @property
    def length(self) -> float:
        """Long-axis length, base to apex, in the unit of the steps."""
        return float(np.linalg.norm(self.apex - self.base))

    def axial_distance(self, places: Array) -> Array:
        """Distance ``[P]`` of ``places [P, 2]`` from the base along the axis, of its length: 0 base, 1 apex."""
        return np.asarray((places - self.base) @ (self.apex - self.base) / self.length**2)

    def lateral_distance(self, places: Array) -> Array:
        """Distance ``[P]`` from the axis, of its length; to the right on the picture positive where the apex is up."""
        row, column = (self.apex - self.base) / self.length**2
        return np.asarray((places - self.base) @ np.array([column, -row]))

    def shape_of(self, centre: Array, core: Array, steps: Sequence[float]) -> dict[str, float]:
        """Depth, transverse position, length, width and sphericity of a core ``[P, 2]`` in pixels (Hong et al. 2008).

        Length and width are the core's reach along and across the axis, a pixel's size included.
        """
        scale = np.asarray(steps)
        along, across = self.axial_distance(core * scale), self.lateral_distance(core * scale)
        size = float(np.mean(scale)) / self.length
        length, width = float(np.ptp(along)) + size, float(np.ptp(across)) + size
        return {
            "depth": float(self.axial_distance(centre[None] * scale)[0]),
            "transverse": float(self.lateral_distance(centre[None] * scale)[0]),
            "length": length,
            "width": width,
            "sphericity": length / width,
        }


def long_axis(mask: Tensor, steps: Sequence[float]) -> LongAxis:
    """The line through the middle of a pool along which it is longest, between its two ends.

    Args:
        mask: ``[H, W]`` bool, of an apical view: the apex is the upper end.
        steps: (row, column) between pixels.

    Raises:
        InputError: fewer than three pixels.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(50, 30, dtype=torch.bool)
        >>> mask[5:45, 10:20] = True
        >>> axis = long_axis(mask, (0.5, 0.5))
        >>> round(axis.length, 3), axis.apex.round(2).tolist()
        (19.5, [2.5, 7.25])
    """
    places = mask.nonzero().double().numpy() * np.asarray(steps)
    if len(places) < 3:
        raise InputError("the blood pool is empty: there is no flow to measure")
    middle = places.mean(0)
    _, _, directions = np.linalg.svd(places - middle, full_matrices=False)
    axis = directions[0] if directions[0][0] < 0 else -directions[0]
    way = (places - middle) @ axis
    return LongAxis(middle + way.min() * axis, middle + way.max() * axis)


def check_pool(pool: Tensor, size: Sequence[int], frames: int, sector: Tensor, name: str) -> None:
    """Refuse a pool that can't be one.

    Args:
        pool: ``[T, H, W]`` bool.
        size, frames: of the cine.
        sector: ``[H, W]`` bool, where the cine shows anything.
        name: what an error calls the file.

    Raises:
        InputError: another size or number of frames, a frame without a pool, or one that leaves the sector.

    Examples:
        >>> import torch
        >>> check_pool(torch.ones(2, 20, 20), (20, 20), 2, torch.ones(20, 20), "mask.nii.gz")
    """
    if tuple(pool.shape) != (frames, *size):
        there = f"{pool.shape[2]} × {pool.shape[1]} pixels in {pool.shape[0]} frames"
        raise InputError(f"{name}: the blood pool is {there}, the cine {size[1]} × {size[0]} in {frames}")
    counts = pool.bool().sum((1, 2))
    if int(counts.min()) < LEAST_PIXELS:
        frame = int(counts.argmin())
        raise InputError(f"{name}: no blood pool in frame {frame} ({int(counts[frame])} pixels)")
    share = (pool.bool() & sector.bool()).sum((1, 2)) / counts
    if float(share.min()) < LEAST_INSIDE:
        frame = int(share.argmin())
        part = 100 * (1 - float(share[frame]))
        raise InputError(f"{name}: the blood pool leaves the sector in frame {frame} ({part:.0f} % of it)")
