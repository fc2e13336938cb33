"""Cine loops: reading, writing, the imaging sector and frame pairs.

A cine is a ``MetaTensor`` of shape ``[1, T, H, W]``, float32 in [0, 1], whose ``meta`` carries

- ``spacing``: (row, column) in mm/px, or None where the file doesn't say. It is never guessed.
- ``frame_times``: T seconds that start at 0, or None.
- ``regions``: the regions of a DICOM ultrasound image, one dict each (see ``ultrasound_regions``).
- ``r_waves``: R wave times in seconds, or None (DICOM only).
- ``colour_flow``: whether a DICOM region, or colour on a part of the echo, says that this is colour Doppler.
- ``source``: the path; ``notes``: sentences about what the file left open or contradicted.

Colour is reduced to its first channel, and 8-bit values are divided by 255 (NMSR section 3; SSMSR section III-A).
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage
from skimage.morphology import disk

from common.errors import InputError
from common.files import written_whole

VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
WRITTEN_SUFFIXES = (".nii.gz", ".nii", ".mp4", ".gif")

TIME_SERIES_INTENT = 2001
COLOUR_FLOW = 2  # RegionDataType (0018,6014)
SLOWEST_FRAME_TIME = 0.2
VALUE_RANGE = (0.005, 0.995)
LEAST_CHANGE = 1.5 / 255  # standard deviation over frames, or over neighbours, of echo
MM_PER_UNIT = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


@dataclass
class _Loop:
    """What a format's reader found: frames ``[T, H, W]`` in [0, 1], and what ``meta`` will carry."""

    frames: np.ndarray
    spacing: tuple[float, float] | None = None
    frame_times: list[float] | None = None
    regions: list[dict[str, Any]] = field(default_factory=list)
    r_waves: list[float] | None = None
    colour_flow: bool = False
    notes: list[str] = field(default_factory=list)


def read_cine(path: str | os.PathLike[str], spacing: float | Sequence[float] | None = None) -> MetaTensor:
    """Read a cine loop from a file or a folder of images.

    Args:
        path: DICOM ultrasound multi-frame; NIfTI (X, Y, T) or (X, Y, 1, T); MetaImage; AVI, MP4, MOV, MKV, WebM or
            GIF; or a folder of png, jpg, bmp or tif images, taken in natural order (2 before 10).
        spacing: (row, column) in mm/px, or one number for both; takes the place of what the file says.

    Returns:
        ``[1, T, H, W]`` float32 in [0, 1] with the ``meta`` that the module describes.

    Raises:
        InputError: the file is missing, empty, truncated, of an unknown kind, a 3D volume, has fewer than two frames,
            values that aren't finite, blank frames or nothing but identical ones; or ``spacing`` isn't positive.
    """
    path = Path(path)
    given = _checked_spacing(spacing)
    loop = _reader(path)(path)
    _check_frames(path, loop.frames)
    if given is not None:
        if loop.spacing is not None and not np.allclose(given, loop.spacing, rtol=1e-3):
            loop.notes.append(f"The spacing given, {_mm(given)}, replaces the file's {_mm(loop.spacing)}.")
        loop.spacing = given
    meta = {
        "spacing": loop.spacing,
        "frame_times": loop.frame_times,
        "regions": loop.regions,
        "r_waves": loop.r_waves,
        "colour_flow": loop.colour_flow,
        "source": str(path),
        "notes": loop.notes,
    }
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(loop.frames, dtype=np.float32))[None], meta=meta)


def frame_pairs(cine: torch.Tensor) -> torch.Tensor:
    """The pairs of neighbouring frames of a cine ``[1, T, H, W]``, as ``[T - 1, 2, H, W]``.

    Channel 0, moving, is frame t; channel 1, fixed, is frame t + 1.
    """
    frames = cine.as_tensor() if isinstance(cine, MetaTensor) else cine
    return torch.stack([frames[0, :-1], frames[0, 1:]], dim=1)


def _checked_spacing(spacing: float | Sequence[float] | None) -> tuple[float, float] | None:
    if spacing is None:
        return None
    values = np.atleast_1d(np.asarray(spacing, dtype=float))
    if values.size not in (1, 2) or not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise InputError(f"spacing {spacing}: expected one or two positive numbers, (row, column) in mm/px")
    return float(values[0]), float(values[-1])


def _mm(spacing: Sequence[float]) -> str:
    return f"{spacing[0]:.4g} × {spacing[1]:.4g} mm/px"


def _reader(path: Path) -> Callable[[Path], _Loop]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        return _read_folder
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{path}: the file is empty")
    name = path.name.lower()
    if head[128:132] == b"DICM" or name.endswith(DICOM_SUFFIXES):
        return _read_dicom
    if name.endswith((".nii", ".nii.gz")):
        return _read_nifti
    if name.endswith((".mha", ".mhd")):
        return _read_metaimage
    if name.endswith(".gif"):
        return _read_gif
    if name.endswith(VIDEO_SUFFIXES):
        return _read_video
    if name.endswith(IMAGE_SUFFIXES):
        raise InputError(f"{path}: a single image; a cine is a folder of at least two images, or a video")
    kinds = "DICOM, .nii, .nii.gz, .mha, .mhd, .gif, " + ", ".join(VIDEO_SUFFIXES)
    raise InputError(f"{path}: not a cine file of a known kind ({kinds}, or a folder of images)")


def _check_frames(path: Path, frames: np.ndarray) -> None:
    if len(frames) < 2:
        raise InputError(f"{path}: only {len(frames)} frame; a cine needs at least two")
    bad = [t for t, frame in enumerate(frames) if not np.isfinite(frame).all()]
    if bad:
        raise InputError(f"{path}: {_frames_named(bad, len(frames))} NaN or infinite values")
    blank = [t for t, frame in enumerate(frames) if frame.min() == frame.max()]
    if blank:
        raise InputError(f"{path}: {_frames_named(blank, len(frames))} one constant value, nothing to track")
    if all(np.array_equal(frames[0], frame) for frame in frames[1:]):
        raise InputError(f"{path}: all {len(frames)} frames are identical, nothing moves")


def _frames_named(indices: list[int], count: int) -> str:
    if len(indices) == count:
        return f"all {count} frames have"
    named = ", ".join(str(t + 1) for t in indices[:5]) + (", …" if len(indices) > 5 else "")
    return f"frame{'s' if len(indices) > 1 else ''} {named} of {count} {'have' if len(indices) > 1 else 'has'}"


def _unit_range(values: np.ndarray, notes: list[str], maximum: float | None = None) -> np.ndarray:
    """Scale to [0, 1]: by ``maximum`` where known, bytes by 255, integers that fit a byte too, else by min and max."""
    if maximum is not None:
        return np.clip(values.astype(np.float32) / maximum, 0, 1)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / 255
    if values.dtype == bool or values.size == 0:
        return values.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if np.issubdtype(values.dtype, np.integer) and low >= 0 and 1 < high <= 255:
        notes.append(f"Values are whole numbers up to {high:g} in {values.dtype}: divided by 255.")
        return values.astype(np.float32) / 255
    if not (np.isfinite(low) and np.isfinite(high)) or (low >= 0 and high <= 1):
        return values.astype(np.float32)
    notes.append(f"Values run from {low:g} to {high:g}: scaled to [0, 1] by their minimum and maximum.")
    return ((values.astype(np.float64) - low) / max(high - low, np.finfo(float).tiny)).astype(np.float32)


def _first_channel(values: np.ndarray, loop: _Loop) -> np.ndarray:
    """``[T, H, W, C]`` to its first channel, noting colour that covers more than labels and marks do.

    A tint colours all that is bright, Doppler a part of it.
    """
    colour = values[:: max(len(values) // 8, 1), ..., :3].astype(np.int32) / np.iinfo(values.dtype).max
    coloured = np.ptp(colour, axis=-1) > 0.2
    share = coloured.mean()
    if share > 0.03:
        loop.notes.append(
            f"{share:.0%} of the pixels are coloured (a Doppler or tinted image?): the first channel is used."
        )
        loop.colour_flow = bool(coloured[colour.max(-1) > 0.4].mean() < 0.8)
    return values[..., 0]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "…"


@contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Hold back a library's warnings and logged tracebacks: what is wrong ends in one line of ours."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# Libraries raise exceptions of many kinds on damaged files: each reader turns any of them into one InputError.

# DICOM


def _read_dicom(path: Path) -> _Loop:
    import pydicom

    with _quiet("pydicom"):
        try:
            dataset = pydicom.dcmread(path)
            present = "PixelData" in dataset
        except Exception as error:
            raise InputError(f"{path}: not a readable DICOM file, or a truncated one: {_one_line(error)}") from error
        if not present:
            raise InputError(f"{path}: the DICOM file has no pixel data, or is truncated before it")
        try:
            loop = _Loop(np.empty(0))
            loop.frames = _dicom_frames(path, dataset, loop)
            if len(loop.frames) > 1:
                _refuse_slices(path, dataset)
            loop.regions = ultrasound_regions(dataset)
            loop.colour_flow |= any(region["data_type"] == COLOUR_FLOW for region in loop.regions)
            loop.spacing = _dicom_spacing(dataset, loop.regions, loop.frames.shape[1:], loop.notes)
            loop.frame_times = _dicom_times(dataset, len(loop.frames), loop.notes)
            r_waves = dataset.get("RWaveTimeVector")
            if r_waves:
                loop.r_waves = [float(time) / 1000 for time in np.atleast_1d(r_waves)]
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{path}: the DICOM header can't be understood: {_one_line(error)}") from error
    return loop


def _dicom_frames(path: Path, dataset: Any, loop: _Loop) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, pixel_array

    declared = int(dataset.get("NumberOfFrames") or 1)
    try:
        values = pixel_array(dataset)
    except Exception as error:
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        kind = getattr(syntax, "name", "no transfer syntax")
        raise InputError(f"{path}: truncated or undecodable pixel data ({kind}): {_one_line(error)}") from error
    samples = int(dataset.SamplesPerPixel)
    photometric = str(dataset.PhotometricInterpretation)
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    values = values.reshape(-1, int(dataset.Rows), int(dataset.Columns), *([samples] if samples > 1 else []))
    if len(values) != declared:
        raise InputError(f"{path}: {declared} frames declared but {len(values)} can be decoded")
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        bits = values.dtype.itemsize * 8
    if values.ndim == 4:
        values = _first_channel(values, loop)
    if not np.issubdtype(values.dtype, np.integer):
        return _unit_range(values, loop.notes)
    maximum = 2**bits - 1
    if np.issubdtype(values.dtype, np.signedinteger):
        values = values.astype(np.int64) + 2 ** (bits - 1)
    elif values.dtype.itemsize * 8 > bits:
        values = values & maximum
    if photometric == "MONOCHROME1":
        values = maximum - values
    return _unit_range(values, loop.notes, maximum)


def _refuse_slices(path: Path, dataset: Any) -> None:
    spatial = ("GridFrameOffsetVector", "SliceLocationVector")
    functional = dataset.get("PerFrameFunctionalGroupsSequence") or []
    positions = {
        str(group.PlanePositionSequence[0].get("ImagePositionPatient"))
        for group in functional
        if group.get("PlanePositionSequence")
    }
    if any(keyword in dataset for keyword in spatial) or len(positions) > 1:
        raise InputError(f"{path}: a 3D volume, its frames are slices at different positions; expected a 2D cine")


def ultrasound_regions(dataset: Any) -> list[dict[str, Any]]:
    """The items of SequenceOfUltrasoundRegions (0018,6011) of a pydicom dataset, one dict each.

    ``x0``, ``y0``, ``x1``, ``y1``: the region's first and last column and row in pixels; ``spatial_format`` (1 = 2D)
    and ``data_type`` (1 = tissue, 2 = colour flow) as in DICOM PS3.3 C.8.5.5; ``units``: DICOM's codes (x, y), 3 = cm;
    ``delta``: (x, y) in those units; ``spacing``: (row, column) in mm/px where both units are cm, otherwise None.
    """
    regions = []
    for item in dataset.get("SequenceOfUltrasoundRegions") or []:
        units = (item.get("PhysicalUnitsXDirection"), item.get("PhysicalUnitsYDirection"))
        delta = (item.get("PhysicalDeltaX"), item.get("PhysicalDeltaY"))
        spacing = None
        if units == (3, 3) and delta[0] and delta[1] and np.isfinite(delta).all():
            spacing = (abs(float(delta[1])) * 10, abs(float(delta[0])) * 10)
        regions.append(
            {
                "x0": item.get("RegionLocationMinX0"),
                "y0": item.get("RegionLocationMinY0"),
                "x1": item.get("RegionLocationMaxX1"),
                "y1": item.get("RegionLocationMaxY1"),
                "spatial_format": item.get("RegionSpatialFormat"),
                "data_type": item.get("RegionDataType"),
                "units": units,
                "delta": delta,
                "spacing": spacing,
            }
        )
    return regions


def _dicom_spacing(
    dataset: Any, regions: list[dict[str, Any]], size: tuple[int, ...], notes: list[str]
) -> tuple[float, float] | None:
    height, width = size
    placed = [r for r in regions if None not in (r["x0"], r["y0"], r["x1"], r["y1"])]
    for r in placed:
        # some makers count the last pixel, others the one after it
        if r["x1"] > width or r["y1"] > height or r["x0"] >= r["x1"] or r["y0"] >= r["y1"]:
            notes.append(
                f"The header's ultrasound region spans x {r['x0']} to {r['x1']} and y {r['y0']} to {r['y1']}, but the "
                f"frames are {width} × {height} pixels: they were resized or cropped after it was written, so its "
                "spacing isn't used."
            )
            return None
    tissue = [r for r in placed if r["spatial_format"] == 1 and r["data_type"] == 1 and r["spacing"]]
    tissue = tissue or [r for r in placed if r["spatial_format"] == 1 and r["data_type"] == 2 and r["spacing"]]
    if tissue:
        largest = max(tissue, key=lambda r: (r["x1"] - r["x0"]) * (r["y1"] - r["y0"]))
        if any(not np.allclose(r["spacing"], largest["spacing"], rtol=0.01) for r in tissue):
            notes.append(f"{len(tissue)} image regions differ in spacing: {_mm(largest['spacing'])} is the largest's.")
        return largest["spacing"]
    pixel_spacing = dataset.get("PixelSpacing")
    if pixel_spacing and len(pixel_spacing) == 2 and min(float(v) for v in pixel_spacing) > 0:
        return float(pixel_spacing[0]), float(pixel_spacing[1])
    notes.append("The header gives no spacing in mm: lengths are in pixels.")
    return None


def _dicom_times(dataset: Any, count: int, notes: list[str]) -> list[float] | None:
    vector = dataset.get("FrameTimeVector")
    if vector is not None:
        steps = np.atleast_1d(np.asarray(vector, dtype=float))
        if len(steps) == count and np.all(steps[1:] > 0):
            return [float(t) for t in np.cumsum(np.concatenate([[0.0], steps[1:]])) / 1000]
        notes.append(f"FrameTimeVector isn't {count} increasing times, one a frame: not used.")
    for keyword in ("FrameTime", "ActualFrameDuration"):
        step = float(dataset.get(keyword) or 0)
        if step > 0:
            return [t * step / 1000 for t in range(count)]
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = float(dataset.get(keyword) or 0)
        if rate > 0:
            notes.append(f"Frame times come from {keyword}, a rate for display: {rate:g} frames/s.")
            return [t / rate for t in range(count)]
    notes.append("The header gives no frame times.")
    return None


# NIfTI and MetaImage


def _read_nifti(path: Path) -> _Loop:
    import nibabel as nib

    try:
        with _quiet("nibabel.global"):
            image: Any = nib.load(path)
            header = image.header
            extensions = [e.get_content() for e in header.extensions if e.get_code() == 6]
            values = np.asanyarray(image.dataobj)
    except Exception as error:
        raise InputError(f"{path}: not a readable NIfTI file, or a truncated one: {_one_line(error)}") from error
    if values.dtype.names:
        values = values[values.dtype.names[0]]
    space_unit, time_unit = header.get_xyzt_units()
    loop = _axes_to_frames(
        path,
        values,
        zooms=[float(z) for z in header.get_zooms()],
        affine=header.get_best_affine() if header["sform_code"] > 0 or header["qform_code"] > 0 else None,
        mm_per_unit=MM_PER_UNIT.get(space_unit),
        seconds_per_unit=SECONDS_PER_UNIT.get(time_unit),
        is_series=int(header["intent_code"]) == TIME_SERIES_INTENT,
        own_units=time_unit in ("msec", "usec"),
    )
    for content in extensions:
        times = _stored_times(content, len(loop.frames))
        loop.frame_times = times or loop.frame_times
    return loop


def _stored_times(content: Any, count: int) -> list[float] | None:
    try:
        times = json.loads(content)["frame_times"]
    except (ValueError, TypeError, KeyError):
        return None
    return [float(t) for t in times] if len(times) == count else None


METAIMAGE_TYPES = {
    "UCHAR": "u1",
    "CHAR": "i1",
    "USHORT": "u2",
    "SHORT": "i2",
    "UINT": "u4",
    "INT": "i4",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}


def _read_metaimage(path: Path) -> _Loop:
    with path.open("rb") as file:
        head = file.read(16384)
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields and position < len(head):
        line, _, _ = head[position:].partition(b"\n")
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        position += len(line) + 1
    if "ElementDataFile" not in fields:
        raise InputError(f"{path}: not a MetaImage file")
    try:
        sizes = [int(n) for n in fields["DimSize"].split()]
        values = _metaimage_values(path, fields, sizes, position)
        stated = fields.get("ElementSpacing") or fields.get("ElementSize")
        zooms = [float(v) for v in stated.split()] if stated else [1.0] * len(sizes)
        offset = fields.get("Offset") or fields.get("Position") or fields.get("Origin") or "0 0 0"
        matrix = fields.get("TransformMatrix") or fields.get("Rotation") or fields.get("Orientation")
        affine = None
        if len(sizes) == 3:
            affine = np.eye(4)
            affine[:3, 3] = [float(v) for v in offset.split()]
            if matrix:
                affine[:3, :3] = np.reshape([float(v) for v in matrix.split()], (3, 3)).T
        zooms = zooms[: len(sizes)] if len(zooms) >= len(sizes) else [*zooms, *[1.0] * (len(sizes) - len(zooms))]
    except InputError:
        raise
    except (KeyError, ValueError, OverflowError, zlib.error) as error:
        raise InputError(f"{path}: not a readable MetaImage, or a truncated one: {_one_line(error)}") from error
    return _axes_to_frames(
        path,
        values,
        zooms=zooms,
        affine=affine,
        mm_per_unit=1.0 if stated else None,
        seconds_per_unit=1.0 if stated else None,
        is_series=False,
        own_units=False,
    )


def _metaimage_values(path: Path, fields: dict[str, str], sizes: list[int], header_bytes: int) -> np.ndarray:
    """The pixels as (X, Y, …), the first channel where there are several."""
    name = fields["ElementDataFile"]
    source = path if name.upper() == "LOCAL" else path.parent / name
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(f"{path}: a MetaImage whose pixels lie in several files isn't supported")
    if not source.is_file():
        raise InputError(f"{path}: its data file {name} is missing")
    kind = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in METAIMAGE_TYPES:
        raise InputError(f"{path}: pixels of type {fields['ElementType']} aren't supported")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    dtype = np.dtype(METAIMAGE_TYPES[kind]).newbyteorder(">" if big else "<")
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    needed = int(np.prod(sizes, dtype=object)) * channels * dtype.itemsize
    data = source.read_bytes()[header_bytes if source == path else 0 :]
    if fields.get("CompressedData", "False").lower() == "true":
        data = zlib.decompress(data)
    skipped = int(fields.get("HeaderSize", "0"))
    data = data[-needed:] if skipped == -1 else data[skipped:]
    if needed <= 0 or len(data) < needed:
        raise InputError(f"{path}: truncated, {len(data)} bytes of pixels where the header needs {needed}")
    values = np.frombuffer(data, dtype, needed // dtype.itemsize).astype(dtype.newbyteorder("="), copy=False)
    return values.reshape(*sizes[::-1], channels)[..., 0].transpose()


def _axes_to_frames(
    path: Path,
    values: np.ndarray,
    *,
    zooms: list[float],
    affine: np.ndarray | None,
    mm_per_unit: float | None,
    seconds_per_unit: float | None,
    is_series: bool,
    own_units: bool,
) -> _Loop:
    """Make a loop of an array whose axes are (X, Y, T) or (X, Y, 1, T), refusing a volume.

    ``mm_per_unit`` and ``seconds_per_unit`` are None where the file names no unit; ``is_series`` says that the file
    calls itself a time series, ``own_units`` that it names a time unit that no writer of volumes puts down by default.
    """
    shape = values.shape
    loop = _Loop(np.empty(0))
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    explicit = values.ndim == 4 and values.shape[2] == 1
    if explicit:
        values = values[:, :, 0]
        zooms = [zooms[0], zooms[1], zooms[3]]
    if values.ndim == 2:
        raise InputError(f"{path}: only 1 frame, shape {shape}; a cine needs at least two")
    if values.ndim != 3:
        raise InputError(f"{path}: shape {shape}; expected a 2D cine, (X, Y, T) or (X, Y, 1, T)")
    if values.shape[2] > 1 and not (explicit or is_series):
        reason = _looks_like_volume(values, zooms, affine, mm_per_unit, own_units)
        if reason:
            raise InputError(
                f"{path}: a 3D volume, not a 2D cine: {reason} (a cine of shape (X, Y, T) has a frame time in seconds "
                "as its third zoom; NIfTI intent code 2001 or shape (X, Y, 1, T) settles it)"
            )
    loop.frames = _unit_range(np.moveaxis(values, -1, 0).swapaxes(1, 2), loop.notes)
    if mm_per_unit is None:
        loop.notes.append("The file names no unit of length: its spacing isn't used.")
    else:
        loop.spacing = (zooms[1] * mm_per_unit, zooms[0] * mm_per_unit)
    step = zooms[2] * (seconds_per_unit or 0)
    if 0 < step <= SLOWEST_FRAME_TIME or (step > 0 and (explicit or is_series)):
        loop.frame_times = [t * step for t in range(len(loop.frames))]
    else:
        loop.notes.append("The file gives no frame times: its third axis is taken as time.")
    return loop


def _looks_like_volume(
    values: np.ndarray, zooms: list[float], affine: np.ndarray | None, mm_per_unit: float | None, own_units: bool
) -> str | None:
    """Why an (X, Y, N) array seems to be N slices rather than N frames, or None.

    Many writers put "mm, sec" on everything, so the units alone don't tell.
    """
    if own_units:
        return None
    if affine is not None:
        axis = affine[:3, 2]
        if abs(affine[2, 3]) > 1e-6 or np.abs(axis[:2]).max() > 1e-3 * np.abs(axis).max():
            return "its slices have a position in space"
    isotropic = np.allclose(zooms, zooms[0], rtol=0.01)
    if isotropic and mm_per_unit is not None:
        return f"all three zooms are {zooms[0]:.4g} mm"
    width, height, count = values.shape
    if isotropic and zooms[0] == 1 and min(width, height) / 2 < count < 2 * max(width, height):
        planes = values.reshape(-1, count)[:: max(width * height // 10_000, 1)].astype(float).T
        with np.errstate(invalid="ignore", divide="ignore"):
            alike = np.corrcoef(planes)[0, 1:]
        if np.median(alike) < 0.5:
            return f"shape {values.shape} with no units and equal zooms, and its planes aren't alike"
    if zooms[2] > SLOWEST_FRAME_TIME and zooms[2] != 1:
        return f"its third zoom, {zooms[2]:.4g}, is a slice distance rather than a frame time"
    return None


# Video, GIF and folders


def _read_video(path: Path) -> _Loop:
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
    loop = _Loop(np.empty(0))
    loop.frames = _unit_range(_first_channel(np.stack(frames), loop), loop.notes)
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


def _read_gif(path: Path) -> _Loop:
    from PIL import Image

    loop = _Loop(np.empty(0))
    frames, durations = [], []
    try:
        with Image.open(path) as image:
            for index in range(getattr(image, "n_frames", 1)):
                image.seek(index)
                frames.append(np.asarray(image.convert("RGB")))
                durations.append(float(image.info.get("duration", 0)) / 1000)
    except Exception as error:
        raise InputError(f"{path}: not a readable GIF, or a truncated one: {_one_line(error)}") from error
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\x3b":
            raise InputError(f"{path}: the GIF ends early, after {len(frames)} frames")
    loop.frames = _unit_range(_first_channel(np.stack(frames), loop), loop.notes)
    if all(step > 0 for step in durations):
        loop.frame_times = [float(t) for t in np.cumsum([0.0, *durations[:-1]])]
    loop.notes.append("A GIF gives no spacing in mm: lengths are in pixels.")
    return loop


def _read_folder(path: Path) -> _Loop:
    from PIL import Image

    files = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not files:
        raise InputError(f"{path}: no frames in this folder (looked for {', '.join(IMAGE_SUFFIXES)})")
    files.sort(key=lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", p.name.lower())])
    loop = _Loop(np.empty(0))
    frames: list[np.ndarray] = []
    for file in files:
        try:
            with Image.open(file) as image:
                values = np.asarray(image.convert("RGB") if image.mode in ("P", "1", "CMYK", "YCbCr") else image)
        except Exception as error:
            raise InputError(f"{file}: not a readable image, or a truncated one: {_one_line(error)}") from error
        frame = values[..., 0] if values.ndim == 3 else values
        if frames and frame.shape != frames[0].shape:
            raise InputError(
                f"{file}: {frame.shape[1]} × {frame.shape[0]} pixels where {files[0].name} has "
                f"{frames[0].shape[1]} × {frames[0].shape[0]}"
            )
        if frames and frame.dtype != frames[0].dtype:
            raise InputError(f"{file}: pixels of type {frame.dtype} where {files[0].name} has {frames[0].dtype}")
        frames.append(frame)
    stack = np.stack(frames)
    loop.frames = _unit_range(stack, loop.notes, 65535 if stack.dtype == np.uint16 else None)
    loop.notes.append("A folder of images gives no spacing and no frame times.")
    return loop


# Writing


def write_cine(path: str | os.PathLike[str], cine: torch.Tensor) -> None:
    """Write a cine, beside its final name first, then moved into place, so that no half-written file is left.

    Args:
        path: ``.nii.gz`` or ``.nii``: shape (X, Y, T), float32, zooms (dx, dy, dt) in mm and s where they are known,
            intent 2001 (time series), exact; ``.mp4``: H.264, 8 bits, lossy, 25 frames/s where times are unknown;
            ``.gif``: 8 bits, times to 10 ms, repeated frames merged.
        cine: ``[1, T, H, W]`` in [0, 1]; ``meta`` is used where it is a ``MetaTensor``.

    Raises:
        InputError: the suffix is none of these, the shape isn't a cine's, or the file can't be written.
    """
    path = Path(path)
    suffix = next((s for s in WRITTEN_SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise InputError(f"{path}: a cine is written as one of {', '.join(WRITTEN_SUFFIXES)}")
    if cine.ndim != 4 or cine.shape[0] != 1:
        raise InputError(f"{path}: expected a cine of shape [1, T, H, W], got {list(cine.shape)}")
    meta = cine.meta if isinstance(cine, MetaTensor) else {}
    frames = cine.detach().cpu().numpy()[0].astype(np.float32)
    writer = {".mp4": _write_mp4, ".gif": _write_gif}.get(suffix, _write_nifti)
    with written_whole(path) as beside:
        writer(str(beside), frames, meta.get("spacing"), meta.get("frame_times"))


def _write_nifti(path: str, frames: np.ndarray, spacing: Sequence[float] | None, times: list[float] | None) -> None:
    import nibabel as nib

    row, column = spacing or (1.0, 1.0)
    step = (times[-1] - times[0]) / (len(times) - 1) if times and len(times) > 1 else 1.0
    image = nib.Nifti1Image(frames.transpose(2, 1, 0), np.diag([column, row, step, 1.0]))
    image.header.set_zooms((column, row, step))
    image.header.set_xyzt_units("mm" if spacing else "unknown", "sec" if times else "unknown")
    image.header.set_intent(TIME_SERIES_INTENT, allow_unknown=True)
    image.header["descrip"] = b"cine (X, Y, T)"
    if times and not np.allclose(np.diff(times), step, atol=1e-6):
        content = json.dumps({"frame_times": times}).encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", content))
    nib.save(image, path)


def _write_mp4(path: str, frames: np.ndarray, spacing: Sequence[float] | None, times: list[float] | None) -> None:
    import imageio_ffmpeg

    height, width = frames.shape[1:]
    rate = (len(times) - 1) / (times[-1] - times[0]) if times and times[-1] > times[0] else 25.0
    writer = imageio_ffmpeg.write_frames(
        path,
        (width, height),
        pix_fmt_in="gray",
        pix_fmt_out="yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p",
        fps=rate,
        codec="libx264",
        macro_block_size=1,
        output_params=["-crf", "12"],
    )
    writer.send(None)
    for frame in _bytes(frames):
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def _write_gif(path: str, frames: np.ndarray, spacing: Sequence[float] | None, times: list[float] | None) -> None:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in _bytes(frames)]
    steps = np.diff(times) if times and len(times) > 1 else np.full(max(len(frames) - 1, 1), 0.04)
    durations = [max(10, round(float(step) * 100) * 10) for step in [*steps, steps[-1]]][: len(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)


def _bytes(frames: np.ndarray) -> np.ndarray:
    return np.round(np.clip(frames, 0, 1) * 255).astype(np.uint8)


# The imaging sector


def sector_mask(cine: torch.Tensor, radius: int = 16, still: bool = False) -> torch.Tensor:
    """The part of the frame worth registering: echo, without text, marks, traces and bars, widened by a disc.

    Pixels whose value lies in [0.005, 0.995] in at least a tenth of the frames, as in the papers (Li et al., arXiv
    1906.10510, section 3, and its extension, section III-A), restricted to what moves (marks and labels stay as they
    are), to the largest connected piece of it with its holes filled, then dilated. Marks and labels that the
    dilation reaches are taken out again. Where next to nothing moves, still pixels count too.

    Args:
        cine: ``[1, T, H, W]`` in [0, 1].
        radius: of the dilating disc, in pixels; 0 leaves the echo as it is.
        still: where more than a fifth of the echo stands still (filtered over time, or simulated so), all that has a
            texture: the sector that a reader sees, rather than what is worth registering.

    Returns:
        Boolean ``[H, W]``; all True where no echo is found.
    """
    frames = np.asarray(cine.detach().cpu())[0]
    low, high = VALUE_RANGE
    inside = np.mean((frames >= low) & (frames <= high), axis=0) >= 0.1
    moves = inside & (frames.std(axis=0) > LEAST_CHANGE)
    if moves.sum() < 0.02 * moves.size:
        moves = inside
    sector = _piece(moves)
    if still:
        mean = frames.mean(axis=0)
        texture = np.sqrt(np.maximum(_density(mean**2, 5) - _density(mean, 5) ** 2, 0))
        whole = _piece(moves | inside & (texture > LEAST_CHANGE))
        sector = whole if sector.sum() < 0.8 * whole.sum() else sector
    if not sector.any():
        return torch.ones(frames.shape[1:], dtype=torch.bool)
    outside = ndimage.distance_transform_edt(~sector)
    marks = (frames.mean(axis=0) > 0.1) & (outside > 2)
    mask = (outside <= radius) & ~(ndimage.binary_dilation(marks, disk(3)) & ~sector)
    return torch.from_numpy(mask)


def _piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of what is dense in a mask, without holes."""
    largest = _largest(ndimage.binary_opening(_density(mask, 7) > 0.5, disk(3)))
    return _filled(largest, 6) if largest.any() else largest


def _density(mask: np.ndarray, size: int) -> np.ndarray:
    return ndimage.uniform_filter(mask.astype(np.float32), size)


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else mask


def _filled(mask: np.ndarray, radius: int) -> np.ndarray:
    """Close gaps of up to twice the radius and fill what is enclosed."""
    return ndimage.binary_fill_holes(closed(mask, radius) | mask)


def closed(mask: np.ndarray, radius: int) -> np.ndarray:
    """The morphological closing of ``mask [H, W]`` by a disc of ``radius`` pixels, over the picture's edge too."""
    padded = np.pad(mask, radius + 1)
    widened = ndimage.distance_transform_edt(~padded) <= radius
    return (ndimage.distance_transform_edt(widened) > radius)[radius + 1 : -radius - 1, radius + 1 : -radius - 1]
