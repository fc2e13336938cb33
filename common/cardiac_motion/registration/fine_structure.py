"""Fine structure of frames without clutter that stands still, for the registration of a wall (``material_wall``).

Clutter does not move with the wall: it matches itself where nothing moves, and holds the wall back. So frames are
reduced to fine structure inside the sector, whose edge stands still too, less what stands still. The share of fine
structure that stands still, ``V̄ / (V̄ + V)``, compares around each pixel the mean square V̄ of its mean over time with
its variance over time V. Below the first of the two shares in ``standing`` nothing is removed, above the second all of
that mean, between them a part: tissue that moves little keeps most of its own structure. The shares were chosen on
simulated cines of the CAMUS train list.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cardiac_motion.registration.straight_wall import WallSettings

_NEAR = 2.0  # standard deviation of the Gaussian in which variances are compared, of that which is subtracted
_BLACK = 0.005  # unit range: what never exceeds it lies outside the sector, unless the sector surrounds it
_EDGE = 2  # pixels of the sector's edge that are left out
_FAINT = 1e-5  # variance that structure must exceed to stand still, unit range squared
_FEWEST = 12  # frames of which a mean over time is taken


def remove_standing(frames: NDArray[np.float32], wide: float, settings: WallSettings) -> NDArray[np.float32]:
    """Fine structure of frames, less what stands still where much of it does.

    Args:
        frames: ``[T, H, W]``, unit range; of fewer than ``_FEWEST`` nothing but coarse structure is removed.
        wide: standard deviation of the Gaussian that is subtracted, pixels.
        settings: their ``standing``.

    Returns:
        ``[T, H, W]``, around 0; 0 outside the sector and at its edge.

    Examples:
        >>> still = np.tile(np.random.default_rng(0).random((20, 20)).astype(np.float32), (16, 1, 1))
        >>> bool(np.abs(remove_standing(still, 2.0, WallSettings())).max() < 1e-5)
        True
    """
    seen = ndimage.binary_erosion(ndimage.binary_fill_holes(frames.max(0) > _BLACK), iterations=_EDGE, border_value=1)
    near = np.maximum(ndimage.gaussian_filter(seen.astype(np.float32), wide, mode="nearest"), 1e-3)
    fine = np.asarray(seen * (frames - ndimage.gaussian_filter(seen * frames, (0, wide, wide), mode="nearest") / near))
    if len(frames) < _FEWEST:
        return fine
    mean = fine.mean(0)
    standing, moving = (ndimage.gaussian_filter(x, _NEAR * wide) for x in (mean**2, fine.var(0)))
    share = standing / (standing + moving + _FAINT)
    removed = np.clip((share - settings.standing[0]) / (settings.standing[1] - settings.standing[0]), 0, 1)
    return np.asarray(fine - removed * mean, dtype=np.float32)
