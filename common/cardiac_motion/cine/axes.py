"""Decide whether an array of three axes is a cine or a volume, and convert it to a loop.

Few array formats state which axis is time. Evidence used: a time unit or an intent code; a position in space, which
slices have and frames do not; the third zoom; and the image itself, because the sector of an echo is static.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import ndimage

from cardiac_motion.cine.loop import Loop, unit_range
from cardiac_motion.core.errors import InputError

SLOWEST_FRAME_TIME = 0.2  # s
DARK = 0.03  # fraction of the largest value: darker pixels are outside the sector
MIN_DARK = 0.1  # fraction of the frame that lies outside a sector
SAME_SECTOR = 0.9  # minimum overlap of the bright regions of two frames
MIN_CORRELATION = 0.8  # minimum correlation of neighbouring frames of a cine
SAMPLED = 24  # number of frames that are examined


@dataclass
class Axes:
    """Axes of an array as the file describes them.

    Attributes:
        zooms: step along each axis; values that are not positive and finite are unknown.
        affine: affine of a volume, if the file gives a position in space.
        mm_per_unit, seconds_per_unit: units of the zooms; None if the file names no unit.
        is_series: the file declares itself a time series.
        own_units: the file names a time unit that no writer of volumes sets by default.
        times: times of the frames in s, if the file lists them.
    """

    zooms: list[float]
    affine: np.ndarray | None = None
    mm_per_unit: float | None = None
    seconds_per_unit: float | None = None
    is_series: bool = False
    own_units: bool = False
    times: list[float] | None = None


def axes_to_frames(path: Path, values: np.ndarray, axes: Axes) -> Loop:
    """Convert an array with axes (X, Y, T) or (X, Y, 1, T) to a loop.

    Raises:
        InputError: the array is a volume, or has another shape.
    """
    shape, zooms, loop = values.shape, list(axes.zooms), Loop()
    if np.iscomplexobj(values):
        raise InputError(f"{path}: complex values; expected the grey values of a 2D cine")
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    explicit = values.ndim == 4 and values.shape[2] == 1
    if explicit:
        values = values[:, :, 0]
        zooms = [zooms[0], zooms[1], zooms[3]]
    if values.ndim == 2:
        raise InputError(f"{path}: contains only 1 frame (shape {shape}); a cine needs at least two")
    if values.ndim != 3 or 0 in shape:
        raise InputError(f"{path}: shape {shape}; expected a 2D cine, (X, Y, T) or (X, Y, 1, T)")
    if values.shape[2] > 1 and not (explicit or axes.is_series):
        reason = _find_signs_of_volume(values, zooms, axes, loop.notes)
        if reason:
            raise InputError(
                f"{path}: a 3D volume, not a 2D cine: {reason}. (A cine of shape (X, Y, T) has a frame time in seconds "
                "as its third zoom; NIfTI intent code 2001 or shape (X, Y, 1, T) also mark a cine.)"
            )
    loop.frames = unit_range(np.moveaxis(values, -1, 0).swapaxes(1, 2), loop.notes)
    known = all(np.isfinite(zoom) and zoom > 0 for zoom in zooms[:2])
    if known:
        loop.aspect = zooms[1] / zooms[0]
    if axes.mm_per_unit is None:
        loop.notes.append("The file names no unit of length; its spacing is ignored.")
    elif not known:
        loop.notes.append(f"The file's spacing, {zooms[0]:g} × {zooms[1]:g}, is invalid; lengths are in pixels.")
    else:
        loop.spacing = (zooms[1] * axes.mm_per_unit, zooms[0] * axes.mm_per_unit)
    step = zooms[2] * (axes.seconds_per_unit or 0) if np.isfinite(zooms[2]) else 0.0
    if axes.times is not None and len(axes.times) == len(loop.frames):
        loop.frame_times = [time - axes.times[0] for time in axes.times]
    elif 0 < step <= SLOWEST_FRAME_TIME or (step > 0 and (explicit or axes.is_series)):
        loop.frame_times = [t * step for t in range(len(loop.frames))]
    else:
        loop.notes.append("The file gives no frame times; its third axis is assumed to be time.")
    return loop


def _find_signs_of_volume(values: np.ndarray, zooms: list[float], axes: Axes, notes: list[str]) -> str | None:
    """Return why an (X, Y, N) array seems to contain slices rather than frames, or None.

    Many writers set "mm, sec" in every file, so the units alone are no evidence.
    """
    if axes.own_units or axes.times is not None:
        return None
    if axes.affine is not None:
        axis = axes.affine[:3, 2]
        if abs(axes.affine[2, 3]) > 1e-6 or np.abs(axis[:2]).max() > 1e-3 * np.abs(axis).max():
            return "its slices have a position in space"
    isotropic = np.allclose(zooms, zooms[0], rtol=0.01)
    if isotropic and axes.mm_per_unit is not None and zooms[0] > 0:
        return f"all three zooms are {zooms[0]:.4g} mm"
    width, height, count = values.shape
    if isotropic and zooms[0] == 1 and min(width, height) / 2 < count < 2 * max(width, height):
        if np.median(_plane_correlation(values, first=True)) < 0.5:
            return f"shape {values.shape} with no units and equal zooms, and its planes do not resemble each other"
    if zooms[2] > SLOWEST_FRAME_TIME and zooms[2] != 1:
        if _is_sector(values):
            notes.append(
                f"The third zoom, {zooms[2]:.4g}, is not a plausible frame time, but the image is a static sector; "
                "read as a cine."
            )
            return None
        return f"its third zoom, {zooms[2]:.4g}, is a slice spacing rather than a frame time"
    return None


def _plane_correlation(values: np.ndarray, first: bool = False) -> np.ndarray:
    """Return the correlation of each plane (X, Y) with the next or, with ``first``, with the first one."""
    width, height, count = values.shape
    planes = values.reshape(-1, count)[:: max(width * height // 10_000, 1)].astype(float).T
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if first:
            return np.corrcoef(planes)[0, 1:]
        return np.array([np.corrcoef(a, b)[0, 1] for a, b in pairwise(planes)])


def _is_sector(values: np.ndarray) -> bool:
    """Return whether all planes are bright in one region and dark around it, and neighbours are similar.

    The outline of an organ, in contrast, changes from slice to slice.
    """
    if values.dtype.kind not in "uif" or not np.isfinite(values).all():
        return False
    chosen = np.unique(np.linspace(0, values.shape[2] - 1, SAMPLED).round().astype(int))
    planes = np.moveaxis(values[..., chosen], -1, 0).astype(float)
    lit = [ndimage.binary_closing(np.pad(p > DARK * planes.max(), 9), iterations=8)[9:-9, 9:-9] for p in planes]
    whole = np.any(lit, axis=0)
    if whole.mean() > 1 - MIN_DARK or not whole.any():
        return False
    shares = [plane.sum() / whole.sum() for plane in lit]
    return bool(min(shares) > SAME_SECTOR and np.median(_plane_correlation(values)) > MIN_CORRELATION)
