"""From displacement fields to velocities: the sign, the time and the unit said once.

A field of a pair pulls back, ``fixed(p) = moving(p + ddf(p))``: what is at p in the fixed frame was at p + ddf(p) in
the moving one, so it moved by −ddf(p). That mean velocity over the interval is the velocity half-way, at p + ddf(p) / 2
and at the middle of the two times, to second order in the interval; left at p it would be turned by half the angle by
which a vortex turns between two frames, up to ten degrees.
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
    """Velocities of a cine, half-way between its frames.

    Attributes:
        values: ``[N, 2, H, W]``, (row, column), rows downwards.
        mask: ``[N, H, W]`` bool, the pool at those times.
        unit: ``m/s``, or ``px/frame`` where spacing or times are not known.
        steps: (row, column) of a pixel: mm, or in widths of a pixel.
        times: ``[N]`` in s, or half frames.
    """

    values: Tensor
    mask: Tensor
    unit: str
    steps: tuple[float, float]
    times: Tensor

    @property
    def physical(self) -> bool:
        """In m/s over mm, so that vorticity, circulation and energy have units."""
        return self.unit == "m/s"

    @property
    def per_second(self) -> float:
        """What derivatives over ``steps`` are to be multiplied by for 1/s; 1 where it is 1/frame."""
        return 1000.0 if self.physical else 1.0


def carry_halfway(ddf: Tensor) -> Tensor:
    """−ddf carried to the middle of each way: ``[N, 2, H, W]`` in pixels an interval.

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
    """Velocities of a registered cine.

    Args:
        ddf: ``[N, 2, H, W]`` in pixels, pulling back: pair t has moving = frame t, fixed = frame t + 1.
        blood_mask: ``[N + 1, H, W]`` bool, the blood in each frame; half-way it is where it is in both.
        spacing: (row, column) in mm/px, or None.
        frame_times: ``[N + 1]`` in s, or None.
        aspect: a pixel's height over its width, where the spacing is not known.

    Raises:
        InputError: times that do not rise.

    Examples:
        >>> found = velocity_of(torch.full((1, 2, 4, 4), -2.0), torch.ones(2, 4, 4), (0.5, 0.5), (0.0, 0.01))
        >>> found.unit, round(found.values.mean().item(), 6)  # 1 mm in 10 ms
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
        raise InputError("the frame times do not rise by one a frame: no velocity can be told")
    scale = torch.tensor(list(spacing), dtype=torch.float64).view(1, 2, 1, 1) * 1e-3 / seconds.view(-1, 1, 1, 1)
    middle = (moments[1:] + moments[:-1]) / 2
    return Velocity((moved * scale).to(ddf.dtype), both, "m/s", (spacing[0], spacing[1]), middle)
