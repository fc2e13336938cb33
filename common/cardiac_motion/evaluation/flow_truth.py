"""How true a measured flow is, where it is known (``python -m cardiac_motion.simulation blood``).

Velocities are compared half-way between the frames (``haemodynamics.velocity``) in the pool; vortices are those that
the same Γ₂ finds in the true field and in the measured one, so that what differs is the field.
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

SLOW = 0.1  # of the peak: below it a direction means little
WEAK = 0.2  # of the strongest true circulation: weaker vortices are not counted
WITHIN = 10.0  # mm between a found vortex and the true one that it is


def flow_scores(case: CineCase, result: RegistrationResult) -> Scores:
    """Scores of a case whose entry names its true ``velocity``; none of a case without.

    ``velocity_error`` is the RMS of the vectors' difference of the true peak, ``velocity_nrmse`` of the true RMS,
    ``direction_error`` the median angle in degrees where the truth is not slow (90 where nothing was found to move),
    ``divergence`` the RMS in 1/s; ``vortex_f1``, and of vortices that were found ``circulation_error`` (mean
    |Γ − Γ*| / |Γ*|; of the whole vortex ``whole_circulation_error``) and ``centre_mm``. The stages before the last have
    theirs with ``@1/8``.

    Raises:
        InputError: the truth can't be read or is another cine's; no pool, spacing or times to measure in.
    """
    velocity = case.entry.read_as(CineTruth).velocity
    if velocity is None:
        return Scores()
    truth, meta = load_ddf(velocity)[: len(result.ddf)], case.meta
    if truth.shape != result.ddf.shape:
        raise InputError(f"{velocity}: the true velocity is {tuple(truth.shape)}, the cine's {tuple(result.ddf.shape)}")
    if case.blood_mask is None or meta.spacing is None or meta.frame_times is None:
        raise InputError(f"{case.entry.image}: a true velocity needs a pool, spacing and frame times")
    true: list[list[Vortex]] = []
    metrics: dict[str, float] = {}
    stages = [(f"@{stage.title.removeprefix('scale ')}", stage.ddf()) for stage in result.stages[:-1]]
    for suffix, ddf in [("", result.ddf), *stages]:
        found = velocity_of(ddf, case.blood_mask, meta.spacing, meta.frame_times)
        true = true or vortices_of(truth, found)
        scores = velocity_scores(found, truth) | vortex_scores(vortices_of(found.values, found), true, found.steps)
        metrics |= {f"{key}{suffix}": value for key, value in scores.items()}
    return Scores(metrics)


def vortices_of(values: Tensor, like: Velocity) -> list[list[Vortex]]:
    """The vortices of each frame of ``values [N, 2, H, W]``, in the pool and units of a velocity."""
    return [
        find_vortices(field, like.steps, pool, per_second=like.per_second)
        for field, pool in zip(values, like.mask, strict=True)
    ]


def velocity_scores(measured: Velocity, truth: Tensor) -> dict[str, float]:
    """``velocity_error``, ``velocity_nrmse``, ``direction_error``, ``divergence`` (``flow_scores`` says of what).

    Args:
        measured: the measured velocity.
        truth: ``[N, 2, H, W]`` in the same unit.
    """
    there, true = (v.movedim(1, -1)[measured.mask].double() for v in (measured.values, truth))
    speed = true.norm(dim=1)
    off, peak = (there - true).norm(dim=1).square().mean().sqrt(), speed.max()
    swift = speed > SLOW * peak
    cross = there[:, 0] * true[:, 1] - there[:, 1] * true[:, 0]
    angle = torch.atan2(cross.abs(), (there * true).sum(1))
    angle = torch.where(there.norm(dim=1) > 0, angle, 0.5 * math.pi)[swift]  # what stands still has no direction
    apart = divergence(measured.values, measured.steps, measured.mask) * measured.per_second
    return {
        "velocity_error": float(off / peak),
        "velocity_nrmse": float(off / speed.square().mean().sqrt()),
        "direction_error": math.degrees(float(angle.median())),
        "divergence": float(apart[~apart.isnan()].square().mean().sqrt()),
    }


def vortex_scores(
    measured: Sequence[Sequence[Vortex]], truth: Sequence[Sequence[Vortex]], steps: Sequence[float]
) -> dict[str, float]:
    """``vortex_f1`` over all frames; ``circulation_error``, that of whole vortices and ``centre_mm`` of what was found
    (NaN of nothing).

    Args:
        measured, truth: vortices of each frame; the weak ones of either don't count.
        steps: mm between pixels, (row, column).
    """
    strongest = max((abs(v.circulation) for frame in truth for v in frame), default=0.0)
    counted = [[[v for v in f if abs(v.circulation) >= WEAK * strongest] for f in part] for part in (measured, truth)]
    pairs = [pair for here, true in zip(*counted, strict=True) for pair in pair_vortices(here, true, steps, WITHIN)]
    total = sum(len(frame) for part in counted for frame in part)
    off = [abs(a.circulation - b.circulation) / abs(b.circulation) for a, b in pairs]
    both = [(a.whole_circulation, b.whole_circulation) for a, b in pairs]
    whole = [abs(a - b) / abs(b) for a, b in both if a is not None and b]
    apart = [centre_distance(a, b, steps) for a, b in pairs]
    return {
        "vortex_f1": 2 * len(pairs) / total if total else float("nan"),
        "circulation_error": sum(off) / len(off) if off else float("nan"),
        "whole_circulation_error": sum(whole) / len(whole) if whole else float("nan"),
        "centre_mm": sum(apart) / len(apart) if apart else float("nan"),
    }
