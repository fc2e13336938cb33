"""Fields whose derivatives, vortices and energy are formulas, on a grid with rows downwards."""

import math

import torch


def grid(size=81, step=0.5):
    """y (downwards) and x in mm from the middle, [size, size] each."""
    axis = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * step
    return torch.meshgrid(axis, axis, indexing="ij")


def lamb_oseen(y, x, circulation=8e-3, core=4.0, centre=(0.0, 0.0)):
    """Counter-clockwise on the picture: velocity [2, H, W] in m/s; circulation in m²/s, core in mm."""
    y, x = y - centre[0], x - centre[1]
    square = (y**2 + x**2).clamp(min=1e-12)
    turning = circulation / (2 * math.pi) * 1e3 * (1 - torch.exp(-square / core**2)) / square
    return torch.stack([-x, y]) * turning


def lamb_oseen_vorticity(y, x, circulation=8e-3, core=4.0):
    """1/s."""
    return circulation / (math.pi * (core * 1e-3) ** 2) * torch.exp(-(y**2 + x**2) / core**2)


def rankine(y, x, circulation=8e-3, core=6.0):
    """Rigid within the core, potential outside."""
    radius = torch.hypot(y, x).clamp(min=1e-9)
    speed = circulation / (2 * math.pi) * 1e3 * torch.where(radius < core, radius / core**2, 1 / radius)
    return torch.stack([-x, y]) / radius * speed


def taylor_green(y, x, speed=0.4, wave=20.0):
    """A lattice of vortices, 2π/k = ``wave`` mm."""
    k = 2 * math.pi / wave
    return speed * torch.stack([-torch.cos(k * y) * torch.sin(k * x), torch.sin(k * y) * torch.cos(k * x)])


def hill(y, x, speed=0.3, radius=18.0):
    """The slice through the axis (y) of Hill's spherical vortex, seen with it: [2, H, W] and where it is."""
    down = 1.5 * speed * (1 - (2 * x**2 + y**2) / radius**2)
    outward = 1.5 * speed * y * x / radius**2
    return torch.stack([down, outward]), torch.hypot(y, x) < radius
