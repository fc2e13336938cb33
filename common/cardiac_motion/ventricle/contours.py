"""Masks to contours: the wall of the left ventricle, and the moving blood-pool mask of the blood-flow papers.

To track blood only, the papers mask out the myocardium (Li et al., arXiv 1906.10510, section 3; its extension, section
III-A): an active contour (Kass et al., 10.1007/BF00133570) of 100 points, initially uniform along a circle, is fitted
to the cavity's mask at end-diastole (ED) and at end-systole (ES); the points are interpolated linearly over the frames,
and radial-basis interpolation through them gives each frame's smooth boundary.

Points are (row, column) in pixels, pixel centres at whole numbers, clockwise as displayed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from skimage.draw import polygon, polygon2mask
from skimage.segmentation import active_contour

from cardiac_motion.core.arrays import largest_component
from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.mesh import myocardial_contours, pair_contours

LAYERS = ("endocardium", "mid-wall", "epicardium")  # layers of a wall, in the order of ``wall_lines``
BOUNDARY_POINTS = 400
RBF_SMOOTHING = 1e-2
SMALLEST_MASK = 9


def fit_contour(mask: ArrayLike, points: int = 100) -> np.ndarray:
    """Fit an active contour to the boundary of the mask's largest component, starting from a circle.

    The circle encloses the mask and is centred on it; a circle inside the mask would cut off a narrow apex. The contour
    moves to the minimum of the distance to the boundary, its points are redistributed evenly, and it is fitted again.

    Args:
        mask: ``[H, W]``, true or non-zero inside.
        points: number of points.

    Returns:
        ``[points, 2]``; the first point lies straight above the centre, so that points of similar shapes correspond.

    Raises:
        InputError: the mask is empty, smaller than 9 pixels, or not two-dimensional.

    Examples:
        >>> row, column = np.mgrid[:64, :64]
        >>> contour = fit_contour(np.hypot(row - 32, column - 32) < 20)
        >>> radius = np.hypot(*(contour - 32).T)
        >>> contour.shape, bool(abs(radius.mean() - 20) < 0.5)
        ((100, 2), True)
    """
    component = ndimage.binary_fill_holes(largest_component(_plane(mask)))
    rows, columns = np.nonzero(component)
    if len(rows) < SMALLEST_MASK:
        raise InputError(f"the mask has only {len(rows)} connected pixels; a contour needs {SMALLEST_MASK}")
    middle = np.array([rows.mean(), columns.mean()])
    radius = np.hypot(rows - middle[0], columns - middle[1]).max() + 1
    corner = np.floor(middle - radius).astype(int) - 2
    side = int(np.ceil(2 * radius)) + 6
    box = np.zeros((side, side), dtype=bool)
    box[rows - corner[0], columns - corner[1]] = True

    # the edge lies half a pixel from the pixels' centres; the filter smooths its staircase
    inside, outside = ndimage.distance_transform_edt(box) - 0.5, ndimage.distance_transform_edt(~box) - 0.5
    distance = ndimage.gaussian_filter(np.where(box, inside, -outside), sigma=1)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    contour = middle - corner + radius * np.stack([-np.cos(angle), np.sin(angle)], axis=1)
    for _ in range(2):
        contour = active_contour(
            -np.sqrt(distance**2 + 1),
            contour,
            alpha=0.005,
            beta=0.05,
            w_line=1,
            w_edge=0,
            gamma=2,
            max_num_iter=500 + int(4 * radius),
            convergence=0.002,
        )
        contour = _resample_evenly(contour, points)
    return np.asarray(contour + corner)


def wall_contours(labels: ArrayLike, points: int = 120, name: str = "mask") -> np.ndarray:
    """Return endocardium, mid-wall and epicardium of the left ventricle, in points that correspond across the wall.

    Østvik et al. 2018, section 2.2: a mid-wall contour of 120 points between the borders. They are paired as in the
    myocardial mesh (``mesh.pair_contours``): equal numbers on either side of the apex, from the base on the left (lower
    columns) to the base on the right, evenly along the epicardium.

    Args:
        labels: ``[H, W]``, 1 the cavity and 2 the myocardium.
        points: points along the wall.
        name: name of the labels in error messages.

    Returns:
        ``[3, points, 2]``.

    Raises:
        InputError: a label is missing, the wall does not surround the cavity, or its borders cross.

    Examples:
        >>> row, column = np.mgrid[:80, :80]
        >>> across = np.hypot((row - 60) / 2, column - 40)  # half an ellipse, its base at row 60
        >>> labels = np.where(across < 18, 1, np.where(across < 24, 2, 0)) * (row <= 60)
        >>> endo, centre, epi = wall_contours(labels)
        >>> endo.shape, bool(endo[0, 1] < 40 < endo[-1, 1])  # from the left base to the right one
        ((120, 2), True)
    """
    plane = np.asarray(labels)
    occupied = [np.flatnonzero(((plane == 1) | (plane == 2)).any(axis)) for axis in (1, 0)]
    corner = [max(int(at[0]) - 2, 0) if len(at) else 0 for at in occupied]
    box = tuple(slice(low, int(at[-1]) + 3 if len(at) else None) for low, at in zip(corner, occupied, strict=True))
    endo, epi = (curve + corner for curve in myocardial_contours(plane[box], name=name))
    return wall_lines(endo, epi, points, name)


def wall_lines(endo: np.ndarray, epi: np.ndarray, points: int = 120, name: str = "contours") -> np.ndarray:
    """Return the layers ``[3, points, 2]`` of ``wall_contours`` from an endocardium and an epicardium, ``[n, 2]`` each.

    Examples:
        >>> angle = np.linspace(0, np.pi, 101)
        >>> endo, epi = (np.stack([60 - 2 * r * np.sin(angle), 40 - r * np.cos(angle)], -1) for r in (18, 24))
        >>> lines = wall_lines(endo, epi)
        >>> lines.shape, bool(np.allclose(lines[1], (lines[0] + lines[2]) / 2))
        ((3, 120, 2), True)
    """
    inner, outer = pair_contours(endo, epi, points, name)
    return np.stack([inner, (inner + outer) / 2, outer])


def wall_mask(inner: np.ndarray, outer: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """Return the pixels between endocardium and epicardium, ``[n, 2]`` each from base to base, as bool ``[H, W]``.

    Examples:
        >>> angle = np.linspace(0, np.pi, 101)
        >>> endo, epi = (np.stack([60 - 2 * r * np.sin(angle), 40 - r * np.cos(angle)], -1) for r in (18, 24))
        >>> mask = wall_mask(endo, epi, (80, 80))
        >>> mask[50, [40, 60]].tolist()  # the cavity, and the wall beside it
        [False, True]
    """
    return torch.from_numpy(polygon2mask(size, np.concatenate([inner, outer[::-1]])))


def blood_pool_masks(
    ed_mask: ArrayLike,
    es_mask: ArrayLike,
    ed: int,
    es: int,
    frames: int,
    *,
    beyond: Literal["periodic", "held"] = "periodic",
) -> torch.Tensor:
    """Return the cavity's mask in every frame, from its masks at ED and ES.

    Args:
        ed_mask: ``[H, W]``, the cavity at frame ``ed``.
        es_mask: ``[H, W]``, the cavity at frame ``es``.
        ed: index of the end-diastolic frame, from 0.
        es: index of the end-systolic frame.
        frames: number T of the cine's frames.
        beyond: extrapolation outside the interval from ED to ES, which the papers do not specify: ``periodic`` treats
            the cine as one beat and returns linearly over the rest of the loop; ``held`` keeps the nearer contour.

    Returns:
        Boolean ``[T, H, W]``.

    Raises:
        InputError: a mask is empty or not two-dimensional, the masks differ in size, or ``ed`` and ``es`` are the same
            frame or outside the cine.

    Examples:
        >>> row, column = np.mgrid[:64, :64]
        >>> ed, es = (np.hypot(row - 32, column - 32) < radius for radius in (20, 10))
        >>> areas = blood_pool_masks(ed, es, ed=0, es=2, frames=4).sum((1, 2))
        >>> bool(areas[0] > areas[1] > areas[2]), bool(areas[1] == areas[3])  # one beat: it fills as it has emptied
        (True, True)
    """
    ed_array, es_array = _plane(ed_mask, "the ED mask"), _plane(es_mask, "the ES mask")
    if ed_array.shape != es_array.shape:
        raise InputError(f"the ED mask has {_size(ed_array)} pixels but the ES mask {_size(es_array)}")
    for name, index in (("ED", ed), ("ES", es)):
        if not 0 <= index < frames:
            raise InputError(f"the {name} frame {index} is outside the cine, frames 0 to {frames - 1}")
    if ed == es:
        raise InputError(f"ED and ES are the same frame, {ed}")
    ed_points = fit_contour(ed_array)
    es_points = _align_numbering(fit_contour(es_array), ed_points)
    time = np.arange(frames)
    (first, first_weight), (last, last_weight) = sorted([(ed, 0.0), (es, 1.0)])
    period = frames if beyond == "periodic" else None
    weight = np.interp(time, [first, last], [first_weight, last_weight], period=period)
    contours = (1 - weight)[:, None, None] * ed_points + weight[:, None, None] * es_points
    masks = torch.zeros((frames, *ed_array.shape), dtype=torch.bool)
    for mask, boundary in zip(masks.numpy(), smooth_boundary(contours), strict=True):
        mask[polygon(boundary[:, 0], boundary[:, 1], ed_array.shape)] = True
    return masks


def smooth_boundary(contours: np.ndarray, samples: int = BOUNDARY_POINTS) -> np.ndarray:
    """Smooth closed curves by radial-basis (thin-plate) interpolation over the points' positions on a unit circle.

    Args:
        contours: ``[T, N, 2]``, closed, the first point not repeated.
        samples: points of each smoothed curve.

    Returns:
        ``[T, samples, 2]``. A circle is reproduced exactly.

    Examples:
        >>> angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        >>> circle = np.stack([np.cos(angle), np.sin(angle)], -1)[None]
        >>> bool(np.allclose(np.linalg.norm(smooth_boundary(circle), axis=-1), 1, atol=1e-3))
        True
    """
    count, points, _ = contours.shape
    values = contours.transpose(1, 0, 2).reshape(points, -1)
    curve = RBFInterpolator(_unit_circle(points), values, kernel="thin_plate_spline", smoothing=RBF_SMOOTHING)
    return np.asarray(curve(_unit_circle(samples)).reshape(samples, count, 2).transpose(1, 0, 2))


def _unit_circle(points: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _plane(mask: ArrayLike, name: str = "the mask") -> np.ndarray:
    plane: np.ndarray = np.asarray(mask) != 0
    if plane.ndim != 2:
        raise InputError(f"{name} has shape {plane.shape}; expected [H, W]")
    if not plane.any():
        raise InputError(f"{name} is empty")
    return plane


def _size(mask: np.ndarray) -> str:
    return f"{mask.shape[0]} × {mask.shape[1]}"


def _signed_area(contour: np.ndarray) -> float:
    """Return the signed area: positive if the points run clockwise as displayed (rows downwards)."""
    row, column = contour.T
    return 0.5 * float(np.sum(column * np.roll(row, -1) - np.roll(column, -1) * row))


def _resample_evenly(contour: np.ndarray, points: int) -> np.ndarray:
    """Resample a closed contour at equal distances, clockwise from the point straight above its centre."""
    if _signed_area(contour) < 0:
        contour = contour[::-1]
    row, column = contour.T
    ahead_row, ahead_column = np.roll(row, -1), np.roll(column, -1)
    cross = row * ahead_column - ahead_row * column
    centre = np.sum((column + ahead_column) * cross) / (3 * np.sum(cross))
    crossing = np.flatnonzero((column <= centre) & (ahead_column > centre))
    first = int(crossing[np.argmin(row[crossing])])
    share = (centre - column[first]) / (ahead_column[first] - column[first])
    start = contour[first] + share * (np.roll(contour, -1, axis=0)[first] - contour[first])
    closed = np.concatenate([[start], np.roll(contour, -(first + 1), axis=0), [start]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0, length[-1], points, endpoint=False)
    return np.stack([np.interp(at, length, closed[:, axis]) for axis in (0, 1)], axis=1)


def _align_numbering(contour: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rotate the numbering of ``contour`` so that its points are closest to the reference's, both centred."""
    centred, target = contour - contour.mean(axis=0), reference - reference.mean(axis=0)
    cost = [np.sum((np.roll(centred, -shift, axis=0) - target) ** 2) for shift in range(len(contour))]
    return np.roll(contour, -int(np.argmin(cost)), axis=0)
