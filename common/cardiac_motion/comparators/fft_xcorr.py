"""Block matching by FFT cross-correlation, PyMUST's ``sptrack``, as a network: c-PWC-Net's own baseline.

Evain et al. 2022, section III-B.1, after Garcia et al. 2018: windows of 32, 16 and 8 pixels that overlap by 75 %, each
size refining the former's displacement; a parabola about the peak of the cross-correlation; the robust spline smoother
``smoothn`` (Garcia 2010, 10.1016/j.csda.2009.09.020) between the sizes and at the end.
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

NEEDS = "block matching"
STEPS_OF_A_WINDOW = 4  # window positions along an axis that cubic interpolation to the next size needs


class FFTXCorr(ClassicalMethod):
    """Registers each pair of a batch by block matching, on the CPU; seconds for a frame of 256 × 256.

    ``sptrack`` tapers both windows by Hann's function, which draws the peak towards the whole-pixel displacement that
    the window was cut at: a translation by 0.4 pixel is found as 0.2. That is the baseline as the paper runs it.

    Args:
        windows: sides in pixels, falling.
        overlap: of neighbouring windows in %.

    Raises:
        InputError: windows that don't fall, an overlap outside 0 to 90, or PyMUST is not installed.
    """

    def __init__(self, windows: Sequence[int] = (32, 16, 8), overlap: float = 75.0) -> None:
        super().__init__()
        if not windows or min(windows) < 4 or list(windows) != sorted(set(windows), reverse=True):
            raise InputError(f"windows {list(windows)}: expected falling sides of at least 4 pixels")
        if not 0 <= overlap <= 90:
            raise InputError(f"overlap {overlap}: expected 0 to 90 %")
        import_extra("pymust", NEEDS)
        self.windows, self.overlap = tuple(int(w) for w in windows), float(overlap)

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """The field ``[2, H, W]`` in pixels; outside the outermost window centres that of the nearest one."""
        side = max(*fixed.shape, self._minimum_size())  # sptrack takes square images alone
        both = np.stack([fixed, moving], -1).astype(np.float64)
        margin = [(0, side - n) for n in fixed.shape]
        pymust = import_extra("pymust", NEEDS)
        param = pymust.utils.Param()
        param.winsize = np.array([[w, w] for w in self.windows])
        param.overlap = self.overlap
        with redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            along_columns, along_rows, columns, rows = pymust.sptrack(np.pad(both, [*margin, (0, 0)], "edge"), param)
        centres = rows[:, 0] - 0.5, columns[0] - 0.5  # sptrack counts from the pixels' upper left corners
        field = np.stack([along_rows, along_columns], -1)
        lookup = RegularGridInterpolator(centres, np.nan_to_num(field))
        at = [np.clip(np.arange(n), c[0], c[-1]) for n, c in zip(fixed.shape, centres, strict=True)]
        dense = lookup(np.stack(np.meshgrid(*at, indexing="ij"), -1))
        return np.asarray(dense).transpose(2, 0, 1)

    def _minimum_size(self) -> int:
        step = int(np.ceil(self.windows[0] * (1 - self.overlap / 100)))
        return self.windows[0] + STEPS_OF_A_WINDOW * step
