"""What of a cine's frames is registered, and at which size."""

from __future__ import annotations

import numpy as np
from monai.inferers import Inferer
from numpy.typing import NDArray

from cardiac_motion.registration.pairwise import SizedInferer

Array = NDArray[np.float64]

LEAST_THICKNESS = 14.0  # pixels of a wall that is registered; in thinner ones the motion falls short


def fit_inferer(inferer: Inferer, lines: Array, roi_margin: float | None) -> Inferer:
    """An inferer that registers the region around a wall, enlarged where the wall is thin.

    Args:
        inferer: what registers; one that is no ``SizedInferer`` comes back as it is.
        lines: ``[T, 3, P, 2]`` pixels, NaN where a frame has none.
        roi_margin: around the wall, part of the ventricle's length; None is the whole sector.
    """
    known = np.isfinite(lines).all((1, 2, 3))
    if not isinstance(inferer, SizedInferer) or not known.any():
        return inferer
    region = None if roi_margin is None else region_around(lines, roi_margin)
    thickness = float(np.median(np.linalg.norm(lines[known, 2] - lines[known, 0], axis=-1)))
    return inferer.restrict(region, LEAST_THICKNESS / max(thickness, 1.0))


def region_around(lines: Array, margin: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns, first and last (exclusive), that hold the lines of all frames and a margin.

    Args:
        lines: ``[T, L, P, 2]`` pixels, NaN where a frame has none; some frame has.
        margin: part of the ventricle's length.

    Examples:
        >>> wedge = np.array([[60.0, 20.0], [10.0, 40.0], [60.0, 60.0]])
        >>> region_around(np.stack([wedge, wedge + np.nan])[:, None], 0.2)
        ((0, 71), (10, 71))
    """
    known = lines[np.isfinite(lines).all((1, 2, 3))]
    endo = known[:, 0]
    margin = margin * float(np.linalg.norm(endo - endo[:, [0, -1]].mean(1)[:, None], axis=-1).max())
    low, high = np.floor(known.min((0, 1, 2)) - margin), np.ceil(known.max((0, 1, 2)) + margin) + 1
    (top, left), (bottom, right) = (np.maximum(edge, 0).astype(int).tolist() for edge in (low, high))
    return (top, bottom), (left, right)
