"""Pairs of volumes to train on: two subjects, or one subject and its copy under a simulated field."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.datalist import read_datalist
from cardiac_motion.core.errors import unwrap_errors
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.random import random_deformation
from cardiac_motion.training.items import RandomItems
from cardiac_motion.volume.cases import phantom_entries, task04
from cardiac_motion.volume.transforms import SIZE, one_hot, volume_transforms


class Subjects:
    """All volumes of a fold in memory on the common grid: ``image``, ``mask``, ``label`` (head, body), ``[N, C, *S]``.

    Args:
        datalist, fold, dataset_dir, download: as in ``VolumeCases``; without a datalist, volumes are synthetic.
        labelled: load the label maps, too.
        size: size of the common grid.
    """

    def __init__(
        self,
        datalist: str | None = None,
        fold: str = "training",
        dataset_dir: str = ".",
        download: bool = False,
        labelled: bool = False,
        size: Sequence[int] = SIZE,
    ) -> None:
        if datalist:
            entries = read_datalist(datalist, fold, task04(dataset_dir, download))
        else:
            entries = phantom_entries(fold, 6)
        read = volume_transforms(size, labelled)
        with unwrap_errors():
            cases = [read(entry) for entry in show_bar(entries, f"{fold} volumes", "volume")]
        self.image = torch.cat([case.image for case in cases])
        self.mask = torch.cat([case.mask for case in cases if case.mask is not None])
        self.label = None
        if labelled:
            self.label = torch.cat([one_hot(case)[:, 1:] for case in cases])

    def __len__(self) -> int:
        return len(self.image)


class SubjectPairs(RandomItems):
    """Random pairs of different subjects.

    Args:
        moving: subjects of the moving images.
        fixed: subjects of the fixed images; None uses ``moving``.
        length: pairs per epoch.
        deformation: standard deviation in voxels of a random smooth deformation of each volume (and its label).
        gamma: standard deviation of the logarithm of a random exponent of the intensities.
        labelled: return the labels, too, if the subjects have them.
        seed: random seed.
    """

    def __init__(
        self,
        moving: Subjects,
        fixed: Subjects | None = None,
        length: int = 100,
        deformation: float = 0.0,
        gamma: float = 0.0,
        labelled: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(length, seed)
        self.moving, self.fixed = moving, fixed or moving
        self.deformation, self.gamma, self.labelled = deformation, gamma, labelled

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ``image [2, *S]``, ``mask [1, *S]`` of the fixed volume, and with labels ``label [2, 2, *S]``."""
        rng = self._generator(index)
        i = int(torch.randint(len(self.moving), (1,), generator=rng))
        j = int(torch.randint(len(self.fixed), (1,), generator=rng))
        if self.fixed is self.moving and i == j:
            j = (j + 1) % len(self.fixed)
        sides = [self._side(self.moving, i, rng), self._side(self.fixed, j, rng)]
        pair = {"image": torch.cat([side[0] for side in sides], 1)[0], "mask": sides[1][1][0] > 0.5}
        if sides[0][2] is not None and sides[1][2] is not None:
            pair["label"] = torch.cat([sides[0][2], sides[1][2]])
        return pair

    def _side(self, subjects: Subjects, i: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        image, mask = subjects.image[i : i + 1], subjects.mask[i : i + 1].float()
        label = subjects.label[i : i + 1] if self.labelled and subjects.label is not None else None
        if self.gamma:
            image = image.clamp(0, 1) ** float(torch.exp(self.gamma * torch.randn(1, generator=rng)))
        if self.deformation:
            field = random_deformation(image.shape[2:], self.deformation, rng)
            image, mask = warp(image, field), warp(mask, field, padding="zeros")
            label = None if label is None else warp(label, field)
        return image, mask, label


class DeformedPairs(RandomItems):
    """A volume and its copy under a known field (NeurReg, Zhu et al. 2020).

    Args:
        subjects: the volumes.
        length: pairs per epoch.
        deformation: standard deviation of the field in voxels.
        noise: standard deviation of the noise added to both images.
        seed: random seed.
    """

    def __init__(
        self, subjects: Subjects, length: int = 100, deformation: float = 2.5, noise: float = 0.02, seed: int = 0
    ) -> None:
        super().__init__(length, seed)
        self.subjects, self.deformation, self.noise = subjects, deformation, noise

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ``image [2, *S]``, ``mask [1, *S]``, ``field [3, *S]`` in voxels: moving(p + field(p)) = fixed(p)."""
        rng = self._generator(index)
        i = int(torch.randint(len(self.subjects), (1,), generator=rng))
        moving = self.subjects.image[i : i + 1]
        field = random_deformation(moving.shape[2:], self.deformation, rng)
        mask = warp(self.subjects.mask[i : i + 1].float(), field, padding="zeros") > 0.5
        image = torch.cat([moving, warp(moving, field)], 1)
        image = image + self.noise * torch.randn(image.shape, generator=rng)
        return {"image": image[0], "mask": mask[0], "field": field[0]}
