"""Plausibility of a wall's shape: principal components of expert endocardial contours, and a distance to them.

A contour is resampled to equal numbers of points on either side of the apex, aligned with its own long axis and scaled
by its length; mean and leading components over many patients, at end-diastole and end-systole, are the prior (Cootes et
al. 1995, 10.1006/cviu.1995.1004). Mirrored contours are included, so a mirrored heart has the same distance. The
distance is the larger of two values: the largest component score in standard deviations, and the residual of all
components in units of its own standard deviation (Moghaddam and Pentland 1997, 10.1109/34.598227). A slit, for example,
is implausible in one component only, which a mean over all components would hide.

With the components of one half of the patients, the 800 contours of the other half have a median of 1.9; 99 % are below
3.8 and all below 4.9. A slit a tenth as wide as long has 4.5, a round vessel 5.3 and more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.ventricle.mesh import arc_length, interpolate_fractions

Array = NDArray[np.float64]

FILE = Path(__file__).with_name("shape_prior.json")
POINTS = 21  # points of a contour, the apex in the middle
RESIDUAL_WEIGHT = 2.0  # a residual of twice its standard deviation is as rare as a component score of 4
LICENCE = (
    "Derived from the CAMUS data set (Leclerc et al. 2019, 10.1109/TMI.2019.2900516): CC BY-NC-SA 4.0. Mean and "
    "principal components of expert contours; no contour of a patient is part of it."
)


@dataclass(frozen=True)
class ShapePrior:
    """Gaussian distribution of contours.

    Attributes:
        mean: ``[21, 2]``, (along, across) in lengths of the long axis from the middle of the base; the apex is at −1.
        components: ``[K, 21, 2]``, each of one standard deviation.
        rest: standard deviation of the residual, over all coordinates.
    """

    mean: Array
    components: Array
    rest: float

    def distances(self, contours: ArrayLike) -> Array:
        """Return the distance ``[...]`` of contours ``[..., P, 2]`` (row, column; base to base), in sd.

        Examples:
            >>> angle = np.linspace(0, np.pi, 61)
            >>> heart = np.stack([80 - 80 * np.sin(angle), 60 - 24 * np.cos(angle)], -1)
            >>> square = np.array([[80.0, 0], [40, 0], [0, 0], [0, 40], [0, 80], [40, 80], [80, 80]])
            >>> near, far = (float(read_shape_prior().distances(c)) for c in (heart, square))
            >>> near < 4 < far
            True
        """
        lines = np.asarray(contours, dtype=np.float64)
        flat = align_to_axis(lines.reshape(-1, *lines.shape[-2:])) - self.mean
        basis = self.components.reshape(len(self.components), -1)
        scale = np.linalg.norm(basis, axis=1)
        weights = flat.reshape(len(flat), -1) @ (basis / scale[:, None]).T
        left = flat.reshape(len(flat), -1) - weights @ (basis / scale[:, None])
        spread = np.sqrt((left**2).sum(1) / (flat[0].size - len(scale))) / self.rest
        furthest = np.abs(weights / scale).max(1)
        return np.asarray(np.maximum(furthest, RESIDUAL_WEIGHT * spread)).reshape(lines.shape[:-2])


def align_to_axis(contours: Array) -> Array:
    """Normalise contours ``[N, P, 2]`` to the frame of ``ShapePrior.mean``: ``[N, 21, 2]``.

    The apex is the point farthest from the middle of the base; (across) increases from the first base to the last.

    Examples:
        >>> wedge = np.array([[[80.0, 40.0], [0.0, 60.0], [80.0, 80.0]]])
        >>> (align_to_axis(wedge)[0, [0, 10, 20]].round(2) + 0.0).tolist()
        [[0.0, -0.25], [-1.0, 0.0], [0.0, 0.25]]
    """
    aligned = []
    for contour in contours:
        base = contour[[0, -1]].mean(0)
        apex = int(np.clip(np.linalg.norm(contour - base, axis=1).argmax(), 1, len(contour) - 2))
        length = arc_length(contour)
        middle, half = length[apex] / length[-1], np.linspace(0, 1, POINTS // 2 + 1)
        line = interpolate_fractions(contour, np.concatenate([middle * half, middle + (1 - middle) * half[1:]]))
        axis = base - contour[apex]
        size = np.linalg.norm(axis)
        axis = axis / size
        across = np.array([-axis[1], axis[0]])
        across *= np.sign((contour[-1] - contour[0]) @ across) or 1.0
        aligned.append(np.stack([(line - base) @ axis, (line - base) @ across], -1) / size)
    return np.stack(aligned)


def fit_shape_prior(contours: ArrayLike, components: int = 8) -> ShapePrior:
    """Fit the prior to contours ``[N, P, 2]`` (any unit, (row, column) of square pixels) and their mirror images.

    Raises:
        InputError: there are no more contours than components.

    Examples:
        >>> wedges = [[[80.0, 60.0 - w], [0.0, 60.0], [80.0, 60.0 + w]] for w in (30.0, 40.0, 50.0)]
        >>> prior = fit_shape_prior(wedges, 1)
        >>> prior.components.shape, prior.mean[0].round(3).tolist()
        ((1, 21, 2), [0.0, -0.5])
    """
    lines = np.asarray(contours, dtype=np.float64)
    if lines.ndim != 3 or lines.shape[-1] != 2 or len(lines) <= components:
        raise InputError(f"contours {lines.shape}: expected more than {components} contours [P, 2]")
    aligned = align_to_axis(lines)
    both = np.concatenate([aligned, aligned[:, ::-1] * [1.0, -1.0]])
    mean = both.mean(0)
    flat = (both - mean).reshape(len(both), -1)
    _, spread, directions = np.linalg.svd(flat, full_matrices=False)
    scale = spread[:components, None] / np.sqrt(len(flat) - 1)
    left = (spread[components:] ** 2).sum() / (len(flat) - 1) / (flat.shape[1] - components)
    return ShapePrior(mean, (scale * directions[:components]).reshape(components, POINTS, 2), float(np.sqrt(left)))


def write_shape_prior(prior: ShapePrior, path: str | Path = FILE) -> None:
    """Write a prior to a file, rounded to five digits, with its licence.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_shape_prior(read_shape_prior(), Path(folder) / "prior.json")
        ...     read = read_shape_prior(Path(folder) / "prior.json")
        ...     bool((read.mean == read_shape_prior().mean).all())
        True
    """
    stored = {"licence": LICENCE, "mean": prior.mean.round(5).tolist(), "rest": round(prior.rest, 6)}
    with write_whole(path) as beside:
        beside.write_text(
            json.dumps(stored | {"components": prior.components.round(5).tolist()}) + "\n", encoding="utf-8"
        )


@cache
def read_shape_prior(path: str | Path = FILE) -> ShapePrior:
    """Read a prior; by default, the one that comes with the project.

    Raises:
        InputError: the file is missing or cannot be read as a prior.

    Examples:
        >>> read_shape_prior().mean.shape
        (21, 2)
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        return ShapePrior(np.asarray(stored["mean"]), np.asarray(stored["components"]), float(stored["rest"]))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as a shape prior ({type(error).__name__})") from None
