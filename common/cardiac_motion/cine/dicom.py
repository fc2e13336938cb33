"""DICOM ultrasound: what a file is, its frames, and what its header says of them (PS3.3 C.7.6.5, C.7.6.6 and C.8.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.cine.dicom_pixels import dicom_frames
from cardiac_motion.cine.dicom_regions import COLOUR_FLOW, crop_regions, dicom_spacing, image_region, ultrasound_regions
from cardiac_motion.cine.loop import Loop, format_error, silence
from cardiac_motion.core.errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
ENHANCED_US_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
SLICE_VECTORS = ("GridFrameOffsetVector", "SliceLocationVector", "SliceVector")
POSITIONS = (
    ("PlanePositionSequence", "ImagePositionPatient"), ("PlanePositionVolumeSequence", "ImagePositionVolume"),
)  # fmt: skip
LATEST_BEAT = 86400.0  # s


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
    """
    loops, headers = [], []
    for file in files or [path]:
        dataset = read_header(file)
        with silence("pydicom"):
            try:
                loops.append(_read(file, dataset))
                headers.append({key: dataset.get(key) for key in ("AcquisitionDateTime", *FILE_TIMES)})
                headers[-1]["position"] = str(dataset.get("ImagePositionPatient"))
            except InputError:
                raise
            except Exception as error:
                raise InputError(f"{file}: the DICOM header can't be understood: {format_error(error)}") from error
    loop = loops[0]
    if len(loops) == 1:
        return loop
    for file, other in zip(files, loops, strict=True):
        if other.frames.shape[1:] != loop.frames.shape[1:] or len(other.frames) != 1:
            raise InputError(f"{file}: not one frame of the size of {path.name}, {_size(loop)}: {_size(other)}")
    if len({header["position"] for header in headers}) > 1:
        raise InputError(f"{path}: {len(files)} slices at different positions, a 3D volume; expected a 2D cine")
    loop.frames = np.concatenate([other.frames for other in loops])
    loop.notes = [note for note in loop.notes if "frame times" not in note]
    loop.notes.insert(0, f"{len(files)} files of one frame each, in the order of their instance numbers.")
    loop.frame_times = _times_of_files(headers)
    if loop.frame_times is None:
        dataset = read_header(path, pixels=False)
        _set_times(loop, dataset, len(files))
    return loop


def _size(loop: Loop) -> str:
    return " × ".join(str(n) for n in loop.frames.shape)


def _read(path: Path, dataset: Any) -> Loop:
    if "PixelData" not in dataset:
        raise InputError(f"{path}: the DICOM file has no pixel data, or is truncated before it")
    _refuse_slices(path, dataset)
    loop = Loop()
    loop.frames = dicom_frames(path, dataset, loop)
    coloured = loop.colour_flow
    loop.regions = ultrasound_regions(dataset)
    loop.crop = image_region(loop.regions, loop.frames.shape[1:], loop.notes)
    if loop.crop is not None:
        top, left, bottom, right = loop.crop
        loop.frames = loop.frames[:, top:bottom, left:right]
        loop.regions = crop_regions(loop.regions, loop.crop)
        coloured = False  # colour on another image says nothing of this one
    loop.colour_flow = coloured or any(region["data_type"] == COLOUR_FLOW for region in loop.regions)
    loop.spacing = dicom_spacing(dataset, loop.regions, loop.frames.shape[1:], loop.notes)
    loop.aspect = _aspect(dataset)
    stated = loop.frame_times
    _set_times(loop, dataset, len(loop.frames))
    if loop.frame_times is None and stated is not None:
        loop.frame_times, loop.times_are = stated, "playback"
        loop.notes.append("The frame times are those of the playback of the video inside.")
    loop.r_waves = _r_waves(dataset)
    loop.view = view_words(dataset)
    return loop


def _refuse_slices(path: Path, dataset: Any) -> None:
    functional = dataset.get("PerFrameFunctionalGroupsSequence") or []
    places = {
        str(group[sequence].value[0].get(keyword))
        for group in functional
        for sequence, keyword in POSITIONS
        if sequence in group and group[sequence].value
    }
    several = int(dataset.get("NumberOfFrames") or 1) > 1
    if several and (any(keyword in dataset for keyword in SLICE_VECTORS) or len(places) > 1):
        raise InputError(f"{path}: a 3D volume, its frames are slices at different positions; expected a 2D cine")
    if dataset.get("SOPClassUID") == ENHANCED_US_VOLUME:
        raise InputError(f"{path}: a 3D volume (Enhanced US Volume); expected a 2D cine")


def _aspect(dataset: Any) -> float:
    """PixelAspectRatio (0028,0034) is the height and the width of a pixel, as whole numbers."""
    stated = dataset.get("PixelAspectRatio")
    if stated is None or isinstance(stated, str) or len(stated) != 2:
        return 1.0
    height, width = (float(value) for value in stated)
    return height / width if height > 0 and width > 0 else 1.0


def _r_waves(dataset: Any) -> list[float] | None:
    found = dataset.get("RWaveTimeVector")
    times = [] if found is None else [float(time) / 1000 for time in np.atleast_1d(found)]
    times = [time for time in times if np.isfinite(time) and abs(time) < LATEST_BEAT]
    return times or None


def _set_times(loop: Loop, dataset: Any, count: int) -> None:
    """Frame times from the header: FrameTimeVector, a frame time, or a rate that is one of display."""
    loop.times_are, loop.frame_times = "acquired", None
    vector = dataset.get("FrameTimeVector")
    if vector is not None:
        steps = np.atleast_1d(np.asarray(vector, dtype=float))
        if len(steps) == count and np.all(steps[1:] > 0) and np.isfinite(steps).all():
            loop.frame_times = [float(t) for t in np.cumsum(np.concatenate([[0.0], steps[1:]])) / 1000]
            return
        loop.notes.append(f"FrameTimeVector isn't {count} increasing times, one a frame: not used.")
    for keyword in ("FrameTime", "ActualFrameDuration"):
        step = _read_positive(dataset, keyword)
        if step:
            loop.frame_times = [t * step / 1000 for t in range(count)]
            return
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = _read_positive(dataset, keyword)
        if rate:
            loop.notes.append(f"Frame times come from {keyword}, a rate for display: {rate:g} frames/s.")
            loop.frame_times, loop.times_are = [t / rate for t in range(count)], "playback"
            return
    loop.notes.append("The header gives no frame times.")


def _read_positive(dataset: Any, keyword: str) -> float | None:
    value = dataset.get(keyword)
    number = float(value) if value not in (None, "") and not isinstance(value, list) else 0.0
    return number if np.isfinite(number) and number > 0 else None


FILE_TIMES = ("TriggerTime", "AcquisitionTime", "ContentTime")  # ms; clock times


def _times_of_files(headers: Sequence[dict[str, Any]]) -> list[float] | None:
    """Times of files of one frame each, from the first of the headers' times that increases from file to file."""
    for keyword in ("AcquisitionDateTime", *FILE_TIMES):
        stated = [header[keyword] for header in headers]
        if any(value in (None, "") for value in stated):
            continue
        times = [float(v) / 1000 if keyword == "TriggerTime" else _seconds(str(v)) for v in stated]
        steps = np.diff(times)
        if (steps > 0).all():
            return [float(t - times[0]) for t in times]
    return None


def _seconds(clock: str) -> float:
    """Seconds since midnight of a DICOM time (HHMMSS.FFFFFF), or of the end of a date and time."""
    found = re.search(r"(\d\d)(\d\d)(\d\d(?:\.\d+)?)(?:[+-]\d{4})?$", clock)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else float("nan")


def view_words(dataset: Any) -> str | None:
    """What the header says of the view: ViewCodeSequence (0054,0220), ViewName (0008,2127) or SeriesDescription."""
    codes = [
        str(code.get("CodeMeaning") or code.get("CodeValue") or "") for code in dataset.get("ViewCodeSequence") or []
    ]
    for words in (*codes, str(dataset.get("ViewName") or ""), str(dataset.get("SeriesDescription") or "")):
        if words.strip():
            return " ".join(words.split())[:80]
    return None
