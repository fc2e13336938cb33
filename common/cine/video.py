"""Videos and GIFs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from common.cine.loop import Loop, first_channel, one_line, unit_range
from common.core.errors import InputError

VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm")


def read_video(path: Path) -> Loop:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        video = cv2.VideoCapture(os.fspath(path), cv2.CAP_FFMPEG)
        if not video.isOpened():
            raise InputError(f"{path}: not a readable video, or a truncated one")
        declared = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = video.get(cv2.CAP_PROP_FPS)
        frames, stamps = [], []
        while True:
            ok, frame = video.read()
            if not ok:
                break
            frames.append(frame[..., ::-1])
            stamps.append(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        video.release()
    finally:
        cv2.utils.logging.setLogLevel(level)
    counts_frames = path.suffix.lower() not in (".mkv", ".webm")  # these two give a duration, not a count
    if len(frames) < declared - (0 if counts_frames else 1 + declared // 50):
        raise InputError(f"{path}: the video ends early, {declared} frames declared but {len(frames)} can be decoded")
    missing = _missing_bytes(path)
    if missing:
        raise InputError(f"{path}: the video ends early, the last {missing} bytes are missing")
    if not frames:
        raise InputError(f"{path}: the video has no frames")
    loop = Loop(np.empty(0))
    loop.frames = unit_range(first_channel(np.stack(frames), loop), loop.notes)
    steps = np.diff(stamps)
    if len(steps) and np.all(steps > 0) and not np.allclose(steps, steps[0], rtol=0.02):
        loop.frame_times = [t - stamps[0] for t in stamps]
    elif rate > 0:
        loop.frame_times = [t / rate for t in range(len(frames))]
    loop.notes.append("A video gives no spacing in mm: lengths are in pixels.")
    return loop


def _missing_bytes(path: Path) -> int:
    """How far the top-level boxes of an MP4, or the RIFF chunk of an AVI, reach beyond the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if path.suffix.lower() == ".avi":
            head = file.read(8)
            return max(int.from_bytes(head[4:], "little") + 8 - size, 0) if head[:4] == b"RIFF" else 0
        if path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
            return 0
        start = 0
        while start + 8 <= size:
            file.seek(start)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            if length < 8:
                return 0
            start += length
    return max(start - size, 0)


def read_gif(path: Path) -> Loop:
    from PIL import Image

    loop = Loop(np.empty(0))
    frames, durations = [], []
    try:
        with Image.open(path) as image:
            for index in range(getattr(image, "n_frames", 1)):
                image.seek(index)
                frames.append(np.asarray(image.convert("RGB")))
                durations.append(float(image.info.get("duration", 0)) / 1000)
    except Exception as error:
        raise InputError(f"{path}: not a readable GIF, or a truncated one: {one_line(error)}") from error
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\x3b":
            raise InputError(f"{path}: the GIF ends early, after {len(frames)} frames")
    loop.frames = unit_range(first_channel(np.stack(frames), loop), loop.notes)
    if all(step > 0 for step in durations):
        loop.frame_times = [float(t) for t in np.cumsum([0.0, *durations[:-1]])]
    loop.notes.append("A GIF gives no spacing in mm: lengths are in pixels.")
    return loop
