"""Dense optical flow by polynomial expansion (Farnebäck 2003, 10.1007/3-540-45103-X_50): OpenCV's, as a network.

A baseline of c-PWC-Net (Evain et al. 2022, section III-B.2), which quotes its results from another paper; the settings
here were chosen on simulated ultrasound.
"""

from __future__ import annotations

import numpy as np

from cardiac_motion.comparators.classical import ClassicalMethod, from_opencv, to_bytes
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra


class Farneback(ClassicalMethod):
    """Register each pair of a batch by Farnebäck's method, on the CPU.

    Args:
        levels: pyramid levels, including the full image; each halves the size.
        window: side of the averaging window in pixels.
        iterations: iterations per level.
        neighbourhood: side in pixels of the neighbourhood to which a polynomial is fitted.
        sigma: standard deviation of that fit's Gaussian weights in pixels.
        gaussian: use a Gaussian averaging window instead of a box.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        levels: int = 3,
        window: int = 15,
        iterations: int = 3,
        neighbourhood: int = 5,
        sigma: float = 1.2,
        gaussian: bool = False,
    ) -> None:
        super().__init__()
        if min(levels, window, iterations) < 1 or neighbourhood < 3 or neighbourhood % 2 == 0 or sigma <= 0:
            raise InputError(
                "levels, window and iterations must be at least 1, neighbourhood odd and at least 3, sigma positive; "
                f"got {levels}, {window}, {iterations}, {neighbourhood}, {sigma}"
            )
        self.levels, self.window, self.iterations = levels, window, iterations
        self.neighbourhood, self.sigma = neighbourhood, sigma
        cv2 = import_extra("cv2", "Farnebäck's method")
        self.flags = cv2.OPTFLOW_FARNEBACK_GAUSSIAN if gaussian else 0

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[2, H, W]`` in pixels."""
        cv2 = import_extra("cv2", "Farnebäck's method")
        flow = cv2.calcOpticalFlowFarneback(
            to_bytes(fixed),
            to_bytes(moving),
            None,
            0.5,
            self.levels,
            self.window,
            self.iterations,
            self.neighbourhood,
            self.sigma,
            self.flags,
        )
        return from_opencv(flow)
