"""Read a folder of images as frames, in natural order; each page of a TIFF is a frame."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from cardiac_motion.cine.loop import FirstChannel, Loop, format_error, scale_integers, silence
from cardiac_motion.cine.tiff import PIXELS_PER_BYTE, TIFF_SUFFIXES, read_stack
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import check_size

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", *TIFF_SUFFIXES)
MASK_NAME = re.compile(r"(^|[_\-. ])(mask|masks|label|labels|seg|segmentation|gt)$", re.IGNORECASE)
GREY_MODES = {"LA": "L", "La": "L", "PA": "RGB", "P": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}


def list_pictures(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the images of a folder in natural order, and those that are masks according to their names."""
    files = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    files = natsorted((p for p in files if p.is_file()), key=lambda p: p.name.lower())
    return files, [p for p in files if MASK_NAME.search(p.stem)]


def read_folder(path: Path) -> Loop:
    """Read the images of a folder as frames, each page of each image; files named as masks are skipped."""
    files, masks = list_pictures(path)
    images = [p for p in files if p not in masks]
    if not files:
        raise InputError(f"{path}: no frames in this folder (looked for {', '.join(IMAGE_SUFFIXES)})")
    loop = _read(images or files)
    if masks and images:
        named = ", ".join(p.name for p in masks[:3])
        loop.notes.append(f"{len(masks)} files are masks according to their names and are skipped: {named}.")
    if loop.spacing is None and loop.frame_times is None:
        loop.notes.append("A folder of images provides neither spacing nor frame times.")
    return loop


def _read(files: list[Path]) -> Loop:
    loop, channel = Loop(), FirstChannel()
    parts: list[np.ndarray] = []
    for file in show_bar(files, f"reading {files[0].parent.name}", "file"):
        part = read_stack(file, channel) if file.suffix.lower() in TIFF_SUFFIXES else _read_picture(file, channel)
        if not parts:
            loop.spacing, loop.aspect, loop.frame_times = part.spacing, part.aspect, part.frame_times
        elif part.spacing != loop.spacing or abs(part.aspect / loop.aspect - 1) > 0.01:
            raise InputError(f"{file}: its pixel size or aspect differs from that of {files[0].name}")
        _check_same_kind(file, part.frames[0], parts, files[0])
        loop.notes += [note for note in part.notes if note not in loop.notes]
        parts.append(part.frames)
    stack = np.concatenate(parts)
    del parts
    loop.frames = scale_integers(stack, loop.notes)
    channel.report(loop)
    if loop.frame_times is not None:
        step = loop.frame_times[1] if len(loop.frame_times) > 1 else 0.0
        loop.frame_times = [t * step for t in range(len(stack))] if step else None
    return loop


def _read_picture(file: Path, channel: FirstChannel) -> Loop:
    """Read an image as one frame, in its display orientation."""
    from PIL import Image, ImageOps

    try:
        size = file.stat().st_size
        with silence("PIL"):
            if file.suffix.lower() == ".png":
                with Image.open(file) as image:  # decoding stops before the checksums
                    image.verify()
            with Image.open(file) as image:
                check_size(file, (1, image.height, image.width), size + 10**6, PIXELS_PER_BYTE)
                loop = Loop(aspect=_aspect(image))
                upright = ImageOps.exif_transpose(image)
                if upright.size != image.size and loop.aspect != 1:
                    loop.aspect = 1 / loop.aspect
                page = np.asarray(upright.convert(GREY_MODES[upright.mode]) if upright.mode in GREY_MODES else upright)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{file}: not a readable image, or a truncated one: {format_error(error)}") from error
    if page.dtype.kind not in "uifb":
        raise InputError(f"{file}: pixels of type {page.dtype} are not supported")
    frame = channel(page) if page.ndim == 3 and page.dtype.kind == "u" else page
    loop.frames = np.array(frame[..., 0] if frame.ndim == 3 else frame)[None]
    return loop


def _check_same_kind(file: Path, frame: np.ndarray, parts: list[np.ndarray], first: Path) -> None:
    if not parts:
        return
    shape, kind = parts[0].shape[1:], parts[0].dtype
    if frame.shape != shape:
        raise InputError(
            f"{file}: {frame.shape[1]} × {frame.shape[0]} pixels, but {first.name} has {shape[1]} × {shape[0]}"
        )
    if frame.dtype != kind:
        raise InputError(f"{file}: pixels of type {frame.dtype}, but {first.name} has {kind}")


def _aspect(image: Any) -> float:
    """Return a pixel's height over its width, from the horizontal and vertical densities."""
    across, down = (float(v) for v in image.info.get("dpi", (1, 1))[:2])
    density = image.info.get("jfif_density") if image.info.get("jfif_unit") == 0 else image.info.get("aspect")
    if density and min(density) > 0 and "dpi" not in image.info:
        across, down = (float(v) for v in density)
    return across / down if 0 < across < np.inf and 0 < down < np.inf else 1.0
