"""Vortices of a planar velocity field by Γ₂ (Graftieaux, Michard and Grosjean 2001, 10.1088/0957-0233/12/9/307).

Γ₂(P) is the mean, over the points M around P, of the sine of the angle between PM and the velocity at M minus the mean
velocity around P. It depends on directions, not on speeds, and uses no derivative, so it is robust to noise, and to a
uniform stream that carries the vortex. Where |Γ₂| > 2/π, rotation outweighs shear: a connected component of that region
is the core of a vortex. Circulation is the integral of vorticity over the core, and also over the whole vortex: the
connected region around the core that has the same sense of rotation and at least a fifth of the core's peak vorticity.
Smoothing spreads vorticity; this lowers the former, by what leaves the core, but hardly the latter, which is also
preserved where a core breaks in two. Depth, length, width and sphericity are those of contrast echocardiography (Hong
et al. 2008, 10.1016/j.jcmg.2008.06.008; Abe et al. 2013, 10.1093/ehjci/jet049), relative to the blood pool's long axis.
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
REACH = 4.0  # mm: radius of the neighbourhood of Γ₂
MIN_AREA = 20.0  # mm², smallest core that is reported as a vortex
WHOLE = 0.2  # fraction of the core's peak vorticity down to which a vortex extends beyond its core
_POINTS = 5  # maximum number of points along a radius
_SHARE = 0.6  # fraction of the neighbourhood that must be known


@dataclass(frozen=True)
class Vortex:
    """A vortex of one frame.

    Lengths are in mm and circulation in cm²/s if spacing and times are known, otherwise in pixel widths and frames.

    Attributes:
        centre: (row, column) in pixels: vorticity-weighted centroid of the core.
        turn: 1 counter-clockwise as displayed, −1 clockwise.
        area: area of the core.
        circulation: circulation of the core, positive counter-clockwise.
        intensity: mean |vorticity| of the core, 1/s.
        peak: largest |Γ₂| in the core, at most 1.
        whole_circulation: circulation of the whole vortex, positive counter-clockwise; None if not computed.
        depth: distance of the centre from the base along the long axis, relative to its length; None without an axis.
        transverse: distance of the centre from the long axis, relative to its length; positive to the right.
        length, width: extent of the core along and across the long axis, relative to its length.
        sphericity: length / width, 1 for a round core.
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
    """Γ₂ ``[H, W]``, from −1 to 1, positive counter-clockwise as displayed; NaN where too few neighbours are known.

    Args:
        velocity: ``[2, H, W]``, (row, column).
        steps: distances between pixels, (row, column).
        mask: ``[H, W]`` bool.
        reach: radius of the neighbourhood, in the unit of ``steps``.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(9.0) - 4, indexing="ij")
        >>> carried = torch.stack([3 - column, row])  # counter-clockwise rotation in a downward stream
        >>> round(gamma2(carried, (1.0, 1.0), torch.ones(9, 9, dtype=torch.bool), reach=2.0)[4, 4].item(), 3)
        1.0
    """
    known = mask.bool()
    values = torch.where(known, velocity, torch.zeros_like(velocity)).double()
    shifts = _surroundings(steps, reach)
    margin = [max(abs(s[axis]) for s in shifts) for axis in (0, 1)]
    pad = (margin[1], margin[1], margin[0], margin[0])
    wide, valid = torch.nn.functional.pad(values, pad), torch.nn.functional.pad(known.double(), pad)

    def crop(image: Tensor, shift: tuple[int, int]) -> Tensor:
        top, left = margin[0] + shift[0], margin[1] + shift[1]
        return image[..., top : top + mask.shape[0], left : left + mask.shape[1]]

    count = torch.stack([crop(valid, s) for s in shifts]).sum(0)
    mean = torch.stack([crop(wide, s) for s in shifts]).sum(0) / count.clamp(min=1)
    total = torch.zeros(mask.shape, dtype=torch.float64)
    for shift in shifts:
        down, across = shift[0] * steps[0], shift[1] * steps[1]
        row, column = crop(wide, shift) - mean
        speed = torch.hypot(row, column)
        sine = (down * column - across * row) / (math.hypot(down, across) * speed.clamp(min=1e-12))
        total += crop(valid, shift) * torch.where(speed > 1e-12, sine, 0.0)
    enough = known & (count >= _SHARE * len(shifts))
    return torch.where(enough, total / count.clamp(min=1), float("nan")).to(velocity.dtype)


def _surroundings(steps: Sequence[float], reach: float) -> list[tuple[int, int]]:
    """Return the offsets in pixels of the points of a disc, without its centre."""
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
    min_area: float = MIN_AREA,
    per_second: float = 1000.0,
) -> list[Vortex]:
    """Find the vortices of a field, ordered by decreasing circulation.

    Args:
        velocity: ``[2, H, W]`` in m/s, or pixels per frame.
        steps: pixel size (row, column) in mm, or in pixel widths.
        mask: ``[H, W]`` bool.
        axis: long axis of the blood pool; without one, depth, length, width and sphericity are None.
        reach: radius of the neighbourhood of Γ₂.
        min_area: smallest area of a core.
        per_second: factor from the velocity's unit per unit of ``steps`` to 1/s: 1000 for m/s and mm, 1 for pixels and
            frames.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
        >>> square = row**2 + column**2
        >>> swirl = torch.stack([-column, row]) * torch.exp(-square / 50) * 0.05
        >>> vortices = find_vortices(swirl, (1.0, 1.0), torch.ones(41, 41, dtype=torch.bool))
        >>> len(vortices), vortices[0].turn, tuple(round(x, 3) for x in vortices[0].centre)
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
    vortices = []
    for turn in (1, -1):
        pieces, count = ndimage.label((turn * gamma > CORE).numpy())
        for piece in range(1, count + 1):
            core = torch.from_numpy(pieces == piece)
            area = float(core.sum()) * cell
            if area < min_area:
                continue
            pixels, spin = core.nonzero().double() + offset, turning[core]
            weight = (turn * spin).clamp(min=0) + 1e-12
            centre = (pixels * weight[:, None]).sum(0) / weight.sum()
            shape = axis.core_shape(centre.numpy(), pixels.numpy(), steps) if axis else {}
            vortices.append(
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
    return sorted(vortices, key=lambda v: -abs(v.circulation))


def _grow_region(spin: Tensor, core: Tensor) -> Tensor:
    """Return the connected region ``[H, W]`` around a core with at least a fifth of the core's peak vorticity.

    ``spin`` is the vorticity, positive in the core's sense of rotation.
    """
    region = core | (spin > WHOLE * spin[core].max().clamp(min=0))
    pieces = torch.from_numpy(ndimage.label(region.numpy())[0])
    return pieces == pieces[core][0]


def pair_vortices(
    measured: Sequence[Vortex], truth: Sequence[Vortex], steps: Sequence[float], within: float = 10.0
) -> list[tuple[Vortex, Vortex]]:
    """Pair measured and true vortices of equal sense of rotation by nearest centres, each at most once.

    Args:
        measured, truth: vortices of one frame.
        steps: pixel size (row, column).
        within: largest distance of two centres, in the unit of ``steps``.

    Examples:
        >>> one, other = Vortex((1.0, 1.0), 1, 30, 9, 5, 1), Vortex((1.0, 3.0), 1, 30, 9, 5, 1)
        >>> len(pair_vortices([one], [other], (1.0, 1.0))), len(pair_vortices([one], [other], (1.0, 9.0)))
        (1, 0)
    """
    distances = sorted(
        (centre_distance(a, b, steps), i, j)
        for i, a in enumerate(measured)
        for j, b in enumerate(truth)
        if a.turn == b.turn
    )
    pairs, used_measured, used_truth = [], set(), set()
    for distance, i, j in distances:
        if distance <= within and i not in used_measured and j not in used_truth:
            pairs.append((measured[i], truth[j]))
            used_measured.add(i)
            used_truth.add(j)
    return pairs


def centre_distance(first: Vortex, second: Vortex, steps: Sequence[float]) -> float:
    """Return the distance between two centres, in the unit of ``steps``.

    Examples:
        >>> centre_distance(Vortex((0, 0), 1, 1, 1, 1, 1), Vortex((3, 4), 1, 1, 1, 1, 1), (1.0, 1.0))
        5.0
    """
    return math.dist(*([c * s for c, s in zip(vortex.centre, steps, strict=True)] for vortex in (first, second)))
