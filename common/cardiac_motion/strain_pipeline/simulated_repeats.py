"""Simulated repeats of a measured cine, whose measurement error is known because their ground truth is.

The frame at end-diastole is the template (Evain et al. 2022, section II-A.1), its tracked wall the mesh, its wall at
end-systole the end of the motion. The repeat keeps the cine's frames in systole and in the beat, the pixels that motion
is estimated on, what is around the wall (``surroundings``) and how much neighbouring frames differ: speckle is
decorrelated until registered frames of the repeat are as alike as those of the cine. Its strain is the one that was
found, three points more, or three less. The pipeline then tracks the repeat's wall from end-diastole as it tracked the
patient's. What repeats can't show is what the simulator doesn't draw: a wall that was segmented wrongly, shadows,
trabeculae, motion through the plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.cine.read import frame_pairs
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.heart.contraction import prescribe_end_systole, systole
from cardiac_motion.simulation.heart.motion import Motion
from cardiac_motion.simulation.heart.scenarios import Scenario
from cardiac_motion.simulation.heart.template import GAMMA, Template, find_sector
from cardiac_motion.simulation.sequence import Simulation, find_bounds, probe_for
from cardiac_motion.simulation.ultrasound.artefacts import Artefact, Decorrelation
from cardiac_motion.simulation.ultrasound.image import PROBES, Scanner
from cardiac_motion.simulation.ultrasound.scatterers import Scatterers
from cardiac_motion.strain_pipeline.measures.repeats import RepeatsResult, SimulatedRepeat
from cardiac_motion.strain_pipeline.strain_case import StrainCase
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat, widen_sector
from cardiac_motion.strain_pipeline.tracking.wall import Wall
from cardiac_motion.ventricle.beats import Beat
from cardiac_motion.ventricle.mesh import myocardial_mesh
from cardiac_motion.ventricle.strain import long_axis

Array = NDArray[np.float64]
Track = Callable[[CineCase, Wall, NDArray[np.bool_]], tuple[TrackedBeat, ...]]

STEPS = (0.0, -0.03, 0.03)  # of strain beside what was found
RANGE = (-0.38, -0.02)  # strain that a repeat may have
AXIS = 85.0  # mm of a ventricle's long axis, where the pixels' size is unknown
HEART_RATE = 65.0  # where times are unknown
LONGEST = 320  # pixels of the sector's longer side: those that motion is estimated on
GRAIN = 0.35  # mm: the recorded speckle is smoothed by this before new speckle is drawn
OUTSIDE = 0.12  # of the ventricle's length: how far outside and inside the wall its surroundings are looked at
STILL = 0.5  # of the likeness of neighbouring frames that end-diastole and end-systole keep where tissue stands still
CHUNK = 4  # frames of a repeat that are simulated at once


class SimulatedRepeats:
    """Makes simulated repeats of a measured cine and has them measured.

    Args:
        count: repeats; their strain is that found, 3 points more, 3 less, and so on in turn.
        seed: of their speckle.
        scatterers: in the sector.
    """

    def __init__(self, count: int, seed: int = 0, scatterers: int = 200_000) -> None:
        if count < 1:
            raise InputError(f"--simulated_repeats {count}: at least one repeat")
        self.count, self.seed, self.scatterers = count, seed, scatterers

    def __call__(
        self, study: StrainCase, track: Track, gls: Callable[[TrackedBeat, Sequence[float]], float | None]
    ) -> RepeatsResult:
        """How far the measurement is off on repeats of the first beat.

        Args:
            study: as measured.
            track: the pipeline's tracking of a cine's wall that is drawn at its first frame.
            gls: of a tracked beat and the size of its pixels, %.

        Raises:
            InputError: there is no strain, or no repeat can be made of this cine.
        """
        source, beat = study.case.entry.image, study.tracked[0]
        found = study.measured.beats[0]["numbers"]["gls"]
        if found is None:
            raise InputError(f"{source}: no repeat of a beat without GLS")
        template, steps = template_of(study.case, beat)
        around = surroundings(study.case, beat)
        strength, repeats = 0.0, []
        first = self._repeat(study, beat, template, steps, found / 100, around, 0.0, 0)
        alike, wanted = float(track(*first[:3])[0].lncc2.mean()), float(beat.lncc2.mean())
        if wanted < alike:
            strength = float(np.clip((1 - (wanted / alike) ** 0.25) / 0.15, 0, 1))
        for number in range(self.count):
            true = float(np.clip(found / 100 + STEPS[number % len(STEPS)], *RANGE))
            case, wall, seen, size = self._repeat(study, beat, template, steps, true, around, strength, 1 + number)
            (tracked,) = track(case, wall, seen)
            repeats.append(SimulatedRepeat(100 * true, gls(tracked, size), float(tracked.lncc2.mean())))
        return RepeatsResult(found, tuple(repeats), around, strength, wanted)

    def _repeat(
        self, study: StrainCase, beat: TrackedBeat, template: Template, steps: tuple[float, float], gls: float,
        around: str, strength: float, number: int,
    ) -> tuple[CineCase, Wall, NDArray[np.bool_], tuple[float, float]]:  # fmt: skip
        """A repeat's cine, its wall drawn at the first frame, its sector and its pixels' size in mm."""
        times, rate = repeat_times(beat.beat, study.case.meta.frame_times)
        end = prescribe_end_systole(template.mesh, template.end_systole, gls, name=template.name)
        motion = Motion(template.mesh, end, rate, find_bounds(template), name=template.name)
        speed = max(5.0, (len(times) - 1) * rate / 60)
        probe = probe_for(template, PROBES["reference"]).replace(frame_rate=speed)
        grid = grid_of(study.case, template)
        region = {"static": "wall", "sliding": "heart"}.get(around, "plane")
        noise: list[Artefact] = [Decorrelation(strength, self.seed + number)] if strength else []
        scatterers = Scatterers(
            template, motion, self.scatterers, self.seed + 1000 * number, Scenario(motion, region, around)
        )
        simulation = Simulation(motion, scatterers, Scanner(probe, grid), times, noise, template.view)
        chunks = show_bar(simulation.chunks(CHUNK), f"repeat {number}", "batch", math.ceil(len(times) / CHUNK))
        frames = torch.cat([chunk.cpu() for chunk in chunks])
        cine = MetaTensor(frames[None], meta={"spacing": grid.spacing, "frame_times": times.tolist()})
        mask = sector_mask(cine, still=True)[None, None]
        ratio = np.asarray(steps) / np.asarray(grid.spacing)
        origin = np.asarray(template.grid.origin) - np.asarray(grid.origin)
        drawn = beat.lines[0] * ratio + origin / np.asarray(grid.spacing)
        lines = np.full((len(times), *drawn.shape), np.nan)
        lines[0] = drawn
        es, last = beat.beat.es - beat.beat.ed, len(times) - 1
        labels = torch.zeros((len(times), *frames.shape[1:]), dtype=torch.uint8)
        wall = Wall(labels, np.ones(len(times)), lines, (Beat(0, es, last, beat.beat.complete),), (), (0,))
        case = CineCase(CineEntry("repeat", study.case.entry.image), frame_pairs(cine), mask, cine)
        return case, wall, widen_sector(cine), grid.spacing


def template_of(case: CineCase, beat: TrackedBeat) -> tuple[Template, tuple[float, float]]:
    """The template of a measured beat, and the size of the cine's pixels in mm (row, column).

    Without a known size the long axis counts as 85 mm.

    Raises:
        InputError: the sector can't be told, or the wall's lines cross.
    """
    source, meta = case.entry.image, case.meta
    steps = meta.spacing
    if steps is None:
        factor = AXIS / float(long_axis(beat.lines[:1, 0], meta.steps)[0])
        steps = (meta.steps[0] * factor, meta.steps[1] * factor)
    frame = case.cine.as_tensor()[0, beat.beat.ed].numpy()
    seen = widen_sector(case.cine)
    try:
        apex, depth, half = find_sector(seen.astype(np.float32), steps, source)
    except InputError:
        apex, depth, half = find_sector(np.where(seen, frame, 0), steps, source)
    grey = ndimage.gaussian_filter(np.where(seen, frame, 0).astype(np.float32), [GRAIN / s for s in steps])
    meshes = []
    for k in (0, beat.beat.es - beat.beat.ed):
        endo, epi = (beat.lines[k, line] * steps - apex for line in (0, 2))
        meshes.append(myocardial_mesh(endo, epi, name=source))
    template = Template(
        brightness=(grey ** (1 / GAMMA)).astype(np.float32),
        grid=ImageGrid((frame.shape[0], frame.shape[1]), steps, (-apex[0], -apex[1])),
        mesh=meshes[0],
        end_systole=meshes[1].nodes,
        depth=depth,
        width=math.degrees(2 * half),
        name=source,
    )
    return template, steps


def grid_of(case: CineCase, template: Template) -> ImageGrid:
    """The pixels of a repeat: the cine's, larger where motion is estimated on larger ones."""
    box = bounding_box(case.mask, case.size)
    factor = max(1.0, max(stop - start for start, stop in box) / LONGEST)
    grid = template.grid
    rows, columns = (max(32, math.ceil(n / factor)) for n in grid.shape)
    return ImageGrid((rows, columns), (grid.spacing[0] * factor, grid.spacing[1] * factor), grid.origin)


def repeat_times(beat: Beat, frame_times: Sequence[float] | None) -> tuple[Array, float]:
    """Times of a repeat's frames in s from end-diastole, and its heart rate in beats/min.

    The simulator's systole lasts as long as its heart rate says; the cine's frames of systole are spread over it, those
    after it over the rest of the beat, so that end-systole is at the same frame.

    Examples:
        >>> times, rate = repeat_times(Beat(3, 9, 23, True), [0.05 * t for t in range(30)])
        >>> round(rate), len(times), bool(abs(times[6] - min(systole(rate)[1], 36 / rate)) < 1e-9)
        (60, 21, True)
    """
    count = beat.end - beat.ed
    rate = HEART_RATE
    if frame_times is not None and beat.complete:
        rate = float(np.clip(60 / (frame_times[beat.end] - frame_times[beat.ed]), 35, 200))
    period = 60 / rate
    closes = min(systole(rate)[1], 0.6 * period)
    es = beat.es - beat.ed
    frames = np.arange(count + 1)
    times = np.where(frames <= es, closes * frames / es, 0.0)
    if count > es:
        left = (period - closes) if beat.complete else closes / es * (count - es)
        times = np.where(frames > es, closes + left * (frames - es) / (count - es), times)
    return np.minimum(times, period), rate


def surroundings(case: CineCase, beat: TrackedBeat) -> str:
    """What is around the wall: ``static`` tissue, a heart that slides along it (``sliding``), or ``coupled`` tissue.

    Looked at are patches of the frames as they are, a way outside the epicardium and inside the endocardium: what
    stands still is at end-systole as it was at end-diastole, as far as neighbouring frames are alike.
    """
    endo, epi = beat.lines[0, 0], beat.lines[0, 2]
    length = float(np.linalg.norm(endo - endo[[0, -1]].mean(0), axis=1).max())
    outward = epi - endo
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    frames = case.cine.as_tensor()[0]
    radius = max(3, round(0.06 * length))
    seen = ndimage.binary_erosion(widen_sector(case.cine), iterations=4)  # its edge stands still, whatever moves in it
    speckle = []  # frames without what is coarse, which moves but little against itself
    for t in (beat.beat.ed, beat.beat.ed + 1, beat.beat.es):
        frame = frames[t].double().numpy()
        speckle.append(torch.from_numpy(frame - ndimage.gaussian_filter(frame, radius / 2)))
    still = {}
    for name, places in (("outside", epi + OUTSIDE * length * outward), ("inside", endo - OUTSIDE * length * outward)):
        near, far = (median_correlation(speckle[0], speckle[k], places, radius, seen) for k in (1, 2))
        still[name] = far > STILL * near
    if not still["outside"]:
        return "coupled"
    return "static" if still["inside"] else "sliding"


def median_correlation(
    first: Tensor, second: Tensor, places: Array, radius: int, seen: NDArray[np.bool_] | None = None
) -> float:
    """Median over places ``[P, 2]`` of the correlation of two frames ``[H, W]`` in windows around them; 0 of none.

    Args:
        radius: of the windows, pixels; places whose window leaves the frame, or is blank, are left out.
        seen: ``[H, W]``, the pixels that a window may have; None is all.
    """
    found = []
    for row, column in np.rint(places).astype(int):
        window = (slice(row - radius, row + radius + 1), slice(column - radius, column + radius + 1))
        if row < radius or column < radius or row + radius >= first.shape[0] or column + radius >= first.shape[1]:
            continue
        if seen is not None and not seen[window].all():
            continue
        a, b = first[window].double().flatten(), second[window].double().flatten()
        a, b = a - a.mean(), b - b.mean()
        scale = float(a.norm() * b.norm())
        if scale > 1e-6:
            found.append(float(a @ b) / scale)
    return float(np.median(found)) if found else 0.0
