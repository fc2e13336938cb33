"""Dense inverse search (Kroeger et al. 2016, 10.1007/978-3-319-46493-0_29): OpenCV's, with the networks' interface.

Patches are matched by inverse search from coarse to fine and averaged into a dense field, which variational refinement
improves. The three presets are OpenCV's: patches 8 pixels wide with a stride of 4 (``ultrafast``, ``fast``) or 3
(``medium``) pixels; 12, 16 or 25 descent steps; 0, 5 or 5 refinement steps; finest level at half (``medium``) or
quarter resolution.
"""

from __future__ import annotations

import numpy as np

from cardiac_motion.comparators.classical import ClassicalMethod, from_opencv, to_bytes
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

PRESETS = ("ultrafast", "fast", "medium")


class DenseInverseSearch(ClassicalMethod):
    """Register each pair of a batch by dense inverse search.

    Args:
        speed: OpenCV's preset, ``ultrafast``, ``fast`` or ``medium``.
        finest: finest level: 0 is the full image, 1 half of it; None uses the preset's.
        refinement: steps of the variational refinement; None uses the preset's.

    Raises:
        InputError: unknown preset, or an argument is negative.
    """

    def __init__(self, speed: str = "medium", finest: int | None = None, refinement: int | None = None) -> None:
        super().__init__()
        if speed not in PRESETS:
            raise InputError(f"DIS preset must be one of {', '.join(PRESETS)}; got {speed}")
        if (finest or 0) < 0 or (refinement or 0) < 0:
            raise InputError(f"finest and refinement must be at least 0; got {finest}, {refinement}")
        import_extra("cv2", "DIS")
        self.speed, self.finest, self.refinement = speed, finest, refinement

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[2, H, W]`` in pixels."""
        cv2 = import_extra("cv2", "DIS")
        preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.speed.upper()}")
        search = cv2.DISOpticalFlow.create(preset)
        if self.finest is not None:
            search.setFinestScale(self.finest)
        if self.refinement is not None:
            search.setVariationalRefinementIterations(self.refinement)
        return from_opencv(search.calc(to_bytes(fixed), to_bytes(moving), None))
