"""NIfTI cines: shape (X, Y, T) or (X, Y, 1, T), units, and the frame times that ``write_cine`` adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from common.cine.axes import axes_to_frames
from common.cine.loop import Loop, one_line, quiet
from common.core.errors import InputError

TIME_SERIES_INTENT = 2001
MM_PER_UNIT = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


def read_nifti(path: Path) -> Loop:
    import nibabel as nib

    try:
        with quiet("nibabel.global"):
            image: Any = nib.load(path)
            header = image.header
            extensions = [e.get_content() for e in header.extensions if e.get_code() == 6]
            values = np.asanyarray(image.dataobj)
    except Exception as error:
        raise InputError(f"{path}: not a readable NIfTI file, or a truncated one: {one_line(error)}") from error
    if values.dtype.names:
        values = values[values.dtype.names[0]]
    space_unit, time_unit = header.get_xyzt_units()
    loop = axes_to_frames(
        path,
        values,
        zooms=[float(z) for z in header.get_zooms()],
        affine=header.get_best_affine() if header["sform_code"] > 0 or header["qform_code"] > 0 else None,
        mm_per_unit=MM_PER_UNIT.get(space_unit),
        seconds_per_unit=SECONDS_PER_UNIT.get(time_unit),
        is_series=int(header["intent_code"]) == TIME_SERIES_INTENT,
        own_units=time_unit in ("msec", "usec"),
    )
    for content in extensions:
        times = _stored_times(content, len(loop.frames))
        loop.frame_times = times or loop.frame_times
    return loop


def _stored_times(content: Any, count: int) -> list[float] | None:
    try:
        times = json.loads(content)["frame_times"]
    except (ValueError, TypeError, KeyError):
        return None
    return [float(t) for t in times] if len(times) == count else None
