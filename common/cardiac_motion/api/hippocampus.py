"""The hippocampus of a T1-weighted volume by registered atlases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cardiac_motion.api.evaluators import make_evaluator, read_only_case
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.evaluation.volume import save_volume
from cardiac_motion.volume.volume_case import LABELS


@dataclass(frozen=True, eq=False)
class HippocampusLabels:
    """A segmented hippocampus.

    Attributes:
        labels: ``[X, Y, Z]`` uint8 on the volume's voxels: 0 background, 1 head, 2 body.
        affine: 4×4, voxel to RAS mm.
        atlases: names of the atlases whose labels were propagated, best first.
    """

    labels: Tensor
    affine: np.ndarray
    atlases: tuple[str, ...]

    @property
    def volumes(self) -> dict[str, float]:
        """Volume of each label in mm³."""
        voxel = abs(float(np.linalg.det(self.affine[:3, :3])))
        return {name: voxel * int((self.labels == value).sum()) for value, name in LABELS.items()}

    def save(self, path: str | Path) -> None:
        """Write the label map as NIfTI.

        Raises:
            InputError: the file cannot be written.
        """
        with write_whole(path) as beside:
            save_volume(beside, self.labels, self.affine)


def segment_hippocampus(
    path: str | Path,
    atlas_dir: str | Path,
    *,
    config: str | Sequence[str] = (),
    bundles: str | Path | None = None,
    **options: Any,
) -> HippocampusLabels:
    """Segment the hippocampus of a volume by registered atlases; nothing is written.

    Args:
        path: NIfTI, a volume cropped around one hippocampus as in the decathlon's Task04.
        atlas_dir: folder with ``imagesTr`` and ``labelsTr``, with equal file names in both.
        config: configuration files of ``ssmsr_hippocampus`` in addition to ``inference.json``, such as
            ``memberships.json``.
        bundles: folder that contains the bundles; None searches as ``find_bundle`` does.
        **options: override values of the bundle's configuration.

    Raises:
        InputError: the volume, or all of the atlases, cannot be read.
    """
    evaluator = make_evaluator("ssmsr_hippocampus", path, {"atlas_dir": str(atlas_dir), **options}, config, bundles)
    case = read_only_case(evaluator)
    result, labels = evaluator.segment(case)
    return HippocampusLabels(labels, case.affine, tuple(result.names))
