"""Map transforms that turn a volume into a case: the ``preprocessing`` of a bundle that segments by atlases.

Preprocessing as in SSMSR section III-A: intensities clipped at six standard deviations and scaled to [0, 1], 1 mm
voxels, padded to 48×64×48; axes in RAS order. MONAI's transforms handle the geometry (``Orientationd``, ``Spacingd``,
``ResizeWithPadOrCropd``), so that ``Invertd`` maps a result back to the file's voxels; the transforms defined here read
the volume, scale its intensities, smooth it before downsampling, and return a ``VolumeCase``. Arrays are ``[C, *S]``
MetaTensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import (
    AsDiscreted,
    Compose,
    Invertd,
    MapTransform,
    Orientation,
    Orientationd,
    ResizeWithPadOrCropd,
    Spacingd,
    Transform,
)
from nibabel.orientations import io_orientation
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import smooth
from cardiac_motion.volume.phantom import phantom
from cardiac_motion.volume.read import read_label, read_volume
from cardiac_motion.volume.volume_case import LABELS, VolumeCase, VolumeEntry

SIZE = (48, 64, 48)
CLIP = 6.0  # standard deviations
COARSER = 0.75  # an axis is smoothed first if the file's voxels are shorter than this fraction of the grid's

Item = Mapping[Any, Any]  # an entry's keys are str; MONAI's type is Any


class ReadVolumed(MapTransform):
    """Read the volume of an entry and, if given, its label map.

    ``image`` and ``mask`` (all ones: the volume's extent) become ``[1, *shape]``, ``label`` ``[*shape]`` uint8.

    Args:
        labelled: require a label map.
        size: size of the common grid in mm; the volume must fit into it.
        keys: key of the path; an entry with the key ``phantom``, a seed, yields that synthetic volume.

    Raises:
        InputError: the volume or its label map cannot be used; the message names the file.
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
            actual, limit = ("×".join(f"{n:.0f}" for n in x) for x in (extent, self.size))
            raise InputError(f"{path}: {actual} mm is larger than the atlases' {limit} mm; crop it to the structure")
        if "label" in item:
            label = read_label(item["label"], values.shape, affine)
        if self.labelled and label is None:
            raise InputError(f"{path}: a label map is required")
        image = volume_tensor(values, affine)
        return {
            **item,
            "entry": VolumeEntry.from_dict(item),
            "image": image,
            "mask": torch.ones_like(image),
            "label": label,
        }


def extent_of(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Return the extent in mm of a file's volume along the axes right, anterior, superior.

    Examples:
        >>> extent_of((10, 20, 30), np.array([[0, 2.0, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]))
        array([40., 10., 30.])
    """
    axis = io_orientation(affine)[:, 0].astype(int)
    extent = np.zeros(3)
    extent[axis] = np.array(shape) * np.linalg.norm(affine[:3, :3], axis=0)
    return extent


def reorient_to_ras(values: np.ndarray, affine: np.ndarray) -> MetaTensor:
    """Return a file's values with axes in RAS order: ``[1, X, Y, Z]``, with the matching affine and ``pixdim``.

    Examples:
        >>> values = np.arange(4.0).reshape(4, 1, 1)
        >>> reorient_to_ras(values, np.diag([-1.0, 1, 1, 1])).flatten().tolist()  # the file's first axis points left
        [3.0, 2.0, 1.0, 0.0]
    """
    return Orientation("RAS", labels=None)(volume_tensor(values, affine))  # type: ignore[return-value]


def volume_tensor(values: np.ndarray, affine: np.ndarray) -> MetaTensor:
    """Convert values ``[*shape]`` of a file for MONAI's transforms: ``[1, *shape]`` float32, with the affine.

    Examples:
        >>> tensor = volume_tensor(np.zeros((4, 5, 6)), np.diag([1.0, 1.0, 2.0, 1.0]))
        >>> tuple(tensor.shape), tensor.pixdim.tolist()
        ((1, 4, 5, 6), [1.0, 1.0, 2.0])
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]
    matrix = torch.as_tensor(affine, dtype=torch.float64)
    return MetaTensor(tensor, affine=matrix, meta={"original_affine": matrix.clone(), "spatial_shape": values.shape})


class NormaliseIntensityd(MapTransform):
    """Apply ``normalise`` to each key.

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
            item[key] = copy_metadata(torch.from_numpy(values), item[key])
        return item


def normalise(values: np.ndarray) -> np.ndarray:
    """Clip intensities at six standard deviations around the mean and scale to [0, 1]; float32, computed in float64.

    Raises:
        InputError: the volume is constant.

    Examples:
        >>> normalise(np.array([100.0, 150.0, 200.0])).tolist()
        [0.0, 0.5, 1.0]
    """
    values = np.asarray(values, dtype=np.float64)
    mean, sd = values.mean(), values.std()
    clipped = values.clip(mean - CLIP * sd, mean + CLIP * sd)
    low, high = clipped.min(), clipped.max()
    if high - low <= 0:
        raise InputError("all voxels have the same value; there is nothing to register")
    return np.asarray((clipped - low) / (high - low), dtype=np.float32)


def copy_metadata(values: Tensor, reference: MetaTensor) -> MetaTensor:
    """Return ``values`` with the affine and the applied operations of ``reference``.

    Examples:
        >>> reference = volume_tensor(np.zeros((2, 2, 2)), np.diag([3.0, 1.0, 1.0, 1.0]))
        >>> copy_metadata(torch.ones(1, 2, 2, 2), reference).pixdim.tolist()
        [3.0, 1.0, 1.0]
    """
    return MetaTensor(values, meta=reference.meta, applied_operations=reference.applied_operations)


class AntiAliasd(MapTransform):
    """Smooth along the axes that the following ``Spacingd`` downsamples.

    Args:
        keys: keys that are interpolated linearly.
        pixdim: target voxel size in mm.
    """

    def __init__(self, keys: KeysCollection = "image", pixdim: float = 1.0) -> None:
        super().__init__(keys)
        self.pixdim = pixdim

    def __call__(self, data: Item) -> dict[Any, Any]:
        item = dict(data)
        for key in self.keys:
            item[key] = copy_metadata(self._smooth(item[key]), item[key])
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
    """Build the typed case; last transform of the chain."""

    def __call__(self, data: Item) -> VolumeCase:
        image, mask = data["image"], data["mask"]
        return VolumeCase(data["entry"], image.as_tensor()[None], mask.as_tensor()[None] > 0.5, image, data["label"])


def to_common_grid(
    keys: Sequence[str], modes: Sequence[str], paddings: Sequence[str], size: Sequence[int] = SIZE
) -> list[Transform]:
    """Return the transforms to RAS axes, 1 mm voxels, and a grid of ``size`` centred on the volume.

    Args:
        keys: keys of arrays ``[C, *S]``.
        modes: interpolation of each key, ``bilinear`` or ``nearest``.
        paddings: padding of each key, ``edge`` or ``constant``.
        size: size of the grid in voxels.

    Examples:
        >>> item = {"image": volume_tensor(np.random.rand(10, 12, 8), np.diag([-2.0, 1.0, 1.0, 1.0]))}
        >>> tuple(Compose(to_common_grid(["image"], ["bilinear"], ["edge"], (16, 16, 16)))(item)["image"].shape)
        (1, 16, 16, 16)
    """
    linear = [key for key, mode in zip(keys, modes, strict=True) if mode == "bilinear"]
    return [
        Orientationd(keys, axcodes="RAS", labels=None),
        AntiAliasd(linear),
        Spacingd(keys, pixdim=1.0, mode=list(modes)),
        ResizeWithPadOrCropd(keys, spatial_size=tuple(size), mode=list(paddings)),
    ]


def volume_transforms(size: Sequence[int] = SIZE, labelled: bool = False) -> Compose:
    """Return the ``preprocessing`` of the bundles that segment volumes by atlases.

    Args:
        size, labelled: as in ``ReadVolumed``.

    Examples:
        >>> [type(step).__name__ for step in volume_transforms().transforms][-2:]
        ['ResizeWithPadOrCropd', 'ToVolumeCase']
    """
    grid = to_common_grid(["image", "mask"], ["bilinear", "nearest"], ["edge", "constant"], size)
    return Compose([ReadVolumed(labelled, size), NormaliseIntensityd(), *grid, ToVolumeCase()])


def label_transforms(preprocessing: Compose) -> Compose:
    """Return the ``postprocessing`` of the same bundles: memberships ``pred`` to a label map on the file's voxels.

    Args:
        preprocessing: that made the case; ``image`` of the item holds the volume with its record of it.

    Examples:
        >>> [type(step).__name__ for step in label_transforms(volume_transforms()).transforms]
        ['Invertd', 'AsDiscreted']
    """
    back = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False)
    return Compose([back, AsDiscreted("pred", argmax=True)])


def one_hot(case: VolumeCase) -> Tensor:
    """Return a case's label map as memberships on the common grid: ``[1, 1 + labels, *size]``, background first.

    Memberships are interpolated linearly; everything outside the volume is background.

    Raises:
        InputError: the case has no label map.

    Examples:
        >>> case = volume_transforms()({"case": "a", "image": "a", "phantom": 1})
        >>> memberships = one_hot(case)
        >>> tuple(memberships.shape), bool((memberships.sum(1) - 1).abs().max() < 1e-6)
        ((1, 3, 48, 64, 48), True)
    """
    if case.label is None:
        raise InputError(f"{case.entry.image}: a label map is required")
    parts = np.stack([case.label == value for value in LABELS]).astype(np.float32)
    affine = torch.as_tensor(case.affine, dtype=torch.float64)
    grid = Compose(to_common_grid(["label"], ["bilinear"], ["constant"], case.image.shape[2:]))
    resampled = grid({"label": MetaTensor(torch.from_numpy(parts), affine=affine)})["label"].as_tensor()[None]
    resampled = resampled * case.mask
    return torch.cat([1 - resampled.sum(1, keepdim=True), resampled], 1)
