"""Evaluation of measured blood flow against ground truth (``python -m cardiac_motion.simulation blood``).

Velocities are compared midway between the frames (``haemodynamics.velocity``) in the blood pool. Vortices are detected
by the same Γ₂ criterion in the true and in the measured field, so that differences are those of the fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.cine_truth import CineTruth
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.haemodynamics.derivatives import divergence
from cardiac_motion.haemodynamics.velocity import Velocity, velocity_of
from cardiac_motion.haemodynamics.vortices import Vortex, centre_distance, find_vortices, pair_vortices
from cardiac_motion.registration.result import RegistrationResult

SLOW = 0.1  # fraction of the peak speed; slower velocities are excluded from the direction error
WEAK = 0.2  # fraction of the strongest true circulation; weaker vortices are not counted
WITHIN = 10.0  # mm, maximum distance between a measured vortex and its true counterpart


def flow_scores(case: CineCase, result: RegistrationResult) -> Scores:
    """Compute the scores of a case whose entry names its true ``velocity``; empty otherwise.

    ``velocity_error`` is the RMS of the vector difference relative to the true peak speed, ``velocity_nrmse`` relative
    to the true RMS speed; ``direction_error`` the median angle in degrees where the truth is not slow (90 where the
    measured velocity is 0); ``divergence`` its RMS in 1/s; ``vortex_f1``; for matched vortices ``circulation_error``
    (mean |Γ − Γ*| / |Γ*|; ``whole_circulation_error`` for the whole vortex) and ``centre_mm``. Scores of coarser stages
    have a suffix such as ``@1/8``.

    Raises:
        InputError: the truth cannot be read or belongs to another cine, or blood pool, spacing or times are missing.
    """
    velocity = case.entry.read_as(CineTruth).velocity
    if velocity is None:
        return Scores()
    truth, meta = load_ddf(velocity)[: len(result.ddf)], case.meta
    if truth.shape != result.ddf.shape:
        raise InputError(f"{velocity}: shape {tuple(truth.shape)} differs from the cine's, {tuple(result.ddf.shape)}")
    if case.blood_mask is None or meta.spacing is None or meta.frame_times is None:
        raise InputError(f"{case.entry.image}: evaluating velocity needs a blood pool, spacing and frame times")
    true: list[list[Vortex]] = []
    metrics: dict[str, float] = {}
    stages = [(f"@{stage.title.removeprefix('scale ')}", stage.ddf()) for stage in result.stages[:-1]]
    for suffix, ddf in [("", result.ddf), *stages]:
        velocities = velocity_of(ddf, case.blood_mask, meta.spacing, meta.frame_times)
        true = true or vortices_of(truth, velocities)
        measured = vortices_of(velocities.values, velocities)
        scores = velocity_scores(velocities, truth) | vortex_scores(measured, true, velocities.steps)
        metrics |= {f"{key}{suffix}": value for key, value in scores.items()}
    return Scores(metrics)


def vortices_of(values: Tensor, like: Velocity) -> list[list[Vortex]]:
    """Find the vortices in each frame of ``values [N, 2, H, W]``, in the blood pool and units of a velocity."""
    return [
        find_vortices(field, like.steps, pool, per_second=like.per_second)
        for field, pool in zip(values, like.mask, strict=True)
    ]


def velocity_scores(measured: Velocity, truth: Tensor) -> dict[str, float]:
    """Compute ``velocity_error``, ``velocity_nrmse``, ``direction_error`` and ``divergence``, as in ``flow_scores``.

    Args:
        measured: the measured velocity.
        truth: ``[N, 2, H, W]`` in the same unit.
    """
    vectors, true = (v.movedim(1, -1)[measured.mask].double() for v in (measured.values, truth))
    speed = true.norm(dim=1)
    error, peak = (vectors - true).norm(dim=1).square().mean().sqrt(), speed.max()
    swift = speed > SLOW * peak
    cross = vectors[:, 0] * true[:, 1] - vectors[:, 1] * true[:, 0]
    angle = torch.atan2(cross.abs(), (vectors * true).sum(1))
    angle = torch.where(vectors.norm(dim=1) > 0, angle, 0.5 * math.pi)[swift]  # zero velocity has no direction
    divergences = divergence(measured.values, measured.steps, measured.mask) * measured.per_second
    return {
        "velocity_error": float(error / peak),
        "velocity_nrmse": float(error / speed.square().mean().sqrt()),
        "direction_error": math.degrees(float(angle.median())),
        "divergence": float(divergences[~divergences.isnan()].square().mean().sqrt()),
    }


def vortex_scores(
    measured: Sequence[Sequence[Vortex]], truth: Sequence[Sequence[Vortex]], steps: Sequence[float]
) -> dict[str, float]:
    """Compute ``vortex_f1`` over all frames, and the errors of circulation and centre of matched vortices.

    Args:
        measured, truth: vortices of each frame; weak ones are not counted.
        steps: pixel size in mm (row, column).

    Returns:
        ``vortex_f1``, ``circulation_error``, ``whole_circulation_error`` and ``centre_mm``; NaN without matches.
    """
    strongest = max((abs(v.circulation) for frame in truth for v in frame), default=0.0)
    counted = [[[v for v in f if abs(v.circulation) >= WEAK * strongest] for f in part] for part in (measured, truth)]
    pairs = [pair for found, true in zip(*counted, strict=True) for pair in pair_vortices(found, true, steps, WITHIN)]
    total = sum(len(frame) for part in counted for frame in part)
    errors = [abs(a.circulation - b.circulation) / abs(b.circulation) for a, b in pairs]
    both = [(a.whole_circulation, b.whole_circulation) for a, b in pairs]
    whole = [abs(a - b) / abs(b) for a, b in both if a is not None and b]
    distances = [centre_distance(a, b, steps) for a, b in pairs]
    return {
        "vortex_f1": 2 * len(pairs) / total if total else float("nan"),
        "circulation_error": sum(errors) / len(errors) if errors else float("nan"),
        "whole_circulation_error": sum(whole) / len(whole) if whole else float("nan"),
        "centre_mm": sum(distances) / len(distances) if distances else float("nan"),
    }
