"""A simulated cine: template, motion, scatterers, scanner and artefacts put together, and drawn at random.

Fields follow the project's convention: for a pair (moving, fixed) the field lives on the fixed grid, in pixels (row,
column), and ``moving(p + ddf(p))`` is the fixed frame. The mask that goes with it says where that is true of the image:
in the wall where the tissue around it stands still, in the whole sector where it moves too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.heart.contraction import Defect, prescribe_end_systole
from cardiac_motion.simulation.heart.motion import Motion
from cardiac_motion.simulation.heart.scenarios import Scenario, draw_scenario
from cardiac_motion.simulation.heart.template import Template
from cardiac_motion.simulation.ultrasound.artefacts import ARTEFACTS, Artefact
from cardiac_motion.simulation.ultrasound.image import PROBES, Probe, Scanner
from cardiac_motion.simulation.ultrasound.scatterers import Scatterers
from cardiac_motion.ventricle.mesh import Array, is_inside_outlines

SEGMENTS = 6
_CHUNK = 4  # frames in memory at once
_SCENARIO = 77  # of the seed of the scenario's own numbers
_ATTEMPTS = 20  # to draw a motion that folds nothing


@dataclass(frozen=True)
class Settings:
    """The ranges that random sequences are drawn from.

    Attributes:
        probes: names in ``PROBES``.
        gls: global longitudinal strain at end-systole, fraction.
        heart_rate: beats/min.
        rotation: of the heart as a whole at end-systole, degrees, to either side.
        shift: of the heart as a whole at end-systole, mm, to either side along each axis.
        defect: probability of a regional defect.
        artefact: probability of each artefact; one that is present has a strength up to ``severity``.
        severity: 0 to 1.
        scatterers: in the sector.
        shape: (rows, columns) of the images.
        coupled: the tissue around the wall moves too, whatever the template says.
        scenarios: weights of the scenarios that one is drawn from for every patient (``scenarios.ANATOMICAL``); the
            template's own, or ``coupled``, where None. Patients, motions, scatterers and artefacts are the same in
            every scenario.
    """

    probes: tuple[str, ...] = ("reference", "vendor_a", "vendor_b", "vendor_c", "vendor_d", "vendor_e")
    gls: tuple[float, float] = (-0.28, -0.05)
    heart_rate: tuple[float, float] = (50.0, 100.0)
    rotation: float = 5.0
    shift: float = 2.0
    defect: float = 0.4
    artefact: float = 0.35
    severity: float = 0.8
    scatterers: int = 200_000
    shape: tuple[int, int] = (256, 256)
    coupled: bool = False
    scenarios: Mapping[str, float] | None = None


class Simulation:
    """A cine that can be asked for any frame, and for the motion between any two.

    Args:
        motion: of the wall and what is around it.
        scatterers: of the tissue.
        scanner: the probe and the image it makes.
        times: of the frames, s.
        artefacts: in the order in which they act.
        view: that it shows.
        physical: deformation changes the phases of scatterers against each other, and so the speckle, as it does in
            nature; otherwise they keep those of end-diastole and the speckle is carried along unchanged but for the
            point-spread function.
    """

    def __init__(
        self,
        motion: Motion,
        scatterers: Scatterers,
        scanner: Scanner,
        times: Array,
        artefacts: Sequence[Artefact] = (),
        view: str = "apical_4ch",
        physical: bool = True,
    ) -> None:
        self.motion, self.scatterers, self.scanner = motion, scatterers, scanner
        self.times, self.artefacts, self.view = np.asarray(times, dtype=np.float64), tuple(artefacts), view
        self.physical = physical

    def __len__(self) -> int:
        return len(self.times)

    @property
    def grid(self) -> ImageGrid:
        return self.scanner.grid

    def echoes(self, frames: Sequence[int]) -> Tensor:
        """Complex echoes [T, R, 2 U] of some frames."""
        places, amplitudes = self.scatterers.frames(self.times[list(frames)], frames, self.artefacts)
        paths = None if self.physical else self.scanner.path(self.scatterers.frames([0.0])[0][0])
        echoes = self.scanner.echoes(places, amplitudes, self.scatterers.density, paths)
        for artefact in self.artefacts:
            echoes = artefact.echoes(echoes, frames, self.scanner)
        return echoes

    def frames(self, frames: Sequence[int]) -> Tensor:
        """B-mode images [T, H, W] in [0, 1] of some frames."""
        return self.scanner.image(self.echoes(frames))

    def chunks(self, size: int = _CHUNK) -> Iterator[Tensor]:
        """All frames in order, up to ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.frames(range(start, min(start + size, len(self))))

    def fields(self, fixed: int, moving: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The pull-back fields of pairs that share their fixed frame, exact.

        Returns:
            ddf [T, 2, H, W] in pixels on the fixed frame; mask [T, H, W] of the pixels where it is the motion of what
            the image shows, within the sector in both frames.
        """
        found = self.fields_and_ground(fixed, moving)
        return found["ddf"], found["mask"]

    def fields_and_ground(self, fixed: int, moving: Sequence[int]) -> dict[str, Tensor]:
        """``fields``, and ``ground`` [T, H, W]: tissue that stands still or hardly moves, clear of what does move."""
        probe, grid, scenario = self.scanner.probe, self.grid, self.scatterers.scenario
        points = grid.points(self.motion.device)
        found = scenario.displacement(points, float(self.times[fixed]), self.times[list(moving)].tolist())
        there = points + found["moved"]
        seen = (there.norm(dim=-1) <= probe.depth) & (
            torch.atan2(there[..., 1], there[..., 0]).abs() <= probe.half_angle
        )
        seen = seen.reshape(-1, *grid.shape) & self.scanner.sector
        pixels = (found["moved"] / points.new_tensor(grid.spacing)).movedim(-1, 1).reshape(-1, 2, *grid.shape)
        mask, ground = (seen & found[key].reshape(grid.shape) for key in ("region", "ground"))
        return {"ddf": pixels.float(), "mask": mask, "ground": ground}

    def pair(self, fixed: int, moving: int) -> dict[str, Tensor]:
        """What a network trains on: ``image`` [2, H, W] (moving, fixed), ``ddf`` [2, H, W], ``mask`` [1, H, W],
        ``ground`` [1, H, W] (as ``mask``, of tissue that hardly moves) and ``spacing`` [2] in mm a pixel (row,
        column).
        """
        first, second = sorted((fixed, moving))
        images = self.frames([first, second]) if first != second else self.frames([first]).expand(2, -1, -1)
        found = {key: value[0] for key, value in self.fields_and_ground(fixed, [moving]).items()}
        image = images if moving <= fixed else images.flip(0)
        spacing = torch.tensor(self.grid.spacing, dtype=torch.float32, device=image.device)
        mask, ground = (found[key][None].float() for key in ("mask", "ground"))
        return {"image": image, "ddf": found["ddf"], "mask": mask, "ground": ground, "spacing": spacing}

    def labels(self, frame: int) -> Tensor:
        """Labels [H, W] uint8 of a frame, 1 the cavity and 2 the myocardium, as CAMUS numbers them."""
        wall = self.motion.wall(self.times[[frame]])[0]
        points = self.scatterers.scenario.undo_picture_motion(self.grid.points(), float(self.times[frame])).numpy()
        labels = np.zeros(len(points), dtype=np.uint8)
        labels[is_inside_outlines(points, [wall[:: self.motion.mesh.layers]])] = 1
        labels[is_inside_outlines(points, [wall[o] for o in self.motion.mesh.outlines()])] = 2
        return torch.from_numpy(labels.reshape(self.grid.shape)) * self.scanner.sector.cpu()

    def contours(self) -> dict[str, Array]:
        """``endocardium`` and ``epicardium`` of every frame, [T, 36, 2] in pixels (row, column)."""
        origin, spacing = np.asarray(self.grid.origin), np.asarray(self.grid.spacing)
        scenario = self.scatterers.scenario
        inner, outer = (
            scenario.apply_picture_motion(torch.from_numpy(c), self.times).numpy()
            for c in self.motion.contours(self.times)
        )
        return {"endocardium": (inner - origin) / spacing, "epicardium": (outer - origin) / spacing}

    def strains(self) -> dict[str, Any]:
        """Strain of the endocardium as fractions: ``global`` [T], of six stretches of equal numbers of points
        ``segments`` [6, T], and ``gls`` at end-systole.
        """
        inner = self.motion.contours(np.concatenate([[0.0], self.times]))[0]
        edges = np.linalg.norm(np.diff(inner, axis=1), axis=-1)
        parts = np.stack([part.sum(1) for part in np.array_split(edges, SEGMENTS, axis=1)])
        total = edges.sum(1)
        return {
            "gls": self.motion.gls,
            "global": total[1:] / total[0] - 1,
            "segments": parts[:, 1:] / parts[:, :1] - 1,
        }


def draw(
    template: Template,
    seed: int | Sequence[int],
    settings: Settings | None = None,
    frames: int = 40,
    device: torch.device | str = "cpu",
) -> tuple[Simulation, dict[str, Any]]:
    """A random simulation of a template: one whole beat in ``frames`` frames, the first and the last at end-diastole.

    Args:
        template: the heart.
        seed: the same seed, template and settings give the same cine.
        settings: what to draw from.
        frames: of the cine.

    Returns:
        the simulation, and what was drawn for it (numbers and names, for a file).

    Raises:
        InputError: fewer than two frames, an unknown probe, or a template that no drawn motion fits.
    """
    settings = settings or Settings()
    if frames < 2:
        raise InputError(f"frames {frames}: a cine needs at least two")
    unknown = set(settings.probes) - set(PROBES)
    if unknown:
        raise InputError(f"probes: {sorted(unknown)} unknown, expected some of {sorted(PROBES)}")
    rng = np.random.default_rng(seed)
    name = str(rng.choice(settings.probes))
    heart_rate = float(rng.uniform(*settings.heart_rate))
    probe = probe_for(template, PROBES[name]).replace(frame_rate=(frames - 1) * heart_rate / 60)
    motion, drawn = draw_motion(template, rng, settings, heart_rate, device)
    artefacts: list[Artefact] = []
    for kind in ARTEFACTS.values():
        present, strength, own = rng.random() < settings.artefact, rng.random(), int(rng.integers(2**31))
        if present:
            artefacts.append(kind(float(strength * settings.severity), own))
    grid = ImageGrid.from_sector(probe.depth, probe.half_angle, settings.shape)
    scenario = Scenario(motion) if settings.coupled else None
    if settings.scenarios is not None:
        scenario, around = draw_scenario(
            np.random.default_rng([*np.atleast_1d(seed), _SCENARIO]), settings.scenarios, motion
        )
        drawn |= around
    scatterers = Scatterers(template, motion, settings.scatterers, int(rng.integers(2**31)), scenario)
    times = np.linspace(0, motion.period, frames)
    drawn |= {
        "probe": name,
        "frame_rate": probe.frame_rate,
        "depth_mm": probe.depth,
        "width_degrees": probe.width,
        "artefacts": {a.__class__.__name__: {"strength": a.strength, "seed": a.seed} for a in artefacts},
    }
    return Simulation(motion, scatterers, Scanner(probe, grid, device), times, artefacts, template.view), drawn


def probe_for(template: Template, probe: Probe) -> Probe:
    """The probe with the depth and width of the template's sector, focused at half the depth (paper, II-A.1)."""
    focus = None if probe.focus is None else template.depth / 2
    return probe.replace(depth=template.depth, width=template.width, focus=focus)


def bounds_of(template: Template) -> tuple[tuple[float, float], tuple[float, float]]:
    """((top, left), (bottom, right)) in mm that hold a template's wall and sector, with 15 mm around them."""
    reach = np.concatenate([template.mesh.nodes, [[0.0, 0.0], [template.depth, 0.0]]])
    side = template.depth * np.sin(np.radians(template.width) / 2)
    low, high = np.minimum(reach.min(0), [0.0, -side]) - 15, np.maximum(reach.max(0), [0.0, side]) + 15
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))


def draw_motion(
    template: Template,
    rng: np.random.Generator,
    settings: Settings,
    heart_rate: float,
    device: torch.device | str = "cpu",
) -> tuple[Motion, dict[str, Any]]:
    """A random motion of a template's wall that folds nothing, and the numbers drawn for it."""
    bounds = bounds_of(template)
    problem: InputError | None = None
    for _ in range(_ATTEMPTS):
        gls = float(rng.uniform(*settings.gls))
        defects = []
        if rng.random() < settings.defect:
            centre = (int(rng.integers(SEGMENTS)) + 0.5) / SEGMENTS
            defects = [Defect(centre, 1 / SEGMENTS, float(rng.uniform(0.5, 1.5)))]
        rotation = float(rng.uniform(-settings.rotation, settings.rotation))
        shift = tuple(float(s) for s in rng.uniform(-settings.shift, settings.shift, 2))
        try:
            end = prescribe_end_systole(template.mesh, template.end_systole, gls, defects, template.name)
            motion = Motion(
                template.mesh, end, heart_rate, bounds, rotation, (shift[0], shift[1]), device, template.name
            )
        except InputError as error:
            problem = error
            continue
        drawn = {
            "gls": gls,
            "heart_rate": heart_rate,
            "end_systole_s": motion.end_systole_time,
            "rotation_degrees": rotation,
            "shift_mm": list(shift),
            "defects": [{"centre": d.centre, "width": d.width, "severity": d.severity} for d in defects],
        }
        return motion, drawn
    assert problem is not None
    raise InputError(f"{template.name}: no motion could be drawn in {_ATTEMPTS} attempts; the last: {problem}")
