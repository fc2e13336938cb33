"""Dense optical flow by polynomial expansion (Farnebäck 2003, 10.1007/3-540-45103-X_50), OpenCV's, as a network.

A baseline of c-PWC-Net (Evain et al. 2022, section III-B.2), which takes its figures from another paper; the settings
here are our own choice on simulated ultrasound.
"""

from __future__ import annotations

import numpy as np

from cardiac_motion.comparators.classical import ClassicalMethod, from_opencv, to_bytes
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra


class Farneback(ClassicalMethod):
    """Registers each pair of a batch by Farnebäck's method, on the CPU.

    Args:
        levels: of the pyramid, the full image included; each halves it.
        window: of the averaging, pixels a side.
        iterations: a level.
        neighbourhood: in which a polynomial is fitted, pixels a side.
        sigma: of the Gaussian weights of that fit, pixels.
        gaussian: average by a Gaussian instead of a box.

    Raises:
        InputError: a number that can't be.
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
                "levels, window and iterations are at least 1, neighbourhood is odd and at least 3, sigma is positive; "
                "got "
                f"{levels}, {window}, {iterations}, {neighbourhood}, {sigma}"
            )
        self.levels, self.window, self.iterations = levels, window, iterations
        self.neighbourhood, self.sigma = neighbourhood, sigma
        cv2 = import_extra("cv2", "Farnebäck's method")
        self.flags = cv2.OPTFLOW_FARNEBACK_GAUSSIAN if gaussian else 0

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """The field ``[2, H, W]`` in pixels."""
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
