"""Map transforms that make a case of a volume: the ``preprocessing`` of a bundle that segments by atlases.

Preprocessing as in SSMSR section III-A: intensities clipped at six standard deviations and scaled to [0, 1], 1 mm
voxels, padded to 48×64×48; axes in RAS order. Geometry is MONAI's (``Orientationd``, ``Spacingd``,
``ResizeWithPadOrCropd``), so that ``Invertd`` brings a result back to the file's voxels; around it ours read the
volume, scale it, smooth what becomes coarser, and end in a ``VolumeCase``. Arrays are ``[C, *S]`` MetaTensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, Orientation, Orientationd, ResizeWithPadOrCropd, Spacingd, Transform
from nibabel.orientations import io_orientation
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import smooth
from cardiac_motion.volume.phantom import phantom
from cardiac_motion.volume.read import read_label, read_volume
from cardiac_motion.volume.volume_case import LABELS, VolumeCase, VolumeEntry

SIZE = (48, 64, 48)
CLIP = 6.0  # standard deviations
COARSER = 0.75  # voxels of a file that are shorter than so many of the grid's are smoothed first

Item = Mapping[Any, Any]  # an entry's keys are texts, MONAI's type says any


class ReadVolumed(MapTransform):
    """Reads the volume of an entry and its label, where it has one.

    ``image`` and ``mask`` (all ones: what the volume covers) become ``[1, *shape]``, ``label`` ``[*shape]`` uint8.

    Args:
        labelled: a label is needed.
        size: of the common grid in mm, into which the volume must fit.
        keys: of the path; an entry with ``phantom``, a number, is that synthetic volume.

    Raises:
        InputError: the volume or its label can't be used; the line names the file.
    """

    def __init__(self, labelled: bool = False, size: Sequence[int] = SIZE, keys: str = "image") -> None:
        super().__init__(keys)
        self.labelled, self.size = labelled, tuple(size)

    def __call__(self, data: Item) -> dict[Any, Any]:
        item = dict(data)
        path, label = item[self.keys[0]], None
        if "phantom" in item:
            (values, label), affine = phantom(item["phantom"]), np.eye(4)
        else:
            values, affine = read_volume(path)
        extent = extent_of(values.shape, affine)
        if (np.round(extent) > self.size).any():
            own, most = ("×".join(f"{n:.0f}" for n in x) for x in (extent, self.size))
            raise InputError(f"{path}: {own} mm is larger than the {most} mm of the atlases: crop it to the structure")
        if "label" in item:
            label = read_label(item["label"], values.shape, affine)
        if self.labelled and label is None:
            raise InputError(f"{path}: has no label")
        image = volume_tensor(values, affine)
        return {
            **item,
            "entry": VolumeEntry.from_dict(item),
            "image": image,
            "mask": torch.ones_like(image),
            "label": label,
        }


def extent_of(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Size in mm of a file's volume along the axes right, anterior, superior.

    Examples:
        >>> extent_of((10, 20, 30), np.array([[0, 2.0, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]))
        array([40., 10., 30.])
    """
    axis = io_orientation(affine)[:, 0].astype(int)
    extent = np.zeros(3)
    extent[axis] = np.array(shape) * np.linalg.norm(affine[:3, :3], axis=0)
    return extent


def reorient_to_ras(values: np.ndarray, affine: np.ndarray) -> MetaTensor:
    """A file's values with their axes in RAS order, ``[1, X, Y, Z]`` with their affine and ``pixdim``."""
    return Orientation("RAS", labels=None)(volume_tensor(values, affine))  # type: ignore[return-value]


def volume_tensor(values: np.ndarray, affine: np.ndarray) -> MetaTensor:
    """Values ``[*shape]`` of a file as MONAI's transforms take them: ``[1, *shape]`` float32, with their affine."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]
    place = torch.as_tensor(affine, dtype=torch.float64)
    return MetaTensor(tensor, affine=place, meta={"original_affine": place.clone(), "spatial_shape": values.shape})


class NormaliseIntensityd(MapTransform):
    """``normalise`` of each key.

    Raises:
        InputError: the volume is constant.
    """

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys)

    def __call__(self, data: Item) -> dict[Any, Any]:
        item = dict(data)
        for key in self.keys:
            try:
                values = normalise(item[key].numpy())
            except InputError as error:
                raise InputError(f"{item['entry'].image}: {error}") from error
            item[key] = keep_place(torch.from_numpy(values), item[key])
        return item


def normalise(values: np.ndarray) -> np.ndarray:
    """Intensities clipped at six standard deviations around the mean, then scaled to [0, 1]; float32, from float64.

    Raises:
        InputError: the volume is constant.
    """
    values = np.asarray(values, dtype=np.float64)
    mean, sd = values.mean(), values.std()
    clipped = values.clip(mean - CLIP * sd, mean + CLIP * sd)
    low, high = clipped.min(), clipped.max()
    if high - low <= 0:
        raise InputError("the volume is constant: nothing to register")
    return ((clipped - low) / (high - low)).astype(np.float32)


def keep_place(values: Tensor, reference: MetaTensor) -> MetaTensor:
    """Other values at the place of ``reference``, with what was done to it."""
    return MetaTensor(values, meta=reference.meta, applied_operations=reference.applied_operations)


class AntiAliasd(MapTransform):
    """Smooths along the axes that ``Spacingd``, which follows it, makes coarser.

    Args:
        keys: of what is interpolated linearly.
        pixdim: voxel size in mm that it is brought to.
    """

    def __init__(self, keys: KeysCollection = "image", pixdim: float = 1.0) -> None:
        super().__init__(keys)
        self.pixdim = pixdim

    def __call__(self, data: Item) -> dict[Any, Any]:
        item = dict(data)
        for key in self.keys:
            item[key] = keep_place(self._smooth(item[key]), item[key])
        return item

    def _smooth(self, image: MetaTensor) -> Tensor:
        values = image.as_tensor()
        for axis, size in enumerate(image.pixdim.tolist()):
            zoom = size / self.pixdim
            if zoom < COARSER:
                lines = values.movedim(1 + axis, -1)
                flat = smooth(lines.reshape(-1, 1, 1, lines.shape[-1]), 0.5 * (1 / zoom**2 - 1) ** 0.5)
                values = flat.reshape(lines.shape).movedim(-1, 1 + axis)
        return values


class ToVolumeCase(Transform):
    """The end of the chain: the typed case."""

    def __call__(self, data: Item) -> VolumeCase:
        image, mask = data["image"], data["mask"]
        return VolumeCase(data["entry"], image.as_tensor()[None], mask.as_tensor()[None] > 0.5, image, data["label"])


def to_common_grid(
    keys: Sequence[str], modes: Sequence[str], paddings: Sequence[str], size: Sequence[int] = SIZE
) -> list[Transform]:
    """RAS axes, 1 mm, and the grid's size around the volume's centre.

    Args:
        keys: of ``[C, *S]``.
        modes: of interpolation, ``bilinear`` or ``nearest``.
        paddings: ``edge`` or ``constant``.
        size: of the grid.
    """
    linear = [key for key, mode in zip(keys, modes, strict=True) if mode == "bilinear"]
    return [
        Orientationd(keys, axcodes="RAS", labels=None),
        AntiAliasd(linear),
        Spacingd(keys, pixdim=1.0, mode=list(modes)),
        ResizeWithPadOrCropd(keys, spatial_size=tuple(size), mode=list(paddings)),
    ]


def volume_transforms(size: Sequence[int] = SIZE, labelled: bool = False) -> Callable[[dict[str, Any]], VolumeCase]:
    """The chain as the bundles have it; ``size`` and ``labelled`` as in ``ReadVolumed``."""
    grid = to_common_grid(["image", "mask"], ["bilinear", "nearest"], ["edge", "constant"], size)
    return Compose([ReadVolumed(labelled, size), NormaliseIntensityd(), *grid, ToVolumeCase()])


def one_hot(case: VolumeCase) -> Tensor:
    """The label map of a case as memberships on the common grid: ``[1, 1 + labels, *size]``, background first.

    The memberships are interpolated linearly; outside the volume all is background.
    """
    if case.label is None:
        raise InputError(f"{case.entry.image}: has no label")
    parts = np.stack([case.label == value for value in LABELS]).astype(np.float32)
    affine = torch.as_tensor(case.affine, dtype=torch.float64)
    grid = Compose(to_common_grid(["label"], ["bilinear"], ["constant"], case.image.shape[2:]))
    found = grid({"label": MetaTensor(torch.from_numpy(parts), affine=affine)})["label"].as_tensor()[None]
    found = found * case.mask
    return torch.cat([1 - found.sum(1, keepdim=True), found], 1)
