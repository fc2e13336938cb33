"""TIFF stacks: time axis, spacing and times as described by ImageJ, OME or tifffile; and plain pages.

A page is a frame unless the metadata say otherwise: channels and slices of a hyperstack are not frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.cine.loop import FirstChannel, Loop, format_error, scale_integers, silence
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import check_size

TIFF_SUFFIXES = (".tif", ".tiff")
PIXELS_PER_BYTE = 2e4  # for a blank, deflated image
MM_PER_UNIT = {
    "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "micron": 1e-3, "µm": 1e-3, "μm": 1e-3, "um": 1e-3,
    "nm": 1e-6,
}  # fmt: skip
SECONDS_PER_UNIT = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0, "µs": 1e-6, "μs": 1e-6, "us": 1e-6}
PLAIN = "IQ"  # unnamed axes
NAMES = {"C": "channels", "Z": "slices", "T": "frames", "S": "samples"}
TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}


def read_tiff(path: Path) -> Loop:
    """Read the frames of one TIFF file."""
    channel = FirstChannel()
    loop = read_stack(path, channel)
    loop.frames = scale_integers(loop.frames, loop.notes)
    channel.report(loop)
    if loop.spacing is None and loop.frame_times is None:
        loop.notes.append("The pages give no spacing in mm and no frame times.")
    return loop


def read_stack(path: Path, channel: FirstChannel) -> Loop:
    """Read the frames of one TIFF file with values as stored, inverted if white is 0.

    Raises:
        InputError: the file cannot be read, or is not one cine.
    """
    loop = Loop()
    with open_stack(path) as (stack, axes):
        count = stack.shape[0] if axes[0] != "Y" else 1
        pages: Iterable[np.ndarray] = _frames(path, stack, axes)
        if count > 1:
            pages = show_bar(pages, f"reading {path.name}", "frame", count)
        frames = [channel(page) if page.ndim == 3 and page.dtype.kind == "u" else _first(page) for page in pages]
        _set_scale(loop, stack, len(frames))
        white_is_zero = int(stack.keyframe.photometric) == 0
        turn = TURNS.get(_tag(stack.keyframe, 274, 1))
    loop.frames = np.stack(frames)
    if loop.frames.dtype.kind not in "uifb":
        raise InputError(f"{path}: pixels of type {loop.frames.dtype} are not supported")
    if white_is_zero:
        loop.frames = np.iinfo(loop.frames.dtype).max - loop.frames if loop.frames.dtype.kind == "u" else -loop.frames
    if axes[0] == "Z" and len(loop.frames) > 1:
        loop.notes.append("ImageJ calls the pages slices but gives no distance between them; they are read as frames.")
    if turn is not None:
        _turn(loop, *turn)
    return loop


def count_pages(path: Path) -> int:
    """Return the number of pages of a TIFF; ImageJ may store more frames behind one of them. 1 if it is unreadable."""
    import tifffile

    try:
        with silence("tifffile"), tifffile.TiffFile(path) as file:
            return max(len(file.pages), int((file.imagej_metadata or {}).get("images", 1)))
    except Exception:  # reading reports what is wrong
        return 1


def read_ends(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two and the last two pages of a stack, ``[2, H, W]`` each."""
    with open_stack(path) as (stack, axes):
        pages = [_first(page) for page in _frames(path, stack, axes)]
    return np.stack(pages[:2]), np.stack(pages[-2:])


@contextmanager
def open_stack(path: Path) -> Iterator[tuple[Any, str]]:
    """Open the series of pages of a file, with its axes without singletons: time first, then Y, X, and possibly S.

    Raises:
        InputError: the file cannot be read, has pages of several sizes, or has axes other than time.
    """
    import tifffile

    try:
        with silence("tifffile"), tifffile.TiffFile(path, _multifile=False) as file:
            if not len(file.pages):
                raise InputError(f"{path}: contains no frames")
            series = list(file.series)
            stack = series[0]
            if len(series) > 1 and not _is_preview(series):
                shapes = " and ".join(dict.fromkeys(" × ".join(map(str, s.shape[-2:])) for s in series[:3]))
                raise InputError(f"{path}: {len(series)} stacks of pages in one file ({shapes}); expected one cine")
            yield stack, _check_axes(path, stack, file)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: the image cannot be read or is truncated: {format_error(error)}") from error


def _is_preview(series: list[Any]) -> bool:
    """Return whether all but the first series are single pages of another size: a label or a thumbnail."""
    return len(series[0].pages) > 1 and all(len(other.pages) == 1 for other in series[1:])


def _check_axes(path: Path, stack: Any, file: Any) -> str:
    axes = "".join(axis for axis, n in zip(stack.axes, stack.shape, strict=True) if n > 1 or axis in "YX")
    above = axes[: axes.index("Y")]
    sizes = ", ".join(
        f"{n} {NAMES.get(axis, 'pages')}"
        for axis, n in zip(stack.axes, stack.shape, strict=True)
        if n > 1 and axis not in "YX"
    )
    if not axes.endswith(("YX", "YXS")) or len(above) > 1:
        raise InputError(f"{path}: a stack of {sizes}; a cine has only frames: save one channel and one slice of it")
    if above == "Z" and stack.kind == "imagej":
        described = file.imagej_metadata or {}
        if not _number(described.get("finterval")) and not _number(described.get("fps")) and "spacing" in described:
            raise InputError(f"{path}: a 3D volume, {sizes} {described['spacing']} apart; expected a 2D cine")
    elif above and above not in ("T", *PLAIN):
        kind = "a 3D volume" if above == "Z" else "not a cine"
        raise InputError(f"{path}: {kind}: a stack of {sizes}; a cine has frames (T)")
    return axes


def _frames(path: Path, stack: Any, axes: str) -> Iterator[np.ndarray]:
    """Yield frames ``[H, W]`` or ``[H, W, S]``, with palette colours looked up."""
    shape = [n for axis, n in zip(stack.axes, stack.shape, strict=True) if n > 1 or axis in "YX"]
    count, size = (shape[0], shape[1:]) if axes[0] != "Y" else (1, shape)
    if any(page is None for page in stack.pages):
        raise InputError(f"{path}: some of its frames are in other files, or missing; save them as one file")
    check_size(path, (count, *size), path.stat().st_size + 10**6, PIXELS_PER_BYTE)
    palette = stack.keyframe.colormap if int(stack.keyframe.photometric) == 3 else None
    if len(stack.pages) == count:
        pages: Any = (page.asarray() for page in stack.pages)
    else:  # ImageJ stores a large stack behind one page
        pages = stack.asarray().reshape(count, *size)
    for page in pages:
        page = page.reshape(size)
        if palette is not None:
            page = (palette[:, np.minimum(page, palette.shape[1] - 1)] >> 8).astype(np.uint8)
            page = np.moveaxis(page, 0, -1)
        yield page


def _first(page: np.ndarray) -> np.ndarray:
    return np.array(page[..., 0] if page.ndim == 3 else page)


def _describe(stack: Any) -> Mapping[str, Any]:
    """Return the scale and times in the metadata: ``spacing`` (row, column, mm), ``step`` and ``times`` (s)."""
    file = stack.keyframe.parent
    if stack.kind == "imagej":
        return _describe_imagej(file.imagej_metadata or {}, stack.keyframe)
    if stack.kind == "ome":
        return _describe_ome(file.ome_metadata or "")
    return {}


def _describe_imagej(described: Mapping[str, Any], page: Any) -> dict[str, Any]:
    scale: dict[str, Any] = {"step": _number(described.get("finterval"))}
    scale["step"] *= SECONDS_PER_UNIT.get(str(described.get("tunit", "s")).strip('"'), 1.0)
    if not scale["step"] and _number(described.get("fps")):
        scale["step"] = 1 / _number(described.get("fps"))
    unit = MM_PER_UNIT.get(str(described.get("unit", "")).strip('"').replace("\\u00B5", "µ"))
    across, down = (_ratio(_tag(page, code, None)) for code in (282, 283))
    if unit and across and down:
        scale["spacing"] = (unit / down, unit / across)
    return scale


def _describe_ome(text: str) -> dict[str, Any]:
    import tifffile

    try:
        images = tifffile.xml2dict(text)["OME"]["Image"]
        pixels = (images if isinstance(images, dict) else images[0])["Pixels"]
        planes = pixels.get("Plane", [])
    except (KeyError, TypeError, IndexError, ValueError, SyntaxError):
        return {}
    scale: dict[str, Any] = {}
    steps = [
        _number(pixels.get(f"PhysicalSize{axis}"))
        * MM_PER_UNIT.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")), 0)
        for axis in "YX"
    ]
    if min(steps) > 0:
        scale["spacing"] = tuple(steps)
    scale["step"] = _number(pixels.get("TimeIncrement")) * SECONDS_PER_UNIT.get(
        str(pixels.get("TimeIncrementUnit", "s")), 0
    )
    planes = [planes] if isinstance(planes, dict) else planes
    stated = sorted(
        (int(p.get("TheT", 0)), _number(p.get("DeltaT"), -1), str(p.get("DeltaTUnit", "s"))) for p in planes
    )
    if stated and all(time >= 0 for _, time, _ in stated):
        scale["times"] = [time * SECONDS_PER_UNIT.get(unit, 0) for _, time, unit in stated]
    return scale


def _set_scale(loop: Loop, stack: Any, count: int) -> None:
    """Set spacing and times from the metadata; otherwise the pixel aspect from the densities."""
    page, described = stack.keyframe, _describe(stack)
    loop.spacing = described.get("spacing")
    across, down = (_ratio(_tag(page, code, None)) for code in (282, 283))
    if loop.spacing is None and across and down:
        loop.aspect = across / down
    times = described.get("times") or []
    if len(times) == count > 1 and (np.diff(times) > 0).all():
        loop.frame_times = [float(time - times[0]) for time in times]
    elif described.get("step"):
        loop.frame_times = [t * float(described["step"]) for t in range(count)]


def _turn(loop: Loop, mirrored: bool, quarters: int) -> None:
    """Rotate and mirror the frames according to the orientation tag."""
    frames = loop.frames[:, :, ::-1] if mirrored else loop.frames
    loop.frames = np.ascontiguousarray(np.rot90(frames, quarters, (1, 2)))
    if quarters % 2:
        loop.aspect = 1 / loop.aspect
        loop.spacing = loop.spacing and (loop.spacing[1], loop.spacing[0])
    loop.notes.append("The images were rotated or mirrored as the file's orientation tag demands.")


def _tag(page: Any, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value


def _ratio(value: Any) -> float:
    """Return a rational tag as a number; 0 if there is none."""
    try:
        above, below = value
        number = above / below
    except (TypeError, ValueError, ZeroDivisionError):
        number = _number(value)
    return number if np.isfinite(number) and number > 0 else 0.0


def _number(value: Any, default: float = 0.0) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if np.isfinite(number) and number >= 0 else default
