"""Painting of tissue in decibels below white, from which the scatterers of a parametric heart are drawn.

Shapes are given in millimetres relative to a pose; interfaces perpendicular to the beam are brighter than parallel
ones, and the brightness varies slowly at random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.ventricle.mesh import Array, arc_length, interpolate_fractions, is_inside_outlines

BLOOD, MYOCARDIUM, FIBROUS, FAT, LIVER, AIR = -46.0, -19.0, -7.0, -26.0, -23.0, -34.0  # dB below white
_STEP = 0.5  # mm per pixel of the painting


class Canvas:
    """Painting in dB over the sector; shapes are given in (along, across) mm relative to a pose.

    Args:
        depth: depth of the sector, mm.
        width: opening angle of the sector, degrees.
        ground: level of the background, dB.
        origin: origin of the pose in mm (depth, lateral).
        angle: angle of the pose's first axis from the depth axis towards lateral, degrees.
        mirror: flip the pose's second axis.

    Attributes:
        grid: grid of the painting, half a millimetre per pixel.
        level: ``[H, W]`` dB.
        places, local: ``[H * W, 2]``, position of its pixels in mm from the probe, and along and across the pose.
    """

    def __init__(
        self,
        depth: float,
        width: float,
        ground: float = FAT,
        origin: tuple[float, float] = (0.0, 0.0),
        angle: float = 0.0,
        mirror: bool = False,
    ) -> None:
        side = depth * math.sin(math.radians(width) / 2)
        shape = (math.ceil(depth / _STEP) + 1, 2 * math.ceil(side / _STEP) + 1)
        self.grid = ImageGrid(shape, (_STEP, _STEP), (0.0, -_STEP * (shape[1] - 1) / 2))
        self.depth, self.width = depth, width
        self.level = np.full(shape, ground)
        self.places = self.grid.points().numpy()
        turn = math.radians(angle)
        self._axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        if mirror:
            self._axes[1] *= -1
        self.origin = np.asarray(origin)
        self.local = (self.places - self.origin) @ self._axes.T

    def place(self, local: Array) -> Array:
        """Convert points [n, 2] of the pose to mm from the probe."""
        return np.asarray(local @ self._axes + self.origin)

    def fill(self, inside: NDArray[np.bool_], level: float) -> None:
        """Paint the pixels [H * W] for which ``inside`` is True."""
        self.level[inside.reshape(self.level.shape)] = level

    def ellipse(self, centre: Sequence[float], radii: Sequence[float], level: float, angle: float = 0.0) -> None:
        """Paint an ellipse given in the pose."""
        turn = math.radians(angle)
        gap = self.local - np.asarray(centre)
        along = gap[:, 0] * math.cos(turn) + gap[:, 1] * math.sin(turn)
        across = gap[:, 1] * math.cos(turn) - gap[:, 0] * math.sin(turn)
        self.fill((along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1, level)

    def polygon(self, corners: Array, level: float) -> None:
        """Paint a closed polygon given in the pose."""
        self.fill(is_inside_outlines(self.local, [np.asarray(corners, dtype=np.float64)]), level)

    def stroke(self, points: Array, width: float, level: float) -> None:
        """Paint a line given in the pose, ``width`` mm wide."""
        points = np.asarray(points, dtype=np.float64)
        dense = interpolate_fractions(points, np.linspace(0, 1, max(2, math.ceil(arc_length(points)[-1] / _STEP * 2))))
        pixels = np.round((self.place(dense) - np.asarray(self.grid.origin)) / _STEP).astype(int)
        inside = ((pixels >= 0) & (pixels < self.level.shape)).all(1)
        line = np.ones(self.level.shape, dtype=bool)
        line[tuple(pixels[inside].T)] = False
        self.fill((ndimage.distance_transform_edt(line) * _STEP < width / 2).ravel(), level)

    def brightness(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the painting as standard deviation of scatterers, with interfaces and slow variation."""
        smooth = ndimage.gaussian_filter(self.level, 1.0 / _STEP / 2)
        down, across = np.gradient(ndimage.gaussian_filter(self.level, 1.2 / _STEP), _STEP)
        depth, lateral = self.places.reshape(*self.level.shape, 2).transpose(2, 0, 1)
        distance = np.maximum(np.hypot(depth, lateral), 1.0)
        facing = np.abs(down * depth + across * lateral) / distance
        patches = ndimage.gaussian_filter(rng.standard_normal(self.level.shape), 10 / _STEP)
        patches *= 3.5 / patches.std()
        rows = ndimage.gaussian_filter(rng.standard_normal(self.level.shape), [0.6 / _STEP, 3 / _STEP])
        rows *= 1.5 / rows.std()
        level = smooth + patches + rows + 0.7 * np.minimum(facing, 12.0)
        return np.asarray(10 ** (np.minimum(level, 0.0) / 20), dtype=np.float32)
