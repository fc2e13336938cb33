"""GIFs: frames, their delays and pixel aspect; bytes after the trailer are ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cardiac_motion.cine.loop import FirstChannel, Loop, format_error, silence, unit_range
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import check_size

PIXELS_PER_BYTE = 1e5  # repeated frames are stored once


def read_gif(path: Path) -> Loop:
    """Read an animated GIF; its frame times are those of playback."""
    from PIL import Image

    data = path.read_bytes()
    whole, aspect = _blocks(data)
    if data[:4] != b"GIF8":
        raise InputError(f"{path}: not a readable GIF; the file signature is missing")
    if not whole:
        raise InputError(f"{path}: the GIF is truncated or damaged")
    loop, channel = Loop(aspect=aspect, frame_time_source="playback"), FirstChannel()
    frames, durations = [], []
    try:
        with silence("PIL"), Image.open(path) as image:
            for index in range(getattr(image, "n_frames", 1)):
                if index % 64 == 0:
                    check_size(path, (index + 64, image.height, image.width), len(data), PIXELS_PER_BYTE)
                image.seek(index)
                frames.append(channel(np.asarray(image.convert("RGB"))))
                durations.append(float(image.info.get("duration", 0)) / 1000)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: the GIF cannot be read or is truncated: {format_error(error)}") from error
    loop.frames = unit_range(np.stack(frames), loop.notes)
    channel.report(loop)
    if all(step > 0 for step in durations):
        loop.frame_times = [float(t) for t in np.cumsum([0.0, *durations[:-1]])]
    loop.notes.append("A GIF gives no spacing in mm; lengths are in pixels.")
    loop.notes.append("A GIF's times are those of its playback, which may be slower or faster than the acquisition.")
    return loop


def _blocks(data: bytes) -> tuple[bool, float]:
    """Return whether the trailer is reached, and the pixel aspect, height over width (GIF89a, sections 18 and 27)."""

    def skip_colours(at: int) -> int:
        return 3 << (data[at] & 7) + 1 if data[at] & 0x80 else 0

    try:
        aspect = 64 / (data[12] + 15) if data[12] else 1.0
        at = 13 + skip_colours(10)
        while data[at] != 0x3B:
            if data[at] == 0x2C:
                at += 11 + skip_colours(at + 9)
            elif data[at] == 0x21:
                at += 2
            else:
                return False, aspect
            while data[at]:
                at += data[at] + 1
            at += 1
    except IndexError:
        return False, 1.0
    return True, aspect
