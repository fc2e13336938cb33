"""Frames of known view to train the view classifier on: simulated hearts, recorded four-chamber frames, a user's own.

Nobody may redistribute recordings of all eight views, so simulation (``simulation.heart.anatomy``) gives every view,
CAMUS the apical four-chamber as it is recorded, and as it is simulated from those frames. Lest a classifier takes
"recorded" for "four-chamber", such frames whose anatomy is taken apart (turned upside down, or with the pieces of the
sector swapped) are shown as ``other``, and pictures that are no ultrasound at all (``training.pictures``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cardiac_motion.cine.folder import IMAGE_SUFFIXES
from cardiac_motion.cine.read import CINE_SUFFIXES, read_cine
from cardiac_motion.cine.scale import resample_square
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.cine.square import FrameSquare
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.sequence import Settings, draw
from cardiac_motion.training.frames import (
    BACKGROUND_OR_ATRIUM,
    FrameAugmentation,
    LabelledFrame,
    SegmentationFrames,
    augment,
)
from cardiac_motion.training.items import RandomItems
from cardiac_motion.training.pictures import negative_pictures
from cardiac_motion.training.simulated_frames import simulate_labelled_frames
from cardiac_motion.ventricle.views import VIEWS

FRAMES_OF_A_CINE = 8
_SHAPE = (160, 160)
_BEAT = 12  # frames of a simulated beat, of which some are drawn
_READ = (*IMAGE_SUFFIXES, *CINE_SUFFIXES)


@dataclass(frozen=True)
class ViewFrame:
    """A frame and the number of its view in ``VIEWS``."""

    frame: LabelledFrame
    view: int


def simulate_frames(hearts: int, frames: int, seed: int, path: str | Path | None = None) -> list[ViewFrame]:
    """Frames of simulated hearts, the same number in every view.

    Args:
        hearts: of each view.
        frames: of each heart, spread over its beat.
        seed: of everything.
        path: where the frames are kept; those that are there already, of the same arguments, are read.

    Raises:
        InputError: the file holds frames of other arguments.
    """
    made = {"hearts": hearts, "frames": frames, "seed": seed}
    if path is not None and Path(path).is_file():
        kept = torch.load(path, weights_only=True)
        if kept["made"] != made:
            raise InputError(
                f"{path}: simulated with {kept['made']}, now {made} are asked for; remove it or name another"
            )
    else:
        images, labels = [], []
        settings = Settings(scatterers=60_000, shape=_SHAPE)
        drawn = [(heart, number) for heart in range(hearts) for number in range(len(VIEWS))]
        for heart, number in tqdm(drawn, unit="heart", desc="simulated views", mininterval=1):
            draws = (seed, heart, number)
            simulation, _ = draw(view(VIEWS[number], draws), draws, settings, _BEAT)
            chosen = np.random.default_rng((*draws, 1)).choice(_BEAT - 1, frames, replace=False)
            images.append((simulation.frames([int(t) for t in chosen]) * 255).round().to(torch.uint8))
            labels += [number] * frames
        kept = {"made": made, "images": torch.cat(images), "labels": torch.tensor(labels)}
        if path is not None:
            with write_whole(path) as beside:
                torch.save(kept, beside)
    return [
        ViewFrame(_frame(f"simulated_{i}", image), int(label))
        for i, (image, label) in enumerate(zip(kept["images"], kept["labels"], strict=True))
    ]


def folder_frames(folder: str | Path, count: int = FRAMES_OF_A_CINE) -> list[ViewFrame]:
    """Frames of a user's own, ``<folder>/<view>/*``: pictures, cines and folders of pictures; names as in ``VIEWS``.

    Args:
        folder: of the folders.
        count: frames of each cine.

    Raises:
        InputError: no such folder, a folder that is no view, nothing in it, or a file that can't be read.
    """
    root = Path(folder)
    folders = sorted(f for f in root.iterdir() if f.is_dir()) if root.is_dir() else []
    if not folders:
        raise InputError(f"{folder}: no folder with a folder for each view ({', '.join(VIEWS)})")
    found = []
    for part in folders:
        if part.name not in VIEWS:
            raise InputError(f"{part}: no view of that name, expected one of {', '.join(VIEWS)}")
        files = sorted(f for f in part.iterdir() if f.is_dir() or f.name.lower().endswith(_READ))
        if not files:
            raise InputError(f"{part}: no picture and no cine in it")
        for file in files:
            found += [ViewFrame(frame, VIEWS.index(part.name)) for frame in _read_file(file, count)]
    return found


def _read_file(file: Path, count: int) -> list[LabelledFrame]:
    if not file.name.lower().endswith(IMAGE_SUFFIXES):
        cine = resample_square(read_cine(file))
        square = FrameSquare.from_mask(sector_mask(cine, 0, still=True), _SHAPE[0])
        chosen = np.unique(np.linspace(0, cine.shape[1] - 1, count).round().astype(int))
        inside = sector_mask(cine, still=True)  # as ``classify_view`` shows a cine to the network
        squares = square.take(cine.as_tensor()[0, chosen] * inside)[:, 0]
        images = (255 * squares).round().clamp(0, 255).to(torch.uint8)
        whole = FrameSquare(_SHAPE, 0, 0, _SHAPE[0], _SHAPE[0])
        return [_frame(f"{file.name}_{t}", image, whole) for t, image in zip(chosen, images, strict=True)]
    try:
        values = np.asarray(iio.imread(file))
    except Exception as error:
        raise InputError(f"{file}: no readable picture ({type(error).__name__})") from error
    values = values[..., 0] if values.ndim == 3 else values
    if values.dtype != np.uint8 or values.min() == values.max():
        raise InputError(f"{file}: expected a picture of 8 bits that is not blank")
    return [_frame(file.name, torch.from_numpy(np.ascontiguousarray(values)))]


def _frame(name: str, image: Tensor, square: FrameSquare | None = None) -> LabelledFrame:
    around = square or FrameSquare.from_mask(image.numpy() > 4, _SHAPE[0])
    return LabelledFrame(name, image, torch.zeros_like(image), (1.0, 1.0), around, None)


def disturb_frame(image: Tensor, rng: np.random.Generator) -> Tensor:
    """A recorded frame ``[S, S]`` that shows no view any more: upside down, or its nine pieces swapped and turned."""
    if rng.random() < 0.3:
        return image.flip(0)
    part = image.shape[0] // 3
    pieces = [image[r * part : (r + 1) * part, c * part : (c + 1) * part] for r in range(3) for c in range(3)]
    while True:
        order = rng.permutation(9)
        if np.sum(order == np.arange(9)) <= 2:
            break
    turned = [pieces[k].rot90(int(rng.integers(4)), (0, 1)) for k in order]
    changed_image = torch.zeros_like(image)
    whole = torch.cat([torch.cat(turned[3 * r : 3 * r + 3], 1) for r in range(3)])
    changed_image[: 3 * part, : 3 * part] = whole
    return changed_image


class ViewFrames(RandomItems):
    """Frames with the number of their view, in memory.

    Args:
        hearts: simulated hearts of each view; 0 for none.
        frames: of each simulated heart.
        simulated: file that keeps the simulated frames.
        folder, split, fold: recorded four-chamber frames (``SegmentationFrames``); none without a folder.
        recorded_hearts: hearts simulated from those frames (``simulated_segmentation``); 0 for none.
        recorded_frames: of each of them.
        recorded_simulated: file that keeps them.
        images: folder of a user's own, a folder a view (``folder_frames``).
        images_frames: of each of its cines.
        images_repeat: times that each of them is shown, changed anew.
        pictures: that are no ultrasound (``cardiac_motion.training.pictures``), as ``other``.
        size: of the square.
        augmentation: fields of ``FrameAugmentation``; none leaves frames as they are.
        disturb: show every frame of ``folder`` and ``images`` a second time, taken apart, as ``other``.
        mirror: show half of the frames mirrored, left to right: the view stays the same.
        seed: of the simulation and the augmentation.

    Attributes:
        frames: all of them.
        parts: which of them are ``recorded``, ``simulated_from_recorded``, ``disturbed`` and ``others``.

    Raises:
        InputError: no source is given, or one can't be used.
    """

    def __init__(
        self,
        hearts: int = 0,
        frames: int = 4,
        simulated: str | None = None,
        folder: str | None = None,
        split: str | None = None,
        fold: str = "train",
        recorded_hearts: int = 0,
        recorded_frames: int = 3,
        recorded_simulated: str | None = None,
        images: str | None = None,
        images_frames: int = FRAMES_OF_A_CINE,
        images_repeat: int = 1,
        pictures: int = 0,
        size: int = 128,
        augmentation: dict[str, float] | None = None,
        disturb: bool = False,
        mirror: bool = False,
        seed: int = 0,
    ) -> None:
        recorded = SegmentationFrames(folder, split, fold).frames if folder else []
        again: list[LabelledFrame] = []
        if folder and split:
            again = simulate_labelled_frames(
                folder, split, fold, recorded_hearts, recorded_frames, seed, recorded_simulated, _SHAPE[0]
            )
            # the frames of recorded templates alone
            again = [frame for frame in again if not (frame.label == BACKGROUND_OR_ATRIUM).any()]
        four_chamber, other = (VIEWS.index(name) for name in ("apical_4ch", "other"))
        own = folder_frames(images, images_frames) if images else []
        sources = {
            "recorded": [ViewFrame(frame, four_chamber) for frame in recorded],
            "simulated_from_recorded": [ViewFrame(frame, four_chamber) for frame in again],
            "disturbed": [
                ViewFrame(frame, other) for frame in (*recorded, *again, *(item.frame for item in own)) if disturb
            ],
            "others": [
                *own * images_repeat,
                *(ViewFrame(_frame(*found), other) for found in negative_pictures(pictures, seed)),
                *(simulate_frames(hearts, frames, seed, simulated) if hearts else []),
            ],
        }
        self.frames: list[ViewFrame] = []
        self.parts: dict[str, range] = {}
        for name, found in sources.items():
            self.parts[name] = range(len(self.frames), len(self.frames) + len(found))
            self.frames += found
        if not self.frames:
            raise InputError("no frames of known view: give hearts to simulate, --dataset_dir or --images")
        self.augmentation = FrameAugmentation(**augmentation) if augmentation else None
        self.size, self.mirror = size, mirror
        super().__init__(len(self.frames), seed)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``image [1, S, S]`` in [0, 1] and ``label``, the number of the view."""
        item = self.frames[index]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        image, _ = augment(item.frame, self.augmentation, rng, self.size)
        if index in self.parts["disturbed"]:
            image = disturb_frame(image, rng)
        if self.mirror and rng.random() < 0.5:
            image = image.flip(-1)
        return {"image": image[None], "label": torch.tensor(item.view)}
