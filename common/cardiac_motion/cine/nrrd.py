"""NRRD cines (.nrrd, .nhdr), and the sequences of 3D Slicer (.seq.nrrd), in which one axis is a list, or time."""

from __future__ import annotations

import bz2
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.cine.axes import Axes, axes_to_frames
from cardiac_motion.cine.loop import Loop, format_error
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra
from cardiac_motion.core.stored import DEFLATED, check_size, unpack

NRRD_SUFFIXES = (".nrrd", ".nhdr")
MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "meter": 1000.0, "um": 0.001, "µm": 0.001}
SECONDS_PER_UNIT = {"s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6}
TIME_KINDS = ("list", "time")
COLOUR_KINDS = ("rgb-color", "rgba-color", "vector", "3-color", "4-color")


def read_nrrd(path: Path) -> Loop:
    """Read a NRRD of one file, or of a header and one pixel file."""
    nrrd = import_extra("nrrd", f"{path}: a NRRD file")

    try:
        with path.open("rb") as file:
            header: dict[str, Any] = dict(nrrd.read_header(file))
            sizes = [int(n) for n in header["sizes"]]
            size = _read_stored(path, header)
            packed = str(header.get("encoding", "raw")).lower() != "raw"
            check_size(path, sizes, size, DEFLATED if packed else 1)
            start = file.tell()
            values = nrrd.read_data(header, file, str(path))
            _check_packed(path, header, start, values.nbytes)
        count = values.ndim
        kinds = [str(kind).lower() for kind in header.get("kinds", ["domain"] * count)]
        steps = _steps(header, count)
        units = [str(unit).lower().strip('"') for unit in header.get("units", [""] * count)]
        colour = [axis for axis in range(count) if kinds[axis] in COLOUR_KINDS]
        series = [axis for axis in range(count) if kinds[axis] in TIME_KINDS]
        for axis in (*colour, *series[1:]):
            if sizes[axis] not in ((1, 3, 4) if axis in colour else (1,)):
                raise InputError(
                    f"{path}: {sizes[axis]} values per pixel (axis kind {kinds[axis]}); a cine has one, or colours"
                )
        order = [axis for axis in range(count) if axis not in (*colour, *series)] + series[:1]
        values = np.transpose(values, [*order, *colour, *series[1:]])
        while values.ndim > len(order):
            values = values[..., 0]
        zooms = [steps[axis] for axis in order]
        times = _index_values(header, series[0]) if series else None
        space = header.get("space units") or [unit for unit in (units[axis] for axis in order[:2]) if unit]
        millimetres = MM_PER_UNIT.get(str(space[0]).lower()) if len(space) else (1.0 if "space" in header else None)
        axes = Axes(
            zooms + [1.0] * (3 - len(zooms)),
            affine=None if series else _affine(header),
            mm_per_unit=millimetres,
            seconds_per_unit=SECONDS_PER_UNIT.get(units[order[-1]]),
            is_series=bool(series),
            times=times,
        )
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: the NRRD file cannot be read or is truncated: {format_error(error)}") from error
    return axes_to_frames(path, values, axes)


def count_nrrd(path: Path) -> int:
    """Return the number of frames, or slices, of a NRRD according to its header."""
    nrrd = import_extra("nrrd", f"{path}: a NRRD file")

    header = nrrd.read_header(str(path))
    sizes = [int(n) for n in header["sizes"]]
    kinds = [str(kind).lower() for kind in header.get("kinds", [])] or ["domain"] * len(sizes)
    series = [n for n, kind in zip(sizes, kinds, strict=True) if kind in TIME_KINDS]
    planes = [n for n, kind in zip(sizes, kinds, strict=True) if kind not in (*TIME_KINDS, *COLOUR_KINDS)]
    return math.prod(series + planes[2:])


def _read_stored(path: Path, header: dict[str, Any]) -> int:
    """Return the size in bytes of the file with the pixels."""
    name = header.get("data file") or header.get("datafile")
    if not name:
        return path.stat().st_size
    if str(name).upper().startswith("LIST") or "%" in str(name):
        raise InputError(f"{path}: a NRRD whose pixels are in several files is not supported")
    source = path.parent / str(name)
    if not source.is_file():
        raise InputError(f"{path}: its data file {name} is missing")
    return source.stat().st_size


def _check_packed(path: Path, header: dict[str, Any], start: int, needed: int) -> None:
    """Decompress the pixels to their end, where the checksum is.

    Raises:
        ValueError, zlib.error, OSError: the data are damaged or truncated.
    """
    encoding = str(header.get("encoding", "raw")).lower()
    name = header.get("data file") or header.get("datafile")
    if encoding not in ("gzip", "gz", "bzip2", "bz2") or int(header.get("byte skip", header.get("byteskip", 0))) < 0:
        return
    with (path.parent / str(name) if name else path).open("rb") as file:
        file.seek(0 if name else start)
        for _ in range(int(header.get("line skip", header.get("lineskip", 0)))):
            file.readline()
        data = file.read()
    if encoding.startswith("gz"):
        skipped = int(header.get("byte skip", header.get("byteskip", 0)))
        unpack(data, needed + skipped, zlib.MAX_WBITS | 16)
        return
    stream = bz2.BZ2Decompressor()
    stream.decompress(data, needed + 1)
    if not stream.eof and stream.needs_input:
        raise ValueError("the compressed pixels are truncated")


def _steps(header: dict[str, Any], count: int) -> list[float]:
    if "space directions" in header:
        directions = np.asarray(header["space directions"], dtype=float).reshape(count, -1)
        return [float(np.linalg.norm(row)) for row in directions]
    return [abs(float(v)) for v in header.get("spacings", [math.nan] * count)]


def _affine(header: dict[str, Any]) -> np.ndarray | None:
    """Return the affine of the first slice, as far as needed to recognise a volume; None if unknown."""
    if "space origin" not in header or "space directions" not in header:
        return None
    directions = np.asarray(header["space directions"], dtype=float)
    origin = np.asarray(header["space origin"], dtype=float)
    if directions.shape != (3, 3) or origin.shape != (3,) or not np.isfinite(directions).all():
        return None
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions.T, origin
    return affine if np.isfinite(affine).all() else None


def _index_values(header: dict[str, Any], axis: int) -> list[float] | None:
    """Return the times of the items of a list axis, as stored by 3D Slicer; None if unknown."""
    if str(header.get(f"axis {axis} index type", "numeric")).lower() != "numeric":
        return None
    unit = SECONDS_PER_UNIT.get(str(header.get(f"axis {axis} index unit", "")).lower())
    try:
        values = [float(v) * (unit or 0) for v in str(header[f"axis {axis} index values"]).split()]
    except (KeyError, ValueError):
        return None
    return values if unit and values and np.isfinite(values).all() else None
