"""Volumes as cases: read, brought to the atlases' grid and intensities, and results brought back.

Preprocessing as in SSMSR section III-A: 1 mm voxels, intensities clipped at six standard deviations and scaled to
[0, 1], padded to 48×64×48. The common grid has RAS axes and its centre in the volume's centre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from nibabel.orientations import OrientationError, apply_orientation, inv_ornt_aff, io_orientation
from torch import Tensor
from torch.utils.data import Dataset

from common.core.case import Case, Entry
from common.core.datalist import case_name, read_datalist
from common.core.errors import InputError
from common.core.folders import finished
from common.core.stored import NEARLY_WHOLE, load_nifti
from common.fields.ddf import sample, smooth
from common.volume.phantom import phantom

SIZE = (48, 64, 48)
LABELS = {1: "head", 2: "body"}
CLIP = 6.0  # standard deviations


@dataclass(frozen=True)
class Grid:
    """Where a volume lies in the common grid.

    Attributes:
        affine: of the file: its voxels to RAS mm.
        shape: of the file.
        size: of the common grid, in its voxels.
        spacing: of the common grid in mm.
    """

    affine: np.ndarray
    shape: tuple[int, ...]
    size: tuple[int, ...] = SIZE
    spacing: float = 1.0

    @property
    def orientation(self) -> np.ndarray:
        """From the file's axes to RAS, as nibabel writes it."""
        return io_orientation(self.affine)

    @property
    def turned(self) -> np.ndarray:
        """Affine of the volume after its axes are turned to RAS."""
        return self.affine @ inv_ornt_aff(self.orientation, self.shape)

    @property
    def zooms(self) -> np.ndarray:
        """Voxel size in mm along the turned axes."""
        return np.linalg.norm(self.turned[:3, :3], axis=0)

    @property
    def turned_shape(self) -> tuple[int, ...]:
        return tuple(int(self.shape[list(self.orientation[:, 0]).index(axis)]) for axis in range(3))

    @property
    def extent(self) -> np.ndarray:
        """Size of the volume in voxels of the common grid."""
        return np.array(self.turned_shape) * self.zooms / self.spacing

    @property
    def common_affine(self) -> np.ndarray:
        """Voxels of the common grid to RAS mm."""
        step, start = self._steps()
        return self.turned @ np.block([[np.diag(step), start[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])

    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Turned voxel = step · common voxel + start. Whole numbers where the spacing is the common one."""
        step = self.spacing / self.zooms
        margin = (np.array(self.size) - self.extent) / 2
        margin = np.where(np.isclose(step, 1, atol=1e-4), np.floor(margin), margin)
        return step, step * (0.5 - margin) - 0.5

    def points(self) -> Tensor:
        """The common grid's voxels in the turned volume's: ``[1, 3, *size]``."""
        step, start = self._steps()
        axes = [torch.arange(n) * s + b for n, s, b in zip(self.size, step, start, strict=True)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None].float()

    def turn(self, values: np.ndarray) -> Tensor:
        """The file's values ``[*shape]`` with their axes in RAS order: ``[1, 1, *turned_shape]`` float32."""
        turned = apply_orientation(np.asarray(values, dtype=np.float32), self.orientation)
        return torch.from_numpy(np.ascontiguousarray(turned))[None, None]

    def in_turned(self, values: Tensor, every: int = 1) -> Tensor:
        """``values [1, C, *size]`` of the common grid at every so many voxels of the turned volume, linearly."""
        step, start = self._steps()
        axes = [(torch.arange(0, n, every) - b) / s for n, s, b in zip(self.turned_shape, step, start, strict=True)]
        return sample(values, torch.stack(torch.meshgrid(*axes, indexing="ij"))[None].float())

    def own(self, values: Tensor) -> Tensor:
        """Bring ``values [1, C, *size]`` of the common grid to the file's voxels, linearly: ``[1, C, *shape]``."""
        at = self.in_turned(values)
        order = [int(axis) for axis in self.orientation[:, 0]]
        at = at.permute(0, 1, *(2 + axis for axis in order))
        return at.flip([2 + i for i, sign in enumerate(self.orientation[:, 1]) if sign < 0])


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Values and affine of a 3D NIfTI (or what else nibabel reads).

    Raises:
        InputError: it can't be read, isn't 3D, is in colour or complex, claims more than its file can hold,
            holds values that aren't finite, or has no usable affine.
    """
    try:
        image, values = load_nifti(path)
        affine = np.asarray(image.affine, dtype=np.float64)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except Exception as error:
        raise InputError(f"{path}: no readable volume ({error})") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or min(values.shape) < 2:
        raise InputError(f"{path}: expected a volume (X, Y, Z), this is {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{path}: holds values that are not finite")
    try:
        turned = not np.isnan(io_orientation(affine)).any() and abs(np.linalg.det(affine[:3, :3])) > 1e-6
    except (OrientationError, ValueError, np.linalg.LinAlgError):
        turned = False
    if not turned:
        raise InputError(f"{path}: the affine is no map of voxels to millimetres: {affine[:3].round(3).tolist()}")
    return values, affine


def normalised(values: np.ndarray) -> np.ndarray:
    """Intensities clipped at six standard deviations around the mean, then scaled to [0, 1]; float32.

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


def to_common(values: np.ndarray, grid: Grid, mode: str = "bilinear") -> Tensor:
    """The volume on the common grid, ``[1, 1, *size]``; its edge is repeated outside it.

    Where the common grid is coarser, the values are smoothed first (no aliasing); ``nearest`` serves labels.
    """
    turned = grid.turn(values)
    if mode != "nearest":
        for axis, zoom in enumerate(grid.zooms / grid.spacing):
            if zoom < 0.75:
                lines = turned.movedim(2 + axis, -1)
                flat = smooth(lines.reshape(-1, 1, 1, lines.shape[-1]), 0.5 * (1 / zoom**2 - 1) ** 0.5)
                turned = flat.reshape(lines.shape).movedim(-1, 2 + axis)
    return sample(turned, grid.points(), mode)


def inside_volume(grid: Grid) -> Tensor:
    """Voxels of the common grid that the volume covers: ``[1, 1, *size]`` bool."""
    points = grid.points()
    last = torch.tensor(grid.turned_shape).view(1, 3, 1, 1, 1) - 0.5
    return ((points >= -0.5) & (points <= last)).all(1, keepdim=True)


def read_label(path: str | Path, grid: Grid) -> np.ndarray:
    """The label map of a volume, uint8 on the volume's own voxels: 0, 1 = head, 2 = body.

    Raises:
        InputError: unreadable, another size or place than the volume, other labels, or nothing labelled.
    """
    values, affine = read_volume(path)
    if values.shape != grid.shape:
        raise InputError(f"{path}: the label is {values.shape}, its volume is {grid.shape}")
    if not np.allclose(affine, grid.affine, atol=1e-2):
        raise InputError(f"{path}: the label lies elsewhere than its volume (another affine)")
    whole = np.round(values)
    if np.abs(values - whole).max() <= NEARLY_WHOLE:
        values = whole
    found = np.unique(values)
    other = [float(v) for v in found if v not in (0, *LABELS)]
    if other:
        raise InputError(f"{path}: labels must be 0, {', '.join(map(str, LABELS))}; found {other[:5]}")
    if not values.any():
        raise InputError(f"{path}: the label is empty")
    return values.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class VolumeCase(Case):
    """A volume on the common grid.

    Attributes:
        image, mask: ``[1, 1, *size]``; the mask is what the volume covers.
        grid: where it lies in the common grid.
        label: ``[*shape]`` uint8 on the file's voxels, where there is one.
    """

    KEYS: ClassVar[Mapping[str, str]] = {**Case.KEYS, "grid": "grid", "label": "label"}

    grid: Grid
    label: np.ndarray | None = None


def load_case(entry: dict[str, Any], size: Sequence[int] = SIZE, labelled: bool = False) -> VolumeCase:
    """One volume on the common grid.

    Args:
        entry: ``case``, ``image`` and, if any, ``label``: paths, or ``phantom`` with a number.
        size: of the common grid.
        labelled: a label is needed.

    Raises:
        InputError: the volume or its label can't be used; the line names the file.
    """
    path = entry["image"]
    if "phantom" in entry:
        (values, label), affine = phantom(entry["phantom"]), np.eye(4)
    else:
        values, affine = read_volume(path)
        label = None
    grid = Grid(affine, values.shape, tuple(size))
    if (np.round(grid.extent) > grid.size).any():
        extent, most = ("×".join(f"{n:.0f}" for n in x) for x in (grid.extent, grid.size))
        raise InputError(f"{path}: {extent} mm is larger than the {most} mm of the atlases: crop it to the structure")
    try:
        image = to_common(normalised(values), grid)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if "label" in entry:
        label = read_label(entry["label"], grid)
    if labelled and label is None:
        raise InputError(f"{path}: has no label")
    return VolumeCase(Entry.of(entry), image, inside_volume(grid), grid, label)


def one_hot(label: np.ndarray, grid: Grid) -> Tensor:
    """Label map of a volume as memberships on the common grid: ``[1, 1 + labels, *size]`` in [0, 1], background first.

    The memberships are interpolated linearly; outside the volume all is background.
    """
    parts = [to_common(label == value, grid) for value in LABELS]
    found = torch.cat(parts, 1) * inside_volume(grid)
    return torch.cat([1 - found.sum(1, keepdim=True), found], 1)


def task04(dataset_dir: str | Path, download: bool = False) -> Path:
    """Folder of Task04_Hippocampus (``imagesTr``, ``labelsTr``): ``dataset_dir`` itself, or the one in it.

    Args:
        dataset_dir: where it is, or is to be.
        download: fetch it from the decathlon's server if it isn't there (28 MB; CC BY-SA 4.0).
    """
    here = Path(dataset_dir)
    inside = here / "Task04_Hippocampus"
    if download and not ((here / "imagesTr").is_dir() or inside.is_dir()):
        from monai.apps import DecathlonDataset

        here.mkdir(parents=True, exist_ok=True)
        try:
            DecathlonDataset(str(here), "Task04_Hippocampus", "training", download=True, cache_num=0)
        except Exception as error:
            raise InputError(f"{here}: Task04_Hippocampus cannot be downloaded ({error})") from error
    return inside if inside.is_dir() else here


class VolumeCases(Dataset):
    """Volumes as cases on the common grid.

    Args:
        input: one volume; None with no datalist takes three synthetic ones (``common.volume.phantom``), of other shapes
            than the synthetic atlases.
        label: of ``input``, if any.
        datalist, fold, dataset_dir: a list of volumes instead, in the decathlon's format.
        download: fetch Task04_Hippocampus into ``dataset_dir``.
        labelled: a case without label is an error.
        done_dir: leave out cases whose results are there.
        size: of the common grid.
    """

    def __init__(
        self,
        input: str | None = None,
        label: str | None = None,
        datalist: str | None = None,
        fold: str = "validation",
        dataset_dir: str = ".",
        download: bool = False,
        labelled: bool = False,
        done_dir: str | None = None,
        size: Sequence[int] = SIZE,
    ) -> None:
        self.labelled, self.size = labelled, tuple(size)
        if datalist and input:
            raise InputError(f"both an input ({input}) and a datalist ({datalist}) are given: one of them")
        if datalist:
            self.entries = read_datalist(datalist, fold, task04(dataset_dir, download))
        elif input:
            self.entries = [{"image": str(input), "case": case_name(input), **({"label": label} if label else {})}]
        else:
            self.entries = phantom_entries("target", 3)
        if done_dir is not None:
            self.entries = [entry for entry in self.entries if not finished(done_dir, entry)]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> VolumeCase:
        """``load_case`` of one entry."""
        return load_case(self.entries[index], self.size, self.labelled)


def phantom_entries(name: str, count: int) -> list[dict[str, Any]]:
    """Entries of ``count`` synthetic volumes; another ``name`` gives other volumes."""
    first = sum(map(ord, name)) * 1000
    cases = [f"synthetic_{name}_{i}" for i in range(count)]
    return [{"case": case, "image": case, "phantom": first + i} for i, case in enumerate(cases)]
