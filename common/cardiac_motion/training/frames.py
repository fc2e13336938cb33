"""Labelled frames to train segmentation and view classification: recorded, simulated, or the user's.

A frame enters a network as the square of ``cine.square``. Data sets yield dictionaries ``image [1, S, S]`` in [0, 1]
and ``label``.
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
from cardiac_motion.simulation.heart.template import find_sector
from cardiac_motion.training.items import RandomItems

BACKGROUND_OR_ATRIUM = 4
"""Label of a pixel that is either background or left atrium, if not specified."""
PHASES = ("ED", "ES")
_LIT = 4 / 255  # grey value above which a pixel of a recorded frame counts as echo


@dataclass(frozen=True)
class FrameAugmentation:
    """Random augmentation of a frame: position, machine settings, sector. 0 disables an augmentation.

    Attributes:
        rotation: standard deviation in degrees.
        scale: largest absolute logarithm of the enlargement.
        stretch: standard deviation of the logarithm of the ratio of the axes.
        shift: largest shift along either axis as a fraction of the square.
        gamma: largest absolute logarithm of the gamma exponent.
        contrast: largest absolute logarithm of the factor about the mean.
        brightness: largest offset.
        gain: standard deviation of the logarithm of a slowly varying factor.
        blur: largest standard deviation of a blur in pixels, in a third of the frames.
        noise: largest standard deviation of multiplicative speckle, in a third of the frames.
        cut: probability of a narrower and shallower sector, possibly with a shadow.
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

    def positions(self, square: FrameSquare, rng: np.random.Generator) -> Tensor:
        """Return the frame position of each pixel of the augmented square: ``[size, size, 2]`` (row, column) px."""
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
        """Return an augmented copy of ``image [S, S]`` in [0, 1]; black pixels stay black."""
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

    def visible(self, positions: Tensor, apex: tuple[float, float], depth: float, half: float, rng: Any) -> Tensor:
        """Return an augmented sector ``[S, S]``: 1 inside, 0 outside, in between in a shadow.

        Args:
            positions: frame positions from ``positions``.
            apex: (row, column) in pixels.
            depth: depth of the sector in pixels.
            half: half-angle of the sector in rad.
            rng: NumPy random generator.
        """
        if rng.random() >= self.cut:
            return torch.ones(positions.shape[:2])
        offset = positions - torch.tensor(apex, dtype=torch.float32)
        angle, distance = torch.atan2(offset[..., 1], offset[..., 0]) / half, offset.norm(dim=-1) / depth
        left, right, end = rng.uniform(0.7, 1.1, 3)
        weight: Tensor = ((angle >= -left) & (angle <= right) & (distance <= end + 0.1)).float()
        if rng.random() < 0.4:
            centre, width = rng.uniform(-0.9, 0.9), rng.uniform(0.05, 0.2)
            shadow = torch.sigmoid((width - (angle - centre).abs()) / (0.2 * width))
            weight = weight * (1 - rng.uniform(0.3, 0.8) * shadow)
        return weight


def _blur(image: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = weights / weights.sum()
    image = functional.pad(image[None, None], (reach,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(image, weights[None, None, None]), weights[None, None, :, None])[0, 0]


def _sample(image: Tensor, positions: Tensor, mode: str) -> Tensor:
    """Sample ``image [H, W]`` at ``positions [S, S, 2]`` (row, column) in pixels; 0 outside."""
    height, width = image.shape
    grid = torch.stack([(2 * positions[..., 1] + 1) / width - 1, (2 * positions[..., 0] + 1) / height - 1], -1)
    return functional.grid_sample(image[None, None], grid[None], mode=mode, align_corners=False)[0, 0]


def read_split(path: str | Path, fold: str) -> list[str]:
    """Read the patients of a fold of a split file, ``{"train": [names], "valid": [...], ...}``.

    Raises:
        InputError: no such file or fold.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a split ({error})") from error
    if not isinstance(content, dict) or not content.get(fold):
        raise InputError(f"{path}: no fold '{fold}'; available: {', '.join(content) or 'none'}")
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
    """Read a frame and its mask, ``<name>.nii.gz`` and ``<name>_gt.nii.gz``, stored as (X, Y).

    Raises:
        InputError: a file is missing or unreadable, or their sizes differ.
    """
    image, zooms = read_plane(path)
    column, row = (float(s) for s in zooms[:2])
    label, _ = read_plane(path.with_name(path.name.replace(".nii.gz", "_gt.nii.gz")))
    if image.ndim != 2 or image.shape != label.shape:
        raise InputError(f"{path}: the frame has shape {image.shape}, its mask {label.shape}; expected one 2D size")
    image, label = image.astype(np.uint8), label.astype(np.uint8)
    name = path.name.removesuffix(".nii.gz")
    return make_labelled_frame(name, torch.from_numpy(image), torch.from_numpy(label), (row, column), size)


def make_labelled_frame(
    name: str, image: Tensor, label: Tensor, spacing: tuple[float, float], size: int = 256
) -> LabelledFrame:
    """Build a frame with its square and, if detected, its sector (apex, depth, half-angle; pixels and rad)."""
    square = FrameSquare.from_mask(image.numpy() > 255 * _LIT, size)
    try:
        sector = find_sector(image.numpy().astype(np.float32), (1.0, 1.0))
    except InputError:
        sector = None
    return LabelledFrame(name, image, label, spacing, square, sector)


class LabelledFrames(RandomItems):
    """Labelled frames with random augmentation.

    Args:
        frames: all frames, in memory.
        size: size of the square.
        augmentation: fields of ``FrameAugmentation``; None does not augment.
        seed: seed of the augmentation.
    """

    def __init__(
        self, frames: Sequence[LabelledFrame], size: int, augmentation: dict[str, float] | None, seed: int
    ) -> None:
        super().__init__(len(frames), seed)
        self.frames, self.size = frames, size
        self.augmentation = FrameAugmentation(**augmentation) if augmentation else None

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ``image [1, S, S]`` in [0, 1] and ``label [1, S, S]`` (integers)."""
        frame = self.frames[index]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        image, label = augment(frame, self.augmentation, rng, self.size)
        return {"image": image[None], "label": label[None].long()}


class SegmentationFrames(LabelledFrames):
    """End-diastolic and end-systolic frames of CAMUS-like patients with their masks, in memory.

    Files are ``<folder>/<patient>/<patient>_4CH_ED.nii.gz`` (``…_ES``) and ``…_gt.nii.gz``, grey values 0 to 255.

    Args:
        folder: folder of the patients.
        split: file of the folds (``read_split``).
        fold: name of the fold.
        size: size of the square.
        augmentation: fields of ``FrameAugmentation``; None does not augment.
        seed: seed of the augmentation.
        patients: number of patients to use, from the first; None uses all.
        extra: additional frames, such as simulated ones (``cardiac_motion.training.simulated_frames``).

    Raises:
        InputError: a folder, a file or the fold is missing or unreadable.
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
            raise InputError(f"{folder}: no such folder of patients; give it with --dataset_dir DIR")
        if not split:
            raise InputError("no split; give the file of the folds with --split FILE")
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
    """Augment the square of a frame and of its label: ``[size, size]`` each, the image in [0, 1]."""
    change = augmentation or FrameAugmentation()
    positions = change.positions(replace(frame.square, size=size), rng)
    step = frame.square.side / size
    image = frame.image.float() / 255
    image = _sample(_blur(image, 0.4 * step) if step > 1.2 else image, positions, "bilinear")  # no aliasing
    label = _sample(frame.label.float(), positions, "nearest")
    if augmentation is None:
        return image, label
    if frame.sector is not None:
        weight = change.visible(positions, *frame.sector, rng)
        image, label = image * weight, label * (weight > 0)
    return change.grey(image, rng), label
