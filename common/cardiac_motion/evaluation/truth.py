"""Evaluation of a cine's motion against ground truth (simulated cines): geometric and clinical scores of c-PWC-Net.

Evain et al. 2022, section III-D: endpoint error in the myocardium, per frame and accumulated from end-diastole (ED) to
end-systole (ES); mean and Hausdorff distance between the propagated and the true endocardium; strain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import load_nifti
from cardiac_motion.evaluation.cine_truth import CineTruth
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.fields.analytic import phantom_errors, probe_points
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.fields.ncc import lncc2
from cardiac_motion.fields.points import track
from cardiac_motion.registration.flow_loss import endpoint_error
from cardiac_motion.registration.overlap import segmentation_scores
from cardiac_motion.ventricle import strain
from cardiac_motion.ventricle.mesh import interpolate_fractions, myocardial_contours

LABELS = {1: "cavity", 2: "myocardium", 3: "atrium"}
SAMPLES = 200  # points along a contour for distances


def contour_distances(tracked: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return mean absolute (d_m) and Hausdorff (d_H) distance of two open polylines ``[P, 2]``, in their unit.

    Both are resampled evenly; distances are taken from each point to the nearest of the other curve, both ways.
    """
    a, b = (
        interpolate_fractions(np.asarray(c, dtype=np.float64), np.linspace(0, 1, SAMPLES)) for c in (tracked, truth)
    )
    between = cdist(a, b)
    forward, backward = between.min(1), between.min(0)
    return float((forward.mean() + backward.mean()) / 2), float(max(forward.max(), backward.max()))


def truth_scores(case: CineCase, ddf: Tensor, radius: int = 10) -> Scores:
    """Compute scores against the ground truth named in a simulated case's entry; empty for other cases.

    An entry has ``ddf``, ``mask``, ``contours`` and ``summary`` as written by ``cardiac_motion.simulation write``. The
    metrics are ``epe_px``, ``epe_mm`` (per frame), ``epe_ed_es_mm`` (contour points, ED to ES), ``lncc2_myocardium``,
    ``mean_contour_distance_mm`` and ``hausdorff_mm`` (mean over the frames after the first), ``gls_error`` and
    ``long_axis_strain_error`` (peak-systolic, measured − true, percentage points), ``gls_true`` and
    ``long_axis_strain_true``; per pair the first two and ``lncc2_myocardium``; and ``profile_mm``, the mean error over
    the beat along the endocardium. An entry of ``simulation.ultrasound.physics`` has a ``body`` instead of contours;
    its errors are added (``fields.analytic.phantom_errors``).

    Args:
        case: the cine.
        ddf: fields of its pairs, ``[T − 1, 2, H, W]``.
        radius: radius of the LNCC² window.

    Raises:
        InputError: the truth cannot be read, or belongs to another cine.
    """
    entry = case.entry.read_as(CineTruth)
    if entry.ddf is None or entry.mask is None:
        return Scores()
    pairs = _pair_scores(case, ddf, Path(entry.ddf), Path(entry.mask), radius)
    if entry.velocity is not None:  # blood, not myocardium
        del pairs["lncc2_myocardium"]
    scores = Scores(
        {key: float(values.nanmean()) for key, values in pairs.items()},
        {key: values.tolist() for key, values in pairs.items()},
    )
    if entry.contours is not None and entry.summary is not None:
        contours, summary = (read_json(Path(path)) for path in (entry.contours, entry.summary))
        scores |= _contour_scores(case, ddf, contours, int(summary["end_systole_frame"]))
    if entry.body is not None and entry.summary is not None:
        origin, spacing = read_json(Path(entry.summary))["origin"], case.meta.spacing
        start = (probe_points(entry.body) - origin) / spacing
        end = track(torch.from_numpy(start).float(), ddf)[-1].double().numpy()
        scores |= Scores(phantom_errors(entry.body, end * spacing + origin))
    return scores


def _pair_scores(case: CineCase, ddf: Tensor, field: Path, mask: Path, radius: int) -> dict[str, Tensor]:
    truth, image = load_ddf(field), case.image
    try:
        valid = load_nifti(mask)[1]
    except Exception as error:
        raise InputError(f"{mask}: cannot be read as a mask ({error})") from error
    valid_pairs = torch.from_numpy(np.ascontiguousarray(valid.transpose(2, 1, 0)) > 0)[:, None]
    truth, valid_pairs = truth[: len(ddf)], valid_pairs[: len(ddf)]
    if truth.shape != ddf.shape:
        raise InputError(f"{field}: shape {tuple(truth.shape)} differs from the cine's fields, {tuple(ddf.shape)}")
    scale = torch.tensor(case.meta.spacing or (float("nan"),) * 2).view(1, 2, 1, 1)
    rows = {"epe_px": endpoint_error(ddf, truth, valid_pairs)}
    rows["epe_mm"] = endpoint_error(ddf * scale, truth * scale, valid_pairs)
    similarity = []
    for t in range(len(ddf)):
        pair = slice(t, t + 1)
        warped = warp(image[pair, :1], ddf[pair])
        similarity.append(lncc2(image[pair, 1:], warped, radius, valid_pairs[pair]))
    rows["lncc2_myocardium"] = torch.cat(similarity)
    return rows


def _contour_scores(case: CineCase, ddf: Tensor, contours: dict[str, Any], es: int) -> Scores:
    spacing, steps = case.meta.spacing, case.meta.steps
    frames = len(ddf) + 1
    es = min(es, frames - 1)
    truth = {key: np.asarray(values, dtype=np.float64)[:frames] for key, values in contours.items()}
    tracked = {key: track(torch.from_numpy(values[0]).float(), ddf).double().numpy() for key, values in truth.items()}
    errors = np.concatenate([strain.scale_to_mm(tracked[key][es] - truth[key][es], steps) for key in truth])
    inner, true_inner = (strain.scale_to_mm(c["endocardium"], steps) for c in (tracked, truth))
    distances = np.array([contour_distances(a, b) for a, b in zip(inner[1:], true_inner[1:], strict=True)])
    scores = {
        "epe_ed_es_mm": float(np.linalg.norm(errors, axis=-1).mean()),
        "mean_contour_distance_mm": float(distances[:, 0].mean()),
        "hausdorff_mm": float(distances[:, 1].mean()),
    }
    for name, curve in (("gls", strain.gls), ("long_axis_strain", strain.long_axis_strain)):
        peaks = [strain.peak_systolic(curve(c), 0, es) for c in (inner, true_inner)]
        scores[f"{name}_true"] = 100 * peaks[1]
        scores[f"{name}_error"] = 100 * (peaks[0] - peaks[1])
        scores[f"{name}_absolute_error"] = abs(scores[f"{name}_error"])
    if spacing is None:
        return Scores({key: value for key, value in scores.items() if not key.endswith("_mm")})
    profile = np.linalg.norm(inner - true_inner, axis=-1).mean(0).round(4).tolist()
    return Scores(scores, profile_mm=profile)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def label_scores(case: CineCase, ddf: Tensor) -> Scores:
    """Compute scores of a pair of labelled frames: labels and endocardium propagated from end-diastole to end-systole.

    For entries with ``ed_label`` and ``es_label`` (1 cavity, 2 myocardium, 3 left atrium; NIfTI (X, Y)), as in
    ``data_lists/camus.json``; the case's first frame is end-diastole, its last one end-systole. The metrics are
    ``dice_cavity``, ``dice_myocardium``, ``dice_atrium``, and ``mean_contour_distance_mm`` and ``hausdorff_mm`` of the
    propagated endocardium against that of the ES label (section III-D.1), in mm if the spacing is known.

    Args:
        case: the cine.
        ddf: fields of its pairs, ``[T − 1, 2, H, W]``.

    Raises:
        InputError: the labels cannot be read, or do not match the frames.
    """
    entry = case.entry.read_as(CineTruth)
    if entry.ed_label is None or entry.es_label is None:
        return Scores()
    ed, es = (_labels(path, ddf.shape[2:]) for path in (entry.ed_label, entry.es_label))
    spacing = case.meta.spacing
    propagated = torch.stack([(ed == value).float() for value in range(4)])[None]
    for field in ddf:
        propagated = warp(propagated, field[None])
    overlap = segmentation_scores(propagated[0].argmax(0), es, LABELS, case.meta.steps)
    scores = Scores({f"dice_{name}": overlap[f"dice_{name}"] for name in LABELS.values()})
    if spacing is None:
        return scores
    (start, _), (truth, _) = (
        myocardial_contours(x.numpy(), spacing, name=path) for x, path in ((ed, entry.ed_label), (es, entry.es_label))
    )
    points = torch.from_numpy(start / spacing).float()
    end = strain.scale_to_mm(track(points, ddf)[-1].double().numpy(), spacing)
    return scores | Scores(
        dict(zip(("mean_contour_distance_mm", "hausdorff_mm"), contour_distances(end, truth), strict=True))
    )


def _labels(path: str, shape: Sequence[int]) -> Tensor:
    try:
        values = np.squeeze(load_nifti(path)[1]).T
    except Exception as error:
        raise InputError(f"{path}: cannot be read as labels ({error})") from error
    if values.shape != tuple(shape):
        raise InputError(f"{path}: the labels have shape {values.shape}, the frames {tuple(shape)}")
    return torch.from_numpy(np.ascontiguousarray(values).astype(np.int64))
