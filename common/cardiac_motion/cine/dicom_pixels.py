"""Pixels of a DICOM file as frames: native, compressed, embedded video, and palette colour.

Headers contradict their pixels more often than pixels are damaged. Therefore the length of native pixel data determines
the number of samples and frames, the pixels determine whether colours are RGB or YCbCr, and their values the scale;
the header decides what these leave open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.pixels import apply_color_lut, convert_color_space, get_decoder

from cardiac_motion.cine.dicom_header import Header, describe_tag
from cardiac_motion.cine.loop import FirstChannel, Loop, format_error, scale_integers, unit_range
from cardiac_motion.cine.video import PIXELS_PER_BYTE, decode_video
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import check_size

VIDEO_SYNTAX = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?")  # MPEG-2, MPEG-4 AVC, HEVC
COLOURS = ("Red", "Green", "Blue")
SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")  # two bytes per pixel: Y Y Cb Cr for two pixels
LUMA_FIRST = ("YBR_FULL", *SUBSAMPLED, "YBR_PARTIAL_420")  # declared; J2K's YBR_ICT and YBR_RCT are decoded to RGB
NEAR_GREY = 6 / 255  # fraction of the range by which the channels of a grey pixel may differ
MOSTLY = 0.5  # fraction of a frame's pixels that determines its colour model
COVERED, FILLED = 0.8, 0.25  # minimum fraction of the values' range in the window, and of the window that they fill


@dataclass
class Layout:
    """Storage layout of a file's pixels.

    Attributes:
        rows, columns, frames, samples, bits, signed, planar: as named in DICOM; ``bits`` is BitsAllocated.
        photometric: PhotometricInterpretation of the header.
        declared_bits: BitsStored.
        subsampled: two bytes per pixel, Y Y Cb Cr for two pixels.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    bits: int
    declared_bits: int
    signed: bool
    planar: int
    photometric: str
    subsampled: bool = False

    @property
    def frame_bytes(self) -> int:
        """Number of bytes of a native frame."""
        return self.rows * self.columns * (2 if self.subsampled else self.samples * self.bits // 8)


Scale = Callable[[np.ndarray, list[str]], np.ndarray]  # maps stored values to [0, 1] and appends notes


def stored_frames(path: Path, dataset: Any, loop: Loop) -> tuple[np.ndarray, Scale]:
    """Return frames ``[T, H, W]`` of one channel as stored, and the function that scales them.

    Raises:
        InputError: the pixels are missing, cannot be decoded, or do not fit into this machine's memory.
    """
    header = Header(dataset, loop.notes)
    data = dataset.PixelData or b""
    syntax = dataset.file_meta.TransferSyntaxUID
    if VIDEO_SYNTAX.fullmatch(str(syntax)):
        return _video_frames(path, data, loop, max(header.whole("NumberOfFrames") or 0, 0)), lambda frames, _: frames
    packed = bool(syntax.is_compressed) and syntax.name != "Deflated Explicit VR Little Endian"
    layout = find_layout(path, header, data, packed)
    check_size(path, (layout.frames, layout.rows, layout.columns), len(data), PIXELS_PER_BYTE if packed else 8)
    channel = FirstChannel()
    look_up = Palette(path, dataset, channel) if layout.photometric == "PALETTE COLOR" else None
    grey = ColourModel(layout, channel) if layout.samples == 3 else None
    frames: list[np.ndarray] = []
    stored = _native_422(data, layout) if layout.subsampled else _decode(dataset, data, layout, packed)
    try:
        for values in show_bar(stored, f"reading {path.name}", "frame", layout.frames):
            frames.append(look_up(values) if look_up else grey(values) if grey else np.array(values))
    except Exception as error:
        kind = getattr(syntax, "name", "no transfer syntax")
        raise InputError(f"{path}: truncated or undecodable pixel data ({kind}): {format_error(error)}") from error
    if len(frames) != layout.frames:
        raise _wrong_count(path, layout.frames, len(frames))
    channel.report(loop)
    if grey is not None and grey.note:
        loop.notes.append(grey.note)
    stack = np.stack(frames)
    del frames
    if look_up is not None:
        return stack, lambda values, notes: unit_range(values, notes, 255)
    return stack, lambda values, notes: _scale(values, layout, header, notes)


def find_layout(path: Path, header: Header, data: bytes, packed: bool) -> Layout:
    """Determine how the pixels are stored, from the header or, if inconsistent, from the length of native pixel data.

    Raises:
        InputError: rows or columns are missing, or the native pixel data hold more frames than declared.
    """
    rows, columns = (max(header.whole(keyword) or 0, 0) for keyword in ("Rows", "Columns"))
    for keyword, count in (("Rows", rows), ("Columns", columns)):
        if not count:
            raise InputError(f"{path}: {describe_tag(keyword)} is missing, 0, or not a number")
    photometric = header.text("PhotometricInterpretation").upper()
    coloured = photometric.startswith(("RGB", "YBR"))
    samples = header.whole("SamplesPerPixel") or (3 if coloured else 1)
    stated = header.whole("BitsAllocated")
    bits = stated or (16 if (header.whole("BitsStored") or 8) > 8 else 8)
    declared = max(header.whole("NumberOfFrames") or 0, 0)
    layout = Layout(
        rows, columns, declared or 1, samples, bits, header.whole("BitsStored") or bits,
        header.whole("PixelRepresentation") == 1, 1 if header.whole("PlanarConfiguration") == 1 else 0, photometric,
    )  # fmt: skip
    if packed:
        if not declared:
            layout.frames = _count_encapsulated(data)
        return layout
    if samples == 3 and photometric in SUBSAMPLED:
        whole, halved = (rows * columns * n for n in (3, 2))
        layout.subsampled = len(data) < whole * layout.frames if declared else len(data) % halved <= 1
    if len(data) < layout.frame_bytes * layout.frames:
        _fit(layout, len(data), stated is not None)
    elif declared and samples == 1 and coloured and len(data) // (rows * columns * bits // 8) == 3 * declared:
        layout.samples = 3
    elif stated is None and len(data) // (rows * columns * samples) == 2 * declared:
        layout.bits = layout.declared_bits = 16
    held = len(data) // max(layout.frame_bytes, 1)
    if not declared:
        layout.frames = max(held, 1)
    elif held > declared:
        raise _wrong_count(path, declared, held)
    return layout


def _fit(layout: Layout, length: int, stated: bool) -> None:
    """Change a layout that needs more bytes than available to one that matches, if there is one."""
    pixels = layout.rows * layout.columns * layout.frames
    even = length - length % 2
    if layout.samples == 3 and layout.bits == 8 and even == 2 * pixels and layout.columns % 2 == 0:
        layout.subsampled = True
    elif layout.samples == 3 and length in (pixels * layout.bits // 8, pixels * layout.bits // 8 + 1):
        layout.samples = 1
    elif layout.bits == 16 and length in (pixels * layout.samples, pixels * layout.samples + 1):
        layout.bits = layout.declared_bits = 8


def _wrong_count(path: Path, declared: int, held: int) -> InputError:
    if declared and held > declared and held % declared == 0:
        return InputError(
            f"{path}: {declared} frames declared but {held} can be decoded, {held // declared} for each: "
            "probably a 3D volume over time; expected a 2D cine"
        )
    return InputError(f"{path}: {declared} frames declared but {held} can be decoded")


def _count_encapsulated(data: bytes) -> int:
    """Return the number of frames of compressed pixels: entries of the offset table, otherwise fragments."""
    from pydicom.encaps import parse_basic_offsets, parse_fragments

    try:
        offsets = parse_basic_offsets(data)
        return max(len(offsets) or parse_fragments(data[8:])[0], 1)
    except Exception:  # decoding reports what is wrong
        return 1


def _native_422(data: bytes, layout: Layout) -> Iterator[np.ndarray]:
    """Yield frames ``[H, W, 3]`` of native pixels stored as Y Y Cb Cr for two pixels (PS3.3 C.7.6.3.1.2)."""
    size = layout.frame_bytes
    for index in range(layout.frames):
        pairs = np.frombuffer(data, np.uint8, size, index * size).reshape(layout.rows, layout.columns // 2, 4)
        frame = np.empty((layout.rows, layout.columns, 3), np.uint8)
        frame[:, 0::2, 0], frame[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
        frame[..., 1:] = np.repeat(pairs[..., 2:], 2, axis=1)
        yield frame


def _decode(dataset: Any, data: bytes, layout: Layout, packed: bool) -> Iterator[np.ndarray]:
    """Yield frames ``[H, W]`` or ``[H, W, 3]`` as stored, without colour conversion."""
    syntax = dataset.file_meta.TransferSyntaxUID
    options: dict[str, Any] = {
        "rows": layout.rows, "columns": layout.columns, "number_of_frames": layout.frames,
        "samples_per_pixel": layout.samples, "bits_allocated": layout.bits, "planar_configuration": layout.planar,
        "bits_stored": min(layout.declared_bits, layout.bits) if packed else layout.bits,
        "pixel_representation": int(layout.signed), "pixel_keyword": "PixelData", "correct_unused_bits": False,
        "pixel_vr": dataset["PixelData"].VR,
        "photometric_interpretation": layout.photometric if packed and layout.photometric else _plain(layout),
    }  # fmt: skip
    if packed and "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        options["extended_offsets"] = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    for values, _ in get_decoder(syntax).iter_array(data, raw=True, **options):
        yield values


def _plain(layout: Layout) -> str:
    return "RGB" if layout.samples == 3 else "MONOCHROME2"


def _scale(stack: np.ndarray, layout: Layout, header: Header, notes: list[str]) -> np.ndarray:
    """Scale stored grey values ``[T, H, W]`` to [0, 1], by the header's window or by the values themselves."""
    if not np.issubdtype(stack.dtype, np.integer):
        return unit_range(stack, notes)
    slope, intercept = (header.number(keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    if stack.dtype.itemsize > 1:
        stack = _drop_overlay(stack, layout, header.dataset)
        window = _window(stack, header, slope or 1.0, intercept or 0.0)
        if window is not None:
            low, high = window
            scaled = stack.astype(np.float32)
            scaled -= np.float32(low)
            scaled /= np.float32(high - low)
            scaled = np.clip(scaled, 0, 1, out=scaled)
        else:
            scaled = scale_integers(stack, notes)
    elif stack.dtype == np.uint8 and layout.declared_bits < 8 and stack.max() < 2**layout.declared_bits:
        scaled = unit_range(stack, notes, 2**layout.declared_bits - 1)
    else:
        scaled = scale_integers(stack, notes)
    inverted = (layout.photometric == "MONOCHROME1") != ((slope or 1.0) < 0)
    return np.subtract(1, scaled, out=scaled) if inverted else scaled


def _drop_overlay(stack: np.ndarray, layout: Layout, dataset: Any) -> np.ndarray:
    """Mask out what older files store in the bits above the values: an overlay, or a constant."""
    if not 0 < layout.declared_bits < layout.bits or layout.signed:
        return stack
    above = np.unique(stack >> layout.declared_bits)
    overlay = any(tag.group & 0xFF01 == 0x6000 and tag.element == 0x0102 for tag in dataset.keys())
    plane = len(above) == 2 and above[0] == 0 and above[1] > 1 and above[1] & (above[1] - 1) == 0
    if above[-1] and (len(above) == 1 or overlay or plane):
        return np.asarray(stack & (2**layout.declared_bits - 1))
    return stack


def _window(stack: np.ndarray, header: Header, slope: float, intercept: float) -> tuple[float, float] | None:
    """Return the stored values shown as black and white by the header's first window; None if it does not fit them."""
    centres, widths = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    if not centres or not widths or widths[0] <= 1 or slope == 0:
        return None
    low, high = (
        (centres[0] - 0.5 + side * (widths[0] - 1) / 2 - intercept) / slope for side in (-1, 1)
    )  # PS3.3 C.11.2.1.2.1
    low, high = sorted((low, high))
    lowest, highest = float(stack.min()), float(stack.max())
    covered = min(high, highest) - max(low, lowest)
    fits = highest > lowest and covered >= COVERED * (highest - lowest) and covered >= FILLED * (high - low)
    return (low, high) if fits else None


def _video_frames(path: Path, data: bytes, loop: Loop, declared: int) -> np.ndarray:
    from pydicom.encaps import generate_frames

    try:
        content = b"".join(generate_frames(data, number_of_frames=1))
    except Exception as error:
        raise InputError(f"{path}: the pixel data hold no readable video: {format_error(error)}") from error
    video = decode_video(path, content, len(content))
    if len(video.frames) < declared - 1:
        raise InputError(f"{path}: {declared} frames declared but {len(video.frames)} can be decoded")
    if declared and len(video.frames) != declared:
        loop.notes.append(f"{declared} frames are declared, but the embedded video has {len(video.frames)}.")
    loop.frame_times, loop.colour_flow, loop.aspect = video.frame_times, video.colour_flow, video.aspect
    loop.notes += video.notes
    return video.frames


class ColourModel:
    """Convert colour frames as stored to their first RGB channel, which is the grey value of a grey image.

    Most of an echo is black or grey, which distinguishes RGB (three equal channels) from YCbCr (Cb and Cr at
    mid-range); if the first frame does not decide, the header does.

    Args:
        layout: layout with the declared colour model.
        channel: accumulates how much of the frames is coloured.
    """

    def __init__(self, layout: Layout, channel: FirstChannel) -> None:
        self.channel, self.declared = channel, "YCbCr" if layout.photometric in LUMA_FIRST else "RGB"
        self.named, self.model, self.note = layout.photometric or "none", "", ""
        self.constant: tuple[int, int] | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the first channel ``[H, W]`` of ``[H, W, 3]``."""
        if frame.dtype != np.uint8:
            return self.channel(frame)
        if not self.model:
            self._find(frame)
        if self.model == "RGB":
            return self.channel(frame)
        if self.constant is not None:
            if (frame[..., 1:] == self.constant).all():
                return self.channel(np.repeat(frame[..., :1], 3, -1))
            if max(abs(value - 128) for value in self.constant) > 1:
                moved = frame[..., 1:].astype(np.int16) + (128 - np.array(self.constant, np.int16))
                frame = np.concatenate([frame[..., :1], np.clip(moved, 0, 255).astype(np.uint8)], -1)
        return self.channel(convert_color_space(frame, "YBR_FULL", "RGB"))

    def _find(self, frame: np.ndarray) -> None:
        near = round(NEAR_GREY * 255)
        chroma = frame[..., 1:].astype(np.int16)
        middle = np.median(chroma.reshape(-1, 2), 0)
        equal = float((np.ptp(frame.astype(np.int16), axis=-1) <= near).mean())
        centred = float((np.abs(chroma - 128) <= near).all(-1).mean())
        self.model = self.declared
        if equal >= MOSTLY and equal > centred:
            self.model = "RGB"
        elif centred >= MOSTLY and centred > equal:
            self.model = "YCbCr"
        if self.model != self.declared:
            self.note = f"The header declares {self.named}, but the pixels are {self.model}; they are read as such."
        if self.model == "YCbCr" and (chroma == middle).all(-1).mean() > 0.999:
            self.constant = int(middle[0]), int(middle[1])


class Palette:
    """Lookup table of PALETTE COLOR (PS3.3 C.7.6.3.1.5 and .6), for all ways of storing its entries.

    8-bit entries may be stored as bytes, or as 16-bit words (in the low or the high byte); 16-bit entries may actually
    only range up to 255. Words are in the file's byte order.
    """

    def __init__(self, path: Path, dataset: Any, channel: FirstChannel) -> None:
        self.channel = channel
        try:
            tables = [self._table(dataset, name) for name in COLOURS]
            self.first = int(dataset.RedPaletteColorLookupTableDescriptor[1])
            length = min(len(table) for table in tables)
            values = np.stack([table[:length] for table in tables], -1)
        except Exception as error:
            raise InputError(f"{path}: the colour palette cannot be read: {format_error(error)}") from error
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
