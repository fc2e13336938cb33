"""Simulated cine: template, motion, scatterers, scanner and artefacts, and their random parameters.

Fields follow the project's convention: the field of a pair (moving, fixed) is defined on the fixed grid, in pixels
(row, column), and ``moving(p + ddf(p))`` is the fixed frame. The mask marks where this holds in the image: in the wall
if the surrounding tissue is static, in the whole sector if it moves too.
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
_SCENARIO = 77  # seed offset of the scenario's random numbers
_ATTEMPTS = 20  # maximum number of draws for a motion without folding


@dataclass(frozen=True)
class Settings:
    """Ranges of the random parameters.

    Attributes:
        probes: names in ``PROBES``.
        gls: global longitudinal strain at end-systole, fraction.
        heart_rate: beats/min.
        rotation: maximum rotation of the whole heart at end-systole, degrees, in either direction.
        shift: maximum shift of the whole heart at end-systole, mm, in either direction along each axis.
        defect: probability of a regional defect.
        artefact: probability of each artefact; its strength is at most ``severity``.
        severity: 0 to 1.
        scatterers: number of scatterers in the sector.
        shape: (rows, columns) of the images.
        coupled: let the surrounding tissue move with the wall, whatever the template specifies.
        scenarios: weights of the scenarios, one of which is drawn per patient (``scenarios.ANATOMICAL``); None uses
            the template's, or ``coupled``. Patients, motions, scatterers and artefacts do not depend on the scenario.

    Examples:
        >>> Settings(gls=(-0.2, -0.2), artefact=0.0, defect=0.0).severity  # every heart of GLS −20 %, without artefacts
        0.8
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
    """Simulated cine that provides any frame, and the motion between any two.

    Args:
        motion: motion of the wall and its surroundings.
        scatterers: scatterers of the tissue.
        scanner: probe and image formation.
        times: times of the frames, s.
        artefacts: artefacts in the order in which they are applied.
        view: echocardiographic view.
        physical: let deformation change the relative phases of the scatterers, and so the speckle, as in reality. If
            False they keep their phases of end-diastole, and the speckle moves with the tissue unchanged except for
            the point-spread function.

    Examples:
        >>> from cardiac_motion.simulation.heart.anatomy import view
        >>> simulation, _ = draw(view("apical_4ch"), 0, Settings(scatterers=1000, shape=(32, 32)), frames=9)
        >>> tuple(simulation.frames([0, 1]).shape), sorted(simulation.labels(0).unique().tolist())
        ((2, 32, 32), [0, 1, 2])
        >>> ddf, mask = simulation.fields(fixed=1, moving=[1])  # from a frame to itself
        >>> tuple(ddf.shape), bool((ddf.abs() < 1e-9).all())
        ((1, 2, 32, 32), True)
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
        """Return complex echoes [T, R, 2 U] of some frames."""
        places, amplitudes = self.scatterers.frames(self.times[list(frames)], frames, self.artefacts)
        paths = None if self.physical else self.scanner.path(self.scatterers.frames([0.0])[0][0])
        echoes = self.scanner.echoes(places, amplitudes, self.scatterers.density, paths)
        for artefact in self.artefacts:
            echoes = artefact.echoes(echoes, frames, self.scanner)
        return echoes

    def frames(self, frames: Sequence[int]) -> Tensor:
        """Return B-mode images [T, H, W] in [0, 1] of some frames."""
        return self.scanner.image(self.echoes(frames))

    def chunks(self, size: int = _CHUNK) -> Iterator[Tensor]:
        """Yield all frames in order, up to ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.frames(range(start, min(start + size, len(self))))

    def fields(self, fixed: int, moving: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the exact pull-back fields of pairs that share their fixed frame.

        Returns:
            ddf [T, 2, H, W] in pixels on the fixed frame; mask [T, H, W] of the pixels within the sector in both frames
            where it is the motion of the imaged tissue.
        """
        fields = self.fields_and_ground(fixed, moving)
        return fields["ddf"], fields["mask"]

    def fields_and_ground(self, fixed: int, moving: Sequence[int]) -> dict[str, Tensor]:
        """Return ``fields``, and ``ground`` [T, H, W]: nearly static tissue away from moving tissue."""
        probe, grid, scenario = self.scanner.probe, self.grid, self.scatterers.scenario
        points = grid.points(self.motion.device)
        motion = scenario.displacement(points, float(self.times[fixed]), self.times[list(moving)].tolist())
        moved = points + motion["moved"]
        visible = (moved.norm(dim=-1) <= probe.depth) & (
            torch.atan2(moved[..., 1], moved[..., 0]).abs() <= probe.half_angle
        )
        visible = visible.reshape(-1, *grid.shape) & self.scanner.sector
        pixels = (motion["moved"] / points.new_tensor(grid.spacing)).movedim(-1, 1).reshape(-1, 2, *grid.shape)
        mask, ground = (visible & motion[key].reshape(grid.shape) for key in ("region", "ground"))
        return {"ddf": pixels.float(), "mask": mask, "ground": ground}

    def pair(self, fixed: int, moving: int) -> dict[str, Tensor]:
        """Return a training pair.

        Returns:
            ``image`` [2, H, W] (moving, fixed), ``ddf`` [2, H, W], ``mask`` [1, H, W], ``ground`` [1, H, W] (nearly
            static tissue) and ``spacing`` [2] in mm per pixel (row, column).
        """
        first, second = sorted((fixed, moving))
        images = self.frames([first, second]) if first != second else self.frames([first]).expand(2, -1, -1)
        fields = {key: value[0] for key, value in self.fields_and_ground(fixed, [moving]).items()}
        image = images if moving <= fixed else images.flip(0)
        spacing = torch.tensor(self.grid.spacing, dtype=torch.float32, device=image.device)
        mask, ground = (fields[key][None].float() for key in ("mask", "ground"))
        return {"image": image, "ddf": fields["ddf"], "mask": mask, "ground": ground, "spacing": spacing}

    def labels(self, frame: int) -> Tensor:
        """Return labels [H, W] uint8 of a frame: 1 cavity, 2 myocardium, as in CAMUS."""
        wall = self.motion.wall(self.times[[frame]])[0]
        points = self.scatterers.scenario.undo_picture_motion(self.grid.points(), float(self.times[frame])).numpy()
        labels = np.zeros(len(points), dtype=np.uint8)
        labels[is_inside_outlines(points, [wall[:: self.motion.mesh.layers]])] = 1
        labels[is_inside_outlines(points, [wall[o] for o in self.motion.mesh.outlines()])] = 2
        return torch.from_numpy(labels.reshape(self.grid.shape)) * self.scanner.sector.cpu()

    def contours(self) -> dict[str, Array]:
        """Return ``endocardium`` and ``epicardium`` of every frame, [T, 36, 2] in pixels (row, column)."""
        origin, spacing = np.asarray(self.grid.origin), np.asarray(self.grid.spacing)
        scenario = self.scatterers.scenario
        inner, outer = (
            scenario.apply_picture_motion(torch.from_numpy(c), self.times).numpy()
            for c in self.motion.contours(self.times)
        )
        return {"endocardium": (inner - origin) / spacing, "epicardium": (outer - origin) / spacing}

    def strains(self) -> dict[str, Any]:
        """Return strains of the endocardium as fractions.

        Returns:
            ``global`` [T], ``segments`` [6, T] of six parts with equal numbers of points, and ``gls`` at end-systole.
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
    """Draw a random simulation of a template: one beat in ``frames`` frames, the first and the last at end-diastole.

    Args:
        template: heart.
        seed: the same seed, template and settings give the same cine.
        settings: ranges of the random parameters.
        frames: number of frames.

    Returns:
        The simulation, and the drawn parameters (numbers and names, for a file).

    Raises:
        InputError: fewer than two frames, an unknown probe, or no drawn motion fits the template.

    Examples:
        >>> from cardiac_motion.simulation.heart.anatomy import view
        >>> settings = Settings(gls=(-0.2, -0.2), heart_rate=(60, 60), scatterers=1000, shape=(32, 32), defect=0.0)
        >>> simulation, drawn = draw(view("apical_4ch"), 0, settings, frames=9)
        >>> round(simulation.strains()["gls"], 3), float(simulation.times[-1]), drawn["frame_rate"]
        (-0.2, 1.0, 8.0)
    """
    settings = settings or Settings()
    if frames < 2:
        raise InputError(f"frames {frames}: must be at least 2")
    unknown = set(settings.probes) - set(PROBES)
    if unknown:
        raise InputError(f"probes {sorted(unknown)} are unknown; use some of {sorted(PROBES)}")
    rng = np.random.default_rng(seed)
    name = str(rng.choice(settings.probes))
    heart_rate = float(rng.uniform(*settings.heart_rate))
    probe = probe_for(template, PROBES[name]).replace(frame_rate=(frames - 1) * heart_rate / 60)
    motion, drawn = draw_motion(template, rng, settings, heart_rate, device)
    artefacts: list[Artefact] = []
    for kind in ARTEFACTS.values():
        present, strength, own_seed = rng.random() < settings.artefact, rng.random(), int(rng.integers(2**31))
        if present:
            artefacts.append(kind(float(strength * settings.severity), own_seed))
    grid = ImageGrid.from_sector(probe.depth, probe.half_angle, settings.shape)
    scenario = Scenario(motion) if settings.coupled else None
    if settings.scenarios is not None:
        scenario, parameters = draw_scenario(
            np.random.default_rng([*np.atleast_1d(seed), _SCENARIO]), settings.scenarios, motion
        )
        drawn |= parameters
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
    """Adapt a probe to the depth and width of the template's sector, focused at half the depth (paper, II-A.1)."""
    focus = None if probe.focus is None else template.depth / 2
    return probe.replace(depth=template.depth, width=template.width, focus=focus)


def find_bounds(template: Template) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ((top, left), (bottom, right)) in mm around a template's wall and sector, with a margin of 15 mm."""
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
    """Draw a random motion of a template's wall without folding; return it and its parameters."""
    bounds = find_bounds(template)
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
    raise InputError(f"{template.name}: no motion without folding in {_ATTEMPTS} draws; the last: {problem}")
