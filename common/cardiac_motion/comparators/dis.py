"""Dense inverse search (Kroeger et al. 2016, 10.1007/978-3-319-46493-0_29), OpenCV's, as a network of the contract.

Patches are matched by inverse search from coarse to fine, averaged into a dense field, which a variational step
refines. The three presets are OpenCV's: patches 8 pixels wide, every 4 (``ultrafast``, ``fast``) or 3 (``medium``),
12, 16 or 25 steps of descent, and no, 5 or 5 steps of refinement, down to half (``medium``) or quarter resolution.
"""

from __future__ import annotations

import numpy as np

from cardiac_motion.comparators.classical import ClassicalMethod, from_opencv, to_bytes
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

PRESETS = ("ultrafast", "fast", "medium")


class DenseInverseSearch(ClassicalMethod):
    """Registers each pair of a batch by dense inverse search.

    Args:
        speed: one of OpenCV's presets, ``ultrafast``, ``fast`` or ``medium``.
        finest: level at which it stops: 0 is the full image, 1 half of it; the preset's where None.
        refinement: steps of the variational refinement; the preset's where None.

    Raises:
        InputError: no such preset, or a number that can't be.
    """

    def __init__(self, speed: str = "medium", finest: int | None = None, refinement: int | None = None) -> None:
        super().__init__()
        if speed not in PRESETS:
            raise InputError(f"DIS preset must be one of {', '.join(PRESETS)}; got {speed}")
        if (finest or 0) < 0 or (refinement or 0) < 0:
            raise InputError(f"finest and refinement are at least 0; got {finest}, {refinement}")
        import_extra("cv2", "DIS")
        self.speed, self.finest, self.refinement = speed, finest, refinement

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """The field ``[2, H, W]`` in pixels."""
        cv2 = import_extra("cv2", "DIS")
        preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.speed.upper()}")
        search = cv2.DISOpticalFlow.create(preset)
        if self.finest is not None:
            search.setFinestScale(self.finest)
        if self.refinement is not None:
            search.setVariationalRefinementIterations(self.refinement)
        return from_opencv(search.calc(to_bytes(fixed), to_bytes(moving), None))
