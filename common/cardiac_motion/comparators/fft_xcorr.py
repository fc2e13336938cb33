"""Block matching by FFT cross-correlation (PyMUST's ``sptrack``) as a network: the baseline of the c-PWC-Net paper.

Evain et al. 2022, section III-B.1, after Garcia et al. 2018: windows of 32, 16 and 8 pixels with 75 % overlap, each
size refining the displacement of the previous one; sub-pixel peaks of the cross-correlation by a parabola; the robust
spline smoother ``smoothn`` (Garcia 2010, 10.1016/j.csda.2009.09.020) between the sizes and at the end.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from cardiac_motion.comparators.classical import ClassicalMethod
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

FEATURE = "block matching"
POSITIONS = 4  # window positions along an axis that cubic interpolation to the next size needs


class FFTXCorr(ClassicalMethod):
    """Register each pair of a batch by block matching, on the CPU; takes seconds for a frame of 256 × 256.

    ``sptrack`` tapers both windows by a Hann function, which biases the peak towards the whole-pixel displacement at
    which the window was cut: a translation by 0.4 pixel is measured as 0.2. The paper runs the baseline in this way.

    Args:
        windows: window sides in pixels, decreasing.
        overlap: overlap of neighbouring windows in %.

    Raises:
        InputError: the windows do not decrease, the overlap is outside 0 to 90, or PyMUST is not installed.
    """

    def __init__(self, windows: Sequence[int] = (32, 16, 8), overlap: float = 75.0) -> None:
        super().__init__()
        if not windows or min(windows) < 4 or list(windows) != sorted(set(windows), reverse=True):
            raise InputError(f"windows {list(windows)}: expected decreasing sides of at least 4 pixels")
        if not 0 <= overlap <= 90:
            raise InputError(f"overlap {overlap}: expected 0 to 90 %")
        import_extra("pymust", FEATURE)
        self.windows, self.overlap = tuple(int(w) for w in windows), float(overlap)

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[2, H, W]`` in pixels; beyond the outermost window centres, the nearest centre's value."""
        side = max(*fixed.shape, self._minimum_size())  # sptrack needs square images
        both = np.stack([fixed, moving], -1).astype(np.float64)
        margin = [(0, side - n) for n in fixed.shape]
        pymust = import_extra("pymust", FEATURE)
        param = pymust.utils.Param()
        param.winsize = np.array([[w, w] for w in self.windows])
        param.overlap = self.overlap
        with redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            along_columns, along_rows, columns, rows = pymust.sptrack(np.pad(both, [*margin, (0, 0)], "edge"), param)
        centres = rows[:, 0] - 0.5, columns[0] - 0.5  # sptrack measures positions from the pixels' upper left corners
        field = np.stack([along_rows, along_columns], -1)
        lookup = RegularGridInterpolator(centres, np.nan_to_num(field))
        at = [np.clip(np.arange(n), c[0], c[-1]) for n, c in zip(fixed.shape, centres, strict=True)]
        dense = lookup(np.stack(np.meshgrid(*at, indexing="ij"), -1))
        return np.asarray(dense).transpose(2, 0, 1)

    def _minimum_size(self) -> int:
        step = int(np.ceil(self.windows[0] * (1 - self.overlap / 100)))
        return self.windows[0] + POSITIONS * step
