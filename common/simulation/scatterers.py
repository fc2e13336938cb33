"""The scatterers of a simulated heart: where they are and how strong, at any time of the beat.

Evain et al. 2022, section II-A.1: uniform in the sector, each with a reflection coefficient drawn from a normal
distribution scaled by the brightness of its place. Those of the wall move with it. Those around it stand still
(``Template.still``), or follow the motion's smooth extension. Where both meet, the two sets are blended over the
border as it moves, by weights whose squares add up to one, so that the mean power has no seam.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from common.core.errors import InputError
from common.simulation.artefacts import Artefact
from common.simulation.grid import ImageGrid
from common.simulation.motion import Motion, time_course
from common.simulation.template import Template
from common.ventricle.mesh import Array

_BORDER = 0.5  # mm: the half-width of the blending
_BAND = 5.0  # mm around the wall that moving scatterers reach into
_COARSE = 2.0  # mm between the points at which the distance to the wall is computed
_MARGIN = 3.0  # mm, and a fifth of it in degrees: scatterers beyond the sector


class Scatterers:
    """Scatterers over a beat.

    Args:
        template: brightness and wall at end-diastole.
        motion: of that wall.
        count: scatterers in the sector, moving or still.
        seed: of places and strengths.
        still: whether the tissue around the wall stands still; the template's own choice by default.

    Attributes:
        density: scatterers a mm².

    Raises:
        InputError: a count that is not positive.
    """

    def __init__(
        self, template: Template, motion: Motion, count: int = 200_000, seed: int = 0, still: bool | None = None
    ) -> None:
        if count < 1:
            raise InputError(f"scatterers: count {count} must be positive")
        self.motion, device = motion, motion.device
        self.still = template.still if still is None else still
        self._half_angle, self._depth = math.radians(template.width) / 2, template.depth
        self.density = count / (self._half_angle * template.depth**2)
        generator = torch.Generator().manual_seed(seed)
        start = motion.nodes(np.zeros(1))[0].float()
        triangle, barycentric = self._moving(start, generator)
        places = (start[motion.triangles[triangle]] * barycentric[..., None]).sum(1)
        seen = self._near_sector(places)
        self._triangle, self._barycentric = triangle[seen], barycentric[seen]
        brightness = torch.as_tensor(template.brightness)
        levels = [self._brightness(brightness, template.grid, places[seen].cpu())]
        self._places = torch.empty(0, 2, device=device)
        if self.still:
            still_places = self._uniform(generator)
            levels.append(self._brightness(torch.as_tensor(template.background()), template.grid, still_places))
            self._places = still_places.to(device)
        self._level = torch.cat(levels).to(device)
        self._unit = torch.randn(len(self._level), generator=generator).to(device)

    def __len__(self) -> int:
        return len(self._level)

    def frames(
        self, times: Sequence[float] | Array, frames: Sequence[int] = (), artefacts: Sequence[Artefact] = ()
    ) -> tuple[Tensor, Tensor]:
        """Places [T, N, 2] in mm and amplitudes [T, N] at ``times`` (s), float32.

        ``frames`` numbers the times for the artefacts that change from frame to frame.
        """
        moment = np.asarray(times, dtype=np.float64)
        moving = self.motion.positions(self._triangle, self._barycentric, moment)
        places = torch.cat([moving, self._places.expand(len(moment), -1, -1)], dim=1)
        units = self._unit.expand(len(moment), -1)
        contraction = time_course(moment, self.motion.heart_rate)
        for artefact in artefacts:
            units = artefact.scatterers(units, frames, contraction)
        amplitudes = units * self._level
        if self.still:
            amplitudes = amplitudes * self._blend(places, moment)
        return places, amplitudes

    def _moving(self, start: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        triangles = self.motion.triangles
        corner = start[triangles]
        keep = self._near_sector(corner.reshape(-1, 2)).reshape(-1, 3).any(1)
        if self.still:
            wall = start[: len(self.motion.mesh.nodes)]
            near = torch.cdist(start, wall).amin(1) < _BAND
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

    def _uniform(self, generator: torch.Generator) -> Tensor:
        depth, half = self._depth + _MARGIN, self._half_angle + math.radians(_MARGIN / 5)
        number = max(1, round(half * depth**2 * self.density))
        u, v = torch.rand(2, number, generator=generator)
        distance, angle = depth * u.sqrt(), half * (2 * v - 1)
        return torch.stack([distance * angle.cos(), distance * angle.sin()], dim=1)

    def _near_sector(self, places: Tensor) -> Tensor:
        distance, angle = places.norm(dim=-1), torch.atan2(places[..., 1], places[..., 0])
        return (distance < self._depth + _MARGIN) & (angle.abs() < self._half_angle + math.radians(_MARGIN / 5))

    def _brightness(self, brightness: Tensor, grid: ImageGrid, places: Tensor) -> Tensor:
        """Bilinear brightness at places; those beyond the sector take that of its edge."""
        distance = places.norm(dim=1).clamp_max(self._depth - 1.0)
        angle = torch.atan2(places[:, 1], places[:, 0]).clamp(-self._half_angle + 0.01, self._half_angle - 0.01)
        inside = torch.stack([distance * angle.cos(), distance * angle.sin()], dim=1)
        return _sample(brightness[None, None], grid, inside[None])[0]

    def _blend(self, places: Tensor, times: np.ndarray) -> Tensor:
        outlines = [self.motion.wall(times)[:, o] for o in self.motion.mesh.outlines()]
        everything = np.concatenate(outlines, axis=1)
        low, high = everything.min((0, 1)) - 4 * _COARSE, everything.max((0, 1)) + 4 * _COARSE
        shape = tuple(int(n) for n in np.ceil((high - low) / _COARSE) + 1)
        grid = ImageGrid((shape[0], shape[1]), (_COARSE, _COARSE), (float(low[0]), float(low[1])))
        distance = signed_distance(grid.points(places.device).float(), outlines).reshape(len(times), 1, *grid.shape)
        share = 0.5 - 0.5 * torch.tanh(_sample(distance, grid, places) / _BORDER)
        moving = len(self._triangle)
        return torch.cat([share[:, :moving], 1 - share[:, moving:]], dim=1).clamp_min(0).sqrt()


def signed_distance(points: Tensor, outlines: Sequence[np.ndarray]) -> Tensor:
    """Distance [T, P] in mm of points [P, 2] to closed outlines [T, K, 2], negative inside (even-odd)."""
    squared, inside = None, None
    for outline in outlines:
        a = torch.as_tensor(outline, dtype=torch.float32, device=points.device)[:, :, None]
        b = torch.roll(a, -1, dims=1)
        edge, gap = b - a, points - a
        along = ((gap * edge).sum(-1) / (edge * edge).sum(-1).clamp_min(1e-12)).clamp(0, 1)
        nearest = (gap - along[..., None] * edge).square().sum(-1).amin(1)
        spans = (points[:, 0] >= torch.minimum(a, b)[..., 0]) & (points[:, 0] < torch.maximum(a, b)[..., 0])
        slope = edge[..., 1] / torch.where(edge[..., 0] == 0, 1.0, edge[..., 0])
        crossed = (spans & (points[:, 1] < a[..., 1] + gap[..., 0] * slope)).sum(1) % 2 == 1
        squared = nearest if squared is None else torch.minimum(squared, nearest)
        inside = crossed if inside is None else inside ^ crossed
    assert squared is not None and inside is not None
    return torch.where(inside, -squared.sqrt(), squared.sqrt())


def _sample(image: Tensor, grid: ImageGrid, places: Tensor) -> Tensor:
    """Bilinear values [T, P] of images [T, 1, H, W] at places [T, P, 2] in mm; the edge's value beyond it."""
    size = places.new_tensor([n - 1 for n in grid.shape])
    where = (grid.to_pixels(places) / size * 2 - 1).flip(-1)
    return functional.grid_sample(image, where[:, None], padding_mode="border", align_corners=True)[:, 0, 0]
