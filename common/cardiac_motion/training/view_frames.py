"""Frames of known view to train the view classifier: simulated hearts, recorded four-chamber frames, the user's own.

No recordings of all eight views may be redistributed. Simulation (``simulation.heart.anatomy``) provides every view,
CAMUS the apical four-chamber view, recorded and simulated from its frames. To prevent the classifier from learning that
"recorded" means "four-chamber", the same frames with their anatomy destroyed (flipped upside down, or with swapped
pieces) are labelled ``other``, as are pictures that are not ultrasound (``training.pictures``).
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

FRAMES_OF_A_CINE = 8  # frames used per cine
_SHAPE = (160, 160)
_BEAT = 12  # frames of a simulated beat, some of which are used
_READ = (*IMAGE_SUFFIXES, *CINE_SUFFIXES)


@dataclass(frozen=True)
class ViewFrame:
    """A frame and the number of its view in ``VIEWS``."""

    frame: LabelledFrame
    view: int


def simulate_frames(hearts: int, frames: int, seed: int, path: str | Path | None = None) -> list[ViewFrame]:
    """Simulate frames of hearts, equally many of every view.

    Args:
        hearts: hearts per view.
        frames: frames per heart, drawn from its beat.
        seed: random seed.
        path: cache file; if it exists and has the same arguments, its frames are read.

    Raises:
        InputError: the cache file holds frames of other arguments.
    """
    arguments = {"hearts": hearts, "frames": frames, "seed": seed}
    if path is not None and Path(path).is_file():
        stored = torch.load(path, weights_only=True)
        if stored["made"] != arguments:
            raise InputError(
                f"{path}: simulated with {stored['made']} instead of {arguments}; remove it or give another path"
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
        stored = {"made": arguments, "images": torch.cat(images), "labels": torch.tensor(labels)}
        if path is not None:
            with write_whole(path) as beside:
                torch.save(stored, beside)
    return [
        ViewFrame(_frame(f"simulated_{i}", image), int(label))
        for i, (image, label) in enumerate(zip(stored["images"], stored["labels"], strict=True))
    ]


def folder_frames(folder: str | Path, count: int = FRAMES_OF_A_CINE) -> list[ViewFrame]:
    """Read the user's frames, ``<folder>/<view>/*``: pictures, cines, folders of pictures; view names as in ``VIEWS``.

    Args:
        folder: folder with one subfolder per view.
        count: frames per cine.

    Raises:
        InputError: the folder is missing, a subfolder is not a view or is empty, or a file cannot be read.
    """
    root = Path(folder)
    folders = sorted(f for f in root.iterdir() if f.is_dir()) if root.is_dir() else []
    if not folders:
        raise InputError(f"{folder}: expected one subfolder per view ({', '.join(VIEWS)})")
    frames = []
    for part in folders:
        if part.name not in VIEWS:
            raise InputError(f"{part}: no view of that name, expected one of {', '.join(VIEWS)}")
        files = sorted(f for f in part.iterdir() if f.is_dir() or f.name.lower().endswith(_READ))
        if not files:
            raise InputError(f"{part}: contains no picture and no cine")
        for file in files:
            frames += [ViewFrame(frame, VIEWS.index(part.name)) for frame in _read_file(file, count)]
    return frames


def _read_file(file: Path, count: int) -> list[LabelledFrame]:
    if not file.name.lower().endswith(IMAGE_SUFFIXES):
        cine = resample_square(read_cine(file))
        square = FrameSquare.from_mask(sector_mask(cine, 0, still=True), _SHAPE[0])
        chosen = np.unique(np.linspace(0, cine.shape[1] - 1, count).round().astype(int))
        inside = sector_mask(cine, still=True)  # as ``classify_view`` prepares a cine for the network
        squares = square.take(cine.as_tensor()[0, chosen] * inside)[:, 0]
        images = (255 * squares).round().clamp(0, 255).to(torch.uint8)
        whole = FrameSquare(_SHAPE, 0, 0, _SHAPE[0], _SHAPE[0])
        return [_frame(f"{file.name}_{t}", image, whole) for t, image in zip(chosen, images, strict=True)]
    try:
        values = np.asarray(iio.imread(file))
    except Exception as error:
        raise InputError(f"{file}: cannot be read as a picture ({type(error).__name__})") from error
    values = values[..., 0] if values.ndim == 3 else values
    if values.dtype != np.uint8 or values.min() == values.max():
        raise InputError(f"{file}: expected an 8-bit picture that is not blank")
    return [_frame(file.name, torch.from_numpy(np.ascontiguousarray(values)))]


def _frame(name: str, image: Tensor, square: FrameSquare | None = None) -> LabelledFrame:
    around = square or FrameSquare.from_mask(image.numpy() > 4, _SHAPE[0])
    return LabelledFrame(name, image, torch.zeros_like(image), (1.0, 1.0), around, None)


def disturb_frame(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Destroy the view of a recorded frame ``[S, S]``: flip it upside down, or swap and rotate its nine pieces."""
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
        hearts: simulated hearts per view; 0 for none.
        frames: frames per simulated heart.
        simulated: cache file of the simulated frames.
        folder, split, fold: recorded four-chamber frames (``SegmentationFrames``); none without a folder.
        recorded_hearts: hearts simulated from those frames (``simulated_frames``); 0 for none.
        recorded_frames: frames per such heart.
        recorded_simulated: cache file of those frames.
        images: folder of the user's frames, with one subfolder per view (``folder_frames``).
        images_frames: frames per cine of that folder.
        images_repeat: number of times that each of them is used, with a new augmentation each time.
        pictures: number of pictures that are not ultrasound (``cardiac_motion.training.pictures``), as ``other``.
        size: size of the square.
        augmentation: fields of ``FrameAugmentation``; None does not augment.
        disturb: add a copy of every frame of ``folder`` and ``images`` with destroyed anatomy, as ``other``.
        mirror: mirror half of the frames left to right: the view stays the same.
        seed: seed of the simulation and the augmentation.

    Attributes:
        frames: all frames.
        parts: index ranges of the ``recorded``, ``simulated_from_recorded``, ``disturbed`` and ``others`` frames.

    Raises:
        InputError: no source is given, or one cannot be used.
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
            # only the frames of recorded templates
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
                *(ViewFrame(_frame(*picture), other) for picture in negative_pictures(pictures, seed)),
                *(simulate_frames(hearts, frames, seed, simulated) if hearts else []),
            ],
        }
        self.frames: list[ViewFrame] = []
        self.parts: dict[str, range] = {}
        for name, items in sources.items():
            self.parts[name] = range(len(self.frames), len(self.frames) + len(items))
            self.frames += items
        if not self.frames:
            raise InputError("no frames of known view; give a number of hearts to simulate, --dataset_dir or --images")
        self.augmentation = FrameAugmentation(**augmentation) if augmentation else None
        self.size, self.mirror = size, mirror
        super().__init__(len(self.frames), seed)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ``image [1, S, S]`` in [0, 1] and ``label``, the number of the view."""
        item = self.frames[index]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        image, _ = augment(item.frame, self.augmentation, rng, self.size)
        if index in self.parts["disturbed"]:
            image = disturb_frame(image, rng)
        if self.mirror and rng.random() < 0.5:
            image = image.flip(-1)
        return {"image": image[None], "label": torch.tensor(item.view)}
