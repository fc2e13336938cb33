"""Scatterers of a simulated heart: position and amplitude at any time of the beat.

Evain et al. 2022, section II-A.1: uniform in the sector, each with a reflection coefficient drawn from a normal
distribution scaled by the local brightness. Scatterers of the wall move with it; the others as the scenario specifies
(``scenarios``). At the moving border between the two sets they are blended with weights whose squares sum to 1, so that
the mean power is continuous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.heart.contraction import time_course
from cardiac_motion.simulation.heart.motion import Motion
from cardiac_motion.simulation.heart.scenarios import Scenario, signed_distance
from cardiac_motion.simulation.heart.template import Template
from cardiac_motion.simulation.ultrasound.artefacts import Artefact
from cardiac_motion.ventricle.mesh import Array

_BORDER = 0.5  # mm: half-width of the blending
_BAND = 5.0  # mm around the wall that contain moving scatterers
_COARSE = 2.0  # mm, grid step of the distance to the wall
_THICKNESS, _LEAFLET = 1.6, 0.6  # thickness in mm and brightness of a leaflet
_MARGIN = 3.0  # margin of scatterers around the sector in mm, and a fifth of it in degrees


class Scatterers:
    """Scatterers over a beat.

    Args:
        template: brightness and wall at end-diastole.
        motion: motion of that wall.
        count: number of scatterers in the sector.
        seed: seed of positions and amplitudes.
        scenario: motion around the wall; that of the template by default (``Template.static``).

    Attributes:
        density: scatterers per mm².
        static: whether some tissue does not follow the motion.

    Raises:
        InputError: the count is not positive.
    """

    def __init__(
        self, template: Template, motion: Motion, count: int = 200_000, seed: int = 0, scenario: Scenario | None = None
    ) -> None:
        if count < 1:
            raise InputError(f"scatterers: count {count} must be positive")
        self.motion, device = motion, motion.device
        default = ("wall", "static") if template.static else ("plane", "coupled")
        self.scenario = scenario or Scenario(motion, *default)
        self.static = self.scenario.region != "plane"
        self._half_angle, self._depth = math.radians(template.width) / 2, template.depth
        self.density = count / (self._half_angle * template.depth**2)
        generator = torch.Generator().manual_seed(seed)
        start = motion.nodes(np.zeros(1))[0].float()
        triangle, barycentric = self._scatter_moving(start, generator)
        places = (start[motion.triangles[triangle]] * barycentric[..., None]).sum(1)
        visible = self._is_near_sector(places)
        self._triangle, self._barycentric = triangle[visible], barycentric[visible]
        brightness = torch.as_tensor(template.brightness)
        levels = [self._brightness(brightness, template.grid, places[visible].cpu())]
        self._places = torch.empty(0, 2, device=device)
        if self.static:
            still_places = self._scatter_uniform(generator)
            levels.append(self._brightness(torch.as_tensor(template.background()), template.grid, still_places))
            self._places = still_places.to(device)
        self._own = self.scenario.chamber_motion(places[visible].to(device))
        self._along, self._across = torch.empty(0), torch.empty(0)
        if self.scenario.leaflets:
            longest = max(leaflet.length for leaflet in self.scenario.leaflets)
            number = max(1, round(longest * _THICKNESS * self.density))
            self._along = torch.rand(number, generator=generator).to(device)
            self._across = (torch.rand(number, generator=generator) - 0.5).to(device) * _THICKNESS
            levels.append(torch.full((number * len(self.scenario.leaflets),), _LEAFLET))
        self._level = torch.cat(levels).to(device)
        self._unit = torch.randn(len(self._level), generator=generator).to(device)

    def __len__(self) -> int:
        return len(self._level)

    def frames(
        self, times: Sequence[float] | Array, frames: Sequence[int] = (), artefacts: Sequence[Artefact] = ()
    ) -> tuple[Tensor, Tensor]:
        """Return positions [T, N, 2] in mm and amplitudes [T, N] at ``times`` (s), float32.

        ``frames`` are the frame numbers of the times, for artefacts that change over time.
        """
        moment = np.asarray(times, dtype=np.float64)
        places = self.scenario.heart(self._triangle, self._barycentric, self._own, moment)
        if self.static:
            places = torch.cat([places, self.scenario.ground(self._places, moment)], dim=1)
        if self.scenario.leaflets:
            places = torch.cat([places, self.scenario.leaflet_places(self._along, self._across, moment)], dim=1)
        units = self._unit.expand(len(moment), -1)
        contraction = time_course(moment, self.motion.heart_rate)
        for artefact in artefacts:
            units = artefact.scatterers(units, frames, contraction)
        amplitudes = units * self._level
        if self.static:
            amplitudes = amplitudes * self._blend(places, moment)
        return self.scenario.apply_picture_motion(places, moment), amplitudes

    def _scatter_moving(self, start: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        triangles = self.motion.triangles
        corner = start[triangles]
        keep = self._is_near_sector(corner.reshape(-1, 2)).reshape(-1, 3).any(1)
        if self.static:
            outlines = self.scenario.outlines(np.zeros(1))
            near = signed_distance(start, outlines)[0] < _BAND
            keep &= near[triangles].any(1)
        chosen = torch.nonzero(keep)[:, 0]
        ab, ac = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        area = (0.5 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]).abs())[chosen].double().cpu()
        number = max(1, round(float(area.sum()) * self.density))
        triangle = chosen.cpu()[
            torch.searchsorted(area.cumsum(0) / area.sum(), torch.rand(number, generator=generator).double()).clamp_max(
                len(chosen) - 1
            )
        ]
        u, v = torch.rand(2, number, generator=generator)
        root = u.sqrt()
        barycentric = torch.stack([1 - root, root * (1 - v), root * v], dim=1)
        return triangle.to(start.device), barycentric.to(start.device)

    def _scatter_uniform(self, generator: torch.Generator) -> Tensor:
        depth, half = self._depth + _MARGIN, self._half_angle + math.radians(_MARGIN / 5)
        number = max(1, round(half * depth**2 * self.density))
        u, v = torch.rand(2, number, generator=generator)
        distance, angle = depth * u.sqrt(), half * (2 * v - 1)
        return torch.stack([distance * angle.cos(), distance * angle.sin()], dim=1)

    def _is_near_sector(self, places: Tensor) -> Tensor:
        distance: Tensor = places.norm(dim=-1)
        angle = torch.atan2(places[..., 1], places[..., 0])
        return (distance < self._depth + _MARGIN) & (angle.abs() < self._half_angle + math.radians(_MARGIN / 5))

    def _brightness(self, brightness: Tensor, grid: ImageGrid, places: Tensor) -> Tensor:
        """Return bilinear brightness at positions; outside the sector, that of its edge."""
        distance = places.norm(dim=1).clamp_max(self._depth - 1.0)
        angle = torch.atan2(places[:, 1], places[:, 0]).clamp(-self._half_angle + 0.01, self._half_angle - 0.01)
        inside = torch.stack([distance * angle.cos(), distance * angle.sin()], dim=1)
        return _sample(brightness[None, None], grid, inside[None])[0]

    def _blend(self, places: Tensor, times: np.ndarray) -> Tensor:
        outlines = self.scenario.outlines(times)
        everything = np.concatenate(outlines, axis=1)
        low, high = everything.min((0, 1)) - 4 * _COARSE, everything.max((0, 1)) + 4 * _COARSE
        shape = tuple(int(n) for n in np.ceil((high - low) / _COARSE) + 1)
        grid = ImageGrid((shape[0], shape[1]), (_COARSE, _COARSE), (float(low[0]), float(low[1])))
        distance = signed_distance(grid.points(places.device).float(), outlines).reshape(len(times), 1, *grid.shape)
        share = 0.5 - 0.5 * torch.tanh(_sample(distance, grid, places) / _BORDER)
        moving, ground = len(self._triangle), len(self._triangle) + len(self._places)
        parts = [share[:, :moving], 1 - share[:, moving:ground], torch.ones_like(share[:, ground:])]
        return torch.cat(parts, dim=1).clamp_min(0).sqrt()


def _sample(image: Tensor, grid: ImageGrid, places: Tensor) -> Tensor:
    """Sample images [T, 1, H, W] bilinearly at positions [T, P, 2] in mm, [T, P]; edge values are extended."""
    size = places.new_tensor([n - 1 for n in grid.shape])
    where = (grid.to_pixels(places) / size * 2 - 1).flip(-1)
    return functional.grid_sample(image, where[:, None], padding_mode="border", align_corners=True)[:, 0, 0]
