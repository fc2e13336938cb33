"""MetaImage cines (.mha, .mhd)."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from common.cine.axes import axes_to_frames
from common.cine.loop import Loop, one_line
from common.core.errors import InputError

METAIMAGE_TYPES = {
    "UCHAR": "u1",
    "CHAR": "i1",
    "USHORT": "u2",
    "SHORT": "i2",
    "UINT": "u4",
    "INT": "i4",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}


def read_metaimage(path: Path) -> Loop:
    with path.open("rb") as file:
        head = file.read(16384)
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields and position < len(head):
        line, _, _ = head[position:].partition(b"\n")
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        position += len(line) + 1
    if "ElementDataFile" not in fields:
        raise InputError(f"{path}: not a MetaImage file")
    try:
        sizes = [int(n) for n in fields["DimSize"].split()]
        values = _metaimage_values(path, fields, sizes, position)
        stated = fields.get("ElementSpacing") or fields.get("ElementSize")
        zooms = [float(v) for v in stated.split()] if stated else [1.0] * len(sizes)
        offset = fields.get("Offset") or fields.get("Position") or fields.get("Origin") or "0 0 0"
        matrix = fields.get("TransformMatrix") or fields.get("Rotation") or fields.get("Orientation")
        affine = None
        if len(sizes) == 3:
            affine = np.eye(4)
            affine[:3, 3] = [float(v) for v in offset.split()]
            if matrix:
                affine[:3, :3] = np.reshape([float(v) for v in matrix.split()], (3, 3)).T
        zooms = zooms[: len(sizes)] if len(zooms) >= len(sizes) else [*zooms, *[1.0] * (len(sizes) - len(zooms))]
    except InputError:
        raise
    except (KeyError, ValueError, OverflowError, zlib.error) as error:
        raise InputError(f"{path}: not a readable MetaImage, or a truncated one: {one_line(error)}") from error
    return axes_to_frames(
        path,
        values,
        zooms=zooms,
        affine=affine,
        mm_per_unit=1.0 if stated else None,
        seconds_per_unit=1.0 if stated else None,
        is_series=False,
        own_units=False,
    )


def _metaimage_values(path: Path, fields: dict[str, str], sizes: list[int], header_bytes: int) -> np.ndarray:
    """The pixels as (X, Y, …), the first channel where there are several."""
    name = fields["ElementDataFile"]
    source = path if name.upper() == "LOCAL" else path.parent / name
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(f"{path}: a MetaImage whose pixels lie in several files isn't supported")
    if not source.is_file():
        raise InputError(f"{path}: its data file {name} is missing")
    kind = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in METAIMAGE_TYPES:
        raise InputError(f"{path}: pixels of type {fields['ElementType']} aren't supported")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    dtype = np.dtype(METAIMAGE_TYPES[kind]).newbyteorder(">" if big else "<")
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    needed = int(np.prod(sizes, dtype=object)) * channels * dtype.itemsize
    data = source.read_bytes()[header_bytes if source == path else 0 :]
    if fields.get("CompressedData", "False").lower() == "true":
        data = zlib.decompress(data)
    skipped = int(fields.get("HeaderSize", "0"))
    data = data[-needed:] if skipped == -1 else data[skipped:]
    if needed <= 0 or len(data) < needed:
        raise InputError(f"{path}: truncated, {len(data)} bytes of pixels where the header needs {needed}")
    values = np.frombuffer(data, dtype, needed // dtype.itemsize).astype(dtype.newbyteorder("="), copy=False)
    return values.reshape(*sizes[::-1], channels)[..., 0].transpose()
