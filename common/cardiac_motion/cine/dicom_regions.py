"""Calibrated regions of a DICOM ultrasound image (PS3.3 C.8.5.5): which one is the B-mode image, and its spacing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cardiac_motion.cine.dicom_header import Header
from cardiac_motion.cine.loop import millimetres

TISSUE, COLOUR_FLOW = 1, 2  # RegionDataType (0018,6014)
TWO_D, M_MODE, SPECTRAL = 1, 2, 3  # RegionSpatialFormat (0018,6012)
FORMATS = {TWO_D: "2D image", M_MODE: "M-mode", SPECTRAL: "spectral Doppler"}
CENTIMETRES = 3  # PhysicalUnitsXDirection (0018,6024)
CORNERS = ("x0", "y0", "x1", "y1")


def ultrasound_regions(dataset: Any, notes: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the items of SequenceOfUltrasoundRegions (0018,6011), one dict each; invalid values are None.

    ``x0``, ``y0``, ``x1``, ``y1``: the region's first and last column and row in pixels; ``spatial_format`` (1 = 2D)
    and ``data_type`` (1 = tissue, 2 = colour flow) as in DICOM PS3.3 C.8.5.5; ``units``: DICOM's codes (x, y), 3 = cm;
    ``delta``: (x, y) in those units; ``spacing``: (row, column) in mm/px if both units are cm, otherwise None.
    """
    regions = []
    for item in Header(dataset, notes).items("SequenceOfUltrasoundRegions"):
        units = (item.whole("PhysicalUnitsXDirection"), item.whole("PhysicalUnitsYDirection"))
        delta = (item.number("PhysicalDeltaX"), item.number("PhysicalDeltaY"))
        spacing = None
        if units == (CENTIMETRES, CENTIMETRES) and delta[0] and delta[1]:
            spacing = (abs(delta[1]) * 10, abs(delta[0]) * 10)
        regions.append(
            {
                "x0": item.whole("RegionLocationMinX0"),
                "y0": item.whole("RegionLocationMinY0"),
                "x1": item.whole("RegionLocationMaxX1"),
                "y1": item.whole("RegionLocationMaxY1"),
                "spatial_format": item.whole("RegionSpatialFormat"),
                "data_type": item.whole("RegionDataType"),
                "units": units,
                "delta": delta,
                "spacing": spacing,
            }
        )
    return regions


def image_region(
    regions: Sequence[dict[str, Any]], size: Sequence[int], notes: list[str]
) -> tuple[int, int, int, int] | None:
    """Locate the B-mode image if there is another image next to it: (top, left, bottom, right), ends excluded.

    The largest 2D tissue region, the leftmost of equal ones; without one, the largest colour-flow region. A waveform,
    such as an ECG, is not an image. Cropping, and the absence of a 2D image, are noted.

    Args:
        regions: regions from ``ultrasound_regions``.
        size: (height, width) of the frames.
        notes: list to which notes are appended.
    """
    placed = [r for r in regions if _is_inside(r, size)]
    pictures = [r for r in placed if r["spatial_format"] in FORMATS]
    images = [r for r in pictures if r["spatial_format"] == TWO_D and r["data_type"] in (TISSUE, COLOUR_FLOW, None)]
    if not images:
        kinds = sorted({FORMATS[r["spatial_format"]] for r in pictures} - {FORMATS[TWO_D]})
        if kinds:
            notes.append(f"The header declares no 2D image, only {' and '.join(kinds)}; this is not a cine of tissue.")
        return None
    image = min(images, key=lambda r: (r["data_type"] == COLOUR_FLOW, -_area(r), r["x0"]))
    others = [r for r in pictures if r is not image and is_disjoint(r, image)]
    if not others:
        return None
    left, top, right, bottom = (int(image[corner]) for corner in CORNERS)
    bottom, right = min(bottom + 1, size[0]), min(right + 1, size[1])
    beside = " and ".join(sorted({FORMATS[r["spatial_format"]] for r in others}))
    notes.append(
        f"Another image ({beside}) lies next to the B-mode image; cropped to the latter, x {left} to {right - 1} and "
        f"y {top} to {bottom - 1}."
    )
    return top, left, bottom, right


def crop_regions(regions: Sequence[dict[str, Any]], crop: tuple[int, int, int, int]) -> list[dict[str, Any]]:
    """Return the regions within a crop (top, left, bottom, right), in the crop's pixels."""
    top, left, bottom, right = crop
    box = {"x0": left, "y0": top, "x1": right - 1, "y1": bottom - 1}
    cropped = []
    for r in regions:
        if None not in [r[corner] for corner in CORNERS] and not is_disjoint(r, box):
            low = {"x0": max(r["x0"] - left, 0), "y0": max(r["y0"] - top, 0)}
            high = {"x1": min(r["x1"], right) - left, "y1": min(r["y1"], bottom) - top}
            cropped.append({**r, **low, **high})
    return cropped


def is_disjoint(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Return whether two regions overlap at most at their edges."""
    if None in [r[corner] for r in (a, b) for corner in CORNERS]:
        return False
    return bool(a["x1"] <= b["x0"] or b["x1"] <= a["x0"] or a["y1"] <= b["y0"] or b["y1"] <= a["y0"])


def _is_inside(r: dict[str, Any], size: Sequence[int]) -> bool:
    """Return whether a region lies in the frames; vendors give either the last pixel or the one after it."""
    if None in [r[corner] for corner in CORNERS]:
        return False
    return bool(0 <= r["x0"] < r["x1"] <= size[1] and 0 <= r["y0"] < r["y1"] <= size[0])


def _area(r: dict[str, Any]) -> int:
    return int((r["x1"] - r["x0"]) * (r["y1"] - r["y0"]))


def dicom_spacing(
    dataset: Any, regions: Sequence[dict[str, Any]], size: Sequence[int], notes: list[str]
) -> tuple[float, float] | None:
    """Return (row, column) in mm/px of the largest 2D tissue (or colour) region, else PixelSpacing; None if unknown.

    Args:
        dataset: pydicom dataset.
        regions: regions of the frames after cropping.
        size: (height, width) of these frames.
        notes: list to which notes are appended.
    """
    height, width = size
    placed = [r for r in regions if None not in [r[corner] for corner in CORNERS]]
    for r in placed:
        if not _is_inside(r, size):
            notes.append(
                f"The header's ultrasound region spans x {r['x0']} to {r['x1']} and y {r['y0']} to {r['y1']}, but the "
                f"frames have {width} × {height} pixels: they were resized or cropped later, so its spacing is "
                "ignored."
            )
            return None
    flat = [r for r in placed if r["spatial_format"] == TWO_D and r["spacing"]]
    tissue = [r for r in flat if r["data_type"] == TISSUE] or [r for r in flat if r["data_type"] == COLOUR_FLOW]
    if tissue:
        largest = max(tissue, key=_area)
        if any(not np.allclose(r["spacing"], largest["spacing"], rtol=0.01) for r in tissue):
            used = millimetres(largest["spacing"])
            notes.append(f"{len(tissue)} image regions differ in spacing; that of the largest is used, {used}.")
        spacing: tuple[float, float] | None = largest["spacing"]
        return spacing
    pixel_spacing = Header(dataset, notes).numbers("PixelSpacing", 2)
    if pixel_spacing and min(pixel_spacing) > 0:
        return pixel_spacing[0], pixel_spacing[1]
    notes.append("The header gives no spacing in mm; lengths are in pixels.")
    return None
