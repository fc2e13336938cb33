"""Measurements of blood velocities: one row per frame pair, and notes on their reliability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.haemodynamics.derivatives import divergence, vorticity
from cardiac_motion.haemodynamics.energy import energy_loss, kinetic_energy
from cardiac_motion.haemodynamics.velocity import Velocity, velocity_of
from cardiac_motion.haemodynamics.vortices import MIN_AREA, REACH, Vortex, find_vortices
from cardiac_motion.ventricle.blood_pool import long_axis

RANGE = 6.0  # pixels per frame up to which the method is tested (docs/blood.md)
UNSTEADY = 0.5  # RMS change of the field between pairs, relative to its RMS; √2 for unrelated fields
MIN_SIMILARITY = 0.75  # LNCC² (radius 10) above which registered frames are considered to match
_RING = 9  # pixels around the blood pool whose tissue it is compared with
_TURNS = {1: "ccw", -1: "cw"}


@dataclass(frozen=True, eq=False)
class BloodFlow:
    """Blood flow of a cine.

    Attributes:
        velocity: velocities midway between the frames.
        vorticity: ``[N, H, W]``, positive counter-clockwise, 1/s (1/frame without spacing and times); NaN outside.
        vortices: vortices of each pair, the strongest first.
        rows: rows of ``flow.csv``, one per pair.
        notes: sentences about the reliability of the results.
    """

    velocity: Velocity
    vorticity: Tensor
    vortices: Sequence[Sequence[Vortex]]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str]

    def scores(self) -> Scores:
        """Return each quantity per pair, and its mean over the cine for the tables."""
        keys = [k for k in self.rows[0] if k not in ("pair", "time")] if self.rows else []
        pairs = {k: [float("nan") if r[k] is None else float(r[k]) for r in self.rows] for k in keys}
        known = {k: [v for v in values if math.isfinite(v)] for k, values in pairs.items()}
        return Scores({k: sum(v) / len(v) for k, v in known.items() if v}, pairs)


def measure_flow(
    case: CineCase,
    ddf: Tensor,
    single: Tensor | None = None,
    reach: float = REACH,
    min_area: float = MIN_AREA,
    similarity: float | None = None,
) -> BloodFlow:
    """Measure the blood flow of a registered cine.

    Args:
        case: case with a blood pool.
        ddf: ``[N, 2, H, W]`` in pixels, pulling back.
        single: fields before smoothing over time, if ``ddf`` is smoothed; used to assess their consistency.
        reach: radius of the neighbourhood of Γ₂ in mm; without spacing, twice that number in pixel widths.
        min_area: smallest area of a vortex core in mm²; without spacing, four times that number in squared widths.
        similarity: mean LNCC² (radius 10) of the registered frames in the blood pool, if known.

    Raises:
        ValueError: the case has no blood pool.
    """
    if case.blood_mask is None:
        raise ValueError(f"{case.name}: blood flow needs a blood pool")
    meta = case.meta
    velocity = velocity_of(ddf, case.blood_mask, meta.spacing, meta.frame_times, meta.aspect)
    if meta.spacing is None:
        reach, min_area = 2 * reach, 4 * min_area
    values, steps, mask = velocity.values, velocity.steps, velocity.mask
    turning = vorticity(values, steps, mask) * velocity.per_second
    divergences = divergence(values, steps, mask) * velocity.per_second
    energy = kinetic_energy(values, steps, mask), energy_loss(values, steps, mask)
    vortices, rows = [], []
    for t, (field, pool) in enumerate(zip(values, mask, strict=True)):
        axis = long_axis(case.blood_mask[t + 1], steps)
        in_pair = find_vortices(field, steps, pool, axis, reach, min_area, velocity.per_second)
        vortices.append(in_pair)
        speed = field.norm(dim=0)[pool]
        known = divergences[t][~divergences[t].isnan()]
        row: dict[str, Any] = {
            "pair": t,
            "time": float(velocity.times[t]),
            "pool_area": float(pool.sum()) * steps[0] * steps[1],
            "mean_speed": float(speed.mean()) if len(speed) else None,
            "peak_speed": float(speed.quantile(0.99)) if len(speed) else None,
            "divergence": float(known.square().mean().sqrt()) if len(known) else None,
        }
        if velocity.physical:
            row |= {"kinetic_energy": float(energy[0][t]), "energy_loss": float(energy[1][t])}
        row["vortices"] = len(in_pair)
        for turn, name in _TURNS.items():
            vortex = next((v for v in in_pair if v.turn == turn), None)
            numbers: dict[str, Any] = asdict(vortex) if vortex else dict.fromkeys(Vortex.__dataclass_fields__)
            row_px, column_px = numbers.pop("centre") or (None, None)
            numbers.pop("turn")
            row |= {f"{name}_{k}": v for k, v in {"row": row_px, "column": column_px, **numbers}.items()}
        rows.append(row)
    notes = reliability_notes(case, ddf if single is None else single, velocity, similarity)
    return BloodFlow(velocity, turning, vortices, rows, notes)


def units(velocity: Velocity) -> dict[str, str]:
    """Return the unit of each column of ``flow.csv``."""
    if velocity.physical:
        area, rate, turn = "mm²", "1/s", "cm²/s"
    else:
        area, rate, turn = "px²", "1/frame", "px²/frame"
    shape = dict.fromkeys(("depth", "transverse", "length", "width"), "of the pool's length")
    vortex = {"row": "px", "column": "px", "area": area, "circulation": turn, "intensity": rate, "peak": "|Γ₂|"}
    vortex["whole_circulation"] = turn
    vortex |= shape | {"sphericity": "length / width"}
    whole = {"pair": "", "time": "s" if velocity.physical else "frame", "pool_area": area, "vortices": ""}
    whole |= {"mean_speed": velocity.unit, "peak_speed": velocity.unit, "divergence": rate}
    whole |= {"kinetic_energy": "J/m", "energy_loss": "W/m"}
    return whole | {f"{name}_{key}": unit for name in _TURNS.values() for key, unit in vortex.items()}


def reliability_notes(case: CineCase, ddf: Tensor, velocity: Velocity, similarity: float | None = None) -> list[str]:
    """Return sentences about reasons to distrust a field, derived from the cine and the field.

    Args:
        case: case with a blood pool.
        ddf: ``[N, 2, H, W]`` in pixels, before smoothing over time.
        velocity: its velocities.
        similarity: as in ``measure_flow``.
    """
    notes = []
    pool = case.blood_mask
    assert pool is not None
    moved = ddf.norm(dim=1)[velocity.mask]
    swift = float(moved.quantile(0.98)) if 0 < len(moved) < 2**24 else float(moved.max()) if len(moved) else 0.0
    rate = f" of {1 / float(velocity.times.diff().mean()):.0f} Hz" if velocity.physical and len(ddf) > 1 else ""
    if swift > RANGE:
        notes.append(
            f"The frame rate{rate} is too low for this flow: blood moves by up to {swift:.1f} pixels between frames, "
            f"but the method is only tested up to {RANGE:.0f}; velocities may be aliased."
        )
    change = unsteadiness(ddf, velocity.mask)
    if change > UNSTEADY:
        notes.append(
            f"The field changes by {100 * change:.0f} % between pairs: it is not one continuous flow. The frame "
            f"rate{rate} is too low for this flow and velocities are aliased, or the image has too little structure."
        )
    if similarity is not None and similarity < MIN_SIMILARITY:
        notes.append(
            f"Registered frames match poorly (LNCC² {similarity:.2f}, expected at least {MIN_SIMILARITY}): the frame "
            f"rate{rate} is too low for this flow and velocities are aliased, or the bubbles change too much to be "
            "tracked. Velocities may be underestimated by half or more."
        )
    inside, around = brightness(case.cine.as_tensor()[0], pool)
    if inside <= around:
        notes.append(
            f"No contrast agent is visible (brightness {inside:.2f} in the blood pool, {around:.2f} in the tissue "
            "around it): the tracked signal is clutter and noise, not blood."
        )
    if not velocity.physical:
        needed = {"spacing": case.meta.spacing, "frame times": case.meta.frame_times}
        missing = " and ".join(name for name, known in needed.items() if not known)
        notes.append(f"Velocities are in pixels per frame; unknown: {missing}.")
    elif case.meta.frame_time_source == "playback":
        notes.append("Frame times are those of playback; if the movie was slowed down, velocities are underestimated.")
    return notes


def unsteadiness(ddf: Tensor, mask: Tensor) -> float:
    """RMS change of ``ddf [N, 2, H, W]`` between pairs over its RMS, in ``mask [N, H, W]``; 0 for one pair."""
    if len(ddf) < 2:
        return 0.0
    both = (mask[1:] & mask[:-1])[:, None]
    change = ((ddf[1:] - ddf[:-1]).square() * both).sum()
    size = 0.5 * ((ddf[1:].square() + ddf[:-1].square()) * both).sum()
    return float((change / size.clamp(min=1e-12)).sqrt())


def brightness(frames: Tensor, blood_mask: Tensor) -> tuple[float, float]:
    """Return the mean brightness of ``frames [T, H, W]`` in the blood pool ``[T, H, W]`` and in a ring around it."""
    wide = functional.max_pool2d(blood_mask[:, None].float(), 2 * _RING + 1, 1, _RING)[:, 0] > 0
    near = functional.max_pool2d(blood_mask[:, None].float(), 5, 1, 2)[:, 0] > 0
    ring = wide & ~near & (frames > 0)
    outside = float(frames[ring].mean()) if ring.any() else 0.0
    return float(frames[blood_mask].mean()), outside
