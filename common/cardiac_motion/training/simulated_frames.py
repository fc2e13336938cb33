"""Simulated labelled frames, to train segmentation in addition to recorded ones.

They show the wall with artefacts and in phases for which recorded labels are missing, and views that CAMUS lacks.
Templates are recorded end-diastolic frames and parametric apical views. The former are only used near end-diastole,
because their valve and the tissue around the wall are static, so that the base would be invisible in systole. The
latter are used in all phases; background and atrium are not distinguished there:
``cardiac_motion.training.frames.BACKGROUND_OR_ATRIUM``.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cardiac_motion.cine.labels import read_plane
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.simulation.datasets.dataset import TemplateSource
from cardiac_motion.simulation.heart.template import Template, find_templates
from cardiac_motion.simulation.sequence import Settings, Simulation, draw
from cardiac_motion.training.frames import BACKGROUND_OR_ATRIUM, LabelledFrame, make_labelled_frame, read_split

log = logging.getLogger(__name__)

APICAL = ("apical_4ch", "apical_2ch", "apical_long_axis")
ATRIUM = 3
_BEAT = 12  # frames of a simulated beat
_SEEN = 0.04  # shortening up to which the base is visible although the valve and the tissue behind it are static


def simulate_labelled_frames(
    folder: str | Path,
    split: str | Path,
    fold: str,
    hearts: int,
    frames: int,
    seed: int,
    path: str | Path | None,
    size: int,
) -> list[LabelledFrame]:
    """Simulate labelled frames: two hearts of recorded templates for each one of parametric anatomy.

    Args:
        folder, split, fold: CAMUS-like patients of the recorded templates.
        hearts: total number of hearts; 0 returns none.
        frames: maximum number of frames per heart, from those in which the wall's position is visible.
        seed: random seed.
        path: cache file; if it exists and has the same arguments, its frames are read.
        size: size of the frames' square.

    Raises:
        InputError: the cache file holds frames of other arguments. Unusable templates are skipped with a warning.
    """
    if not hearts:
        return []
    arguments = {"hearts": hearts, "frames": frames, "seed": seed, "fold": fold}
    if path is not None and Path(path).is_file():
        stored = torch.load(path, weights_only=True)
        if stored["made"] != arguments:
            raise InputError(
                f"{path}: simulated with {stored['made']} instead of {arguments}; remove it or give another path"
            )
    else:
        stored = {"made": arguments, **_simulate(Path(folder), read_split(split, fold), hearts, frames, seed)}
        if path is not None:
            with write_whole(path) as beside:
                torch.save(stored, beside)
    items = zip(stored["images"], stored["labels"], stored["spacings"].tolist(), strict=True)
    return [
        make_labelled_frame(f"simulated_{i}", image, label, (spacing[0], spacing[1]), size)
        for i, (image, label, spacing) in enumerate(items)
    ]


def _simulate(folder: Path, patients: list[str], hearts: int, frames: int, seed: int) -> dict[str, Tensor]:
    recorded, drawn = TemplateSource(folder, patients), TemplateSource(views=APICAL)
    masks = {name: mask for name, _, mask, _ in find_templates(folder, patients)}
    order = np.random.default_rng(seed).permutation(len(recorded))
    settings = Settings(scatterers=120_000)
    images, labels, spacings = [], [], []
    for heart in tqdm(range(hearts), unit="heart", desc="simulated frames", mininterval=1):
        seeds = (seed, heart)
        number = int(order[heart % len(order)]) if heart % 3 else heart // 3
        source = recorded if heart % 3 else drawn
        try:
            template = source(number, seeds)
            simulation, _ = draw(template, seeds, settings, _BEAT)
        except InputError as error:
            log.warning("template skipped: %s", error)
            continue
        shortened = np.abs(simulation.strains()["global"][: _BEAT - 1])
        visible = np.flatnonzero(shortened <= (_SEEN if simulation.scatterers.static else np.inf))
        chosen = np.random.default_rng((*seeds, 1)).choice(visible, min(frames, len(visible)), replace=False).tolist()
        images.append((simulation.frames(chosen) * 255).round().to(torch.uint8))
        around = _atrium(masks[source.name(number)], template, simulation) if heart % 3 else BACKGROUND_OR_ATRIUM
        for frame in chosen:
            label = simulation.labels(frame)
            labels.append(torch.where(label > 0, label, around))
        spacings += [torch.tensor(simulation.grid.spacing)] * len(chosen)
    return {
        "images": torch.cat(images),
        "labels": torch.stack(labels).to(torch.uint8),
        "spacings": torch.stack(spacings),
    }


def _atrium(mask: Path, template: Template, simulation: Simulation) -> Tensor:
    """Return the atrium of the template's mask on the simulation's pixels ``[H, W]``: 3 inside, 0 outside."""
    labels, _ = read_plane(mask)
    points = simulation.grid.points().numpy()
    pixels = np.round((points - np.asarray(template.grid.origin)) / np.asarray(template.grid.spacing)).astype(int)
    inside = ((pixels >= 0) & (pixels < labels.shape)).all(1)
    atrium = np.zeros(len(points), dtype=np.uint8)
    atrium[inside] = np.where(labels[tuple(pixels[inside].T)] == ATRIUM, ATRIUM, 0)
    return torch.from_numpy(atrium.reshape(simulation.grid.shape)) * simulation.scanner.sector.cpu()
