"""VTK files for ParaView: images (.vti), polylines (.vtp) and time series (.pvd).

XML with the values inline in base64, each array after its length in bytes (VTK File Formats, "XML file formats"). The
picture's rows run downwards and VTK's y upwards: y is minus the row, so that ParaView shows the picture as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.core.whole_files import write_whole

_TYPES = {"f4": "Float32", "u1": "UInt8", "i8": "Int64"}


def write_vti(path: str | Path, arrays: Mapping[str, NDArray[np.generic]], steps: Sequence[float]) -> None:
    """Write an image of point data (.vti).

    Args:
        path: ``….vti``; written whole or not at all.
        arrays: name to values ``[H, W]``, or vectors ``[2, H, W]`` (row, column), which become (x, y, 0).
        steps: lengths between pixels, (row, column).

    Raises:
        ValueError: arrays of different sizes, or of other shapes.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_vti(f"{folder}/a.vti", {"speed": np.zeros((4, 5), np.float32)}, (1.0, 1.0))
        ...     b"speed" in Path(f"{folder}/a.vti").read_bytes()
        True
    """
    sizes = {values.shape[-2:] for values in arrays.values()}
    if len(sizes) != 1 or any(v.ndim != 2 and v.shape[:-2] != (2,) for v in arrays.values()):
        raise ValueError(f"expected arrays [H, W] or [2, H, W] of one size, got {[v.shape for v in arrays.values()]}")
    height, width = sizes.pop()
    data = []
    for name, values in arrays.items():
        turned = np.flip(values, -2)  # the last row is the lowest
        if values.ndim == 3:
            turned = np.stack([turned[1], -turned[0], np.zeros_like(turned[0])], -1)
        data.append(_array(name, turned.reshape(-1, 3) if values.ndim == 3 else turned.ravel()))
    extent = f"0 {width - 1} 0 {height - 1} 0 0"
    origin = f"0 {-(height - 1) * steps[0]:.9g} 0"
    body = (
        f'<ImageData WholeExtent="{extent}" Origin="{origin}" Spacing="{steps[1]:.9g} {steps[0]:.9g} 1">'
        f'<Piece Extent="{extent}"><PointData>{"".join(data)}</PointData><CellData/></Piece></ImageData>'
    )
    _write(path, "ImageData", body)


def write_vtp(
    path: str | Path,
    lines: Sequence[NDArray[np.floating]],
    steps: Sequence[float],
    values: Mapping[str, Sequence[NDArray[np.floating]]] | None = None,
) -> None:
    """Write polylines (.vtp).

    Args:
        path: ``….vtp``; written whole or not at all.
        lines: points ``[P, 2]`` of each, (row, column) in pixels.
        steps: lengths between pixels, (row, column).
        values: name to a value of each point, ``[P]`` a line.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_vtp(f"{folder}/a.vtp", [np.zeros((3, 2))], (1.0, 1.0))
        ...     b"PolyData" in Path(f"{folder}/a.vtp").read_bytes()
        True
    """
    points = np.concatenate([np.asarray(line, dtype=float).reshape(-1, 2) for line in lines] or [np.zeros((0, 2))])
    placed = np.stack([points[:, 1] * steps[1], -points[:, 0] * steps[0], np.zeros(len(points))], -1)
    data = "".join(
        _array(name, np.concatenate([np.asarray(v, dtype=np.float32) for v in parts] or [np.zeros(0, np.float32)]))
        for name, parts in (values or {}).items()
    )
    ends = np.cumsum([len(line) for line in lines], dtype=np.int64)
    body = (
        f'<PolyData><Piece NumberOfPoints="{len(points)}" NumberOfVerts="0" NumberOfLines="{len(lines)}" '
        f'NumberOfStrips="0" NumberOfPolys="0"><PointData>{data}</PointData><CellData/>'
        f"<Points>{_array('Points', placed)}</Points>"
        f"<Lines>{_array('connectivity', np.arange(len(points)))}{_array('offsets', ends)}</Lines></Piece></PolyData>"
    )
    _write(path, "PolyData", body)


def write_pvd(path: str | Path, files: Mapping[str, float]) -> None:
    """Write a time series (.pvd) of files beside it, file name to time.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_pvd(f"{folder}/a.pvd", {"a_0.vti": 0.0, "a_1.vti": 0.02})
        ...     Path(f"{folder}/a.pvd").read_text(encoding="utf-8").count("<DataSet")
        2
    """
    parts = "".join(
        f'<DataSet timestep="{time:.9g}" group="" part="0" file={quoteattr(name)}/>' for name, time in files.items()
    )
    _write(path, "Collection", f"<Collection>{parts}</Collection>")


def _array(name: str, values: NDArray[np.generic]) -> str:
    kind = "i8" if values.dtype.kind == "i" else "u1" if values.dtype.kind in "bu" else "f4"
    raw = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
    coded = base64.b64encode(np.array([len(raw)], dtype="<u4").tobytes() + raw).decode()
    components = values.shape[1] if values.ndim == 2 else 1
    return (
        f'<DataArray type="{_TYPES[kind]}" Name={quoteattr(name)} NumberOfComponents="{components}" '
        f'format="binary">{coded}</DataArray>'
    )


def _write(path: str | Path, kind: str, body: str) -> None:
    head = f'<VTKFile type="{kind}" version="0.1" byte_order="LittleEndian" header_type="UInt32">'
    with write_whole(path) as beside:
        beside.write_text(f'<?xml version="1.0"?>\n{head}{body}</VTKFile>\n', encoding="utf-8")
