"""Derivatives of velocity fields on a masked grid: inside the blood pool, not across its wall.

Fields are ``[T, 2, H, W]``, components (row, column), rows downwards as displayed. The difference along an axis is
central where both neighbours of a pixel are known, one-sided where one is, and NaN where none is, as it is outside the
mask. With lengths in mm and velocities in m/s, multiply by 1000 for 1/s.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def velocity_gradient(velocity: Tensor, steps: Sequence[float] = (1.0, 1.0), mask: Tensor | None = None) -> Tensor:
    """Gradient ∂v_i/∂x_j of ``velocity [T, 2, H, W]``: ``[T, 2, 2, H, W]``, i before j.

    Args:
        velocity: components (row, column).
        steps: distances between pixels, (row, column).
        mask: ``[1 or T, H, W]`` bool, true where the velocity is known; None is everywhere.

    Raises:
        ValueError: ``velocity`` has another shape.

    Examples:
        >>> velocity = torch.zeros(1, 2, 4, 4)
        >>> velocity[0, 0] = 0.5 * torch.arange(4.0)  # v_row grows by 0.5 a column
        >>> velocity_gradient(velocity)[0, :, :, 0, 0].tolist()
        [[0.0, 0.5], [0.0, 0.0]]
    """
    if velocity.dim() != 4 or velocity.shape[1] != 2:
        raise ValueError(f"expected a velocity [T, 2, H, W], got {tuple(velocity.shape)}")
    known = torch.ones_like(velocity[:, :1], dtype=torch.bool) if mask is None else mask.bool()[:, None]
    known = known.expand(len(velocity), 1, -1, -1)
    values = velocity.where(known, torch.zeros_like(velocity))
    slopes = [_difference(values, known, axis) / step for axis, step in zip((2, 3), steps, strict=True)]
    return torch.stack(slopes, dim=2)


def _difference(values: Tensor, known: Tensor, axis: int) -> Tensor:
    """Difference per pixel along one axis; NaN where no neighbour is known."""
    length = values.shape[axis]
    gap = torch.full_like(values.narrow(axis, 0, 1), float("nan"))
    pair = known.narrow(axis, 1, length - 1) & known.narrow(axis, 0, length - 1)
    step = values.diff(dim=axis).where(pair, gap)
    after, before = torch.cat([step, gap], axis), torch.cat([gap, step], axis)
    both = 0.5 * (after + before)
    return torch.where(both.isnan(), torch.where(after.isnan(), before, after), both)


def vorticity(velocity: Tensor, steps: Sequence[float] = (1.0, 1.0), mask: Tensor | None = None) -> Tensor:
    """Vorticity ``[T, H, W]``, positive for counter-clockwise rotation as displayed (rows downwards).

    With x to the right and y upwards it is ∂v_y/∂x − ∂v_x/∂y, which is ∂v_column/∂row − ∂v_row/∂column.

    Args:
        velocity, steps, mask: as in ``velocity_gradient``.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(5.0) - 2, torch.arange(5.0) - 2, indexing="ij")
        >>> turning = torch.stack([-column, row])[None]  # upwards on the right of the centre, to the right below it
        >>> vorticity(turning).unique().tolist()
        [2.0]
    """
    gradient = velocity_gradient(velocity, steps, mask)
    return gradient[:, 1, 0] - gradient[:, 0, 1]


def divergence(velocity: Tensor, steps: Sequence[float] = (1.0, 1.0), mask: Tensor | None = None) -> Tensor:
    """Divergence ``[T, H, W]`` in the plane, positive for expansion.

    A slice of an incompressible flow has non-zero divergence wherever fluid crosses the plane.

    Args:
        velocity, steps, mask: as in ``velocity_gradient``.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
        >>> divergence(torch.stack([row, -column])[None]).unique().tolist()
        [0.0]
    """
    gradient = velocity_gradient(velocity, steps, mask)
    return gradient[:, 0, 0] + gradient[:, 1, 1]


def strain_rate(velocity: Tensor, steps: Sequence[float] = (1.0, 1.0), mask: Tensor | None = None) -> Tensor:
    """Strain-rate tensor, the symmetric part of the gradient: ``[T, 2, 2, H, W]``.

    Args:
        velocity, steps, mask: as in ``velocity_gradient``.

    Examples:
        >>> velocity = torch.zeros(1, 2, 4, 4)
        >>> velocity[0, 0] = 0.5 * torch.arange(4.0)
        >>> strain_rate(velocity)[0, :, :, 0, 0].tolist()
        [[0.0, 0.25], [0.25, 0.0]]
    """
    gradient = velocity_gradient(velocity, steps, mask)
    return 0.5 * (gradient + gradient.transpose(1, 2))
