"""Pixel size and frame times: plausible ranges, non-square pixels, and resampling to square ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch.nn import functional

from cardiac_motion.cine.loop import Loop, millimetres
from cardiac_motion.core.errors import InputError

DEEPEST, SHALLOWEST = 450.0, 3.0  # mm of image height: from a large chest to a mouse's heart
WIDEST_ASPECT = 8.0  # ratio of a pixel's longer to its shorter side
SHORTEST_STEP, LONGEST_STEP = 1e-4, 2.0  # s between frames
SQUARE = 0.02  # pixels whose sides differ by a smaller fraction count as square


def pixel_steps(meta: Mapping[str, Any]) -> tuple[float, float]:
    """Return the pixel size (row, column): in mm if the spacing is known, otherwise in pixel widths.

    In these units lengths have the right ratios for non-square pixels, too; ``meta["spacing"]`` tells whether they are
    millimetres.
    """
    return meta.get("spacing") or (float(meta.get("aspect") or 1.0), 1.0)


def aspect_of(meta: Mapping[str, Any]) -> float:
    """Return the ratio of a pixel's height to its width."""
    row, column = pixel_steps(meta)
    return row / column


def discard_impossible(loop: Loop) -> None:
    """Discard a spacing, pixel aspect or frame times that no echo can have, with a note."""
    if loop.spacing is not None:
        height = _depth(loop)
        ratio = loop.spacing[0] / loop.spacing[1] if loop.spacing[1] > 0 else 0.0
        if not (SHALLOWEST <= height <= DEEPEST and 1 / WIDEST_ASPECT <= ratio <= WIDEST_ASPECT):
            loop.notes.append(
                f"A spacing of {millimetres(loop.spacing)} would make the image {height:.4g} mm deep, which is "
                "impossible; it is ignored."
            )
            loop.spacing = None
    if not 1 / WIDEST_ASPECT <= loop.aspect <= WIDEST_ASPECT:
        loop.notes.append(f"Pixels {loop.aspect:.4g} times as high as wide are impossible; assumed to be square.")
        loop.aspect = 1.0
    if loop.spacing is not None:
        loop.aspect = loop.spacing[0] / loop.spacing[1]
    elif abs(loop.aspect - 1) > SQUARE:
        loop.notes.append(f"The pixels are {loop.aspect:.4g} times as high as wide.")
    if loop.frame_times is not None and len(loop.frame_times) > 1:
        steps = np.diff(loop.frame_times)
        middle = float(np.median(steps))
        if not np.isfinite(loop.frame_times).all() or (steps <= 0).any():
            loop.notes.append("The frame times do not increase; they are ignored.")
        elif not SHORTEST_STEP <= middle <= LONGEST_STEP:
            loop.notes.append(f"A frame time of {1000 * middle:.4g} ms is impossible; it is ignored.")
        else:
            return
        loop.frame_times = None


def _depth(loop: Loop) -> float:
    assert loop.spacing is not None
    return float(loop.spacing[0] * loop.frames.shape[1])


def replace_frame_rate(meta: Mapping[str, Any], frame_rate: float, frames: int) -> dict[str, Any]:
    """Return ``meta`` of a cine of ``frames`` frames with the frame times of the user's ``frame_rate``, frames/s.

    Raises:
        InputError: the frame rate is impossible for an echo.

    Examples:
        >>> replace_frame_rate({"frame_times": None, "notes": []}, 50, 3)["frame_times"]
        [0.0, 0.02, 0.04]
    """
    if not 1 / LONGEST_STEP <= frame_rate <= 1 / SHORTEST_STEP:
        raise InputError(f"frame rate {frame_rate:g}: expected {1 / LONGEST_STEP:g} to {1 / SHORTEST_STEP:g} frames/s")
    notes, times = list(meta.get("notes") or ()), meta.get("frame_times")
    if times and len(times) > 1:
        previous = (len(times) - 1) / (times[-1] - times[0])
        notes.append(f"The given frame rate, {frame_rate:g} frames/s, replaces the file's {previous:.4g}.")
    given = [k / frame_rate for k in range(frames)]
    return {**meta, "frame_times": given, "frame_time_source": "acquired", "r_waves": None, "notes": notes}


def replace_spacing(meta: Mapping[str, Any], spacing: Sequence[float] | float) -> dict[str, Any]:
    """Return ``meta`` of a squared cine with the user's ``spacing`` of the file's pixels.

    Args:
        meta: metadata of the cine.
        spacing: (row, column) in mm/px, or one number for both.

    Raises:
        InputError: ``spacing`` is not one or two positive numbers.

    Examples:
        >>> replace_spacing({"zoom": (1.0, 2.0), "spacing": None}, (0.5, 1.0))["spacing"]
        (0.5, 0.5)
    """
    values = np.atleast_1d(np.asarray(spacing, dtype=float))
    if values.shape not in ((1,), (2,)) or not (np.isfinite(values).all() and (values > 0).all()):
        raise InputError(f"spacing {spacing}: expected one or two positive numbers, (row, column) in mm/px")
    zoom = meta.get("zoom") or (1.0, 1.0)
    row, column = (float(step) / factor for step, factor in zip(np.broadcast_to(values, 2), zoom, strict=True))
    return {**meta, "spacing": (row, column), "aspect": row / column}


def resample_square(cine: MetaTensor) -> MetaTensor:
    """Resample a cine with non-square pixels to square ones of the shorter side; return other cines unchanged.

    ``meta["zoom"]`` is then (row, column) new pixels per pixel of the file, so that position p on the file's grid is
    ``(p + 0.5) · zoom − 0.5`` on the new grid, and ``spacing`` is that of the new grid.
    """
    row, column = pixel_steps(cine.meta)
    if abs(row / column - 1) < SQUARE:
        return cine
    fine = min(row, column)
    height, width = (round(n * step / fine) for n, step in zip(cine.shape[2:], (row, column), strict=True))
    frames = functional.interpolate(cine.as_tensor(), size=(height, width), mode="bilinear", align_corners=False)
    zoom = (height / cine.shape[2], width / cine.shape[3])
    spacing = cine.meta.get("spacing")
    meta = {
        **cine.meta,
        "zoom": zoom,
        "aspect": (row / zoom[0]) / (column / zoom[1]),
        "spacing": spacing and (row / zoom[0], column / zoom[1]),
        "regions": [_zoom_region(region, zoom) for region in cine.meta.get("regions", [])],
    }
    return MetaTensor(frames, meta=meta)


def _zoom_region(region: Mapping[str, Any], zoom: tuple[float, float]) -> dict[str, Any]:
    factors = {"x0": zoom[1], "x1": zoom[1], "y0": zoom[0], "y1": zoom[0]}
    moved = {key: round(region[key] * factor) for key, factor in factors.items() if region.get(key) is not None}
    spacing = region.get("spacing")
    return {**region, **moved, "spacing": spacing and (spacing[0] / zoom[0], spacing[1] / zoom[1])}


def to_file_grid(points: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """Map points ``[..., 2]`` (row, column) of a squared cine to the pixels of its file."""
    return np.asarray((np.asarray(points, dtype=np.float64) + 0.5) / np.asarray(meta.get("zoom", (1.0, 1.0))) - 0.5)


def from_file_grid(points: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """Map points ``[..., 2]`` (row, column) in the file's pixels to the grid of the squared cine."""
    return np.asarray((np.asarray(points, dtype=np.float64) + 0.5) * np.asarray(meta.get("zoom", (1.0, 1.0))) - 0.5)


def file_size(cine: torch.Tensor, meta: Mapping[str, Any]) -> tuple[int, int]:
    """Return the height and width in pixels of a cine's file."""
    zoom = meta.get("zoom", (1.0, 1.0))
    return round(cine.shape[2] / zoom[0]), round(cine.shape[3] / zoom[1])
