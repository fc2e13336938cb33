"""Movies in H.264 (MP4), encoded in memory by FFmpeg's libraries (PyAV), so that no program has to be found and no
failure of one is missed; the file is written when the movie is whole.
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

CODECS = ("libx264", "h264", "libopenh264", "mpeg4")  # the first that this build of FFmpeg has
LARGEST_TERM = 65535  # of a rate or a time base as MP4 stores them


def encode_movie(frames: Iterable[np.ndarray], rate: float, crf: int = 25, aspect: float = 1.0) -> bytes:
    """The content of an MP4.

    Args:
        frames: bytes, ``[H, W]`` grey or ``[H, W, 3]`` RGB, all of one size; they are taken one by one.
        rate: frames a second.
        crf: constant rate factor of H.264: smaller is better and larger.
        aspect: a pixel's height over its width.

    Raises:
        InputError: this build of FFmpeg can't encode it, or there is no frame.
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
                raise InputError("a movie of no frames")
            movie.mux(stream.encode())
    except InputError:
        raise
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError, OSError, ValueError) as error:
        raise InputError(f"FFmpeg can't encode a movie ({' '.join(str(error).split())})") from error
    return file.getvalue()


def write_movie(path: str | Path, frames: Iterable[np.ndarray], rate: float) -> bool:
    """Write a movie beside other results, which are not lost where it can't be encoded: that is logged.

    Args:
        path: ``.mp4``.
        frames, rate: as ``encode_movie`` takes them.

    Returns:
        Whether it is there.

    Raises:
        OSError: the disk is full, say.
    """
    try:
        content = encode_movie(frames, rate)
    except InputError as error:
        log.warning("%s is left out: %s; all else is written", Path(path).name, error)
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
    raise InputError(f"FFmpeg has none of the encoders {', '.join(CODECS)}")
