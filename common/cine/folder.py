"""A folder of images, one a frame."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from common.cine.loop import Loop, one_line, unit_range
from common.core.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def read_folder(path: Path) -> Loop:
    from PIL import Image

    files = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not files:
        raise InputError(f"{path}: no frames in this folder (looked for {', '.join(IMAGE_SUFFIXES)})")
    files.sort(key=lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", p.name.lower())])
    loop = Loop(np.empty(0))
    frames: list[np.ndarray] = []
    for file in files:
        try:
            with Image.open(file) as image:
                values = np.asarray(image.convert("RGB") if image.mode in ("P", "1", "CMYK", "YCbCr") else image)
        except Exception as error:
            raise InputError(f"{file}: not a readable image, or a truncated one: {one_line(error)}") from error
        frame = values[..., 0] if values.ndim == 3 else values
        if frames and frame.shape != frames[0].shape:
            raise InputError(
                f"{file}: {frame.shape[1]} × {frame.shape[0]} pixels where {files[0].name} has "
                f"{frames[0].shape[1]} × {frames[0].shape[0]}"
            )
        if frames and frame.dtype != frames[0].dtype:
            raise InputError(f"{file}: pixels of type {frame.dtype} where {files[0].name} has {frames[0].dtype}")
        frames.append(frame)
    stack = np.stack(frames)
    loop.frames = unit_range(stack, loop.notes, 65535 if stack.dtype == np.uint16 else None)
    loop.notes.append("A folder of images gives no spacing and no frame times.")
    return loop
