"""DICOM ultrasound: file type, frames and metadata (PS3.3 C.7.6.5, C.7.6.6 and C.8.5)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.cine.dicom_header import Header
from cardiac_motion.cine.dicom_pixels import Scale, stored_frames
from cardiac_motion.cine.dicom_regions import COLOUR_FLOW, crop_regions, dicom_spacing, image_region, ultrasound_regions
from cardiac_motion.cine.loop import Loop, format_error, millimetres, silence
from cardiac_motion.core.errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
ENHANCED_US_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
SLICE_VECTORS = ("GridFrameOffsetVector", "SliceLocationVector", "SliceVector")
POSITIONS = (
    ("PlanePositionSequence", "ImagePositionPatient"), ("PlanePositionVolumeSequence", "ImagePositionVolume"),
)  # fmt: skip
LATEST_BEAT = 86400.0  # s
STEPS = ("FrameTime", "ActualFrameDuration")  # ms
FILE_TIMES = ("AcquisitionDateTime", "TriggerTime", "AcquisitionTime", "ContentTime")  # of single-frame files
PRIVATE_VOLUMES = {"1.2.840.113543.6.6.1.3.10002": "QLAB of Philips"}  # SOP classes


def is_dicom_file(path: Path) -> bool:
    """Return whether a file is DICOM, with or without the preamble of PS3.10."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    if head[128:132] == b"DICM":
        return True
    if head[:2] not in (b"\x02\x00", b"\x08\x00") or head[3:4] != b"\x00":
        return False
    try:
        return str(read_header(path, pixels=False).get("SOPClassUID", "")).startswith("1.2.840.10008.")
    except InputError:
        return False


def read_header(path: Path, pixels: bool = True) -> Any:
    """Read a pydicom dataset from a file with or without preamble.

    Args:
        path: path of the file.
        pixels: also read the pixel data.

    Raises:
        InputError: the file is not DICOM, or is truncated.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with silence("pydicom"):
        try:
            try:
                dataset: Any = pydicom.dcmread(path, stop_before_pixels=not pixels)
            except InvalidDicomError:
                dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
                if "SOPClassUID" not in dataset and "Rows" not in dataset:
                    raise
            if "TransferSyntaxUID" not in dataset.file_meta:
                implicit, little = dataset.original_encoding
                explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        except Exception as error:
            raise InputError(f"{path}: not a readable DICOM file, or a truncated one: {format_error(error)}") from error
    return dataset


def read_dicom(path: Path, files: Sequence[Path] = ()) -> Loop:
    """Read a multi-frame file, or single-frame files in their order.

    Args:
        path: path of the file, or of the first file.
        files: all files, if there are several.

    Raises:
        InputError: a file cannot be read, or the files differ in size, position, spacing or regions.
    """
    loops, scales, headers = [], [], []
    for file in files or [path]:
        dataset = read_header(file)
        with silence("pydicom"):
            try:
                loop, scale = _read(file, dataset)
                headers.append(Header(dataset))
                loops.append(loop)
                scales.append(scale)
                del dataset.PixelData
            except InputError:
                raise
            except Exception as error:
                raise InputError(f"{file}: the DICOM header cannot be interpreted: {format_error(error)}") from error
    loop = loops[0] if len(loops) == 1 else _join(list(files), loops, headers)
    loop.frames = scales[0](loop.frames, loop.notes)  # scaled together, so that all frames have one scale
    return loop


def _join(files: Sequence[Path], loops: Sequence[Loop], headers: Sequence[Header]) -> Loop:
    """Join the loops of single-frame files."""
    loop, path = loops[0], files[0]
    for file, other in zip(files, loops, strict=True):
        if other.frames.shape[1:] != loop.frames.shape[1:] or len(other.frames) != 1:
            raise InputError(f"{file}: {_size(other)} instead of one frame of {path.name}'s size, {_size(loop)}")
    if len({tuple(header.numbers("ImagePositionPatient") or ()) for header in headers}) > 1:
        raise InputError(f"{path}: {len(files)} slices at different positions are a 3D volume; expected a 2D cine")
    for file, other in zip(files, loops, strict=True):
        if not _is_close(loop.spacing, other.spacing) or not math.isclose(loop.aspect, other.aspect, rel_tol=0.01):
            reference, differing = (millimetres(s) if s else "unknown" for s in (loop.spacing, other.spacing))
            raise InputError(
                f"{file}: its spacing is {differing}, that of {path.name} {reference}; the depth was changed among "
                f"these {len(files)} files, so they are not one cine. Give the files of one depth only"
            )
        if loop.regions != other.regions or loop.crop != other.crop:
            raise InputError(
                f"{file}: its ultrasound regions differ from those of {path.name}, so these {len(files)} files are not "
                "one cine. Give the files of one layout only"
            )
    loop.frames = np.concatenate([other.frames for other in loops])
    notes = dict.fromkeys(note for other in loops for note in other.notes if "frame times" not in note)
    loop.notes = [f"{len(files)} single-frame files, in the order of their instance numbers.", *notes]
    loop.colour_flow = any(other.colour_flow for other in loops)
    loop.frame_times, loop.frame_time_source = _times_of_files(headers), "acquired"
    if loop.frame_times is None:
        changing = [k for k in STEPS if len({header.number(k) for header in headers}) > 1]
        if changing:
            loop.notes.append(f"{changing[0]} differs between the files; frame times are unknown.")
        else:
            _set_times(loop, Header(headers[0].dataset, loop.notes), len(files))
    return loop


def _is_close(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    return one is other or (one is not None and other is not None and np.allclose(one, other, rtol=0.01))


def _size(loop: Loop) -> str:
    return " × ".join(str(n) for n in loop.frames.shape)


def _read(path: Path, dataset: Any) -> tuple[Loop, Scale]:
    """Read the loop of a file, with frames as stored, and the function that scales them."""
    if "PixelData" not in dataset:
        raise InputError(f"{path}: the DICOM file has no pixel data, or is truncated before them")
    loop = Loop()
    header = Header(dataset, loop.notes)
    _reject_volumes(path, header)
    loop.frames, scale = stored_frames(path, dataset, loop)
    coloured = loop.colour_flow
    loop.regions = ultrasound_regions(dataset, loop.notes)
    loop.crop = image_region(loop.regions, loop.frames.shape[1:], loop.notes)
    if loop.crop is not None:
        top, left, bottom, right = loop.crop
        loop.frames = loop.frames[:, top:bottom, left:right]
        loop.regions = crop_regions(loop.regions, loop.crop)
        coloured = False  # colour in another image says nothing about this one
    loop.colour_flow = coloured or any(region["data_type"] == COLOUR_FLOW for region in loop.regions)
    loop.spacing = dicom_spacing(dataset, loop.regions, loop.frames.shape[1:], loop.notes)
    loop.aspect = _aspect(header)
    video_times = loop.frame_times
    _set_times(loop, header, len(loop.frames))
    if loop.frame_times is None and video_times is not None:
        loop.frame_times, loop.frame_time_source = video_times, "playback"
        loop.notes.append("The frame times are the playback times of the embedded video.")
    loop.r_waves = _r_waves(header)
    loop.view = describe_view(dataset)
    return loop, scale


def _reject_volumes(path: Path, header: Header) -> None:
    positions = {
        tuple(item.numbers(keyword) or ())
        for group in header.items("PerFrameFunctionalGroupsSequence")
        for sequence, keyword in POSITIONS
        for item in group.items(sequence)[:1]
    }
    several = (header.whole("NumberOfFrames") or 1) > 1
    if several and (any(keyword in header for keyword in SLICE_VECTORS) or len(positions) > 1):
        raise InputError(f"{path}: a 3D volume: its frames are slices at different positions; expected a 2D cine")
    if header.text("SOPClassUID") == ENHANCED_US_VOLUME:
        raise InputError(f"{path}: a 3D volume (Enhanced US Volume); expected a 2D cine")
    if header.text("SOPClassUID") in PRIVATE_VOLUMES:
        raise InputError(
            f"{path}: a 3D volume over time, as stored by {PRIVATE_VOLUMES[header.text('SOPClassUID')]}; "
            "expected a 2D cine"
        )


def _aspect(header: Header) -> float:
    """Return PixelAspectRatio (0028,0034), height over width of a pixel, as a number."""
    stated = header.numbers("PixelAspectRatio", 2)
    return stated[0] / stated[1] if stated and min(stated) > 0 else 1.0


def _r_waves(header: Header) -> list[float] | None:
    times = [time / 1000 for time in header.numbers("RWaveTimeVector") or []]
    return [time for time in times if abs(time) < LATEST_BEAT] or None


def _set_times(loop: Loop, header: Header, count: int) -> None:
    """Set the frame times from FrameTimeVector, a frame time, or a display rate."""
    loop.frame_time_source, loop.frame_times = "acquired", None
    steps = header.numbers("FrameTimeVector")
    if steps is not None:
        if len(steps) == count and all(step > 0 for step in steps[1:]):
            loop.frame_times = [float(t) for t in np.cumsum(np.concatenate([[0.0], steps[1:]])) / 1000]
            return
        loop.notes.append(f"FrameTimeVector does not hold {count} increasing times, one per frame; it is ignored.")
    for keyword in STEPS:
        step = header.positive(keyword)
        if step:
            loop.frame_times = [t * step / 1000 for t in range(count)]
            return
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = header.positive(keyword)
        if rate:
            loop.notes.append(f"Frame times are derived from {keyword}, a display rate: {rate:g} frames/s.")
            loop.frame_times, loop.frame_time_source = [t / rate for t in range(count)], "playback"
            return
    loop.notes.append("The header gives no frame times.")


def _times_of_files(headers: Sequence[Header]) -> list[float] | None:
    """Return the times of single-frame files, from the first header field that increases from file to file."""
    for keyword in FILE_TIMES:
        stated = [time_of(header, keyword) for header in headers]
        times = [time for time in stated if time is not None]
        if len(times) == len(headers) and (np.diff(times) > 0).all():
            return [time - times[0] for time in times]
    return None


def time_of(header: Header, keyword: str) -> float | None:
    """Return one of ``FILE_TIMES`` in seconds since midnight, or since the trigger; None if missing."""
    if keyword == "TriggerTime":
        milliseconds = header.number(keyword)
        return None if milliseconds is None else milliseconds / 1000
    clock = re.search(r"(\d\d)(\d\d)(\d\d(?:\.\d+)?)(?:[+-]\d{4})?$", header.text(keyword))
    return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]) if clock else None


def describe_view(dataset: Any) -> str | None:
    """Return the header's description of the view: ViewCodeSequence, ViewName or SeriesDescription; None if missing."""
    header = Header(dataset)
    codes = [code.text("CodeMeaning") or code.text("CodeValue") for code in header.items("ViewCodeSequence")]
    for words in (*codes, header.text("ViewName"), header.text("SeriesDescription")):
        if words:
            return words[:80]
    return None
