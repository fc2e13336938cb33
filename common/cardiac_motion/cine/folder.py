"""Pictures as frames: a folder of images in natural order, and images of several pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from cardiac_motion.cine.loop import FirstChannel, Loop, format_error, silence, unit_range
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import check_size

STACK_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", *STACK_SUFFIXES)
MASK_NAME = re.compile(r"(^|[_\-. ])(mask|masks|label|labels|seg|segmentation|gt)$", re.IGNORECASE)
PIXELS_PER_BYTE = 2e4  # a blank picture, deflated
MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "micron": 0.001, "µm": 0.001, "um": 0.001}
SECONDS_PER_UNIT = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3}


def read_folder(path: Path) -> Loop:
    """Read the images of a folder as frames, each page of each of them; files named as masks are left out."""
    files = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    masks = [p for p in files if MASK_NAME.search(p.stem)]
    kept = [p for p in files if p not in masks]
    if not files:
        raise InputError(f"{path}: no frames in this folder (looked for {', '.join(IMAGE_SUFFIXES)})")
    loop = _read(natsorted(kept or files, key=lambda p: p.name.lower()))
    if masks and kept:
        named = ", ".join(p.name for p in natsorted(masks)[:3])
        loop.notes.append(f"{len(masks)} files are masks by their names and are left out: {named}.")
    loop.notes.append("A folder of images gives no spacing and no frame times.")
    return loop


def read_images(path: Path) -> Loop:
    """Read an image of several pages (TIFF); ImageJ's spacing and frame time are used."""
    loop = _read([path])
    if loop.spacing is None and loop.frame_times is None:
        loop.notes.append("The pages give no spacing in mm and no frame times.")
    return loop


def _read(files: list[Path]) -> Loop:
    loop, channel = Loop(), FirstChannel()
    frames: list[np.ndarray] = []
    size = sum(file.stat().st_size for file in files)
    for file in show_bar(files, f"reading {files[0].parent.name}", "file"):
        try:
            for page in _pages(file, loop):
                frame = channel(page) if page.ndim == 3 and page.dtype.kind == "u" else page
                frame = frame[..., 0] if frame.ndim == 3 else frame
                if len(frames) % 64 == 0:
                    check_size(file, (len(frames) + 64, *frame.shape), size + 10**6, PIXELS_PER_BYTE)
                _check_like(file, frame, frames, files[0])
                frames.append(np.array(frame))
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{file}: not a readable image, or a truncated one: {format_error(error)}") from error
    if not frames:
        raise InputError(f"{files[0]}: no frames in it")
    stack = np.stack(frames)
    if stack.dtype.kind not in "uifb":
        raise InputError(f"{files[0]}: pixels of type {stack.dtype} aren't supported")
    loop.frames = unit_range(stack, loop.notes, 65535 if stack.dtype == np.uint16 else None)
    channel.tell(loop)
    if loop.frame_times is not None:
        loop.frame_times = [t * loop.frame_times[1] for t in range(len(frames))]
    return loop


def _check_like(file: Path, frame: np.ndarray, frames: list[np.ndarray], first: Path) -> None:
    if not frames:
        return
    if frame.shape != frames[0].shape:
        raise InputError(
            f"{file}: {frame.shape[1]} × {frame.shape[0]} pixels where {first.name} has "
            f"{frames[0].shape[1]} × {frames[0].shape[0]}"
        )
    if frame.dtype != frames[0].dtype:
        raise InputError(f"{file}: pixels of type {frame.dtype} where {first.name} has {frames[0].dtype}")


def _pages(file: Path, loop: Loop) -> Iterator[np.ndarray]:
    from PIL import Image

    with silence("PIL"), Image.open(file) as image:
        described = _imagej(image)
        _scale(image, described, loop)
        pages = getattr(image, "n_frames", 1)
        check_size(file, (pages, image.height, image.width), file.stat().st_size + 10**6, PIXELS_PER_BYTE)
        if int(described.get("images", 1)) <= pages:
            for index in range(pages):
                image.seek(index)
                yield np.asarray(image.convert("RGB") if image.mode in ("P", "CMYK", "YCbCr", "LAB", "PA") else image)
            return
    import tifffile

    with silence("tifffile"), tifffile.TiffFile(file) as stack:  # ImageJ stores a large stack behind one page
        values = stack.series[0].asarray()
    if values.ndim != 3:
        raise InputError(f"{file}: an ImageJ stack of shape {values.shape}; expected frames (T, Y, X)")
    yield from values


def _imagej(image: Any) -> dict[str, str]:
    """The lines ``name=value`` of ImageJ's description of a TIFF."""
    text = str(getattr(image, "tag_v2", {}).get(270, ""))
    if not text.startswith("ImageJ="):
        return {}
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _scale(image: Any, described: dict[str, str], loop: Loop) -> None:
    """Spacing and frame time as ImageJ states them; of other pictures the shape of a pixel, from its densities."""
    across, down = (float(v) for v in image.info.get("resolution", image.info.get("dpi", (1, 1)))[:2])
    if not (0 < across < np.inf and 0 < down < np.inf):
        return
    density = image.info.get("jfif_density") if image.info.get("jfif_unit") == 0 else image.info.get("aspect")
    if density and min(density) > 0 and "dpi" not in image.info:
        across, down = (float(v) for v in density)
    unit = MM_PER_UNIT.get(described.get("unit", "").replace("\\u00B5", "µ"))
    if unit:
        tags = image.tag_v2
        loop.spacing = (unit / float(tags.get(283, 1)), unit / float(tags.get(282, 1)))
    else:
        loop.aspect = across / down
    step = float(described.get("finterval", 0)) * SECONDS_PER_UNIT.get(described.get("tunit", "s"), 1.0)
    if step > 0:
        loop.frame_times = [0.0, step]
