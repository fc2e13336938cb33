"""Identity baseline: no motion."""

from __future__ import annotations

import numpy as np

from cardiac_motion.comparators.classical import ClassicalMethod


class NoMotion(ClassicalMethod):
    """Return the identity (a zero field) for every pair."""

    axes = (2, 3)

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[d, *S]`` in voxels: zero."""
        return np.zeros((fixed.ndim, *fixed.shape), dtype=np.float32)
