"""A volume as a case: resampled to the atlases' grid, with what is needed to map results back to its file."""

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
    """Entry of a list of volumes.

    Attributes:
        label: file of the label map.
        atlas: name of the one atlas to register; None selects atlases automatically.
        phantom: seed of a synthetic volume.
    """

    label: str | None = None
    atlas: str | None = None
    phantom: int | None = None


@dataclass(frozen=True, eq=False)
class VolumeCase(Case):
    """A volume on the common grid (``cardiac_motion.volume.transforms``).

    Attributes:
        image, mask: ``[1, 1, *size]``; the mask is true where the file's volume has voxels.
        volume: ``[1, *size]``, the image with its affine and the applied operations, which ``Invertd`` undoes.
        label: ``[*shape]`` uint8 on the file's voxels, or None.
    """

    KEYS: ClassVar[Mapping[str, str]] = {**Case.KEYS, "volume": "volume", "label": "label"}

    entry: VolumeEntry
    volume: MetaTensor
    label: np.ndarray | None = None

    @property
    def affine(self) -> np.ndarray:
        """Affine from the file's voxels to RAS mm."""
        return np.asarray(self.volume.meta["original_affine"])

    @property
    def common_affine(self) -> np.ndarray:
        """Affine from the common grid's voxels to RAS mm."""
        return np.asarray(self.volume.affine)
