"""Iterative Lucas-Kanade flow (Le Besnerais and Champagnat 2005, 10.1109/ICIP.2005.1529706), scikit-image's."""

from __future__ import annotations

import numpy as np
from skimage.registration import optical_flow_ilk

from cardiac_motion.comparators.classical import ClassicalMethod
from cardiac_motion.core.errors import InputError


class IterativeLucasKanade(ClassicalMethod):
    """Register each pair of a batch by iterative Lucas-Kanade flow, in 2D and 3D.

    Args:
        radius: radius of the window in voxels.
        warps: warps of the moving image per pyramid level.
        gaussian: use a Gaussian window instead of a uniform one.
        prefilter: median-filter the field before each warp.

    Raises:
        InputError: an argument is out of range.
    """

    axes = (2, 3)

    def __init__(self, radius: int = 7, warps: int = 10, gaussian: bool = False, prefilter: bool = False) -> None:
        super().__init__()
        if min(radius, warps) < 1:
            raise InputError(f"radius and warps must be at least 1; got {radius}, {warps}")
        self.radius, self.warps, self.gaussian, self.prefilter = radius, warps, gaussian, prefilter

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[d, *S]`` in voxels."""
        field: np.ndarray = optical_flow_ilk(
            fixed,
            moving,
            radius=self.radius,
            num_warp=self.warps,
            gaussian=self.gaussian,
            prefilter=self.prefilter,
        )
        return field
