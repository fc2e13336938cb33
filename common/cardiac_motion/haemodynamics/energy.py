"""Kinetic energy of blood and its viscous loss, for a slice of unit thickness.

Itatani et al. 2013 (10.1152/ajpheart.00576.2012) define the loss of a planar field, as used in vector flow mapping:
Σ μ (2 (∂u/∂x)² + 2 (∂v/∂y)² + (∂u/∂y + ∂v/∂x)²) dA, which is 2 μ ‖S‖². Only the resolved field contributes, so the
value increases with resolution and decreases with smoothing: compare only values measured with the same settings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cardiac_motion.haemodynamics.derivatives import strain_rate

DENSITY = 1060.0  # kg/m³, of blood
VISCOSITY = 0.004  # Pa s


def kinetic_energy(
    velocity: Tensor, steps: Sequence[float], mask: Tensor | None = None, density: float = DENSITY
) -> Tensor:
    """Kinetic energy ½ ρ ∫ |v|² dA of each frame ``[T]``, in J per metre of thickness (= mJ per millimetre).

    Args:
        velocity: ``[T, 2, H, W]`` in m/s.
        steps: distances between pixels in mm, (row, column).
        mask: ``[1 or T, H, W]`` bool; None is everywhere.
        density: density in kg/m³.

    Examples:
        >>> round(kinetic_energy(torch.ones(1, 2, 10, 10), (1.0, 1.0)).item(), 6)  # 1 cm², √2 m/s
        0.106
    """
    square = velocity.square().sum(1)
    if mask is not None:
        square = square.where(mask.bool(), torch.zeros_like(square))
    return 0.5 * density * square.sum((1, 2)) * (steps[0] * steps[1] * 1e-6)


def energy_loss(
    velocity: Tensor, steps: Sequence[float], mask: Tensor | None = None, viscosity: float = VISCOSITY
) -> Tensor:
    """Energy loss 2 μ ∫ ‖S‖² dA of each frame ``[T]``, in W per metre of thickness; pixels without derivative count 0.

    Args:
        velocity: ``[T, 2, H, W]`` in m/s.
        steps: distances between pixels in mm, (row, column).
        mask: ``[1 or T, H, W]`` bool; None is everywhere.
        viscosity: dynamic viscosity in Pa s.

    Examples:
        >>> row, column = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
        >>> energy_loss(torch.stack([-column, row])[None], (1.0, 1.0)).item()  # rigid rotation loses no energy
        0.0
    """
    rate = strain_rate(velocity, [step * 1e-3 for step in steps], mask)
    return 2 * viscosity * rate.square().sum((1, 2)).nan_to_num(0.0).sum((1, 2)) * (steps[0] * steps[1] * 1e-6)
