"""No motion at all: what every method has to be better than."""

from __future__ import annotations

import numpy as np

from cardiac_motion.comparators.classical import ClassicalMethod


class NoMotion(ClassicalMethod):
    """Takes every pair for aligned as it is."""

    axes = (2, 3)

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """The field ``[d, *S]`` in voxels: zero."""
        return np.zeros((fixed.ndim, *fixed.shape), dtype=np.float32)
