"""Velocities from displacement fields: sign, time and unit conventions.

The field of a pair pulls back, ``fixed(p) = moving(p + ddf(p))``: what is at p in the fixed frame was at p + ddf(p) in
the moving one, so it moved by −ddf(p). To second order in the interval, this mean velocity is that at the middle
of the path, p + ddf(p) / 2, and of the interval. At p instead, it would be rotated by half the angle by which a
vortex turns between two frames, up to ten degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp

_ITERATIONS = 20


@dataclass(frozen=True, eq=False)
class Velocity:
    """Velocities of a cine, midway between its frames.

    Attributes:
        values: ``[N, 2, H, W]``, (row, column), rows downwards.
        mask: ``[N, H, W]`` bool, the blood pool at those times.
        unit: ``m/s``, or ``px/frame`` if spacing or times are unknown.
        steps: pixel size (row, column) in mm, or in pixel widths.
        times: ``[N]`` in s, or in frames (midway: half-integers).
    """

    values: Tensor
    mask: Tensor
    unit: str
    steps: tuple[float, float]
    times: Tensor

    @property
    def physical(self) -> bool:
        """Whether velocities are in m/s and lengths in mm, so that vorticity, circulation and energy have units."""
        return self.unit == "m/s"

    @property
    def per_second(self) -> float:
        """Factor from derivatives over ``steps`` to 1/s; 1 if they are per frame."""
        return 1000.0 if self.physical else 1.0


def carry_halfway(ddf: Tensor) -> Tensor:
    """Assign −ddf to the middle of each path: ``[N, 2, H, W]`` in pixels per interval.

    Args:
        ddf: ``[N, 2, H, W]`` in pixels, pulling back.

    Examples:
        >>> carry_halfway(torch.full((1, 2, 4, 4), -1.5)).unique().tolist()
        [1.5]
    """
    offset = torch.zeros_like(ddf)  # p − q, where q = p + ddf(p) / 2
    for _ in range(_ITERATIONS):
        offset = -0.5 * warp(ddf, offset)
    return -warp(ddf, offset)


def velocity_of(
    ddf: Tensor,
    blood_mask: Tensor,
    spacing: Sequence[float] | None,
    frame_times: Sequence[float] | None,
    aspect: float = 1.0,
) -> Velocity:
    """Compute the velocities of a registered cine.

    Args:
        ddf: ``[N, 2, H, W]`` in pixels, pulling back: pair t has moving = frame t, fixed = frame t + 1.
        blood_mask: ``[N + 1, H, W]`` bool, the blood in each frame; midway, the intersection of both frames' masks.
        spacing: (row, column) in mm/px, or None.
        frame_times: ``[N + 1]`` in s, or None.
        aspect: ratio of a pixel's height to its width, used if the spacing is unknown.

    Raises:
        InputError: the times do not increase.

    Examples:
        >>> velocity = velocity_of(torch.full((1, 2, 4, 4), -2.0), torch.ones(2, 4, 4), (0.5, 0.5), (0.0, 0.01))
        >>> velocity.unit, round(velocity.values.mean().item(), 6)  # 1 mm in 10 ms
        ('m/s', 0.1)
    """
    moved, both = carry_halfway(ddf), blood_mask[:-1].bool() & blood_mask[1:].bool()
    if spacing is None or frame_times is None:
        times = torch.arange(len(ddf)) + 0.5
        steps = (aspect, 1.0) if spacing is None else (spacing[0], spacing[1])
        return Velocity(moved, both, "px/frame", steps, times)
    moments = torch.tensor(list(frame_times), dtype=torch.float64)
    seconds = moments.diff()
    if len(moments) != len(ddf) + 1 or not bool((seconds > 0).all()):
        raise InputError("velocities need one increasing time per frame; check the cine's frame times")
    scale = torch.tensor(list(spacing), dtype=torch.float64).view(1, 2, 1, 1) * 1e-3 / seconds.view(-1, 1, 1, 1)
    middle = (moments[1:] + moments[:-1]) / 2
    return Velocity((moved * scale).to(ddf.dtype), both, "m/s", (spacing[0], spacing[1]), middle)
