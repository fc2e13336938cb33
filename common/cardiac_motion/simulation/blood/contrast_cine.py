"""Contrast cines with known flow, written as files from a datalist that contains their recipes.

``data_lists/simulated_blood.json`` defines each case: the flow and its parameters, the frame rate and the bubbles. A
case has ``cine.nii.gz`` (X, Y, T), ``pool.nii.gz`` (X, Y, T; 1 is blood), ``ddf.nii.gz`` and ``mask.nii.gz`` as in
``write``, the exact ``velocity.nii.gz`` (X, Y, T−1, 1, 2; components (x, y) in m/s, at the middle of each interval) and
``summary.json``, written last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor
from tqdm import tqdm

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.folders import check_targets
from cardiac_motion.core.whole_files import PROGRAM, write_whole
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.simulation.blood.bubbles import Contrast, bubbles, contrast_frames
from cardiac_motion.simulation.blood.flows import Filling, Flow, HillVortex, LambOseenPair, advect
from cardiac_motion.simulation.datasets.write import save_frames
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.heart.template import find_templates, read_template
from cardiac_motion.simulation.sequence import Settings, draw_motion, probe_for
from cardiac_motion.simulation.ultrasound.image import PROBES, Scanner
from cardiac_motion.simulation.ultrasound.scatterers import Scatterers

STILL = {"lamb_oseen": LambOseenPair, "hill": HillVortex}
FILES = {"image": "cine", "blood_mask": "pool", "ddf": "ddf", "mask": "mask", "velocity": "velocity"}
_DEPTH, _WIDTH = 130.0, 75.0  # mm, degrees of the sector around a static pool
_DENSITY = 4.0  # tissue scatterers per mm² around a static pool
_WALL, _DIM = 15.0, 0.1  # thickness in mm and brightness of the tissue around a static pool


@dataclass(frozen=True)
class BloodCase:
    """A flow, its imaging and times.

    Attributes:
        flow: flow of the blood.
        scanner: probe and image formation.
        times: times of the frames, s.
        tissue: positions [T, N, 2] in mm and amplitudes [T, N] of the surrounding scatterers.
        density: scatterers per mm².
        contrast: properties of the bubbles.
        seed: seed of bubbles and noise.
    """

    flow: Flow
    scanner: Scanner
    times: Sequence[float]
    tissue: tuple[Tensor, Tensor]
    density: float
    contrast: Contrast
    seed: int

    def frames(self) -> Tensor:
        """Return the cine [T, H, W] in [0, 1]."""
        pool = bubbles(self.flow, self.times, self.contrast, self.seed)
        return contrast_frames(self.scanner, pool, self.tissue, self.density, self.contrast, self.seed)

    def pool(self) -> Tensor:
        """Return the mask of the blood [T, H, W]."""
        points = self.scanner.grid.points().numpy()
        inside = np.stack([self.flow.is_inside(points, time) for time in self.times])
        return torch.from_numpy(inside).view(-1, *self.scanner.grid.shape) & self.scanner.sector

    def fields(self) -> dict[str, Tensor]:
        """Return the ground truth of each pair.

        Returns:
            ``ddf`` [N, 2, H, W] in pixels, pulling back; ``mask`` [N, H, W], blood of the fixed frame that was in the
            pool before; ``velocity`` [N, 2, H, W] in m/s at the middle of the interval.
        """
        grid = self.scanner.grid
        points, shape = grid.points().numpy(), (2, *grid.shape)
        rows: dict[str, list[Tensor]] = {"ddf": [], "mask": [], "velocity": []}
        for before, now in pairwise(self.times):
            blood = self.flow.is_inside(points, now)
            origin, stays = advect(self.flow, points[blood], now, before)
            shift, mask, speed = np.zeros((len(points), 2)), blood.copy(), np.zeros((len(points), 2))
            shift[blood] = (origin - points[blood]) / grid.spacing
            mask[blood] = stays
            middle = 0.5 * (before + now)
            inside = self.flow.is_inside(points, middle)
            speed[inside] = 1e-3 * self.flow.velocity(points[inside], middle)
            for key, values in (("ddf", shift), ("velocity", speed)):
                rows[key].append(torch.from_numpy(values.T.reshape(shape).copy()).float())
            rows["mask"].append(torch.from_numpy(mask).view(grid.shape) & self.scanner.sector)
        return {key: torch.stack(values) for key, values in rows.items()}


def read_cases(datalist: str | Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the parameters shared by all cases of a datalist, and the recipe of each by ``<fold>/<case>``.

    Raises:
        InputError: the file is missing or contains no recipes.
    """
    try:
        recipe = json.loads(Path(datalist).read_text(encoding="utf-8"))["recipe"]
        cases = {f"{fold}/{name}": values for fold, part in recipe["cases"].items() for name, values in part.items()}
        shared = {key: recipe[key] for key in ("seed", "frames", "shape")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{datalist}: contains no recipes of flows ({type(error).__name__}: {error})") from None
    return shared, cases


def blood_case(recipe: Mapping[str, Any], shared: Mapping[str, Any], templates: str | Path | None) -> BloodCase:
    """Build the case of a recipe.

    Args:
        recipe: ``flow`` (``lamb_oseen``, ``hill`` or ``filling``), ``frame_rate`` in Hz, ``flow_settings`` and
            ``contrast`` (arguments of the classes), ``number`` of the case; for filling also ``template``, or
            ``anatomy`` for a parametric one (a view of ``simulation.heart.anatomy``), ``heart_rate`` and ``begin``
            (s after end-systole).
        shared: ``seed``, ``frames`` and ``shape`` of the images.
        templates: folder of CAMUS-like patients, for filling of a ``template``.

    Raises:
        InputError: the flow or one of its settings is unknown, or the template is missing.
    """
    try:
        contrast, settings = Contrast(**recipe.get("contrast", {})), recipe.get("flow_settings", {})
        seed, rate = [shared["seed"], recipe["number"]], float(recipe["frame_rate"])
        elapsed = np.arange(shared["frames"]) / rate
        case_seed = int(np.random.SeedSequence(seed).generate_state(1)[0] % 2**31)
        if recipe["flow"] in STILL:
            return _simulate_still(STILL[recipe["flow"]](**settings), elapsed, contrast, case_seed, rate, shared)
        if recipe["flow"] == "filling":
            return _simulate_filling(recipe, settings, elapsed, contrast, case_seed, shared, templates)
    except (KeyError, TypeError) as error:
        raise InputError(f"recipe of a flow is invalid: {type(error).__name__} {error}") from None
    raise InputError(f"flow must be one of {', '.join([*STILL, 'filling'])}; got {recipe['flow']}")


def _simulate_still(
    flow: Flow, times: np.ndarray, contrast: Contrast, seed: int, rate: float, shared: Mapping[str, Any]
) -> BloodCase:
    probe = PROBES["p4_2v"].replace(depth=_DEPTH, width=_WIDTH, frame_rate=rate, focus=None)
    scanner = Scanner(probe, ImageGrid.from_sector(probe.depth, probe.half_angle, tuple(shared["shape"])))
    rng = np.random.default_rng([seed, 1])
    low, high = flow.reach(0.0)
    side = np.array([_DEPTH, 2 * _DEPTH * np.sin(probe.half_angle)])
    points = (rng.random((round(float(np.prod(side)) * _DENSITY), 2)) - [0.0, 0.5]) * side
    middle, radius = (low + high) / 2, float((high - low).max() / 2)
    beyond = np.linalg.norm(points - middle, axis=1)
    points = points[(beyond > radius) & (beyond < radius + _WALL)]
    amplitudes = torch.from_numpy(_DIM * rng.standard_normal(len(points))).float()
    count = len(times)
    tissue = torch.from_numpy(points).float().expand(count, -1, -1), amplitudes.expand(count, -1)
    return BloodCase(flow, scanner, times.tolist(), tissue, _DENSITY, contrast, seed)


def _simulate_filling(
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    elapsed: np.ndarray,
    contrast: Contrast,
    seed: int,
    shared: Mapping[str, Any],
    templates: str | Path | None,
) -> BloodCase:
    if "anatomy" in recipe:
        template = view(recipe["anatomy"], [seed, 2])
    elif templates is None:
        raise InputError("filling needs a folder of templates (templates), or an anatomy in the recipe")
    else:
        _, frame, mask, late = find_templates(Path(templates), [recipe["template"]])[0]
        template = read_template(frame, mask, late)
    healthy = Settings(gls=(-0.21, -0.19), defect=0.0, rotation=0.0, shift=0.0)
    heart_rate = float(recipe["heart_rate"])
    motion, _ = draw_motion(template, np.random.default_rng([seed, 1]), healthy, heart_rate)
    times = motion.end_systole_time + recipe["begin"] + elapsed
    flow = Filling(lambda moments: motion.contours(moments)[0], float(times[0]), float(times[-1]), **settings)
    probe = probe_for(template, PROBES["p4_2v"]).replace(frame_rate=float(recipe["frame_rate"]), focus=None)
    scanner = Scanner(probe, ImageGrid.from_sector(probe.depth, probe.half_angle, tuple(shared["shape"])))
    scatterers = Scatterers(template, motion, 60_000, seed)
    return BloodCase(flow, scanner, times.tolist(), scatterers.frames(times), scatterers.density, contrast, seed)


def write_blood(
    datalist: str | Path,
    output_dir: str | Path,
    templates: str | Path | None = None,
    folds: Sequence[str] | None = None,
    max_cases: int = 0,
    progress: bool = True,
) -> list[str]:
    """Write the cases of a datalist; existing ones are kept.

    Args:
        datalist: datalist with recipes.
        output_dir: folder of the cases, the ``dataset_dir`` of the datalist.
        templates: folder of CAMUS-like patients.
        folds: folds to write; all by default.
        max_cases: maximum number of cases per fold; 0 for all.
        progress: show a progress bar.

    Returns:
        The names of the cases, ``<fold>/<case>``.

    Raises:
        InputError: see ``read_cases`` and ``blood_case``; also an unknown fold, or an existing case of another recipe.
    """
    shared, recipes = read_cases(datalist)
    known = list(dict.fromkeys(name.split("/")[0] for name in recipes))
    unknown = sorted(set(folds or ()) - set(known))
    if unknown:
        raise InputError(f"{datalist}: has no fold {unknown[0]}, only {', '.join(known)}")
    wanted: list[str] = []
    for fold in folds or known:
        names = [name for name in recipes if name.startswith(f"{fold}/")]
        wanted += names[: max_cases or None]
    for name in tqdm(wanted, desc="contrast cines", disable=not progress):
        folder, recipe = Path(output_dir) / name, {**shared, **recipes[name]}
        summary = folder / "summary.json"
        if summary.is_file():
            if json.loads(summary.read_text(encoding="utf-8")).get("recipe") != recipe:
                raise InputError(f"{folder}: was simulated from another recipe; use another folder")
            continue
        check_targets([folder], [str(templates)] if templates else [])
        case = blood_case(recipe, shared, templates)
        with write_whole(folder) as beside:
            beside.mkdir()
            _write(beside, case, recipe)
    return wanted


def _write(folder: Path, case: BloodCase, recipe: Mapping[str, Any]) -> None:
    grid, truth, pool = case.scanner.grid, case.fields(), case.pool()
    times = np.asarray(case.times) - case.times[0]
    meta = {"spacing": grid.spacing, "frame_times": times.tolist()}
    write_cine(folder / "cine.nii.gz", MetaTensor(case.frames()[None], meta=meta))
    for key in ("ddf", "velocity"):
        save_cine_ddf(folder / f"{key}.nii.gz", truth[key])
    for key, values in (("pool", pool), ("mask", truth["mask"])):
        save_frames(folder / f"{key}.nii.gz", values.numpy().astype(np.uint8), grid.spacing, float(times[1]))
    moved = truth["ddf"].norm(dim=1)[truth["mask"]]
    speed = truth["velocity"].norm(dim=1)
    summary = {
        "program": PROGRAM,
        "recipe": recipe,
        "spacing": list(grid.spacing),
        "frame_times": times.tolist(),
        "peak_velocity_m_per_s": float(speed.max()),
        "largest_displacement_px": float(moved.max()),
        "mean_displacement_px": float(moved.mean()),
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
