"""Files of walls and contours: drawn by a user, tracked, or label maps; in pixels of the cine."""

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

SIDEWAYS = 30.0  # degrees from the horizontal: an apex this close to it, left of its base, means swapped coordinates


def read_contour(path: str | Path, frame: int, size: tuple[int, int], name: str = "endocardium") -> Array:
    """Read an endocardial contour ``[P, 2]`` (row, column) in pixels, from one base over the apex to the other.

    Args:
        path: JSON of points ``[P, 2]`` or ``[T, P, 2]``, or of a dictionary with either under ``name`` and their
            ``frames`` (strain_pipeline's ``contours.json``); or a NIfTI label map (X, Y) or (X, Y, T), 1 the cavity and
            2 the myocardium.
        frame: index of the frame to read.
        size: (rows, columns) of the cine; the contour must lie inside.
        name: name of the contour in a dictionary.

    Raises:
        InputError: the file cannot be read or contains no contour, or the contour leaves the image or lies on its side
            (swapped coordinates).

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "endocardium.json"
        ...     _ = path.write_text("[[30, 15], [10, 28], [30, 40]]", encoding="utf-8")  # base, apex, base
        ...     read_contour(path, frame=0, size=(48, 56)).tolist()
        [[30.0, 15.0], [10.0, 28.0], [30.0, 40.0]]
    """
    if str(path).endswith((".nii", ".nii.gz")):
        return myocardial_contours(_read_labels(path, frame, size), name=str(path))[0]
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        points = np.asarray(content[name] if isinstance(content, dict) else content, dtype=np.float64)
        frames = content.get("frames") if isinstance(content, dict) else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as a contour ({type(error).__name__})") from error
    if points.ndim == 3 and frames is not None:
        if frame not in frames:
            raise InputError(
                f"{path}: no contour of frame {frame}, end-diastole; it has frames {frames[0]} to {frames[-1]}"
            )
        points = points[frames.index(frame)]
    elif points.ndim == 3 and 0 <= frame < len(points):
        points = points[frame]
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise InputError(f"{path}: a contour needs at least 3 points (row, column), got shape {points.shape}")
    if (points < 0).any() or (points > np.array(size) - 1).any():
        raise InputError(
            f"{path}: the contour leaves the image of {size[0]} × {size[1]} pixels{_suggest_swap(points, size)}"
        )
    base = points[[0, -1]].mean(0)
    axis = base - points[np.linalg.norm(points - base, axis=1).argmax()]
    if abs(axis[0]) < np.tan(np.radians(SIDEWAYS)) * axis[1]:
        raise InputError(
            f"{path}: the apex lies to the left of the base; points are (row, column): are these (column, row)?"
        )
    return points


def _suggest_swap(points: Array, size: tuple[int, int]) -> str:
    inside = (points >= 0).all() and (points[:, ::-1] <= np.array(size) - 1).all()
    return "; points are (row, column): these would fit as (column, row)" if inside else ""


def read_wall(
    path: str | Path,
    frame: int,
    size: tuple[int, int],
    points: int,
    thickness: float,
    zoom: tuple[float, float] = (1.0, 1.0),
) -> Array:
    """Read endocardium, mid-wall and epicardium ``[3, points, 2]`` (row, column) in pixels.

    Args:
        path: NIfTI label map (X, Y) or (X, Y, T), 1 the cavity and 2 the myocardium; or JSON as in ``read_contour``,
            with an ``endocardium`` and optionally an ``epicardium``.
        frame, size: as in ``read_contour``.
        points: number of points of each layer.
        thickness: wall thickness in pixels if there is no epicardium.
        zoom: (row, column) pixels of the result per pixel of the file (``scale.resample_square``).

    Raises:
        InputError: the file cannot be read, the layers cross, or the wall leaves the image.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "endocardium.json"
        ...     _ = path.write_text("[[40, 15], [12, 28], [40, 40]]", encoding="utf-8")
        ...     endo, middle, epi = read_wall(path, frame=0, size=(48, 56), points=9, thickness=4.0)
        >>> endo.shape, np.linalg.norm(epi - endo, axis=1).round(6).tolist() == [4.0] * 9
        ((9, 2), True)
        >>> bool(np.allclose(middle, (endo + epi) / 2))
        True
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
    """Read the user's wall per frame: frame to layers ``[3, points, 2]``; empty for other kinds of files.

    Such a file is JSON with ``drawn``, a list of frames, and under ``endocardium``, ``mid-wall`` and ``epicardium`` one
    contour of ``points`` points (row, column) per frame: point k is the same part of the wall in every frame, as in a
    ``contours.json`` of the strain pipeline.

    Args:
        path, size, zoom: as in ``read_wall``.
        points: number of points of each layer.

    Raises:
        InputError: the file cannot be read, or its layers cross, leave the image, or have another number of points.
    """
    if str(path).endswith((".nii", ".nii.gz")):
        return {}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a contour ({type(error).__name__})") from error
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
    """Validate the content of a file of ``read_drawn_walls`` and return frame to layers ``[3, points, 2]``.

    Args:
        content: content of the file.
        size, points, zoom: as in ``read_drawn_walls``.
        path: name of the file in error messages.

    Raises:
        InputError: as in ``read_drawn_walls``.
    """
    try:
        frames = [int(t) for t in content["drawn"]]
        lines = np.asarray([content[name] for name in LAYERS], dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as a contour ({type(error).__name__})") from error
    expected = (3, len(frames), points, 2)
    if lines.shape != expected or not frames or min(frames) < 0 or not np.isfinite(lines).all():
        raise InputError(f"{path}: expected layers {expected} for {len(frames)} drawn frames, got shape {lines.shape}")
    if (lines < 0).any() or (lines > np.array(size) - 1).any():
        raise InputError(f"{path}: a layer leaves the image of {size[0]} × {size[1]} pixels")
    walls = {}
    for k, frame in enumerate(frames):
        wall_lines(lines[0, k], lines[2, k], points, f"{path}, frame {frame}")  # raises if they cross
        walls[frame] = from_file_grid(lines[:, k], {"zoom": zoom})
    return walls


def _read_labels(path: str | Path, frame: int, size: tuple[int, int]) -> NDArray[np.integer]:
    try:
        mask = np.squeeze(load_nifti(path)[1]).T
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a mask ({error})") from error
    if mask.ndim == 3 and frame < len(mask):
        mask = mask[frame]
    mask = np.round(mask) if np.isfinite(mask).all() and np.abs(mask - np.round(mask)).max() <= NEARLY_WHOLE else mask
    if mask.shape != size:
        raise InputError(f"{path}: the mask has shape {mask.shape}, the frames {size}")
    return mask
