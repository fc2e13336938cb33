"""Additional motion around a simulated wall: chambers, leaflets, and the image as a whole.

Points are (depth, lateral) in mm from the probe, times in s from end-diastole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cardiac_motion.simulation.heart.contraction import time_course
from cardiac_motion.ventricle.mesh import Array


@dataclass(frozen=True)
class PictureMotion:
    """Slow rigid oscillation of the whole image relative to the probe; 0 at time 0.

    Attributes:
        centre: centre of the rotation, mm.
        angle: amplitude, rad.
        shift: amplitude, mm (depth, lateral).
        period: s.
        phase: rad.
    """

    centre: tuple[float, float]
    angle: float
    shift: tuple[float, float]
    period: float = 4.0
    phase: float = 0.0

    def _pose(self, time: float) -> tuple[float, np.ndarray]:
        swing = math.sin(2 * math.pi * time / self.period + self.phase) - math.sin(self.phase)
        return self.angle * swing, np.asarray(self.shift) * swing

    def forward(self, points: Tensor, time: float) -> Tensor:
        """Return the positions that points [..., 2] have moved to."""
        angle, shift = self._pose(time)
        c, s = math.cos(angle), math.sin(angle)
        centre = points.new_tensor(self.centre)
        turn = points.new_tensor([[c, -s], [s, c]])
        return (points - centre) @ turn.T + centre + points.new_tensor(shift)

    def inverse(self, points: Tensor, time: float) -> Tensor:
        """Return the positions from which points [..., 2] have moved."""
        angle, shift = self._pose(time)
        c, s = math.cos(angle), math.sin(angle)
        centre = points.new_tensor(self.centre)
        turn = points.new_tensor([[c, -s], [s, c]])
        return (points - points.new_tensor(shift) - centre) @ turn + centre


@dataclass(frozen=True)
class Chamber:
    """Region around the heart with its own motion, a Gaussian of ``size`` mm about ``centre``.

    Attributes:
        centre: mm.
        size: mm.
        swelling: expansion at the peak of its time course, a fraction; negative if it contracts.
        shift: shift at the peak of its time course, mm.
        delay: delay of its time course relative to the ventricle's, s.
        inverted: it fills while the ventricle empties, with a contraction before end-diastole.
    """

    centre: tuple[float, float]
    size: float
    swelling: float
    shift: tuple[float, float]
    delay: float = 0.0
    inverted: bool = False

    def course(self, times: Array, heart_rate: float) -> Array:
        """Return the time course [T]: 0 at end-diastole, about 1 at the peak."""
        period = 60 / heart_rate
        moment = np.asarray(times) - self.delay
        course = time_course(moment, heart_rate) - time_course(np.array([-self.delay]), heart_rate)
        if self.inverted:
            gap = (np.asarray(times) / period - 0.88 + 0.5) % 1 - 0.5
            course = course - 0.5 * (np.exp(-0.5 * (gap / 0.05) ** 2) - math.exp(-0.5 * (0.12 / 0.05) ** 2))
        return course

    def basis(self, points: Tensor) -> Tensor:
        """Return the displacement [P, 2] of points at the peak, before windowing at the wall."""
        gap = points - points.new_tensor(self.centre)
        near = torch.exp(-0.5 * gap.square().sum(-1, keepdim=True) / self.size**2)
        return near * (self.swelling * gap + points.new_tensor(self.shift))


@dataclass(frozen=True)
class Leaflet:
    """Leaflet of a valve: a bright line hinged at one end of the inner contour.

    Attributes:
        last: whether it is hinged at the contour's last point instead of its first.
        length: mm.
        closed, opened: angles from the annulus towards the apex, rad.
    """

    last: bool
    length: float
    closed: float = 0.35
    opened: float = 1.3

    def ends(self, inner: Array, opening: Array) -> tuple[Array, Array]:
        """Return hinge and tip, [T, 2] each, for inner contours [T, n, 2] and openings [T] from 0 to 1."""
        hinge, other = (inner[:, -1], inner[:, 0]) if self.last else (inner[:, 0], inner[:, -1])
        annulus = other - hinge
        annulus = annulus / np.linalg.norm(annulus, axis=-1, keepdims=True)
        apex = inner[:, inner.shape[1] // 2] - hinge
        side = np.sign(annulus[:, 0] * apex[:, 1] - annulus[:, 1] * apex[:, 0])
        angle = side * (self.closed + (self.opened - self.closed) * opening)
        c, s = np.cos(angle), np.sin(angle)
        turned = np.stack([c * annulus[:, 0] - s * annulus[:, 1], s * annulus[:, 0] + c * annulus[:, 1]], -1)
        return hinge, hinge + self.length * turned


def opening(times: Array, heart_rate: float) -> Array:
    """Return the opening of a mitral valve, [T], 0 to 1: during rapid filling and again at atrial contraction."""
    part = np.mod(np.asarray(times) * heart_rate / 60, 1)
    ejection = min(0.6, (0.544 - 0.0021 * heart_rate) * heart_rate / 60)
    early = np.exp(-0.5 * ((part - ejection - 0.15) / 0.06) ** 2)
    return np.minimum(1.0, early + 0.7 * np.exp(-0.5 * ((part - 0.9) / 0.04) ** 2))
