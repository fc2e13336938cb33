"""Mid-wall affine regularisation: the borders and ends of the wall take motion fitted inside it.

A field is found from windows, and a window on the border of a wall sees both the wall and what it slides along, the
blood or the tissue around; the motion found there is a mean of both, and at the two ends of the wall, where it moves
most, that is what strain loses most by. So a displacement near the wall is made anew: the affine motion that fits best,
around each place, what was found inside, where a place counts by the square of its depth in the wall.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.core.bars import show_bar
from cardiac_motion.fields.ddf import compose, downsample, identity_grid, invert, rescale, warp
from cardiac_motion.fields.points import field_at, step_forward

_WIDTH = 0.35  # standard deviation of the Gaussian around a place, of the wall's thickness
_REACH = 1.0  # of the wall's thickness, outside: from the wall on, what follows it fades away until there
_ROOM = 0.5  # of the wall's extent, on every side: where its points may go
_RIDGE = 0.02  # of the affine part: where there is no depth to tell a gradient from, there is none
_ACROSS = 16.0  # pixels across the wall of the grid on which corrections are computed: they are smooth
_STILL = 1e-3  # pixels: a corrected point that moves less is found
_ROUNDS = (
    4  # at most, of the search for a corrected point; corrections are small beside the distance in which they change
)


def fit_affine(field: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Around each pixel the affine field that fits best, at that pixel.

    Args:
        field: ``[N, 2, H, W]`` in pixels.
        weight: ``[H, W]``, what a pixel counts, times a Gaussian of its distance.
        sigma: of the Gaussian, pixels.

    Returns:
        ``[N, 2, H, W]``; 0 where no weight is near.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
        >>> weight = ((row > 4) & (row < 12) & (column > 4) & (column < 12)).double()
        >>> field = torch.stack([0.1 * row - 0.2 * column, 1 + 0.0 * row])[None].double()
        >>> off = (fit_affine(field * weight, weight, 3.0) - field)[..., 2:14, 2:14].abs()
        >>> bool(off.max() < 0.2)
        True
    """
    everywhere = torch.ones(weight.shape, dtype=torch.bool)
    return _fit_at(field.flatten(0, 1), weight, sigma, everywhere).reshape(field.shape)


def _fit_at(values: Tensor, weight: Tensor, sigma: float, seen: Tensor) -> Tensor:
    """``fit_affine`` of ``values [C, H, W]`` at the pixels ``seen [H, W]`` alone: ``[C, P]``.

    Sums over the Gaussian's window, of values and of values times the distance from its middle, are products with a
    banded matrix for each axis. Of the solution of the normal equations only the value in the middle is needed.
    """
    rows, columns = (_window_sums(n, sigma) for n in weight.shape)
    heavy = weight.double()
    m, r, c, rr, rc, cc = (
        (rows[i] @ heavy @ columns[j].T)[seen] for i, j in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    )
    ridge = _RIDGE * m + 1e-12
    m, rr, cc = m + 1e-12, rr + ridge, cc + ridge
    first = rr * cc - rc**2, rc * c - r * cc, r * rc - rr * c
    share = [part / (m * first[0] + r * first[1] + c * first[2]) for part in first]
    weighted = values * weight
    across = [weighted @ columns[j].T.to(values) for j in (0, 1)]
    sums = ((rows[i].to(values) @ across[j])[:, seen] for i, j in ((0, 0), (1, 0), (0, 1)))
    return torch.stack([part.to(values) * total for part, total in zip(share, sums, strict=True)]).sum(0)


def _window_sums(size: int, sigma: float) -> list[Tensor]:
    """Return three matrices ``[n, n]`` that sum around each of ``n`` positions.

    The weights are a Gaussian times the distance to the power of 0, 1 and 2.
    """
    apart = torch.arange(size, dtype=torch.float64) - torch.arange(size, dtype=torch.float64)[:, None]
    kernel = torch.exp(-(apart**2) / (2 * sigma**2)) * (apart.abs() <= max(1, round(3 * sigma)))
    kernel /= math.sqrt(2 * math.pi) * sigma
    return [kernel * (apart / sigma) ** power for power in range(3)]


def accumulate_fields(steps: Tensor, anchor: int) -> tuple[Tensor, Tensor]:
    """Compose the pairwise fields of a cine to and from a reference frame.

    Args:
        steps: ``[T − 1, 2, H, W]`` in pixels, pair t with moving = frame t, fixed = frame t + 1.
        anchor: a frame.

    Returns:
        From the anchor to each frame, on the anchor's grid, and from each frame back to it, on its own:
        ``[T, 2, H, W]`` each.

    Examples:
        >>> led, back = accumulate_fields(-torch.ones(2, 2, 8, 8), 1)
        >>> led[:, 0, 4, 4].tolist(), back[:, 0, 4, 4].tolist()
        ([-1.0, 0.0, 1.0], [1.0, 0.0, -1.0])
    """
    undone = torch.cat([invert(step[None]) for step in show_bar(steps, "inverse fields", "pair")])
    still = torch.zeros_like(steps[:1])
    led, back = [still] * (len(steps) + 1), [still] * (len(steps) + 1)
    for t in range(anchor, len(steps)):
        led[t + 1], back[t + 1] = compose(undone[t : t + 1], led[t]), compose(back[t], steps[t : t + 1])
    for t in range(anchor, 0, -1):
        led[t - 1], back[t - 1] = compose(steps[t - 1 : t], led[t]), compose(back[t], undone[t - 1 : t])
    return torch.cat(led), torch.cat(back)


def correct_step(step: Tensor, back: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The step whose points lie δ further in either frame, ``[1, 2, H, W]``.

    Args:
        step: from frame t + 1 back to frame t, on the grid of t + 1.
        back: from frame t + 1 to the anchor, by the steps, on the same grid.
        before, after: δ of frames t and t + 1, on the anchor's grid.

    Examples:
        >>> one = torch.ones(1, 2, 4, 4)
        >>> correct_step(-one, -3 * one, 0.5 * one, 0.75 * one).unique().tolist()
        [-1.25]
    """
    moved = torch.zeros_like(step)  # from where a point is to where the steps had it
    for _ in range(_ROUNDS):
        moved = -warp(after, compose(back, moved))
    return warp(step, moved) + warp(before - after, compose(back, moved))


def follow_midwall(steps: Tensor, wall: Tensor, anchor: int = 0) -> Tensor:
    """The steps of a cine with the motion of a wall, and of what is near it, made anew from the wall's inside.

    A material point's place in any frame is where the affine motion since the anchor, fitted around it inside the wall,
    takes it; away from the wall that fades into what was found there, over the wall's thickness. The correction is
    computed on a grid on which the wall is ``_ACROSS`` to twice as many pixels thick, and added to the steps.

    Args:
        steps: ``[T − 1, 2, H, W]`` in pixels, pair t with moving = frame t, fixed = frame t + 1.
        wall: ``[H, W]`` bool, in the anchor.
        anchor: a frame.

    Returns:
        ``[T − 1, 2, H, W]``; the steps themselves where there is no wall.

    Examples:
        >>> wall = torch.zeros(40, 40, dtype=torch.bool)
        >>> wall[10:30, 16:24] = True
        >>> held = torch.zeros(1, 2, 40, 40)
        >>> held[:, 0, 11:31, 17:23] = -2.0  # the wall has moved two rows down, its borders are held back
        >>> found = follow_midwall(held, wall)[0, 0]
        >>> bool(found[20, 16] < -1.5), held[0, 0, 20, 16].item(), found[2, 2].item()
        (True, 0.0, 0.0)
    """
    if not wall.any():
        return steps
    rows, columns = _room(wall)
    inside, part = wall[rows, columns].numpy(), steps[:, :, rows, columns]
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    ridge = inside & (depth == ndimage.maximum_filter(depth, 5))
    thickness = 2 * float(np.median(depth[ridge]))
    off = ndimage.distance_transform_edt(~inside)
    stride = max(1, int(thickness / _ACROSS))
    size = [-(-n // stride) for n in part.shape[2:]]
    ratio = part.new_tensor([n / m for n, m in zip(size, part.shape[2:], strict=True)]).view(1, 2, 1, 1)
    steps_there = downsample(part, size) * ratio
    near = torch.from_numpy(off / (_REACH * thickness)).sub(1).neg().clamp(0, 1)
    near = near.square() * (3 - 2 * near)
    deep, near = (downsample(x[None, None].to(part), size)[0, 0] for x in (torch.from_numpy(depth), near))
    corrected = _correct_steps(steps_there, deep.square(), near, _WIDTH * thickness / stride, anchor)
    made = steps.clone()
    made[:, :, rows, columns] += rescale(corrected - steps_there, part.shape[2:])
    return made


def _correct_steps(steps: Tensor, weight: Tensor, near: Tensor, sigma: float, anchor: int) -> Tensor:
    """The steps with the fitted motion in and near the wall, all in pixels of one grid.

    Args:
        steps: ``[T − 1, 2, h, w]``.
        weight: ``[h, w]``, what a pixel counts in a fit.
        near: ``[h, w]``, the share of the fitted motion: 1 in the wall, 0 far from it.
        sigma: of the Gaussian around a place, pixels.
        anchor: frame in which the wall is known.
    """
    seen = near > 0
    points = seen.nonzero().to(steps)
    path = _lead(points, steps, anchor)
    led = (path - points).transpose(1, 2)
    own = _box(points[None], 1, near.shape)
    dense = led.new_zeros(2 * len(led), *near[own].shape)
    dense[:, seen[own]] = led.flatten(0, 1)
    corrections = led.new_zeros(len(led), 2, *near.shape)
    corrections[:, :, seen] = near[seen] * (_fit_at(dense, weight[own], sigma, seen[own]).reshape(led.shape) - led)
    reach = math.ceil(float(corrections.abs().amax())) + 1
    box = _box(path, reach + 1, near.shape)
    part, corrections = steps[:, :, *box], corrections[:, :, *box]
    wide = functional.max_pool2d(seen[box].to(steps)[None, None], 2 * reach + 1, 1, reach)
    grid = identity_grid(part.shape[2:], part)
    back = _lead_back(part, anchor)
    found = steps.clone()
    for t in show_bar(range(len(steps)), "corrected fields", "pair"):
        near_wall = warp(wide, back[t + 1])[0, 0] > 0  # nothing changes elsewhere
        here = grid[0][:, near_wall].T
        moved = _correct_points(part[t], back[t + 1][0], corrections[t], corrections[t + 1], here)
        found[t][:, *box][:, near_wall] += (moved - field_at(part[t], here)).T
    return found


def _lead(points: Tensor, steps: Tensor, anchor: int) -> Tensor:
    """Places ``[T, P, 2]`` of the points of the anchor in every frame."""
    path = {anchor: points}
    speed = torch.zeros_like(points)
    for t in show_bar(range(anchor, len(steps)), "points near the wall", "pair"):
        path[t + 1] = step_forward(path[t], steps[t], start=path[t] + speed)
        speed = path[t + 1] - path[t]
    for t in range(anchor, 0, -1):
        path[t - 1] = path[t] + field_at(steps[t - 1], path[t])
    return torch.stack([path[t] for t in range(len(steps) + 1)])


def _lead_back(steps: Tensor, anchor: int) -> list[Tensor]:
    """Fields ``[1, 2, H, W]`` from each frame back to the anchor, on its own grid."""
    still = torch.zeros_like(steps[:1])
    back = [still] * (len(steps) + 1)
    for t in range(anchor, len(steps)):
        back[t + 1] = compose(back[t], steps[t : t + 1])
    size = steps.shape[2:]
    pixels = identity_grid(size, steps)[0].flatten(1).T
    for t in range(anchor, 0, -1):
        there = step_forward(pixels, steps[t - 1], start=pixels - field_at(steps[t - 1], pixels))
        back[t - 1] = compose(back[t], (there - pixels).T.reshape(1, 2, *size))
    return back


def _correct_points(step: Tensor, back: Tensor, before: Tensor, after: Tensor, here: Tensor) -> Tensor:
    """``correct_step`` at the places ``here [P, 2]`` alone; fields are ``[2, H, W]``."""
    moved = torch.zeros_like(here)
    for _ in range(_ROUNDS):
        last, there = moved, here + moved
        moved = -field_at(after, there + field_at(back, there))
        if len(here) == 0 or (moved - last).abs().amax() < _STILL:
            break
    there = here + moved
    return field_at(step, there) + field_at(before - after, there + field_at(back, there))


def _box(places: Tensor, margin: int, size: torch.Size) -> tuple[slice, slice]:
    """Rows and columns of a picture that hold places ``[T, P, 2]``, and some pixels more."""
    low = (places.amin((0, 1)).floor() - margin).int().tolist()
    high = (places.amax((0, 1)).ceil() + margin + 1).int().tolist()
    edges = [slice(max(0, min(a, n - 1)), max(1, min(b, n))) for a, b, n in zip(low, high, size, strict=True)]
    return edges[0], edges[1]


def _room(wall: Tensor) -> tuple[slice, slice]:
    edges = bounding_box(wall[None, None], wall.shape)
    return tuple(  # type: ignore[return-value]
        slice(max(0, int(a - _ROOM * (b - a))), min(n, int(b + _ROOM * (b - a) + 1)))
        for (a, b), n in zip(edges, wall.shape, strict=True)
    )
