"""Files of walls and contours: points that a user draws, tracked ones, and labels; in pixels of the cine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cardiac_motion.cine.scale import from_file_grid
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import NEARLY_WHOLE, load_nifti
from cardiac_motion.ventricle.contours import LAYERS, wall_contours, wall_lines
from cardiac_motion.ventricle.mesh import (
    Array,
    arc_length,
    column_fractions,
    interpolate_fractions,
    myocardial_contours,
)

SIDEWAYS = 30.0  # degrees from the horizontal: an apex so near to it, left of its base, is one of swapped coordinates


def read_contour(path: str | Path, frame: int, size: tuple[int, int], name: str = "endocardium") -> Array:
    """An endocardial contour ``[P, 2]`` (row, column) in pixels, from one base over the apex to the other.

    Args:
        path: JSON of points ``[P, 2]``, of ``[T, P, 2]`` or of a dictionary with ``name`` of either, and the ``frames``
            that they belong to (strain_pipeline's ``contours.json``); or a NIfTI (X, Y) or (X, Y, T) of labels, 1 the
            cavity and 2 the myocardium.
        frame: which of T is taken.
        size: (rows, columns) of the cine; the contour must lie inside.
        name: of the contour in a dictionary.

    Raises:
        InputError: it can't be read, is no contour, leaves the image, or lies on its side as swapped coordinates do.
    """
    if str(path).endswith((".nii", ".nii.gz")):
        return myocardial_contours(_read_labels(path, frame, size), name=str(path))[0]
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        points = np.asarray(content[name] if isinstance(content, dict) else content, dtype=np.float64)
        frames = content.get("frames") if isinstance(content, dict) else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no readable contour ({type(error).__name__})") from error
    if points.ndim == 3 and frames is not None:
        if frame not in frames:
            raise InputError(
                f"{path}: has no contour of frame {frame}, end-diastole; there are {frames[0]} to {frames[-1]}"
            )
        points = points[frames.index(frame)]
    elif points.ndim == 3 and 0 <= frame < len(points):
        points = points[frame]
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise InputError(f"{path}: a contour is at least 3 points (row, column), this is {points.shape}")
    if (points < 0).any() or (points > np.array(size) - 1).any():
        raise InputError(
            f"{path}: the contour leaves the image of {size[0]} × {size[1]} pixels{_suggest_swap(points, size)}"
        )
    base = points[[0, -1]].mean(0)
    axis = base - points[np.linalg.norm(points - base, axis=1).argmax()]
    if abs(axis[0]) < np.tan(np.radians(SIDEWAYS)) * axis[1]:
        raise InputError(
            f"{path}: the apex lies to the left of the base; points are (row, column), are these (column, row)?"
        )
    return points


def _suggest_swap(points: Array, size: tuple[int, int]) -> str:
    inside = (points >= 0).all() and (points[:, ::-1] <= np.array(size) - 1).all()
    return "; points are (row, column), these would fit as (column, row)" if inside else ""


def read_wall(
    path: str | Path,
    frame: int,
    size: tuple[int, int],
    points: int,
    thickness: float,
    zoom: tuple[float, float] = (1.0, 1.0),
) -> Array:
    """Endocardium, mid-wall and epicardium ``[3, points, 2]`` (row, column) in pixels, as the user draws them.

    Args:
        path: NIfTI (X, Y) or (X, Y, T) of labels, 1 the cavity and 2 the myocardium; or JSON as ``read_contour`` takes
            it, with an ``epicardium`` beside the ``endocardium`` or without.
        frame, size: as in ``read_contour``.
        points: of each line.
        thickness: pixels from the endocardium to the epicardium where the latter is not given.
        zoom: pixels (row, column) of the lines that are wanted for one of the file's (``scale.resample_square``).

    Raises:
        InputError: it can't be read, its lines cross, or it leaves the image.
    """
    if str(path).endswith((".nii", ".nii.gz")):
        labels = _read_labels(path, frame, size)
        if zoom != (1.0, 1.0):
            at = [((np.arange(round(n * z)) + 0.5) / z).astype(int) for n, z in zip(size, zoom, strict=True)]
            labels = labels[np.ix_(*at)]
        return wall_contours(labels, points, str(path))
    endo = from_file_grid(read_contour(path, frame, size), {"zoom": zoom})
    if "epicardium" in json.loads(Path(path).read_text(encoding="utf-8")):
        epi = from_file_grid(read_contour(path, frame, size, "epicardium"), {"zoom": zoom})
        if endo[0, 1] > endo[-1, 1]:
            endo, epi = endo[::-1], epi[::-1]
        return wall_lines(endo, epi, points, str(path))
    if endo[0, 1] > endo[-1, 1]:
        endo = endo[::-1]
    apex = int(np.linalg.norm(endo - endo[[0, -1]].mean(0), axis=1).argmax())
    length = arc_length(endo)
    line = interpolate_fractions(endo, column_fractions(float(length[apex] / length[-1]), points))
    tangent = np.gradient(ndimage.gaussian_filter1d(line, 2, axis=0, mode="nearest"), axis=0)
    outward = np.stack([-tangent[:, 1], tangent[:, 0]], -1) / np.linalg.norm(tangent, axis=1, keepdims=True)
    outward *= np.sign(((line - line.mean(0)) * outward).sum())
    return np.stack([line + share * thickness * outward for share in (0.0, 0.5, 1.0)])


def read_drawn_walls(
    path: str | Path, size: tuple[int, int], points: int, zoom: tuple[float, float] = (1.0, 1.0)
) -> dict[int, Array]:
    """Frame to the wall's lines ``[3, points, 2]`` that the user drew in it; empty where the file is of another kind.

    Such a file is JSON with ``drawn``, a list of frames, and under ``endocardium``, ``mid-wall`` and ``epicardium``
    as many lines of ``points`` points (row, column) each: point k is the same piece of the wall in every frame, as in a
    ``contours.json`` of the strain pipeline.

    Args:
        path, size, zoom: as in ``read_wall``.
        points: of each line.

    Raises:
        InputError: it can't be read, its lines cross or leave the image, or have another number of points.
    """
    if str(path).endswith((".nii", ".nii.gz")):
        return {}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no readable contour ({type(error).__name__})") from error
    if not isinstance(content, dict) or "drawn" not in content:
        return {}
    return check_drawn_walls(content, size, points, zoom, str(path))


def check_drawn_walls(
    content: Mapping[str, Any],
    size: tuple[int, int],
    points: int,
    zoom: tuple[float, float] = (1.0, 1.0),
    path: str = "drawn walls",
) -> dict[int, Array]:
    """Frame to the wall's lines ``[3, points, 2]`` of what ``read_drawn_walls`` reads; arguments and errors as there.

    Args:
        content: of such a file.
        path: what an error calls it.
    """
    try:
        frames = [int(t) for t in content["drawn"]]
        lines = np.asarray([content[name] for name in LAYERS], dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no readable contour ({type(error).__name__})") from error
    wanted = (3, len(frames), points, 2)
    if lines.shape != wanted or not frames or min(frames) < 0 or not np.isfinite(lines).all():
        raise InputError(f"{path}: {len(frames)} drawn frames have lines {wanted}, these are {lines.shape}")
    if (lines < 0).any() or (lines > np.array(size) - 1).any():
        raise InputError(f"{path}: a line leaves the image of {size[0]} × {size[1]} pixels")
    found = {}
    for k, frame in enumerate(frames):
        wall_lines(lines[0, k], lines[2, k], points, f"{path}, frame {frame}")  # whether they cross
        found[frame] = from_file_grid(lines[:, k], {"zoom": zoom})
    return found


def _read_labels(path: str | Path, frame: int, size: tuple[int, int]) -> NDArray[np.integer]:
    try:
        mask = np.squeeze(load_nifti(path)[1]).T
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: no readable mask ({error})") from error
    if mask.ndim == 3 and frame < len(mask):
        mask = mask[frame]
    mask = np.round(mask) if np.isfinite(mask).all() and np.abs(mask - np.round(mask)).max() <= NEARLY_WHOLE else mask
    if mask.shape != size:
        raise InputError(f"{path}: the mask is {mask.shape}, the frames are {size}")
    return mask
