"""DICOM ultrasound: pixels, calibrated regions and frame times (PS3.3 C.7.6.5 and C.8.5.5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from common.cine.loop import Loop, first_channel, millimetres, one_line, quiet, unit_range
from common.core.errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
COLOUR_FLOW = 2  # RegionDataType (0018,6014)


def read_dicom(path: Path) -> Loop:
    import pydicom

    with quiet("pydicom"):
        try:
            dataset = pydicom.dcmread(path)
            present = "PixelData" in dataset
        except Exception as error:
            raise InputError(f"{path}: not a readable DICOM file, or a truncated one: {one_line(error)}") from error
        if not present:
            raise InputError(f"{path}: the DICOM file has no pixel data, or is truncated before it")
        try:
            loop = Loop(np.empty(0))
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
            raise InputError(f"{path}: the DICOM header can't be understood: {one_line(error)}") from error
    return loop


def _dicom_frames(path: Path, dataset: Any, loop: Loop) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, pixel_array

    declared = int(dataset.get("NumberOfFrames") or 1)
    try:
        values = pixel_array(dataset)
    except Exception as error:
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        kind = getattr(syntax, "name", "no transfer syntax")
        raise InputError(f"{path}: truncated or undecodable pixel data ({kind}): {one_line(error)}") from error
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
        values = first_channel(values, loop)
    if not np.issubdtype(values.dtype, np.integer):
        return unit_range(values, loop.notes)
    maximum = 2**bits - 1
    if np.issubdtype(values.dtype, np.signedinteger):
        values = values.astype(np.int64) + 2 ** (bits - 1)
    elif values.dtype.itemsize * 8 > bits:
        values = values & maximum
    if photometric == "MONOCHROME1":
        values = maximum - values
    return unit_range(values, loop.notes, maximum)


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
            notes.append(
                f"{len(tissue)} image regions differ in spacing: {millimetres(largest['spacing'])} is the largest's."
            )
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
