"""Pairs with a known field to train pyramid flow, in the three stages of c-PWC-Net (Evain et al. 2022, II-B).

Items are dictionaries: ``image [2, H, W]`` (moving, fixed; unit range), ``field [2, H, W]`` in pixels (row, column)
with ``moving(p + field(p)) = fixed(p)``, ``mask [1, H, W]`` where that holds, and ``spacing [2]`` in mm per pixel (row,
column; NaN if unknown). An item depends only on the seed, the epoch and its index, so a resumed training draws the same
items.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.datasets.natural import NaturalPairs, ProceduralPairs
from cardiac_motion.simulation.datasets.rendered import Shards
from cardiac_motion.simulation.sequence import Simulation, draw
from cardiac_motion.training.items import RandomItems
from cardiac_motion.training.visibility import visibility

Item = dict[str, Tensor]
_WIDEST = 1.5  # standard deviations of the scale for which a window is large enough


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of a pair (section III-C.3); the field is changed consistently.

    Attributes:
        crop: (rows, columns) of a random patch, centred on a valid pixel if there is one; None keeps the whole image.
            Smaller images are edge-padded, with mask 0.
        brightness: standard deviation of the offset added to both images.
        contrast: standard deviation of the logarithms of the factor about mid-grey and of the gamma exponent.
        noise: largest standard deviation of Gaussian noise, drawn independently for both images.
        flip: mirror along either axis, each in half of the pairs.
        scale: standard deviation of the logarithm of a common enlargement.
        zoom: median of that enlargement; 2 for a network that registers images at twice their size.
        translation: largest shift of the moving image relative to the fixed one along either axis, whole pixels.
        margin: dilation of the mask in pixels. A contour on the wall's border takes its motion from the pixels on
            either side, and the simulated field continues smoothly beyond the wall.
        ground: mask value where the item's ``ground`` is 1: tissue known to be static.
    """

    crop: tuple[int, int] | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    flip: bool = False
    scale: float = 0.0
    translation: int = 0
    margin: int = 0
    ground: float = 0.2
    zoom: float = 1.0

    @property
    def window(self) -> tuple[int, int] | None:
        """(Rows, columns) of the part of a frame that a crop needs, up to 1.5 SD of the scale; None without a crop."""
        if self.crop is None:
            return None
        edge = 2 * (self.margin + self.translation) + 2
        rows, columns = (math.ceil(n / self.zoom * math.exp(_WIDEST * self.scale)) + edge for n in self.crop)
        return rows, columns

    def __call__(self, item: Item, rng: np.random.Generator) -> Item:
        """Return an augmented copy of ``item``."""
        image, field, mask = item["image"], item["field"], item["mask"]
        spacing = item["spacing"]
        if self.margin:
            mask = functional.max_pool2d(mask, 2 * self.margin + 1, 1, self.margin)
        if "ground" in item:
            mask = torch.cat([mask, item["ground"]])
        if self.scale or self.zoom != 1:
            factor = self.zoom * (math.exp(rng.normal(0, self.scale)) if self.scale else 1.0)
            image, field, mask, spacing = _enlarge(image, field, mask, spacing, factor)
        if self.translation:
            shift = rng.integers(-self.translation, self.translation + 1, 2)
            image, field, mask = _shift(image, field, mask, (int(shift[0]), int(shift[1])))
        if self.flip:
            for axis in (0, 1):
                if rng.random() < 0.5:
                    image, field, mask = (x.flip(axis + 1) for x in (image, field, mask))
                    field = field.clone()
                    field[axis] *= -1
        if self.crop is not None:
            image, field, mask = _crop(image, field, mask, self.crop, rng)
        if len(mask) > 1:
            mask = torch.maximum(mask[:1], self.ground * mask[1:])
        return {"image": self._grey(image, rng), "field": field, "mask": mask, "spacing": spacing}

    def _grey(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        if self.contrast:
            image = image.clamp(0, 1) ** math.exp(rng.normal(0, self.contrast))
            image = (image - 0.5) * math.exp(rng.normal(0, self.contrast)) + 0.5
        if self.brightness:
            image = image + rng.normal(0, self.brightness)
        if self.noise:
            noise = rng.standard_normal(image.shape, dtype=np.float32)
            image = image + torch.from_numpy(noise) * rng.uniform(0, self.noise)
        return image.clamp(0, 1)


def _enlarge(
    image: Tensor, field: Tensor, mask: Tensor, spacing: Tensor, factor: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    old = image.shape[1:]
    size = [max(2, round(n * factor)) for n in old]
    ratio = torch.tensor([n / o for n, o in zip(size, old, strict=True)])
    both = torch.cat([image, field, mask])[None]
    image, field, mask = functional.interpolate(both, size=size, mode="bilinear", align_corners=False)[0].split(
        (2, 2, len(mask))
    )
    return image, field * ratio[:, None, None], (mask > 0.999).float(), spacing / ratio


def _shift(image: Tensor, field: Tensor, mask: Tensor, shift: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Roll the moving image by whole pixels; wrapped pixels become invalid."""
    moving = image[:1].roll(shift, (1, 2))
    field = field + torch.tensor(shift, dtype=field.dtype)[:, None, None]
    height, width = mask.shape[1:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target = torch.stack([rows, columns]) + field
    inside = (target >= 0).all(0) & (target[0] <= height - 1) & (target[1] <= width - 1)
    return torch.cat([moving, image[1:]]), field, mask * inside


def _crop(
    image: Tensor, field: Tensor, mask: Tensor, crop: Sequence[int], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    size = image.shape[1:]
    below, beside = (max(0, want - have) for want, have in zip(crop, size, strict=True))
    if below or beside:
        margin = (0, beside, 0, below)
        image, field = (functional.pad(x[None], margin, mode="replicate")[0] for x in (image, field))
        mask = functional.pad(mask, margin)
    room = [have - want for want, have in zip(crop, image.shape[1:], strict=True)]
    valid = mask[0].nonzero()
    if len(valid):
        middle = valid[int(rng.integers(len(valid)))].tolist()
        corner = [min(max(m - want // 2, 0), r) for m, want, r in zip(middle, crop, room, strict=True)]
    else:
        corner = [int(rng.integers(r + 1)) for r in room]
    piece = (..., slice(corner[0], corner[0] + crop[0]), slice(corner[1], corner[1] + crop[1]))
    return image[piece], field[piece], mask[piece]


def augmentation_from(settings: dict[str, Any] | None) -> Augmentation:
    """Build an ``Augmentation`` from a configuration.

    Raises:
        InputError: an unknown name.
    """
    settings = dict(settings or {})
    if settings.get("crop") is not None:
        settings["crop"] = tuple(settings["crop"])
    try:
        return Augmentation(**settings)
    except TypeError as error:
        raise InputError(f"augmentation {settings}: {error}") from None


def read_names(path: str | Path, fold: str) -> list[str]:
    """Read the list ``fold`` of a JSON file of lists.

    Raises:
        InputError: no such file or list.
    """
    try:
        return list(json.loads(Path(path).read_text(encoding="utf-8"))[fold])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot read list '{fold}' ({type(error).__name__})") from None


class _Pairs(RandomItems):
    def __init__(self, length: int, seed: int, augmentation: dict[str, Any] | None) -> None:
        if length < 1:
            raise InputError(f"length {length}: an epoch needs at least one pair")
        super().__init__(length, seed)
        self.augmentation = augmentation_from(augmentation)

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self.length:
            raise IndexError(index)
        item = self._pair(index)
        return self.augmentation(item, np.random.default_rng([self.seed, self.epoch, index, 2]))

    def _pair(self, index: int) -> Item:
        raise NotImplementedError


def _rename(pair: Item) -> Item:
    return {"image": pair["image"], "field": pair["ddf"], "mask": pair["mask"], "spacing": pair["spacing"]}


class NaturalFlowPairs(_Pairs):
    """Stage one: grey-scale natural images from FlyingChairs and FlyingThings3D folders, or procedural images.

    Args:
        folders: folders of the downloaded data sets; if empty, pairs are procedural.
        length: pairs per epoch.
        shape: size of procedural pairs.
        displacement: standard deviation in pixels of a procedural shape's shift.
        max_displacement: pixels; pairs from folders with larger motion anywhere are skipped (paper, III-A.1).
        augmentation: fields of ``Augmentation``.
        seed: random seed.

    Raises:
        InputError: a folder contains no pairs, a file is damaged, or no pair is within ``max_displacement``.
    """

    def __init__(
        self,
        folders: Sequence[str | Path] = (),
        length: int = 1000,
        shape: Sequence[int] = (256, 256),
        displacement: float = 4.0,
        max_displacement: float = 50.0,
        augmentation: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(length, seed, augmentation)
        self.limit = max_displacement
        self.sources = [NaturalPairs(folder, seed=seed) for folder in folders]
        self.procedural = ProceduralPairs((int(shape[0]), int(shape[1])), displacement, seed=seed)

    def _pair(self, index: int) -> Item:
        if not self.sources:
            self.procedural.set_epoch(self.epoch)
            return _rename(self.procedural.pair(index))
        rng = np.random.default_rng([self.seed, self.epoch, index, 3])
        counts = np.array([len(source) for source in self.sources])
        for _ in range(1000):
            number = int(rng.integers(counts.sum()))
            which = int(np.searchsorted(counts.cumsum(), number, side="right"))
            item = self.sources[which].pair(number - int(counts[:which].sum()))
            if item["ddf"].norm(dim=0).max() <= self.limit:
                return _rename(item)
        raise InputError(f"none of 1000 drawn pairs moves less than {self.limit} pixels; raise max_displacement")


class SimulatedFlowPairs(_Pairs):
    """Stages two and three: simulated ultrasound, with new patients, motions and artefacts generated on demand.

    ``open`` patients are drawn at a time and their pairs shuffled, so that a batch contains several hearts. A pair is
    used ``repeats`` times, with a new augmentation each time.

    Args:
        templates: folder of CAMUS-like patients; None uses parametric anatomy.
        patients: names of the folder's patients to use; alternatively ``split``, a JSON file of lists, and ``fold``.
        length: pairs per epoch.
        gaps: frame distances, one or more of 1, 2, 3, 4 (Table I: "0 1 2" there is 1 2 3 here).
        backward: either frame may be the fixed one; otherwise it is the later one.
        pairs: different pairs per patient.
        repeats: number of times that each pair is used.
        open: number of patients drawn at a time.
        frames: frames per beat.
        settings: fields of ``sequence.Settings``; ``{"artefact": 0.0}`` is stage two.
        augmentation: fields of ``Augmentation``.
        views: views of the parametric anatomy.
        seed: random seed.
        device: device of the simulation.

    Raises:
        InputError: gaps that do not fit the number of frames, an unknown setting, or no templates.
    """

    def __init__(
        self,
        templates: str | Path | None = None,
        patients: Sequence[str] | None = None,
        split: str | Path | None = None,
        fold: str = "train",
        length: int = 1000,
        gaps: Sequence[int] = (1, 2, 3),
        backward: bool = True,
        pairs: int = 8,
        repeats: int = 1,
        open: int = 8,
        frames: int = 40,
        settings: dict[str, Any] | None = None,
        augmentation: dict[str, Any] | None = None,
        views: Sequence[str] = ("apical_4ch", "apical_2ch", "apical_long_axis"),
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(length, seed, augmentation)
        if not gaps or min(gaps) < 1 or max(gaps) >= frames:
            raise InputError(f"gaps {list(gaps)}: expected numbers from 1 to {frames - 1}")
        if min(pairs, repeats, open) < 1:
            raise InputError(f"pairs, repeats and open must be at least 1; got {pairs}, {repeats}, {open}")
        if split is not None and templates is not None:
            patients = read_names(split, fold)
        self.source = TemplateSource(templates, patients, views)
        self.gaps, self.backward, self.frames = tuple(gaps), backward, frames
        self.pairs, self.repeats, self.open = pairs, repeats, open
        self.settings, self.device = settings_from(settings), device
        self._simulations: OrderedDict[tuple[int, int], Simulation] = OrderedDict()
        self._cache: OrderedDict[tuple[int, int, int], Item] = OrderedDict()

    def _pair(self, index: int) -> Item:
        block, position = divmod(index, self.open * self.pairs * self.repeats)
        order = np.random.default_rng([self.seed, self.epoch, block, 4]).permutation(
            self.open * self.pairs * self.repeats
        )
        patient, pair = divmod(int(order[position]) % (self.open * self.pairs), self.pairs)
        patient += block * self.open
        key = (self.epoch, patient, pair)
        if key not in self._cache:
            self._cache[key] = self._simulate(patient, pair)
            while len(self._cache) > (self.open * self.pairs if self.repeats > 1 else 1):
                self._cache.popitem(last=False)
        return self._cache[key]

    def _simulate(self, patient: int, pair: int) -> Item:
        rng = np.random.default_rng([self.seed, self.epoch, patient, pair, 5])
        gap = int(rng.choice(self.gaps))
        first = int(rng.integers(0, self.frames - gap))
        moving, fixed = first, first + gap
        if self.backward and rng.random() < 0.5:
            moving, fixed = fixed, moving
        return _rename({k: v.cpu() for k, v in self._simulation(patient).pair(fixed, moving).items()})

    def _simulation(self, patient: int) -> Simulation:
        key = (self.epoch, patient)
        if key not in self._simulations:
            seed = (self.seed, self.epoch, patient)
            template = self.source(int(np.random.default_rng(seed).integers(2**20)), seed)
            self._simulations[key] = draw(template, seed, self.settings, self.frames, self.device)[0]
            while len(self._simulations) > self.open:
                self._simulations.popitem(last=False)
        return self._simulations[key]


class RenderedFlowPairs(_Pairs):
    """Pairs rendered to disk by ``python -m cardiac_motion.simulation pairs``, which may still be running.

    Each epoch lists the files again; for the same files, an item depends only on the seed, the epoch and its index.

    Args:
        folder: folder of the pairs, with one subfolder per scenario.
        scenarios: weights of the scenarios; None weights them equally.
        length: pairs per epoch.
        gaps: frame distances; None uses all that are available.
        backward: either frame may be the fixed one; otherwise it is the later one.
        identity: fraction of pairs in which both images are the fixed one, without motion.
        visible: weight pixels by ``visibility``.
        augmentation: fields of ``Augmentation``.
        seed: random seed.

    Raises:
        InputError: the folder contains no pairs.
    """

    def __init__(
        self,
        folder: str | Path,
        scenarios: dict[str, float] | None = None,
        length: int = 1000,
        gaps: Sequence[int] | None = None,
        backward: bool = True,
        identity: float = 0.04,
        visible: bool = False,
        augmentation: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(length, seed, augmentation)
        self.shards, self.identity, self.visible = Shards(folder, scenarios, gaps, backward), identity, visible

    def set_epoch(self, epoch: int) -> None:
        """Draw other pairs, including those rendered in the meantime."""
        super().set_epoch(epoch)
        self.shards.refresh()

    def _pair(self, index: int) -> Item:
        rng = np.random.default_rng([self.seed, self.epoch, index, 6])
        _, item = self.shards.draw(rng, self.augmentation.window)
        if rng.random() < self.identity:
            both = item["image"][1:].expand(2, -1, -1)
            everywhere = torch.ones_like(item["mask"])
            item |= {"image": both, "field": torch.zeros_like(item["field"]), "mask": everywhere}
        elif self.visible:
            item["mask"] = item["mask"] * visibility(item["image"], item["field"])
        return item
