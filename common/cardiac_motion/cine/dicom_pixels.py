"""The pixels of a DICOM file as frames: native, compressed, as a video inside, and through a palette of colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.pixels import apply_color_lut, iter_pixels

from cardiac_motion.cine.loop import FirstChannel, Loop, format_error, unit_range
from cardiac_motion.cine.video import PIXELS_PER_BYTE, decode_video
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import check_size

VIDEO_SYNTAX = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?")  # MPEG-2, MPEG-4 AVC, HEVC
COLOURS = ("Red", "Green", "Blue")


def dicom_frames(path: Path, dataset: Any, loop: Loop) -> np.ndarray:
    """Frames ``[T, H, W]`` in [0, 1]; notes, colour and the times of a video inside are put into ``loop``.

    Raises:
        InputError: pixels are missing, can't be decoded, or are too many for this machine.
    """
    declared = max(int(dataset.get("NumberOfFrames") or 1), 1)
    syntax = dataset.file_meta.TransferSyntaxUID
    stored = len(dataset.PixelData or b"")
    if VIDEO_SYNTAX.fullmatch(str(syntax)):
        return _video_frames(path, dataset, loop, declared)
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    check_size(path, (declared, rows, columns), stored, PIXELS_PER_BYTE if syntax.is_compressed else 8)
    photometric, samples = str(dataset.get("PhotometricInterpretation")), int(dataset.get("SamplesPerPixel") or 1)
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    channel = FirstChannel()
    look_up = Palette(path, dataset, channel) if photometric == "PALETTE COLOR" else None
    frames: list[np.ndarray] = []
    try:
        for values in show_bar(iter_pixels(dataset), f"reading {path.name}", "frame", declared):
            grey = values.reshape(rows, columns, *([samples] if samples > 1 else []))
            grey = look_up(grey) if look_up else channel(grey) if samples > 1 else np.array(grey)
            frames.append(grey)
    except Exception as error:
        kind = getattr(syntax, "name", "no transfer syntax")
        raise InputError(f"{path}: truncated or undecodable pixel data ({kind}): {format_error(error)}") from error
    if len(frames) != declared:
        raise InputError(f"{path}: {declared} frames declared but {len(frames)} can be decoded")
    channel.tell(loop)
    stack = np.stack(frames)
    if look_up is not None:
        return unit_range(stack, loop.notes, np.iinfo(stack.dtype).max)
    if not np.issubdtype(stack.dtype, np.integer):
        return unit_range(stack, loop.notes)
    maximum = 2**bits - 1
    if np.issubdtype(stack.dtype, np.signedinteger):
        stack = stack.astype(np.int64) + 2 ** (bits - 1)
    elif stack.dtype.itemsize * 8 > bits:
        stack = stack & maximum
    if photometric == "MONOCHROME1":
        stack = maximum - stack
    return unit_range(stack, loop.notes, maximum)


def _video_frames(path: Path, dataset: Any, loop: Loop, declared: int) -> np.ndarray:
    from pydicom.encaps import generate_frames

    try:
        content = b"".join(generate_frames(dataset.PixelData, number_of_frames=1))
    except Exception as error:
        raise InputError(f"{path}: no readable video in the pixel data: {format_error(error)}") from error
    video = decode_video(path, content, len(content))
    if len(video.frames) < declared - 1:
        raise InputError(f"{path}: {declared} frames declared but {len(video.frames)} can be decoded")
    if len(video.frames) != declared:
        loop.notes.append(f"{declared} frames are declared, the video inside has {len(video.frames)}.")
    loop.frame_times, loop.colour_flow, loop.aspect = video.frame_times, video.colour_flow, video.aspect
    loop.notes += video.notes
    return video.frames


class Palette:
    """The lookup table of PALETTE COLOR (PS3.3 C.7.6.3.1.5 and .6), whichever way its entries are stored.

    Entries of 8 bits may fill bytes, or words of 16 bits (in the low or the high byte); entries of 16 bits may in truth
    run to 255 only. Words are in the file's byte order.
    """

    def __init__(self, path: Path, dataset: Any, channel: FirstChannel) -> None:
        self.channel = channel
        try:
            tables = [self._table(dataset, name) for name in COLOURS]
            self.first = int(dataset.RedPaletteColorLookupTableDescriptor[1])
            length = min(len(table) for table in tables)
            values = np.stack([table[:length] for table in tables], -1)
        except Exception as error:
            raise InputError(f"{path}: no readable palette of colours: {format_error(error)}") from error
        if values.max() > 255:
            values = values >> 8
        self.values = values.astype(np.uint8)

    @staticmethod
    def _table(dataset: Any, name: str) -> np.ndarray:
        count, first, _ = (int(value) for value in dataset[f"{name}PaletteColorLookupTableDescriptor"].value)
        count = count or 65536
        if f"Segmented{name}PaletteColorLookupTableData" in dataset:
            return apply_color_lut(np.arange(first, first + count), dataset)[:, COLOURS.index(name)].astype(np.uint16)
        data = dataset[f"{name}PaletteColorLookupTableData"].value
        word = "<u2" if dataset.original_encoding[1] else ">u2"
        return np.frombuffer(data, word if len(data) >= 2 * count else np.uint8, count).astype(np.uint16)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        index = np.clip(frame.astype(np.int64) - self.first, 0, len(self.values) - 1)
        return self.channel(self.values[index])
