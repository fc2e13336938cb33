"""What is measured of the blood's velocities: a row a frame pair, and what has to be said of the whole."""

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
from cardiac_motion.haemodynamics.vortices import LEAST_AREA, REACH, Vortex, find_vortices
from cardiac_motion.ventricle.blood_pool import long_axis

RANGE = 6.0  # pixels a frame up to which the method is tested (docs/blood.md)
UNSTEADY = 0.5  # RMS change of the field from pair to pair over its RMS; √2 is that of fields without relation
LEAST_ALIKE = 0.75  # LNCC² of the registered frames (radius 10) from which on they are taken to match
_RING = 9  # pixels around the pool that are the tissue it is compared with
_TURNS = {1: "ccw", -1: "cw"}


@dataclass(frozen=True, eq=False)
class BloodFlow:
    """The flow of a cine.

    Attributes:
        velocity: half-way between the frames.
        vorticity: ``[N, H, W]``, counter-clockwise positive, 1/s (1/frame without spacing and times); NaN outside.
        vortices: of each pair, the strongest first.
        rows: of ``flow.csv``, one a pair.
        notes: what a reader must know.
    """

    velocity: Velocity
    vorticity: Tensor
    vortices: Sequence[Sequence[Vortex]]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str]

    def scores(self) -> Scores:
        """Means over the cine of what has a number in every pair, for the tables."""
        keys = [k for k in self.rows[0] if k not in ("pair", "time")] if self.rows else []
        pairs = {k: [float("nan") if r[k] is None else float(r[k]) for r in self.rows] for k in keys}
        known = {k: [v for v in values if math.isfinite(v)] for k, values in pairs.items()}
        return Scores({k: sum(v) / len(v) for k, v in known.items() if v}, pairs)


def measure_flow(
    case: CineCase,
    ddf: Tensor,
    single: Tensor | None = None,
    reach: float = REACH,
    least_area: float = LEAST_AREA,
    alike: float | None = None,
) -> BloodFlow:
    """Measure the flow of a registered cine.

    Args:
        case: with a pool.
        ddf: ``[N, 2, H, W]`` in pixels, pulling back.
        single: the fields of each pair alone, where ``ddf`` is smoothed over time: what says whether they agree.
        reach: of Γ₂ in mm; where the spacing isn't known, in widths of a pixel, twice as many.
        least_area: of a vortex, mm² (four times as many squared pixels).
        alike: mean LNCC² (radius 10) of the registered frames in the pool, where it is known.

    Raises:
        ValueError: a case without a pool.
    """
    if case.blood_mask is None:
        raise ValueError(f"{case.name}: flow is measured in a pool")
    meta = case.meta
    velocity = velocity_of(ddf, case.blood_mask, meta.spacing, meta.frame_times, meta.aspect)
    if meta.spacing is None:
        reach, least_area = 2 * reach, 4 * least_area
    values, steps, mask = velocity.values, velocity.steps, velocity.mask
    turning = vorticity(values, steps, mask) * velocity.per_second
    apart = divergence(values, steps, mask) * velocity.per_second
    energy = kinetic_energy(values, steps, mask), energy_loss(values, steps, mask)
    vortices, rows = [], []
    for t, (field, pool) in enumerate(zip(values, mask, strict=True)):
        axis = long_axis(case.blood_mask[t + 1], steps)
        found = find_vortices(field, steps, pool, axis, reach, least_area, velocity.per_second)
        vortices.append(found)
        speed = field.norm(dim=0)[pool]
        known = apart[t][~apart[t].isnan()]
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
        row["vortices"] = len(found)
        for turn, name in _TURNS.items():
            vortex = next((v for v in found if v.turn == turn), None)
            numbers: dict[str, Any] = asdict(vortex) if vortex else dict.fromkeys(Vortex.__dataclass_fields__)
            row_px, column_px = numbers.pop("centre") or (None, None)
            numbers.pop("turn")
            row |= {f"{name}_{k}": v for k, v in {"row": row_px, "column": column_px, **numbers}.items()}
        rows.append(row)
    notes = notes_of(case, ddf if single is None else single, velocity, alike)
    return BloodFlow(velocity, turning, vortices, rows, notes)


def units(velocity: Velocity) -> dict[str, str]:
    """The unit of each column of ``flow.csv``."""
    if velocity.physical:
        area, rate, turn = "mm²", "1/s", "cm²/s"
    else:
        area, rate, turn = "px²", "1/frame", "px²/frame"
    shape = dict.fromkeys(("depth", "transverse", "length", "width"), "of the pool's length")
    vortex = {"row": "px", "column": "px", "area": area, "circulation": turn, "intensity": rate, "peak": "|Γ₂|"}
    vortex["whole_circulation"] = turn
    vortex |= shape | {"sphericity": "length over width"}
    own = {"pair": "", "time": "s" if velocity.physical else "frame", "pool_area": area, "vortices": ""}
    own |= {"mean_speed": velocity.unit, "peak_speed": velocity.unit, "divergence": rate}
    own |= {"kinetic_energy": "J/m", "energy_loss": "W/m"}
    return own | {f"{name}_{key}": unit for name in _TURNS.values() for key, unit in vortex.items()}


def notes_of(case: CineCase, ddf: Tensor, velocity: Velocity, alike: float | None = None) -> list[str]:
    """Sentences about a field that can't be trusted, told from the cine and the field themselves.

    Args:
        case: with a pool.
        ddf: ``[N, 2, H, W]`` of each pair alone, in pixels.
        velocity: of it.
        alike: as in ``measure_flow``.
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
            f"beyond the {RANGE:.0f} that the method is tested to; velocities may be aliased."
        )
    change = unsteadiness(ddf, velocity.mask)
    if change > UNSTEADY:
        notes.append(
            f"The field changes from pair to pair by {100 * change:.0f} % of its size: it does not follow one flow. "
            f"The frame rate{rate} is too low for this flow and the search aliased, or there is too little to follow."
        )
    if alike is not None and alike < LEAST_ALIKE:
        notes.append(
            f"Frames that were registered match poorly (local correlation {alike:.2f}, wanted {LEAST_ALIKE}): the "
            f"frame rate{rate} is too low for this flow and the search aliased, or bubbles change too much to be "
            "followed. Velocities may be too low by half and more."
        )
    inside, around = brightness(case.cine.as_tensor()[0], pool)
    if inside <= around:
        notes.append(
            f"No contrast agent is seen (the pool's brightness is {inside:.2f}, the tissue's around it {around:.2f}): "
            "what is tracked in the pool is clutter and noise, not blood."
        )
    if not velocity.physical:
        needed = {"spacing": case.meta.spacing, "frame times": case.meta.frame_times}
        missing = " and ".join(name for name, known in needed.items() if not known)
        notes.append(f"Velocities are in pixels a frame: {missing} not known.")
    elif case.meta.frame_time_source == "playback":
        notes.append("The frame times are those of playback: if the movie was slowed, velocities are too low.")
    return notes


def unsteadiness(ddf: Tensor, mask: Tensor) -> float:
    """RMS change of ``ddf [N, 2, H, W]`` from pair to pair over its RMS, in ``mask [N, H, W]``; 0 of one pair."""
    if len(ddf) < 2:
        return 0.0
    both = (mask[1:] & mask[:-1])[:, None]
    change = ((ddf[1:] - ddf[:-1]).square() * both).sum()
    size = 0.5 * ((ddf[1:].square() + ddf[:-1].square()) * both).sum()
    return float((change / size.clamp(min=1e-12)).sqrt())


def brightness(frames: Tensor, blood_mask: Tensor) -> tuple[float, float]:
    """Mean brightness of ``frames [T, H, W]`` in the pool ``[T, H, W]`` and in a ring around it."""
    wide = functional.max_pool2d(blood_mask[:, None].float(), 2 * _RING + 1, 1, _RING)[:, 0] > 0
    near = functional.max_pool2d(blood_mask[:, None].float(), 5, 1, 2)[:, 0] > 0
    ring = wide & ~near & (frames > 0)
    outside = float(frames[ring].mean()) if ring.any() else 0.0
    return float(frames[blood_mask].mean()), outside
