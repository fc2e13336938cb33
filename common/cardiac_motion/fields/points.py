"""Tracking of material points through a cine.

The field of pair t lies on the grid of frame t+1 and points back into frame t: ``x_t = q + ddf(q)`` for the pixel q of
frame t+1. A material point moves the other way, from p in frame t to the q that solves ``q + ddf(q) = p``. This is
solved at the points themselves by fixed-point iteration; no field is inverted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cardiac_motion.fields.ddf import sample

_WHOLE_STEPS = 8  # of the search for a point's next place, before they are halved


def field_at(ddf: Tensor, points: Tensor) -> Tensor:
    """Return the vectors of ``ddf [2, H, W]`` at ``points [P, 2]`` (row, column, pixels): ``[P, 2]``.

    Examples:
        >>> ddf = torch.zeros(2, 4, 4)
        >>> ddf[0] = torch.arange(4.0)  # along rows, growing with the column
        >>> field_at(ddf, torch.tensor([[0.0, 1.5]])).tolist()
        [[1.5, 0.0]]
    """
    return sample(ddf[None], points.t()[None, :, :, None])[0, :, :, 0].t()


def step_forward(
    points: Tensor, ddf: Tensor, iterations: int = 40, tolerance: float = 1e-3, start: Tensor | None = None
) -> Tensor:
    """Return the positions in frame t+1 of the points of frame t.

    Each point is iterated until it has converged; after eight rounds by half of each step, since a point that does not
    converge by then swings between two places on either side of where it belongs.

    Args:
        points: ``[P, 2]`` in frame t (row, column; pixels).
        ddf: ``[2, H, W]``, moving = frame t, fixed = frame t+1.
        iterations, tolerance: maximum number of fixed-point iterations, and change in pixels at which they stop.
        start: initial positions ``[P, 2]``; ``points`` where None.

    Examples:
        >>> ddf = torch.zeros(2, 8, 8)
        >>> ddf[0] = -1.0  # frame t+1 shows at q what frame t showed one row above: everything has moved one row down
        >>> step_forward(torch.tensor([[3.0, 4.0]]), ddf).tolist()
        [[4.0, 4.0]]
    """
    here = points if start is None else start
    left, found = torch.arange(len(points), device=points.device), []
    for k in range(iterations):
        step = points - field_at(ddf, here) - here
        here = here + (step if k < _WHOLE_STEPS else step / 2)
        off = step.detach().abs().amax(1) >= tolerance
        count = int(off.sum())
        if not count:
            break
        if count < len(left) / 2:
            found.append((left[~off], here[~off]))
            left, here, points = left[off], here[off], points[off]
    if not found:
        return here
    found.append((left, here))
    order = torch.cat([index for index, _ in found]).argsort()
    return torch.cat([places for _, places in found])[order]


def step_backward(points: Tensor, ddf: Tensor) -> Tensor:
    """Return the positions in frame t of points ``[P, 2]`` of frame t+1, by ``ddf [2, H, W]`` directly.

    Examples:
        >>> ddf = torch.zeros(2, 8, 8)
        >>> ddf[0] = -1.0
        >>> step_backward(torch.tensor([[4.0, 4.0]]), ddf).tolist()
        [[3.0, 4.0]]
    """
    return points + field_at(ddf, points)


def track(points: Tensor, ddf: Tensor, start: int = 0) -> Tensor:
    """Track points through a whole cine, forward and backward from one frame.

    Args:
        points: ``[P, 2]`` in frame ``start`` (row, column; pixels).
        ddf: ``[T−1, 2, H, W]``, pair t with moving = frame t, fixed = frame t+1.
        start: index of the frame in which the points are given.

    Returns:
        ``[T, P, 2]``.

    Examples:
        >>> ddf = torch.zeros(3, 2, 16, 16)
        >>> ddf[:, 1] = -2.0  # moves two columns to the right per frame
        >>> track(torch.tensor([[8.0, 8.0]]), ddf, start=1)[:, 0, 1].tolist()
        [6.0, 8.0, 10.0, 12.0]
    """
    path = {start: points}
    for t in range(start, len(ddf)):
        path[t + 1] = step_forward(path[t], ddf[t])
    for t in range(start, 0, -1):
        path[t - 1] = step_backward(path[t], ddf[t - 1])
    return torch.stack([path[t] for t in sorted(path)])


def grid_points(mask: Tensor, spacing: int = 12) -> Tensor:
    """Return the points of a regular grid, ``spacing`` pixels apart, inside ``mask [H, W]``: ``[P, 2]`` (row, column).

    Examples:
        >>> grid_points(torch.ones(8, 8), spacing=4).tolist()
        [[2.0, 2.0], [2.0, 6.0], [6.0, 2.0], [6.0, 6.0]]
    """
    chosen = torch.zeros_like(mask, dtype=torch.bool)
    chosen[spacing // 2 :: spacing, spacing // 2 :: spacing] = True
    return (chosen & mask.bool()).nonzero().float()
