"""Length, strain and excursion of the left ventricle from a contour followed through a cine.

Evain et al. 2022, section III-D.2: the endocardial contour's length gives the global longitudinal strain (GLS), the
distance from the apex to the middle of the base the mitral annular plane systolic excursion (MAPSE), both as Lagrangian
strain against end-diastole (eq. 2). Contours are open polylines ``[T, P, 2]`` (row, column) in pixels, from one base
over the apex to the other; ``spacing`` is mm a pixel (row, column), or None where unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import InputError

Array = NDArray[np.float64]


def scaled(contours: ArrayLike, spacing: Sequence[float] | None) -> Array:
    """Contours ``[..., P, 2]`` in mm, or in pixels where the spacing is unknown."""
    return np.asarray(contours, dtype=np.float64) * np.asarray(spacing or (1.0, 1.0), dtype=np.float64)


def length(contours: ArrayLike, spacing: Sequence[float] | None = None) -> Array:
    """Length of each polyline ``[..., P, 2]`` in mm (pixels without spacing): ``[...]``."""
    return np.asarray(np.linalg.norm(np.diff(scaled(contours, spacing), axis=-2), axis=-1).sum(-1))


def long_axis(contours: ArrayLike, spacing: Sequence[float] | None = None, ed: int = 0) -> Array:
    """Distance from the apex to the middle of the base in each frame, mm (pixels without spacing): ``[T]``.

    The apex is the contour's point that lies furthest from the middle of the base at frame ``ed``; the same material
    point is the apex in every frame.
    """
    points = scaled(contours, spacing)
    base = (points[:, 0] + points[:, -1]) / 2
    apex = int(np.linalg.norm(points[ed] - base[ed], axis=-1).argmax())
    return np.asarray(np.linalg.norm(points[:, apex] - base, axis=-1))


def lagrangian(lengths: ArrayLike, ed: int = 0) -> Array:
    """(L − L_ED) / L_ED as a fraction (eq. 2): ``[T]`` of lengths ``[T]``.

    Raises:
        InputError: no such frame, or a length of 0 at end-diastole.
    """
    values = np.asarray(lengths, dtype=np.float64)
    if not 0 <= ed < len(values):
        raise InputError(f"end-diastole at frame {ed}: the cine has frames 0 to {len(values) - 1}")
    if not values[ed] > 0:
        raise InputError("the contour has no length at end-diastole")
    return values / values[ed] - 1


def gls(contours: ArrayLike, spacing: Sequence[float] | None = None, ed: int = 0) -> Array:
    """Global longitudinal strain of the whole line as a fraction, negative where it shortens: ``[T]``.

    Pixels that aren't square need the spacing; with square ones it does not matter.
    """
    return lagrangian(length(contours, spacing), ed)


def mapse(contours: ArrayLike, spacing: Sequence[float] | None = None, ed: int = 0) -> Array:
    """MAPSE as the paper takes it: the long axis's strain, a fraction, negative where it shortens: ``[T]``."""
    return lagrangian(long_axis(contours, spacing, ed), ed)


def mapse_mm(contours: ArrayLike, spacing: Sequence[float] | None, ed: int = 0) -> Array:
    """Shortening of the long axis since end-diastole in mm, positive in systole: ``[T]``.

    Raises:
        InputError: the spacing is unknown.
    """
    if spacing is None:
        raise InputError("MAPSE in mm needs the pixels' spacing, which this cine does not tell")
    axis = long_axis(contours, spacing, ed)
    return axis[ed] - axis


def peak_systolic(strain: ArrayLike, ed: int, es: int) -> float:
    """The least strain from end-diastole to end-systole, a fraction (section III-D.2).

    Args:
        strain: ``[T]``.
        ed, es: frames; where ES comes first in the cine, the frames between them count all the same.
    """
    first, last = sorted((ed, es))
    return float(np.asarray(strain, dtype=np.float64)[first : last + 1].min())


def end_systole(contours: ArrayLike, spacing: Sequence[float] | None = None) -> int:
    """Frame at which the area between the contour and its base is smallest: a surrogate of aortic-valve closure."""
    points = scaled(contours, spacing)
    ahead = np.roll(points, -1, axis=1)
    areas = 0.5 * np.abs((points[..., 1] * ahead[..., 0] - ahead[..., 1] * points[..., 0]).sum(-1))
    return int(areas.argmin())
