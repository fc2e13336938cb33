"""Simulated frames with their labels, to train segmentation on beside recorded ones.

They show the wall with artefacts and in phases that recorded labels lack, and views that CAMUS lacks. Templates are
recorded end-diastolic frames, which are drawn near end-diastole alone (the valve and all tissue around the wall stand
still, so that nobody could see the base where it is in systole), and parametric apical views in all phases, where
background and atrium are not told apart: ``cardiac_motion.training.frames.BACKGROUND_OR_ATRIUM``.
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
_BEAT = 12
_SEEN = 0.04  # shortening up to which the base is seen where it is, though the valve and what is behind stand still


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
    """Frames of simulated hearts: two of recorded templates for each of parametric anatomy.

    Args:
        folder, split, fold: CAMUS-like patients of the recorded templates.
        hearts: how many in all; 0 gives none.
        frames: of each heart, at most: those that show the wall where it is.
        seed: of everything.
        path: where the frames are kept; those that are there already, of the same arguments, are read.
        size: of the frames' square.

    Raises:
        InputError: the file holds frames of other arguments. A template that can't be used is left out with a warning.
    """
    if not hearts:
        return []
    made = {"hearts": hearts, "frames": frames, "seed": seed, "fold": fold}
    if path is not None and Path(path).is_file():
        kept = torch.load(path, weights_only=True)
        if kept["made"] != made:
            raise InputError(
                f"{path}: simulated with {kept['made']}, now {made} are asked for; remove it or name another"
            )
    else:
        kept = {"made": made, **_simulate(Path(folder), read_split(split, fold), hearts, frames, seed)}
        if path is not None:
            with write_whole(path) as beside:
                torch.save(kept, beside)
    items = zip(kept["images"], kept["labels"], kept["spacings"].tolist(), strict=True)
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
            log.warning("left out: %s", error)
            continue
        shortened = np.abs(simulation.strains()["global"][: _BEAT - 1])
        seen = np.flatnonzero(shortened <= (_SEEN if simulation.scatterers.static else np.inf))
        chosen = np.random.default_rng((*seeds, 1)).choice(seen, min(frames, len(seen)), replace=False).tolist()
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
    """The atrium of the template's mask on the simulation's pixels ``[H, W]``: 3 within, 0 around."""
    labels, _ = read_plane(mask)
    points = simulation.grid.points().numpy()
    places = np.round((points - np.asarray(template.grid.origin)) / np.asarray(template.grid.spacing)).astype(int)
    inside = ((places >= 0) & (places < labels.shape)).all(1)
    found = np.zeros(len(points), dtype=np.uint8)
    found[inside] = np.where(labels[tuple(places[inside].T)] == ATRIUM, ATRIUM, 0)
    return torch.from_numpy(found.reshape(simulation.grid.shape)) * simulation.scanner.sector.cpu()
