"""Blood-pool masks: validation, and their long axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cardiac_motion.core.errors import InputError

Array = NDArray[np.float64]
MIN_PIXELS = 100  # of a blood pool in a frame
MIN_INSIDE = 0.9  # fraction of a blood pool's pixels that must lie in the sector


@dataclass(frozen=True, eq=False)
class LongAxis:
    """Long axis from the middle of the base to the apex, in the unit of the given steps.

    Attributes:
        base: (row, column).
        apex: (row, column); in an apical view the end nearer to the probe, at the top.
    """

    base: Array
    apex: Array

    @property
    def length(self) -> float:
        """Long-axis length, base to apex, in the unit of the steps."""
        return float(np.linalg.norm(self.apex - self.base))

    def axial_distance(self, places: Array) -> Array:
        """Return the distance ``[P]`` of points ``[P, 2]`` from the base along the axis, relative to its length."""
        return np.asarray((places - self.base) @ (self.apex - self.base) / self.length**2)

    def lateral_distance(self, places: Array) -> Array:
        """Return the distance ``[P]`` from the axis relative to its length; positive to the right, with the apex up."""
        row, column = (self.apex - self.base) / self.length**2
        return np.asarray((places - self.base) @ np.array([column, -row]))

    def core_shape(self, centre: Array, core: Array, steps: Sequence[float]) -> dict[str, float]:
        """Measure depth, transverse position, length, width and sphericity of a vortex core (Hong et al. 2008).

        Args:
            centre: centre of the core (row, column) in pixels.
            core: pixels of the core ``[P, 2]``.
            steps: size of a pixel (row, column).

        Returns:
            Relative to the long axis's length: ``depth`` of the centre from the base, ``transverse`` position of the
            centre, ``length`` along and ``width`` across the axis (pixel size included), and length / width as
            ``sphericity``.
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
    """Return the long axis of a blood pool: the principal axis through its centroid, between the pool's two ends.

    Args:
        mask: ``[H, W]`` bool, of an apical view: the apex is the upper end.
        steps: size of a pixel (row, column).

    Raises:
        InputError: the mask has fewer than three pixels.

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
        raise InputError("the blood pool is empty; blood flow cannot be measured")
    middle = places.mean(0)
    _, _, directions = np.linalg.svd(places - middle, full_matrices=False)
    axis = directions[0] if directions[0][0] < 0 else -directions[0]
    along = (places - middle) @ axis
    return LongAxis(middle + along.min() * axis, middle + along.max() * axis)


def check_pool(pool: Tensor, size: Sequence[int], frames: int, sector: Tensor, name: str) -> None:
    """Validate a blood-pool mask.

    Args:
        pool: ``[T, H, W]`` bool.
        size, frames: size (H, W) and number of frames of the cine.
        sector: ``[H, W]`` bool, the imaged sector.
        name: name of the file in error messages.

    Raises:
        InputError: the mask differs from the cine in size or number of frames, is empty in a frame, or leaves the
            sector.

    Examples:
        >>> import torch
        >>> check_pool(torch.ones(2, 20, 20), (20, 20), 2, torch.ones(20, 20), "mask.nii.gz")
    """
    if tuple(pool.shape) != (frames, *size):
        actual = f"{pool.shape[2]} × {pool.shape[1]} pixels in {pool.shape[0]} frames"
        raise InputError(f"{name}: the blood pool has {actual}, the cine {size[1]} × {size[0]} in {frames}")
    counts = pool.bool().sum((1, 2))
    if int(counts.min()) < MIN_PIXELS:
        frame = int(counts.argmin())
        raise InputError(f"{name}: no blood pool in frame {frame} ({int(counts[frame])} pixels)")
    share = (pool.bool() & sector.bool()).sum((1, 2)) / counts
    if float(share.min()) < MIN_INSIDE:
        frame = int(share.argmin())
        part = 100 * (1 - float(share[frame]))
        raise InputError(f"{name}: {part:.0f} % of the blood pool lies outside the sector in frame {frame}")
