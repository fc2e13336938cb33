"""Videos: frames, times and pixel aspect, decoded by FFmpeg's libraries (PyAV).

Times are the frames' presentation time stamps, so edit lists, variable rates and longer sound tracks are handled. A
video is rejected if bytes are missing or decoding fails, not because of the frame count in its header.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cardiac_motion.cine.loop import FirstChannel, Loop, format_error, scale_integers, unit_range
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra
from cardiac_motion.core.stored import check_size

VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".ts")
PIXELS_PER_BYTE = 1e5  # modern codecs store a static, blank frame in a few bytes
TS_PACKET = 188  # bytes of a packet of an MPEG transport stream
BOXES = (
    *(b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"meta", b"moof", b"mfra", b"sidx"),
    *(b"styp", b"udta", b"ssix", b"prft", b"emsg", b"PICT", b"pdin"),
)  # top-level boxes of an MP4 or QuickTime file
GREY_FORMATS = ("gray", "gray10le", "gray12le", "gray16le")


def read_video(path: Path) -> Loop:
    """Read a video file; its frame times are those of playback."""
    with path.open("rb") as file:
        missing = count_missing_bytes(file, path.suffix.lower())
        if missing:
            raise InputError(f"{path}: the video is truncated: its last {missing} bytes are missing")
        file.seek(0)
        loop = decode_video(path, file, path.stat().st_size)
    loop.frame_time_source = "playback"
    loop.notes.append("A video gives no spacing in mm; lengths are in pixels.")
    loop.notes.append("A video's times are those of its playback, which may be slower or faster than the acquisition.")
    return loop


def decode_video(path: Path, source: BinaryIO | bytes, size: int) -> Loop:
    """Decode the video stream, ignoring cover pictures.

    Args:
        path: path for error messages.
        source: a file opened for reading (PyAV takes a name with a colon for a protocol), or its content.
        size: its size in bytes.

    Raises:
        InputError: there is no video, frames are missing or damaged, or they do not fit into this machine's memory.
    """
    av = import_extra("av", f"{path}: a video")
    av.logging.set_level(av.logging.PANIC)
    loop, channel = Loop(), FirstChannel()
    frames: list[np.ndarray] = []
    stamps: list[float | None] = []
    damaged, packets = 0, 0
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        index = _find_stream(path, file)
        file.seek(0)
        with av.open(file, "r", metadata_errors="ignore") as video:
            stream = video.streams.video[index]
            codec: Any = stream.codec_context
            ratio = stream.sample_aspect_ratio or codec.sample_aspect_ratio
            for packet in show_bar(video.demux(stream), f"reading {path.name}", "frame", stream.frames or None):
                packets += packet.size > 0
                damaged += bool(packet.is_corrupt)
                for frame in packet.decode():
                    damaged += bool(frame.is_corrupt)
                    grey = _grey(frame, channel)
                    if frames and grey.shape != frames[0].shape:
                        raise InputError(f"{path}: the size of the frames changes at frame {len(frames)}")
                    if not frames or len(frames) % 64 == 0:
                        check_size(path, (len(frames) + 64, *grey.shape), size, PIXELS_PER_BYTE)
                    frames.append(grey)
                    stamps.append(frame.time)
            counted = stream.frames if video.format.name.startswith("mov") else 0  # unreliable in other formats
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            turned = int(frame.rotation) if frames else 0
            exact = frames and frame.format.name == "gray16le"
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: the video cannot be read or is truncated: {format_error(error)}") from error
    if packets < counted:
        raise InputError(f"{path}: the video is truncated: {counted} frames declared but {packets} can be decoded")
    if damaged:
        raise InputError(f"{path}: the video is damaged or truncated: {damaged} of its frames cannot be decoded fully")
    if not frames:
        raise InputError(f"{path}: the video has no frames")
    loop.aspect = float(1 / ratio) if ratio else 1.0
    if turned % 180:
        loop.aspect = 1 / loop.aspect
    if turned:
        frames = [np.rot90(frame, turned // 90) for frame in frames]
        loop.notes.append(f"The frames were rotated by {turned} degrees, as the video demands.")
    stack = np.stack(frames)
    del frames
    if exact:  # not all bits may be used
        loop.frames = scale_integers(stack, loop.notes)
    else:
        loop.frames = unit_range(stack, loop.notes, np.iinfo(stack.dtype).max)
    channel.report(loop)
    loop.frame_times = _times(stamps, rate)
    return loop


def _find_stream(path: Path, file: BinaryIO) -> int:
    """Return the index of the video stream: not a cover picture, and of several, the one with the most packets.

    Raises:
        InputError: there is none.
    """
    av = import_extra("av", f"{path}: a video")
    pictures = import_extra("av.stream", f"{path}: a video").Disposition.attached_pic
    with av.open(file, "r", metadata_errors="ignore") as video:
        streams = video.streams.video
        chosen = [stream for stream in streams if not stream.disposition & pictures]
        if not chosen:
            raise InputError(f"{path}: no video in this file{', only a cover picture' if streams else ''}")
        if len(chosen) > 1:
            counts = dict.fromkeys((stream.index for stream in chosen), 0)
            for packet in video.demux(chosen):
                counts[packet.stream_index] += packet.size > 0
            chosen.sort(key=lambda stream: -counts[stream.index])
        return list(streams).index(chosen[0])


def _grey(frame: Any, channel: FirstChannel) -> np.ndarray:
    name = frame.format.name
    if name in GREY_FORMATS:
        return np.asarray(frame.to_ndarray(format="gray" if name == "gray" else "gray16le"))
    return channel(frame.to_ndarray(format="rgb24"))


def _times(stamps: list[float | None], rate: float) -> list[float] | None:
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) == len(stamps) > 1 and np.all(np.diff(known) > 0):
        return [stamp - known[0] for stamp in known]
    return [t / rate for t in range(len(stamps))] if rate > 0 else None


def count_missing_bytes(file: BinaryIO, suffix: str) -> int:
    """Return by how many bytes the declared size of an MP4, AVI, Matroska, WMV or MPEG-TS exceeds the file; else 0.

    Bytes after the last box, chunk or packet are ignored; sizes of 0 or all ones are unknown.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(4096)
    if head[:4] == b"RIFF":
        stated = int.from_bytes(head[4:8], "little")
        return _riff_excess(file, size) if stated in (0, 0xFFFFFFFF) else max(stated + 8 - size, 0)
    if head[:1] == b"\x47" and suffix == ".ts":
        file.seek(size - size % TS_PACKET)
        return -size % TS_PACKET if file.read(1) == b"\x47" else 0
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska_excess(head, size)
    if head[:16] == bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"):
        return _asf_excess(head, size)
    if head[4:8] not in BOXES:
        return 0
    start = 0
    while start + 8 <= size:
        file.seek(start)
        box = file.read(16)
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:], "big")
        if length < 8 or box[4:8] not in BOXES:
            return 0
        start += length
    return max(start - size, 0)


def _riff_excess(file: BinaryIO, size: int) -> int:
    """Return the bytes missing in the chunks of an AVI of unknown size, as left by an interrupted writer."""
    start = 12
    while start + 8 <= size:
        file.seek(start)
        chunk = file.read(8)
        length = int.from_bytes(chunk[4:8], "little")
        if not chunk[:4].isascii() or length in (0, 0xFFFFFFFF):
            return 0
        start += 8 + length + length % 2
    return max(start - 1 - size, 0)


def _matroska_excess(head: bytes, size: int) -> int:
    """Read EBML header and Segment, each an identifier and a length of variable size; all ones is unknown."""
    position = 4
    for _ in range(2):
        if position >= len(head) or not head[position]:
            return 0
        width = 9 - head[position].bit_length()
        value = int.from_bytes(head[position : position + width], "big") & ((1 << 7 * width) - 1)
        if value == (1 << 7 * width) - 1:
            return 0
        position += width + value
        if head[position : position + 4] == b"\x18\x53\x80\x67":
            position += 4
    return max(position - size, 0)


def _asf_excess(head: bytes, size: int) -> int:
    """Read the file size in the File Properties Object, after its identifier, its length and a file identifier."""
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    stated = int.from_bytes(head[at + 40 : at + 48], "little") if at >= 0 else 0
    return max(stated - size, 0)
