"""Whether an array of three axes is a cine or a volume, and the loop that it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.cine.loop import Loop, unit_range
from common.core.errors import InputError

SLOWEST_FRAME_TIME = 0.2


def axes_to_frames(
    path: Path,
    values: np.ndarray,
    *,
    zooms: list[float],
    affine: np.ndarray | None,
    mm_per_unit: float | None,
    seconds_per_unit: float | None,
    is_series: bool,
    own_units: bool,
) -> Loop:
    """Make a loop of an array whose axes are (X, Y, T) or (X, Y, 1, T), refusing a volume.

    ``mm_per_unit`` and ``seconds_per_unit`` are None where the file names no unit; ``is_series`` says that the file
    calls itself a time series, ``own_units`` that it names a time unit that no writer of volumes puts down by default.
    """
    shape = values.shape
    loop = Loop(np.empty(0))
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    explicit = values.ndim == 4 and values.shape[2] == 1
    if explicit:
        values = values[:, :, 0]
        zooms = [zooms[0], zooms[1], zooms[3]]
    if values.ndim == 2:
        raise InputError(f"{path}: only 1 frame, shape {shape}; a cine needs at least two")
    if values.ndim != 3:
        raise InputError(f"{path}: shape {shape}; expected a 2D cine, (X, Y, T) or (X, Y, 1, T)")
    if values.shape[2] > 1 and not (explicit or is_series):
        reason = _looks_like_volume(values, zooms, affine, mm_per_unit, own_units)
        if reason:
            raise InputError(
                f"{path}: a 3D volume, not a 2D cine: {reason} (a cine of shape (X, Y, T) has a frame time in seconds "
                "as its third zoom; NIfTI intent code 2001 or shape (X, Y, 1, T) settles it)"
            )
    loop.frames = unit_range(np.moveaxis(values, -1, 0).swapaxes(1, 2), loop.notes)
    if mm_per_unit is None:
        loop.notes.append("The file names no unit of length: its spacing isn't used.")
    else:
        loop.spacing = (zooms[1] * mm_per_unit, zooms[0] * mm_per_unit)
    step = zooms[2] * (seconds_per_unit or 0)
    if 0 < step <= SLOWEST_FRAME_TIME or (step > 0 and (explicit or is_series)):
        loop.frame_times = [t * step for t in range(len(loop.frames))]
    else:
        loop.notes.append("The file gives no frame times: its third axis is taken as time.")
    return loop


def _looks_like_volume(
    values: np.ndarray, zooms: list[float], affine: np.ndarray | None, mm_per_unit: float | None, own_units: bool
) -> str | None:
    """Why an (X, Y, N) array seems to be N slices rather than N frames, or None.

    Many writers put "mm, sec" on everything, so the units alone don't tell.
    """
    if own_units:
        return None
    if affine is not None:
        axis = affine[:3, 2]
        if abs(affine[2, 3]) > 1e-6 or np.abs(axis[:2]).max() > 1e-3 * np.abs(axis).max():
            return "its slices have a position in space"
    isotropic = np.allclose(zooms, zooms[0], rtol=0.01)
    if isotropic and mm_per_unit is not None:
        return f"all three zooms are {zooms[0]:.4g} mm"
    width, height, count = values.shape
    if isotropic and zooms[0] == 1 and min(width, height) / 2 < count < 2 * max(width, height):
        planes = values.reshape(-1, count)[:: max(width * height // 10_000, 1)].astype(float).T
        with np.errstate(invalid="ignore", divide="ignore"):
            alike = np.corrcoef(planes)[0, 1:]
        if np.median(alike) < 0.5:
            return f"shape {values.shape} with no units and equal zooms, and its planes aren't alike"
    if zooms[2] > SLOWEST_FRAME_TIME and zooms[2] != 1:
        return f"its third zoom, {zooms[2]:.4g}, is a slice distance rather than a frame time"
    return None
