"""Encode movies in H.264 (MP4) in memory with FFmpeg's libraries (PyAV).

No external program is needed, and the file is written only when the movie is complete.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

log = logging.getLogger(__name__)

CODECS = ("libx264", "h264", "libopenh264", "mpeg4")  # the first one available in this build of FFmpeg is used
LARGEST_TERM = 65535  # largest numerator and denominator of a rate in MP4


def encode_movie(frames: Iterable[np.ndarray], rate: float, crf: int = 25, aspect: float = 1.0) -> bytes:
    """Encode frames as an MP4 and return its content.

    Args:
        frames: uint8, ``[H, W]`` grey or ``[H, W, 3]`` RGB, all of one size; consumed one by one.
        rate: frames per second.
        crf: constant rate factor of H.264; smaller values give better quality and larger files.
        aspect: ratio of a pixel's height to its width.

    Raises:
        InputError: this build of FFmpeg cannot encode the movie, or there is no frame.
    """
    av = import_extra("av", "a movie")
    av.logging.set_level(av.logging.PANIC)
    file = io.BytesIO()
    stream: Any = None
    try:
        with av.open(file, "w", format="mp4") as movie:
            for frame in frames:
                if stream is None:
                    stream = movie.add_stream(_codec(), rate=Fraction(rate).limit_denominator(LARGEST_TERM))
                    stream.height, stream.width = frame.shape[:2]
                    even = frame.shape[0] % 2 == 0 and frame.shape[1] % 2 == 0
                    stream.pix_fmt = "yuv420p" if even or stream.codec_context.name == "mpeg4" else "yuv444p"
                    stream.options = {"crf": str(crf), "preset": "veryfast"}
                    if aspect != 1:
                        stream.codec_context.sample_aspect_ratio = Fraction(1 / aspect).limit_denominator(255)
                kind = "gray" if frame.ndim == 2 else "rgb24"
                movie.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=kind)))
            if stream is None:
                raise InputError("a movie needs at least one frame")
            movie.mux(stream.encode())
    except InputError:
        raise
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError, OSError, ValueError) as error:
        raise InputError(f"FFmpeg cannot encode the movie ({' '.join(str(error).split())})") from error
    return file.getvalue()


def decode_movie(content: bytes) -> np.ndarray:
    """Decode a movie that ``encode_movie`` has encoded.

    Returns:
        Its grey frames, bytes ``[T, H, W]``.
    """
    av = import_extra("av", "a movie")
    with av.open(io.BytesIO(content)) as movie:
        return np.stack([frame.to_ndarray(format="gray") for frame in movie.decode(video=0)])


def write_movie(path: str | Path, frames: Iterable[np.ndarray], rate: float) -> bool:
    """Write a movie that accompanies other results; if it cannot be encoded, a warning is logged instead.

    Args:
        path: path of the ``.mp4``.
        frames, rate: as in ``encode_movie``.

    Returns:
        Whether the movie was written.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    try:
        content = encode_movie(frames, rate)
    except InputError as error:
        log.warning("%s was not written: %s. All other results are written", Path(path).name, error)
        return False
    Path(path).write_bytes(content)
    return True


def _codec() -> str:
    av = import_extra("av", "a movie")

    for name in CODECS:
        try:
            av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name
    raise InputError(f"this build of FFmpeg has none of the encoders {', '.join(CODECS)}")
