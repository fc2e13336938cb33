"""Particle image velocimetry as a network: openpiv's multi-pass cross-correlation with deformed windows.

Echo-PIV is block matching of contrast frames (Kim, Hertzberg and Shandas 2004, 10.1007/s00348-003-0743-5). openpiv
(Liberzon et al., 10.5281/zenodo.3930343) correlates windows of both frames by FFT, fits a Gaussian to the peak, rejects
outliers by a median test, fills the gaps from neighbouring vectors, deforms each frame by half of the displacement and
repeats with smaller windows (Scarano and Riethmuller 2000, 10.1007/s003480070017).
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

FEATURE = "particle image velocimetry"


class ParticleImageVelocimetry(ClassicalMethod):
    """Register each pair of a batch by openpiv, on the CPU.

    Args:
        windows: window sides in pixels, decreasing; repeating the last one adds a refinement pass.
        overlap: overlap of neighbouring windows in %.

    Raises:
        InputError: the windows increase or are smaller than 8 pixels, the overlap is outside 0 to 90, or openpiv is
            not installed.
    """

    def __init__(self, windows: Sequence[int] = (32, 16, 16), overlap: float = 75.0) -> None:
        super().__init__()
        if not windows or min(windows) < 8 or list(windows) != sorted(windows, reverse=True):
            raise InputError(f"windows {list(windows)}: expected decreasing sides of at least 8 pixels")
        if not 0 <= overlap <= 90:
            raise InputError(f"overlap {overlap}: expected 0 to 90 %")
        import_extra("openpiv.windef", FEATURE)
        self.windows, self.overlap = tuple(int(w) for w in windows), float(overlap)

    def register(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the field ``[2, H, W]`` in pixels; beyond the outermost window centres, the nearest centre's value."""
        windef = import_extra("openpiv.windef", FEATURE)
        settings = import_extra("openpiv.settings", FEATURE).PIVSettings()
        steps = [max(1, round(w * (1 - self.overlap / 100))) for w in self.windows]
        minimum = self.windows[0] + 3 * steps[0]  # a cubic spline of the first pass needs four positions
        margin = [(0, max(0, minimum - n)) for n in fixed.shape]
        frames = [np.pad(image.astype(np.float64), margin, "edge") for image in (fixed, moving)]
        settings.windowsizes = self.windows
        settings.overlap = tuple(w - step for w, step in zip(self.windows, steps, strict=True))
        settings.num_iterations = len(self.windows)
        settings.sig2noise_validate, settings.sig2noise_method = False, None
        settings.show_all_plots = False
        settings.max_filter_iteration = sum(fixed.shape)  # fills anechoic regions too, where nothing correlates
        with redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            x, y, across, down, _ = windef.first_pass(*frames, settings)
            outliers = import_extra("openpiv.validation", FEATURE).typical_validation(across, down, None, settings)
            replace = import_extra("openpiv.filters", FEATURE).replace_outliers
            across, down = replace(across, down, outliers, max_iter=settings.max_filter_iteration)
            for number in range(1, len(self.windows)):
                known = (np.ma.array(np.nan_to_num(np.ma.filled(part, np.nan))) for part in (across, down))
                x, y, across, down, *_ = windef.multipass_img_deform(*frames, number, x, y, *known, settings)
        field = np.stack([np.ma.filled(part, np.nan) for part in (down, across)], -1)
        if np.isnan(field).all():
            raise InputError("particle image velocimetry: no window of these frames could be matched")
        centres = y[:, 0] - 0.5, x[0] - 0.5  # openpiv measures positions from the pixels' upper left corners
        lookup = RegularGridInterpolator(centres, np.nan_to_num(field))
        at = [np.clip(np.arange(n), c[0], c[-1]) for n, c in zip(fixed.shape, centres, strict=True)]
        return np.asarray(lookup(np.stack(np.meshgrid(*at, indexing="ij"), -1)).transpose(2, 0, 1))
