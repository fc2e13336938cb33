"""Shape and motion of left ventricles, learned from expert contours by principal component analysis.

The contours at end-diastole and at end-systole are aligned to the long axis at end-diastole, in units of its length,
and concatenated to one vector; its mean and leading components over many patients are the prior (Cootes et al. 1995,
10.1006/cviu.1995.1004, for shape and motion jointly). A drawn ventricle thus has a motion that matches its shape. The
file beside this module was fitted to the four- and two-chamber contours of CAMUS's 400 patients (see its ``licence``)
by ``cardiac_motion.simulation prior``. The wall around a contour keeps its area (it is incompressible).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.simulation.heart.contraction import contour_length
from cardiac_motion.ventricle.mesh import Array, Mesh, arc_length, interpolate_fractions

FILE = Path(__file__).with_name("ventricle_prior.json")
LICENCE = (
    "Derived from the CAMUS data set (Leclerc et al. 2019, 10.1109/TMI.2019.2900516): CC BY-NC-SA 4.0. Mean and "
    "principal components of expert contours; no contour of a patient is part of it."
)
_REACH = 2.0  # maximum coefficient, standard deviations


@dataclass(frozen=True)
class Prior:
    """Gaussian over pairs of contours.

    Attributes:
        mean: [2, n, 2]: end-diastole and end-systole, n points from one base over the apex to the other, (along,
            across) in lengths of the long axis at end-diastole, from the middle of the base there; the apex is at −1.
        components: [K, 2, n, 2], each scaled to one standard deviation.
    """

    mean: Array
    components: Array

    def draw(self, rng: np.random.Generator, points: int = 200) -> tuple[Array, Array]:
        """Draw contours at end-diastole and end-systole, [points, 2] each, evenly spaced by arc length."""
        weights = rng.standard_normal(len(self.components))
        weights *= np.minimum(1.0, _REACH / np.maximum(np.abs(weights), 1e-9))
        drawn = self.mean + np.tensordot(weights, self.components, 1)
        return _dense(drawn[0], points), _dense(drawn[1], points)


def _dense(contour: Array, points: int) -> Array:
    along = arc_length(contour)
    fine = CubicSpline(along / along[-1], contour)(np.linspace(0, 1, 4 * points))
    return interpolate_fractions(fine, np.linspace(0, 1, points))


def align(contours: Array) -> Array:
    """Align pairs of contours [P, 2, n, 2] to the long axis at end-diastole, as in ``Prior.mean``."""
    start = contours[:, 0]
    base, apex = start[:, [0, -1]].mean(1), start[:, start.shape[1] // 2]
    axis = base - apex
    length = np.linalg.norm(axis, axis=-1)[:, None]
    axis = axis / length
    across = np.stack([-axis[:, 1], axis[:, 0]], -1)
    across *= np.sign(((start[:, -1] - start[:, 0]) * across).sum(-1))[:, None]
    gap = (contours - base[:, None, None]) / length[:, None, None]
    parts = [(gap * direction[:, None, None]).sum(-1) for direction in (axis, across)]
    return np.stack(parts, -1)


def fit_prior(contours: Array, components: int = 10) -> Prior:
    """Fit the prior to pairs of contours [P, 2, n, 2] (any unit, (row, column) of square pixels).

    Raises:
        InputError: there are not more patients than components.
    """
    if contours.ndim != 4 or contours.shape[1] != 2 or contours.shape[3] != 2 or len(contours) <= components:
        raise InputError(f"contours have shape {contours.shape}; more than {components} of shape [2, n, 2] are needed")
    pairs = align(np.asarray(contours, dtype=np.float64))
    mean = pairs.mean(0)
    _, spread, directions = np.linalg.svd((pairs - mean).reshape(len(pairs), -1), full_matrices=False)
    scale = spread[:components, None] / np.sqrt(len(pairs) - 1)
    return Prior(mean, (scale * directions[:components]).reshape(components, *mean.shape))


def write_prior(prior: Prior, path: str | Path = FILE) -> None:
    """Write a prior, with four decimals and its licence."""
    with write_whole(path) as beside:
        stored = {"licence": LICENCE, "mean": prior.mean.round(4).tolist()}
        beside.write_text(
            json.dumps(stored | {"components": prior.components.round(4).tolist()}) + "\n", encoding="utf-8"
        )


def read_prior(path: str | Path = FILE) -> Prior:
    """Read a prior.

    Raises:
        InputError: the file is missing or not a prior.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        return Prior(np.asarray(stored["mean"]), np.asarray(stored["components"]))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as a prior of ventricles ({type(error).__name__})") from None


@cache
def load_default_prior() -> Prior:
    """Return the project's prior."""
    return read_prior()


def read_contours(path: str | Path, aspect: float = 1.213) -> Array:
    """Read ``contours`` [P, 2, n, 2] (x, y) of an ``npz`` as (row, column) of square pixels.

    Args:
        path: path of the file.
        aspect: width over height of the file's pixels. CAMUS frames resized to a square have lost it; 1.213 is the
            median of those with known size (5 to 95 %: 1.07 to 1.28).

    Raises:
        InputError: the file or array is missing.
    """
    try:
        with np.load(path) as stored:
            contours = stored["contours"].astype(np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as contours ({type(error).__name__})") from None
    return np.stack([contours[..., 1], contours[..., 0] * aspect], -1)


def outer_contour(inner: Array, thickness: float, apex: float = 0.75) -> Array:
    """Return an epicardium [n, 2] around an inner contour [n, 2], ``apex`` times as thick at the apex as at the base.

    Normals are smoothed along the wall, so that they do not cross where the contour is irregular.
    """
    tangent = np.gradient(inner, axis=0)
    tangent = np.stack([np.convolve(np.pad(t, 12, "edge"), np.ones(25) / 25, "valid") for t in tangent.T], 1)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    outward = np.sign((normal * (inner - inner[[0, -1]].mean(0))).sum(-1).mean())
    place = np.abs(np.linspace(-1, 1, len(inner)))[:, None]
    return np.asarray(inner + outward * thickness * (apex + (1 - apex) * np.minimum(1, 1.6 * place)) * normal)


def wall_area(inner: Array, outer: Array) -> float:
    """Return the area between two open contours [n, 2]."""
    outline = np.concatenate([inner, outer[::-1]])
    after = np.roll(outline, -1, axis=0)
    return float(0.5 * abs((outline[:, 0] * after[:, 1] - outline[:, 1] * after[:, 0]).sum()))


def draw_ventricle(
    rng: np.random.Generator, prior: Prior | None = None, points: int = 200
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Draw endocardium and epicardium at end-diastole and at end-systole, [points, 2] each, in mm.

    (Along, across) from the epicardial apex at end-diastole, as in ``anatomy.left_ventricle``. Long axes are 85 ± 9 mm,
    walls 8 to 11 mm thick; the area of the wall increases by 0 to 10 % at end-systole.
    """
    start, end = (prior or load_default_prior()).draw(rng, points)
    length = float(np.clip(rng.normal(85, 9), 60, 110))
    thickness, grown = float(rng.uniform(8, 11)), float(rng.uniform(1.0, 1.1))
    start, end = start * length, end * length
    outer = outer_contour(start, thickness)
    wanted, low, high = wall_area(start, outer) * grown, 0.5 * thickness, 3 * thickness
    for _ in range(40):
        middle = 0.5 * (low + high)
        if wall_area(end, outer_contour(end, middle)) < wanted:
            low = middle
        else:
            high = middle
    outer_end = outer_contour(end, 0.5 * (low + high))
    apex = np.array([outer[:, 0].min(), 0.0])
    return (start - apex, outer - apex), (end - apex, outer_end - apex)


def draw_end_systole(mesh: Mesh, rng: np.random.Generator, prior: Prior | None = None) -> Array:
    """Draw nodes [N, 2] at end-systole of another heart's wall, with a motion from the prior.

    The displacement of the inner contour is transferred point by point, in lengths of the long axis and along the
    corresponding axes; the wall keeps its area.

    Raises:
        InputError: the mesh is a ring.
    """
    if mesh.closed:
        raise InputError("the mesh is a ring, which has no long axis")
    start, end = (prior or load_default_prior()).draw(rng, 400)
    inner, outer = mesh.inner, mesh.outer
    base, apex = inner[[0, -1]].mean(0), inner[len(inner) // 2]
    length = float(np.linalg.norm(base - apex))
    axis = (base - apex) / length
    across = np.array([-axis[1], axis[0]])
    across *= np.sign((inner[-1] - inner[0]) @ across)
    place, fine = arc_length(inner) / arc_length(inner)[-1], np.linspace(0, 1, 400)
    change = np.stack([np.interp(place, fine, (end - start)[:, d]) for d in (0, 1)], 1) * length
    moved = inner + change[:, :1] * axis + change[:, 1:] * across
    ray, wanted, low, high = outer - inner, wall_area(inner, outer), 0.6, 3.0
    for _ in range(40):
        factor = 0.5 * (low + high)
        if wall_area(moved, moved + factor * ray) < wanted:
            low = factor
        else:
            high = factor
    shares = np.linspace(0, 1, mesh.layers)[None, :, None]
    return np.asarray((moved[:, None] + shares * 0.5 * (low + high) * ray[:, None]).reshape(-1, 2))


def shortening(pairs: Sequence[Array] | Array) -> Array:
    """Return the global longitudinal strain [P] of pairs of contours [P, 2, n, 2], as fractions."""
    lengths = contour_length(np.asarray(pairs))
    return lengths[:, 1] / lengths[:, 0] - 1
