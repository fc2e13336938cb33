"""Vortices of a planar velocity field by Γ₂ (Graftieaux, Michard and Grosjean 2001, 10.1088/0957-0233/12/9/307).

Γ₂(P) is the mean, over the points M around P, of the sine of the angle between PM and the velocity at M less the mean
velocity around P: it asks which way things turn, not how fast, and has no derivative in it, so that noise hardly moves
it and a stream that carries the vortex not at all. Where |Γ₂| > 2/π turning outweighs shear: a connected piece of that
is the core of a vortex. Circulation is the vorticity's integral over the core, and over the whole vortex: the connected
region around the core that turns as it does, by at least a fifth of its strongest. Smoothing spreads vorticity, which
lowers the first by what leaves the core, and the second hardly; and where a core breaks in two, the second stays.
Depth, length, width and sphericity are those of contrast echocardiography (Hong et al. 2008,
10.1016/j.jcmg.2008.06.008; Abe et al. 2013, 10.1093/ehjci/jet049), of the long axis of the pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.haemodynamics.derivatives import vorticity
from cardiac_motion.ventricle.blood_pool import LongAxis

CORE = 2 / math.pi  # |Γ₂| above which rotation outweighs shear
REACH = 4.0  # mm: the radius of Γ₂'s surroundings
LEAST_AREA = 20.0  # mm² of a core that is told as a vortex
WHOLE = 0.2  # of the core's largest vorticity: how far a vortex goes beyond its core
_POINTS = 5  # of a radius, at most
_SHARE = 0.6  # of the surroundings that must be known


@dataclass(frozen=True)
class Vortex:
    """A vortex of one frame.

    Lengths are in mm and circulation in cm²/s where spacing and times are known, else in widths of a pixel and frames.

    Attributes:
        centre: (row, column) in pixels: where the vorticity of the core has its middle.
        turn: 1 counter-clockwise on the picture, −1 clockwise.
        area: of the core.
        circulation: with its sign, positive counter-clockwise.
        intensity: mean |vorticity| of the core, 1/s.
        peak: largest |Γ₂| of it, at most 1.
        whole_circulation: of the whole vortex, with its sign; None where it was not asked for.
        depth: distance of the centre from the base along the long axis, of the pool's length; None without an axis.
        transverse: distance of the centre from the long axis, to the right on the picture positive, of that length.
        length, width: of the core along and across the long axis, of that length.
        sphericity: length over width, 1 where it is round.
    """

    centre: tuple[float, float]
    turn: int
    area: float
    circulation: float
    intensity: float
    peak: float
    whole_circulation: float | None = None
    depth: float | None = None
    transverse: float | None = None
    length: float | None = None
    width: float | None = None
    sphericity: float | None = None


def gamma2(velocity: Tensor, steps: Sequence[float], mask: Tensor, reach: float = REACH) -> Tensor:
    """Γ₂ ``[H, W]``, from −1 to 1, positive counter-clockwise on the picture; NaN where too little around is known.

    Args:
        velocity: ``[2, H, W]``, (row, column).
        steps: lengths between pixels, (row, column).
        mask: ``[H, W]`` bool.
        reach: radius of the surroundings, in the unit of ``steps``.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(9.0) - 4, indexing="ij")
        >>> carried = torch.stack([3 - column, row])  # turns counter-clockwise while all goes down
        >>> round(gamma2(carried, (1.0, 1.0), torch.ones(9, 9, dtype=torch.bool), reach=2.0)[4, 4].item(), 3)
        1.0
    """
    known = mask.bool()
    values = torch.where(known, velocity, torch.zeros_like(velocity)).double()
    shifts = _surroundings(steps, reach)
    margin = [max(abs(s[axis]) for s in shifts) for axis in (0, 1)]
    pad = (margin[1], margin[1], margin[0], margin[0])
    wide, there = torch.nn.functional.pad(values, pad), torch.nn.functional.pad(known.double(), pad)

    def crop(image: Tensor, shift: tuple[int, int]) -> Tensor:
        top, left = margin[0] + shift[0], margin[1] + shift[1]
        return image[..., top : top + mask.shape[0], left : left + mask.shape[1]]

    count = torch.stack([crop(there, s) for s in shifts]).sum(0)
    mean = torch.stack([crop(wide, s) for s in shifts]).sum(0) / count.clamp(min=1)
    total = torch.zeros(mask.shape, dtype=torch.float64)
    for shift in shifts:
        down, across = shift[0] * steps[0], shift[1] * steps[1]
        row, column = crop(wide, shift) - mean
        speed = torch.hypot(row, column)
        sine = (down * column - across * row) / (math.hypot(down, across) * speed.clamp(min=1e-12))
        total += crop(there, shift) * torch.where(speed > 1e-12, sine, 0.0)
    enough = known & (count >= _SHARE * len(shifts))
    return torch.where(enough, total / count.clamp(min=1), float("nan")).to(velocity.dtype)


def _surroundings(steps: Sequence[float], reach: float) -> list[tuple[int, int]]:
    """Offsets in pixels of the points of a disc, its middle left out."""
    strides = [max(1, round(reach / step / _POINTS)) for step in steps]
    counts = [math.floor(reach / step / stride) for step, stride in zip(steps, strides, strict=True)]
    rows, columns = (
        [stride * n for n in range(-count, count + 1)] for stride, count in zip(strides, counts, strict=True)
    )
    near = [(r, c) for r in rows for c in columns if (r or c) and math.hypot(r * steps[0], c * steps[1]) <= reach]
    return near if len(near) >= 4 else [(-1, 0), (1, 0), (0, -1), (0, 1)]


def find_vortices(
    velocity: Tensor,
    steps: Sequence[float],
    mask: Tensor,
    axis: LongAxis | None = None,
    reach: float = REACH,
    least_area: float = LEAST_AREA,
    per_second: float = 1000.0,
) -> list[Vortex]:
    """The vortices of a field, the strongest circulation first.

    Args:
        velocity: ``[2, H, W]``: m/s, or pixels a frame.
        steps: (row, column) between pixels: mm, or widths of a pixel.
        mask: ``[H, W]`` bool.
        axis: of the pool; without one depth, length, width and sphericity are None.
        reach: of Γ₂.
        least_area: of a core.
        per_second: makes 1/s of the velocity's unit a unit of ``steps``: 1000 for m/s and mm, 1 for pixels and frames.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
        >>> square = row**2 + column**2
        >>> swirl = torch.stack([-column, row]) * torch.exp(-square / 50) * 0.05
        >>> found = find_vortices(swirl, (1.0, 1.0), torch.ones(41, 41, dtype=torch.bool))
        >>> len(found), found[0].turn, tuple(round(x, 3) for x in found[0].centre)
        (1, 1, (20.0, 20.0))
    """
    if not mask.any():
        return []
    box = bounding_box(mask[None, None], mask.shape)
    offset = torch.tensor([float(edges[0]) for edges in box], dtype=torch.float64)
    rows, columns = (slice(*edges) for edges in box)
    velocity, mask = velocity[:, rows, columns], mask[rows, columns]
    gamma = gamma2(velocity, steps, mask, reach)
    turning = vorticity(velocity[None], steps, mask[None])[0].nan_to_num(0.0).double() * per_second
    cell = steps[0] * steps[1]
    to_circulation = cell * (1e-2 if per_second != 1 else 1.0)  # mm²/s to cm²/s
    found = []
    for turn in (1, -1):
        pieces, count = ndimage.label((turn * gamma > CORE).numpy())
        for piece in range(1, count + 1):
            core = torch.from_numpy(pieces == piece)
            area = float(core.sum()) * cell
            if area < least_area:
                continue
            places, spin = core.nonzero().double() + offset, turning[core]
            weight = (turn * spin).clamp(min=0) + 1e-12
            centre = (places * weight[:, None]).sum(0) / weight.sum()
            shape = axis.shape_of(centre.numpy(), places.numpy(), steps) if axis else {}
            found.append(
                Vortex(
                    centre=(float(centre[0]), float(centre[1])),
                    turn=turn,
                    area=area,
                    circulation=float(spin.sum()) * to_circulation,
                    intensity=float(spin.abs().mean()),
                    peak=float(gamma[core].abs().max()),
                    whole_circulation=float(turning[_grow_region(turn * turning, core)].sum()) * to_circulation,
                    **shape,
                )
            )
    return sorted(found, key=lambda v: -abs(v.circulation))


def _grow_region(spin: Tensor, core: Tensor) -> Tensor:
    """The connected region around a core in which ``spin``, positive where it turns alike, is a fifth of the core's
    largest at least: ``[H, W]``.
    """
    region = core | (spin > WHOLE * spin[core].max().clamp(min=0))
    pieces = torch.from_numpy(ndimage.label(region.numpy())[0])
    return pieces == pieces[core][0]


def pair_vortices(
    measured: Sequence[Vortex], truth: Sequence[Vortex], steps: Sequence[float], within: float = 10.0
) -> list[tuple[Vortex, Vortex]]:
    """(found, true) vortices that turn alike and whose centres are nearest to each other, each once.

    Args:
        within: largest distance of two centres, in the unit of ``steps``.

    Examples:
        >>> here, there = Vortex((1.0, 1.0), 1, 30, 9, 5, 1), Vortex((1.0, 3.0), 1, 30, 9, 5, 1)
        >>> len(pair_vortices([here], [there], (1.0, 1.0))), len(pair_vortices([here], [there], (1.0, 9.0)))
        (1, 0)
    """
    distances = sorted(
        (centre_distance(a, b, steps), i, j)
        for i, a in enumerate(measured)
        for j, b in enumerate(truth)
        if a.turn == b.turn
    )
    pairs, used_found, used_truth = [], set(), set()
    for distance, i, j in distances:
        if distance <= within and i not in used_found and j not in used_truth:
            pairs.append((measured[i], truth[j]))
            used_found.add(i)
            used_truth.add(j)
    return pairs


def centre_distance(first: Vortex, second: Vortex, steps: Sequence[float]) -> float:
    """Between two centres, in the unit of ``steps``.

    Examples:
        >>> centre_distance(Vortex((0, 0), 1, 1, 1, 1, 1), Vortex((3, 4), 1, 1, 1, 1, 1), (1.0, 1.0))
        5.0
    """
    return math.dist(*([c * s for c, s in zip(vortex.centre, steps, strict=True)] for vortex in (first, second)))
