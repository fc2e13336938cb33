"""Total-variation flow with an L1 data term (Zach et al. 2007, 10.1007/978-3-540-74936-3_22), scikit-image's."""

from __future__ import annotations

import numpy as np
from skimage.registration import optical_flow_tvl1

from cardiac_motion.comparators.classical import ClassicalMethod
from cardiac_motion.core.errors import InputError


class TotalVariationFlow(ClassicalMethod):
    """Register each pair of a batch by TV-L1 flow, in 2D and 3D.

    Args:
        attachment: weight of the data term; smaller values give smoother fields.
        tightness: coupling between the data term and the smoothness term.
        warps: warps of the moving image per pyramid level.
        iterations: iterations per warp.
        tolerance: mean squared change of the field at which a warp's iterations stop.
        prefilter: median-filter the field before each warp.

    Raises:
        InputError: an argument is out of range.
    """

    axes = (2, 3)

    def __init__(
        self,
        attachment: float = 15.0,
        tightness: float = 0.3,
        warps: int = 5,
        iterations: int = 10,
        tolerance: float = 1e-4,
        prefilter: bool = False,
    ) -> None:
        super().__init__()
        if min(warps, iterations) < 1 or min(attachment, tightness, tolerance) <= 0:
            given = f"{attachment}, {tightness}, {tolerance}, {warps}, {iterations}"
            raise InputError(
                f"attachment, tightness and tolerance must be positive, warps and iterations at least 1; got {given}"
            )
        self.attachment, self.tightness, self.tolerance = attachment, tightness, tolerance
        self.warps, self.iterations, self.prefilter = warps, iterations, prefilter

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[d, *S]`` in voxels."""
        field: np.ndarray = optical_flow_tvl1(
            fixed,
            moving,
            attachment=self.attachment,
            tightness=self.tightness,
            num_warp=self.warps,
            num_iter=self.iterations,
            tol=self.tolerance,
            prefilter=self.prefilter,
        )
        return field
