"""Frames to train the segmentation and the view of an echocardiogram on: recorded, simulated, or a user's own.

A frame enters a network as the square of ``cine.square``. Data sets give dictionaries ``image [1, S, S]`` in
[0, 1] and ``label``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cardiac_motion.cine.labels import read_plane
from cardiac_motion.cine.square import FrameSquare
from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.template import sector_of
from cardiac_motion.training.items import RandomItems

BACKGROUND_OR_ATRIUM = 4
"""Label of a pixel that is background or left atrium, where nobody says which."""
PHASES = ("ED", "ES")
_LIT = 4 / 255  # grey value from which a pixel of a recorded frame counts as echo


@dataclass(frozen=True)
class FrameAugmentation:
    """What is changed at random in a frame: its place, the machine's settings, the sector. 0 leaves it.

    Attributes:
        rotation: standard deviation, degrees.
        scale: greatest logarithm of the enlargement, to either side.
        stretch: standard deviation of the logarithm of the ratio of the axes.
        shift: greatest shift along either axis as part of the square.
        gamma: greatest logarithm of the exponent on grey values.
        contrast: greatest logarithm of the factor about the mean.
        brightness: greatest offset.
        gain: standard deviation of the logarithm of a slowly varying factor.
        blur: greatest standard deviation in pixels, in a third of the frames.
        noise: greatest standard deviation of speckle that multiplies, in a third of the frames.
        cut: probability that the sector is made narrower and less deep, and of a shadow.
    """

    rotation: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    gain: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    cut: float = 0.0

    def places(self, square: FrameSquare, rng: np.random.Generator) -> Tensor:
        """Where in the frame each pixel of the changed square lies: ``[size, size, 2]`` (row, column), pixels."""
        angle = math.radians(rng.normal(0, self.rotation))
        factor = math.exp(rng.uniform(-self.scale, self.scale))
        ratio = math.exp(rng.normal(0, self.stretch) / 2)
        shift = rng.uniform(-self.shift, self.shift, 2) * square.side
        ticks = ((torch.arange(square.size) + 0.5) / square.size - 0.5) * square.side / factor
        rows, columns = torch.meshgrid(ticks * ratio, ticks / ratio, indexing="ij")
        cos, sin = math.cos(angle), math.sin(angle)
        middle = square.top + (square.side - 1) / 2 + shift[0], square.left + (square.side - 1) / 2 + shift[1]
        return torch.stack([cos * rows - sin * columns + middle[0], sin * rows + cos * columns + middle[1]], -1)

    def grey(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """A changed copy of ``image [S, S]`` in [0, 1]; black stays black."""
        lit, size = image > 0, image.shape[-1]
        if self.blur and rng.random() < 1 / 3:
            image = _blur(image, rng.uniform(0.4, self.blur))
        if self.noise and rng.random() < 1 / 3:
            speckle = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
            speckle = _blur(speckle, rng.uniform(0.6, 1.5))
            image = image * (1 + speckle * (rng.uniform(0, self.noise) / speckle.std())).clamp(min=0)
        if self.gain:
            field = torch.from_numpy(rng.normal(0, self.gain, (1, 1, 4, 4)).astype(np.float32))
            image = image * functional.interpolate(field, (size, size), mode="bicubic")[0, 0].exp()
        image = image.clamp(0, 1) ** math.exp(rng.uniform(-self.gamma, self.gamma))
        middle = image[lit].mean() if lit.any() else image.mean()
        image = (image - middle) * math.exp(rng.uniform(-self.contrast, self.contrast)) + middle
        return (image + rng.uniform(-self.brightness, self.brightness)).clamp(0, 1) * lit

    def visible(self, places: Tensor, apex: tuple[float, float], depth: float, half: float, rng: Any) -> Tensor:
        """A changed sector: 0 out of it, 1 in it, in between in a shadow, ``[S, S]``.

        Args:
            places: as ``places`` gives them.
            apex: (row, column) in pixels.
            depth: of the sector in pixels.
            half: its half-angle, rad.
        """
        if rng.random() >= self.cut:
            return torch.ones(places.shape[:2])
        offset = places - torch.tensor(apex, dtype=torch.float32)
        angle, distance = torch.atan2(offset[..., 1], offset[..., 0]) / half, offset.norm(dim=-1) / depth
        left, right, end = rng.uniform(0.7, 1.1, 3)
        seen: Tensor = ((angle >= -left) & (angle <= right) & (distance <= end + 0.1)).float()
        if rng.random() < 0.4:
            centre, width = rng.uniform(-0.9, 0.9), rng.uniform(0.05, 0.2)
            shadow = torch.sigmoid((width - (angle - centre).abs()) / (0.2 * width))
            seen = seen * (1 - rng.uniform(0.3, 0.8) * shadow)
        return seen


def _blur(image: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = weights / weights.sum()
    image = functional.pad(image[None, None], (reach,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(image, weights[None, None, None]), weights[None, None, :, None])[0, 0]


def _sample(image: Tensor, places: Tensor, mode: str) -> Tensor:
    """``image [H, W]`` at ``places [S, S, 2]`` (row, column) in pixels; 0 beyond it."""
    height, width = image.shape
    grid = torch.stack([(2 * places[..., 1] + 1) / width - 1, (2 * places[..., 0] + 1) / height - 1], -1)
    return functional.grid_sample(image[None, None], grid[None], mode=mode, align_corners=False)[0, 0]


def read_split(path: str | Path, fold: str) -> list[str]:
    """The patients of a fold of a split file, ``{"train": [names], "valid": [...], ...}``.

    Raises:
        InputError: no such file or fold.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no readable split ({error})") from error
    if not isinstance(content, dict) or not content.get(fold):
        raise InputError(f"{path}: has no fold '{fold}' (it has: {', '.join(content) or 'none'})")
    return list(content[fold])


@dataclass(frozen=True)
class LabelledFrame:
    """A recorded frame: ``image [H, W]`` uint8, ``label [H, W]`` uint8 (``LABELS``), ``spacing`` mm (row, column)."""

    name: str
    image: Tensor
    label: Tensor
    spacing: tuple[float, float]
    square: FrameSquare
    sector: tuple[tuple[float, float], float, float] | None


def read_labelled_frame(path: Path, size: int = 256) -> LabelledFrame:
    """A frame and its mask, ``<name>.nii.gz`` and ``<name>_gt.nii.gz``, stored as (X, Y).

    Raises:
        InputError: a file is missing or unreadable, or their sizes differ.
    """
    image, zooms = read_plane(path)
    column, row = (float(s) for s in zooms[:2])
    label, _ = read_plane(path.with_name(path.name.replace(".nii.gz", "_gt.nii.gz")))
    if image.ndim != 2 or image.shape != label.shape:
        raise InputError(f"{path}: the frame is {image.shape} and its mask {label.shape}; one 2D size is needed")
    image, label = image.astype(np.uint8), label.astype(np.uint8)
    name = path.name.removesuffix(".nii.gz")
    return make_labelled_frame(name, torch.from_numpy(image), torch.from_numpy(label), (row, column), size)


def make_labelled_frame(
    name: str, image: Tensor, label: Tensor, spacing: tuple[float, float], size: int = 256
) -> LabelledFrame:
    """A frame with its square and, where it can be found, its sector (apex, depth, half-angle; pixels and rad)."""
    square = FrameSquare.from_mask(image.numpy() > 255 * _LIT, size)
    try:
        sector = sector_of(image.numpy().astype(np.float32), (1.0, 1.0))
    except InputError:
        sector = None
    return LabelledFrame(name, image, label, spacing, square, sector)


class LabelledFrames(RandomItems):
    """Frames with their labels, changed at random.

    Args:
        frames: all of them, in memory.
        size: of the square.
        augmentation: fields of ``FrameAugmentation``; none leaves the frames as they are.
        seed: of the augmentation.
    """

    def __init__(
        self, frames: Sequence[LabelledFrame], size: int, augmentation: dict[str, float] | None, seed: int
    ) -> None:
        super().__init__(len(frames), seed)
        self.frames, self.size = frames, size
        self.augmentation = FrameAugmentation(**augmentation) if augmentation else None

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``image [1, S, S]`` in [0, 1] and ``label [1, S, S]`` (whole numbers)."""
        frame = self.frames[index]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        image, label = augment(frame, self.augmentation, rng, self.size)
        return {"image": image[None], "label": label[None].long()}


class SegmentationFrames(LabelledFrames):
    """End-diastolic and end-systolic frames of CAMUS-like patients with their masks, in memory.

    Files are ``<folder>/<patient>/<patient>_4CH_ED.nii.gz`` (``…_ES``) and ``…_gt.nii.gz``, grey values 0 to 255.

    Args:
        folder: of the patients.
        split: file of the folds (``read_split``).
        fold: which of them.
        size: of the square.
        augmentation: fields of ``FrameAugmentation``; none leaves the frames as they are.
        seed: of the augmentation.
        patients: take the first so many; all by default.
        extra: further frames, simulated ones say (``cardiac_motion.training.simulated_frames``).

    Raises:
        InputError: a folder, a file or the fold is missing or not readable.
    """

    def __init__(
        self,
        folder: str | None,
        split: str | None,
        fold: str = "train",
        size: int = 256,
        augmentation: dict[str, float] | None = None,
        seed: int = 0,
        patients: int | None = None,
        extra: Sequence[LabelledFrame] = (),
    ) -> None:
        if not folder or not Path(folder).is_dir():
            raise InputError(f"{folder}: no such folder of patients; name it with --dataset_dir DIR")
        if not split:
            raise InputError("no split: name the file of the folds with --split FILE")
        names = read_split(split, fold)[:patients]
        frames = [
            read_labelled_frame(Path(folder) / name / f"{name}_4CH_{phase}.nii.gz", size)
            for name in names
            for phase in PHASES
        ]
        super().__init__([*frames, *extra], size, augmentation, seed)


def augment(
    frame: LabelledFrame, augmentation: FrameAugmentation | None, rng: np.random.Generator, size: int
) -> tuple[Tensor, Tensor]:
    """The square of a frame and of its label, changed at random: ``[size, size]`` each, the image in [0, 1]."""
    change = augmentation or FrameAugmentation()
    places = change.places(replace(frame.square, size=size), rng)
    step = frame.square.side / size
    image = frame.image.float() / 255
    image = _sample(_blur(image, 0.4 * step) if step > 1.2 else image, places, "bilinear")  # no aliasing
    label = _sample(frame.label.float(), places, "nearest")
    if augmentation is None:
        return image, label
    if frame.sector is not None:
        seen = change.visible(places, *frame.sector, rng)
        image, label = image * seen, label * (seen > 0)
    return change.grey(image, rng), label
