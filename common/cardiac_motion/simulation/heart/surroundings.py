"""What moves by itself around a simulated wall: chambers, leaflets, and the picture as a whole.

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
class Whole:
    """The picture's rigid motion under the probe: a slow swing that is 0 at time 0.

    Attributes:
        centre: of the turn, mm.
        angle: greatest, rad.
        shift: greatest, mm (depth, lateral).
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
        """Where points [..., 2] have been taken."""
        angle, shift = self._pose(time)
        c, s = math.cos(angle), math.sin(angle)
        centre = points.new_tensor(self.centre)
        turn = points.new_tensor([[c, -s], [s, c]])
        return (points - centre) @ turn.T + centre + points.new_tensor(shift)

    def inverse(self, points: Tensor, time: float) -> Tensor:
        """Where points [..., 2] have come from."""
        angle, shift = self._pose(time)
        c, s = math.cos(angle), math.sin(angle)
        centre = points.new_tensor(self.centre)
        turn = points.new_tensor([[c, -s], [s, c]])
        return (points - points.new_tensor(shift) - centre) @ turn + centre


@dataclass(frozen=True)
class Chamber:
    """A place around the heart with a motion of its own, a Gaussian of ``size`` mm about ``centre``.

    Attributes:
        centre: mm.
        size: mm.
        swelling: at its course's peak, a fraction; negative where it contracts.
        shift: at its course's peak, mm.
        delay: of its course after the ventricle's, s.
        inverted: it fills while the ventricle empties, with a kick before end-diastole.
    """

    centre: tuple[float, float]
    size: float
    swelling: float
    shift: tuple[float, float]
    delay: float = 0.0
    inverted: bool = False

    def course(self, times: Array, heart_rate: float) -> Array:
        """0 at end-diastole, about 1 at the peak, [T]."""
        period = 60 / heart_rate
        moment = np.asarray(times) - self.delay
        course = time_course(moment, heart_rate) - time_course(np.array([-self.delay]), heart_rate)
        if self.inverted:
            gap = (np.asarray(times) / period - 0.88 + 0.5) % 1 - 0.5
            course = course - 0.5 * (np.exp(-0.5 * (gap / 0.05) ** 2) - math.exp(-0.5 * (0.12 / 0.05) ** 2))
        return course

    def basis(self, points: Tensor) -> Tensor:
        """Displacement [P, 2] of points at the course's peak, before the wall's window."""
        gap = points - points.new_tensor(self.centre)
        near = torch.exp(-0.5 * gap.square().sum(-1, keepdim=True) / self.size**2)
        return near * (self.swelling * gap + points.new_tensor(self.shift))


@dataclass(frozen=True)
class Leaflet:
    """A valve's leaflet: a bright line hinged at one end of the inner contour.

    Attributes:
        last: it hangs on the contour's last point, else on its first.
        length: mm.
        closed, opened: angles from the annulus towards the apex, rad.
    """

    last: bool
    length: float
    closed: float = 0.35
    opened: float = 1.3

    def ends(self, inner: Array, opening: Array) -> tuple[Array, Array]:
        """Hinge and tip, [T, 2] each, of inner contours [T, n, 2] and of how far open they are, [T], 0 to 1."""
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
    """How far a mitral valve is open, [T], 0 to 1: with rapid filling, and again with the atrium's kick."""
    part = np.mod(np.asarray(times) * heart_rate / 60, 1)
    ejection = min(0.6, (0.544 - 0.0021 * heart_rate) * heart_rate / 60)
    early = np.exp(-0.5 * ((part - ejection - 0.15) / 0.06) ** 2)
    return np.minimum(1.0, early + 0.7 * np.exp(-0.5 * ((part - 0.9) / 0.04) ** 2))
