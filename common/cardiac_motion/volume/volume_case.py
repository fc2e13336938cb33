"""A volume as a case: on the atlases' grid, and what leads back to its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from monai.data import MetaTensor

from cardiac_motion.core.entry import Case, Entry

LABELS = {1: "head", 2: "body"}


@dataclass(frozen=True)
class VolumeEntry(Entry):
    """A volume of a list.

    Attributes:
        label: file of its structures.
        atlas: name of the one atlas that is to be registered to it, where it isn't chosen.
        phantom: number of a synthetic volume.
    """

    label: str | None = None
    atlas: str | None = None
    phantom: int | None = None


@dataclass(frozen=True, eq=False)
class VolumeCase(Case):
    """A volume on the common grid (``cardiac_motion.volume.transforms``).

    Attributes:
        image, mask: ``[1, 1, *size]``; the mask is what the volume covers.
        volume: ``[1, *size]``, the image with its affine and what was done to it, which ``Invertd`` undoes.
        label: ``[*shape]`` uint8 on the file's voxels, where there is one.
    """

    KEYS: ClassVar[Mapping[str, str]] = {**Case.KEYS, "volume": "volume", "label": "label"}

    entry: VolumeEntry
    volume: MetaTensor
    label: np.ndarray | None = None

    @property
    def affine(self) -> np.ndarray:
        """Voxels of the file to RAS mm."""
        return np.asarray(self.volume.meta["original_affine"])

    @property
    def common_affine(self) -> np.ndarray:
        """Voxels of the common grid to RAS mm."""
        return np.asarray(self.volume.affine)
