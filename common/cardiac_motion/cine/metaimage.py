"""MetaImage cines (.mha, .mhd), and sequences of tracked-ultrasound tools (.igs.mha, .igs.mhd).

The header is read and validated here before memory is allocated; ITK, which reads the same files, allocates what a
header claims, and writes to the terminal when it fails.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

import numpy as np

from cardiac_motion.cine.axes import Axes, axes_to_frames
from cardiac_motion.cine.loop import Loop, format_error
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import DEFLATED, check_size, unpack

METAIMAGE_SUFFIXES = (".mha", ".mhd")
METAIMAGE_TYPES = {
    "UCHAR": "u1",
    "CHAR": "i1",
    "USHORT": "u2",
    "SHORT": "i2",
    "UINT": "u4",
    "INT": "i4",
    "ULONG": "u4",
    "LONG": "i4",
    "ULONG_LONG": "u8",
    "LONG_LONG": "i8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
LONGEST_HEADER, LONGEST_LINE = 1 << 26, 1 << 20  # bytes; tracked sequences have some hundred bytes per frame
TIME_KINDS = ("list", "time")
STAMP = re.compile(r"Seq_Frame(\d+)_Timestamp")


def read_metaimage(path: Path) -> Loop:
    """Read a MetaImage of one file, or of a header and one pixel file."""
    fields, position = _header(path)
    try:
        sizes = [int(n) for n in fields["DimSize"].split()]
        if not sizes:
            raise InputError(f"{path}: DimSize is empty")
        values = _values(path, fields, sizes, position)
        stated = fields.get("ElementSpacing") or fields.get("ElementSize")
        zooms = [abs(float(v)) for v in stated.split()] if stated else [1.0] * len(sizes)
        zooms = [*zooms, *[1.0] * (len(sizes) - len(zooms))][: len(sizes)]
        affine = _affine(fields) if len(sizes) == 3 else None
        times = _stamps(fields)
        kinds = fields.get("Kinds", "").lower().split()
        is_series = len(kinds) == len(sizes) and kinds[-1] in TIME_KINDS
    except InputError:
        raise
    except (KeyError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        raise InputError(f"{path}: the MetaImage cannot be read or is truncated: {format_error(error)}") from error
    tracked = "UltrasoundImageOrientation" in fields and stated is not None
    unit = None if not stated or (tracked and set(zooms) == {1.0}) else 1.0  # such tools write 1 if spacing is unknown
    return axes_to_frames(
        path,
        values,
        Axes(
            zooms if len(zooms) > 2 else [*zooms, 1.0],
            affine=None if is_series else affine,
            mm_per_unit=unit,
            seconds_per_unit=1.0 if unit and not is_series else None,
            is_series=is_series,
            times=times,
        ),
    )


def count_metaimage(path: Path) -> int:
    """Return the number of frames, or slices, of a MetaImage according to its header."""
    return math.prod(int(n) for n in _header(path)[0]["DimSize"].split()[2:])


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields up to ElementDataFile, and the position of the data."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while "ElementDataFile" not in fields and file.tell() < LONGEST_HEADER:
            line = file.readline(LONGEST_LINE)
            if not line or (not fields and b"=" not in line):
                break
            key, _, value = line.decode("latin-1").partition("=")
            fields[key.strip()] = value.strip()
        if "ElementDataFile" not in fields:
            raise InputError(f"{path}: not a MetaImage file")
        return fields, file.tell()


def _affine(fields: dict[str, str]) -> np.ndarray | None:
    offset = fields.get("Offset") or fields.get("Position") or fields.get("Origin") or "0 0 0"
    matrix = fields.get("TransformMatrix") or fields.get("Rotation") or fields.get("Orientation")
    affine = np.eye(4)
    affine[:3, 3] = [float(v) for v in offset.split()]
    if matrix:
        affine[:3, :3] = np.reshape([float(v) for v in matrix.split()], (3, 3)).T
    return affine if np.isfinite(affine).all() else None


def _stamps(fields: dict[str, str]) -> list[float] | None:
    """Return the time in seconds of each frame of a tracked sequence; None if there are none."""
    stamps = {int(match[1]): float(value) for key, value in fields.items() if (match := STAMP.fullmatch(key))}
    times = [stamps[number] for number in sorted(stamps)]
    return times if times and np.isfinite(times).all() else None


def _values(path: Path, fields: dict[str, str], sizes: list[int], header_bytes: int) -> np.ndarray:
    """Read the pixels as (X, Y, …), the first channel if there are several."""
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    source = path if local else path.parent / name
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(f"{path}: a MetaImage whose pixels are in several files is not supported")
    if not source.is_file():
        raise InputError(f"{path}: its data file {name} is missing")
    kind = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in METAIMAGE_TYPES:
        raise InputError(f"{path}: pixels of type {fields['ElementType']} are not supported")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    dtype = np.dtype(METAIMAGE_TYPES[kind]).newbyteorder(">" if big else "<")
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    if channels not in (1, 3, 4):
        raise InputError(f"{path}: {channels} values per pixel; a cine has one, or colours (3 or 4)")
    packed = fields.get("CompressedData", "False").lower() == "true"
    text = fields.get("BinaryData", "True").lower() == "false"
    start = header_bytes if local else 0
    stored = source.stat().st_size - start
    most = 0.5 if text else (DEFLATED if packed else 1) / dtype.itemsize
    check_size(path, [*sizes, channels], stored + (1 if text else 0), most)
    count = int(np.prod(sizes, dtype=object)) * channels
    needed = count * dtype.itemsize
    with source.open("rb") as file:
        file.seek(start)
        data = file.read()
    if packed:
        data = unpack(data, needed)
    if text:
        words = data.split()
        if len(words) < count:
            raise InputError(f"{path}: truncated: {len(words)} numbers, but the header needs {count}")
        values = np.array(words[:count], dtype=np.float64).astype(METAIMAGE_TYPES[kind])
        return values.reshape(*sizes[::-1], channels)[..., 0].transpose()
    skipped = 0 if packed else int(fields.get("HeaderSize", "0"))
    data = data[-needed:] if skipped == -1 else data[max(skipped, 0) :]
    if len(data) < needed:
        raise InputError(f"{path}: truncated: {len(data)} bytes of pixels, but the header needs {needed}")
    values = np.frombuffer(data, dtype, count).astype(dtype.newbyteorder("="), copy=False)
    return values.reshape(*sizes[::-1], channels)[..., 0].transpose()
