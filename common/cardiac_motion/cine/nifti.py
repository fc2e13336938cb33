"""NIfTI cines: shape (X, Y, T) or (X, Y, 1, T), units, and the frame times stored by ``write_cine``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.cine.axes import Axes, axes_to_frames
from cardiac_motion.cine.loop import Loop, format_error, silence
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import DEFLATED, check_packed, check_size

NIFTI_SUFFIXES = (".nii", ".nii.gz")
TIME_SERIES_INTENT = 2001
PLAYBACK = b", playback"  # suffix of the description in files of ``write_cine`` whose times are those of playback
MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # the lower three bits of xyzt_units: metre, millimetre, micrometre
SECONDS_PER_UNIT = {8: 1.0, 16: 1e-3, 24: 1e-6}  # the next three: second, millisecond, microsecond


def read_nifti(path: Path) -> Loop:
    """Read a NIfTI-1 or NIfTI-2 file, plain or gzipped."""
    import nibabel as nib
    from nibabel.openers import ImageOpener

    try:
        with silence("nibabel.global"):
            image: Any = nib.load(path)
            header = image.header
            with ImageOpener(str(path)) as file:
                stated = type(header).from_fileobj(file, check=False)  # before nibabel corrects it
            shape, kind = header.get_data_shape(), header.get_data_dtype()
            size = path.stat().st_size * (DEFLATED if path.name.lower().endswith(".gz") else 1)
            if shape:
                check_size(path, shape, size, 1 / kind.itemsize)
            check_packed(path, math.prod(shape) * kind.itemsize)
            extensions = [e.get_content() for e in header.extensions if e.get_code() == 6]
            values = np.asanyarray(image.dataobj)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: the NIfTI file cannot be read or is truncated: {format_error(error)}") from error
    if values.dtype.names:
        values = values[values.dtype.names[0]]
    units = int(stated["xyzt_units"])
    zooms = [abs(float(z)) for z in stated["pixdim"][1 : 1 + max(len(shape), 3)]]
    loop = axes_to_frames(
        path,
        values,
        Axes(
            zooms,
            affine=_affine(header),
            mm_per_unit=MM_PER_UNIT.get(units & 7),
            seconds_per_unit=SECONDS_PER_UNIT.get(units & 56),
            is_series=int(header["intent_code"]) == TIME_SERIES_INTENT,
            own_units=units & 56 in (16, 24),
        ),
    )
    if bytes(header["descrip"]).rstrip(b"\0").endswith(PLAYBACK):
        loop.frame_time_source = "playback"
    for content in extensions:
        times = _read_times(content, len(loop.frames))
        loop.frame_times = times or loop.frame_times
    return loop


def _affine(header: Any) -> np.ndarray | None:
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        return None
    try:
        affine = np.asarray(header.get_best_affine())
    except Exception:  # an invalid quaternion gives no position
        return None
    return affine if np.isfinite(affine).all() else None


def _read_times(content: Any, count: int) -> list[float] | None:
    try:
        times = [float(t) for t in json.loads(content)["frame_times"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return times if len(times) == count and all(map(math.isfinite, times)) else None
