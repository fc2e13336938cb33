"""DICOM ultrasound: what a file is, its frames, and what its header says of them (PS3.3 C.7.6.5, C.7.6.6 and C.8.5)."""

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
FILE_TIMES = ("AcquisitionDateTime", "TriggerTime", "AcquisitionTime", "ContentTime")  # of files of one frame each
PRIVATE_VOLUMES = {"1.2.840.113543.6.6.1.3.10002": "QLAB of Philips"}  # SOP classes


def is_dicom_file(path: Path) -> bool:
    """Whether a file is DICOM, with the preamble of PS3.10 or without."""
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
    """A pydicom dataset, of a file with the preamble or without.

    Args:
        path: of the file.
        pixels: read the pixel data too.

    Raises:
        InputError: not DICOM, or cut off.
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
    """Read a file of many frames, or files of one frame each, in their order.

    Args:
        path: of the file, or of the first.
        files: all of them, where there are several.

    Raises:
        InputError: a file can't be read; or several are not one cine: they differ in size, place, spacing or regions.
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
                raise InputError(f"{file}: the DICOM header can't be understood: {format_error(error)}") from error
    loop = loops[0] if len(loops) == 1 else _join(list(files), loops, headers)
    loop.frames = scales[0](loop.frames, loop.notes)  # all together, so that every frame has one scale
    return loop


def _join(files: Sequence[Path], loops: Sequence[Loop], headers: Sequence[Header]) -> Loop:
    """The one loop of files of one frame each."""
    loop, path = loops[0], files[0]
    for file, other in zip(files, loops, strict=True):
        if other.frames.shape[1:] != loop.frames.shape[1:] or len(other.frames) != 1:
            raise InputError(f"{file}: not one frame of the size of {path.name}, {_size(loop)}: {_size(other)}")
    if len({tuple(header.numbers("ImagePositionPatient") or ()) for header in headers}) > 1:
        raise InputError(f"{path}: {len(files)} slices at different positions, a 3D volume; expected a 2D cine")
    for file, other in zip(files, loops, strict=True):
        if not _is_alike(loop.spacing, other.spacing) or not math.isclose(loop.aspect, other.aspect, rel_tol=0.01):
            one, another = (millimetres(s) if s else "none" for s in (loop.spacing, other.spacing))
            raise InputError(
                f"{file}: its spacing is {another}, that of {path.name} is {one}: the depth was changed between these "
                f"{len(files)} files, which are no one cine; give those of one depth"
            )
        if loop.regions != other.regions or loop.crop != other.crop:
            raise InputError(
                f"{file}: its ultrasound regions are others than those of {path.name}: these {len(files)} files are no "
                "one cine; give those of one layout"
            )
    loop.frames = np.concatenate([other.frames for other in loops])
    said = dict.fromkeys(note for other in loops for note in other.notes if "frame times" not in note)
    loop.notes = [f"{len(files)} files of one frame each, in the order of their instance numbers.", *said]
    loop.colour_flow = any(other.colour_flow for other in loops)
    loop.frame_times, loop.frame_time_source = _times_of_files(headers), "acquired"
    if loop.frame_times is None:
        differing = [k for k in STEPS if len({header.number(k) for header in headers}) > 1]
        if differing:
            loop.notes.append(f"{differing[0]} differs between the files: there are no frame times.")
        else:
            _set_times(loop, Header(headers[0].dataset, loop.notes), len(files))
    return loop


def _is_alike(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    return one is other or (one is not None and other is not None and np.allclose(one, other, rtol=0.01))


def _size(loop: Loop) -> str:
    return " × ".join(str(n) for n in loop.frames.shape)


def _read(path: Path, dataset: Any) -> tuple[Loop, Scale]:
    """The loop of a file, its frames as they are stored, and what scales them."""
    if "PixelData" not in dataset:
        raise InputError(f"{path}: the DICOM file has no pixel data, or is truncated before it")
    loop = Loop()
    header = Header(dataset, loop.notes)
    _refuse_slices(path, header)
    loop.frames, scale = stored_frames(path, dataset, loop)
    coloured = loop.colour_flow
    loop.regions = ultrasound_regions(dataset, loop.notes)
    loop.crop = image_region(loop.regions, loop.frames.shape[1:], loop.notes)
    if loop.crop is not None:
        top, left, bottom, right = loop.crop
        loop.frames = loop.frames[:, top:bottom, left:right]
        loop.regions = crop_regions(loop.regions, loop.crop)
        coloured = False  # colour on another image says nothing of this one
    loop.colour_flow = coloured or any(region["data_type"] == COLOUR_FLOW for region in loop.regions)
    loop.spacing = dicom_spacing(dataset, loop.regions, loop.frames.shape[1:], loop.notes)
    loop.aspect = _aspect(header)
    stated = loop.frame_times
    _set_times(loop, header, len(loop.frames))
    if loop.frame_times is None and stated is not None:
        loop.frame_times, loop.frame_time_source = stated, "playback"
        loop.notes.append("The frame times are those of the playback of the video inside.")
    loop.r_waves = _r_waves(header)
    loop.view = view_words(dataset)
    return loop, scale


def _refuse_slices(path: Path, header: Header) -> None:
    places = {
        tuple(place.numbers(keyword) or ())
        for group in header.items("PerFrameFunctionalGroupsSequence")
        for sequence, keyword in POSITIONS
        for place in group.items(sequence)[:1]
    }
    several = (header.whole("NumberOfFrames") or 1) > 1
    if several and (any(keyword in header for keyword in SLICE_VECTORS) or len(places) > 1):
        raise InputError(f"{path}: a 3D volume, its frames are slices at different positions; expected a 2D cine")
    if header.text("SOPClassUID") == ENHANCED_US_VOLUME:
        raise InputError(f"{path}: a 3D volume (Enhanced US Volume); expected a 2D cine")
    if header.text("SOPClassUID") in PRIVATE_VOLUMES:
        raise InputError(
            f"{path}: a 3D volume over time, as {PRIVATE_VOLUMES[header.text('SOPClassUID')]} stores it; "
            "expected a 2D cine"
        )


def _aspect(header: Header) -> float:
    """PixelAspectRatio (0028,0034) is the height and the width of a pixel, as whole numbers."""
    stated = header.numbers("PixelAspectRatio", 2)
    return stated[0] / stated[1] if stated and min(stated) > 0 else 1.0


def _r_waves(header: Header) -> list[float] | None:
    times = [time / 1000 for time in header.numbers("RWaveTimeVector") or []]
    return [time for time in times if abs(time) < LATEST_BEAT] or None


def _set_times(loop: Loop, header: Header, count: int) -> None:
    """Frame times from the header: FrameTimeVector, a frame time, or a rate that is one of display."""
    loop.frame_time_source, loop.frame_times = "acquired", None
    steps = header.numbers("FrameTimeVector")
    if steps is not None:
        if len(steps) == count and all(step > 0 for step in steps[1:]):
            loop.frame_times = [float(t) for t in np.cumsum(np.concatenate([[0.0], steps[1:]])) / 1000]
            return
        loop.notes.append(f"FrameTimeVector isn't {count} increasing times, one a frame: not used.")
    for keyword in STEPS:
        step = header.positive(keyword)
        if step:
            loop.frame_times = [t * step / 1000 for t in range(count)]
            return
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = header.positive(keyword)
        if rate:
            loop.notes.append(f"Frame times come from {keyword}, a rate for display: {rate:g} frames/s.")
            loop.frame_times, loop.frame_time_source = [t / rate for t in range(count)], "playback"
            return
    loop.notes.append("The header gives no frame times.")


def _times_of_files(headers: Sequence[Header]) -> list[float] | None:
    """Times of files of one frame each, from the first of the headers' times that increases from file to file."""
    for keyword in FILE_TIMES:
        stated = [time_of(header, keyword) for header in headers]
        times = [time for time in stated if time is not None]
        if len(times) == len(headers) and (np.diff(times) > 0).all():
            return [time - times[0] for time in times]
    return None


def time_of(header: Header, keyword: str) -> float | None:
    """Seconds of one of ``FILE_TIMES``: since midnight, or since the trigger; None where there is none."""
    if keyword == "TriggerTime":
        milliseconds = header.number(keyword)
        return None if milliseconds is None else milliseconds / 1000
    found = re.search(r"(\d\d)(\d\d)(\d\d(?:\.\d+)?)(?:[+-]\d{4})?$", header.text(keyword))
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None


def view_words(dataset: Any) -> str | None:
    """What the header says of the view: ViewCodeSequence (0054,0220), ViewName (0008,2127) or SeriesDescription."""
    header = Header(dataset)
    codes = [code.text("CodeMeaning") or code.text("CodeValue") for code in header.items("ViewCodeSequence")]
    for words in (*codes, header.text("ViewName"), header.text("SeriesDescription")):
        if words:
            return words[:80]
    return None
