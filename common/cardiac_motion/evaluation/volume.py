"""Evaluator of bundles that segment volumes by atlases: read, register, evaluate, write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd
from torch import Tensor

from cardiac_motion.core.memory import peak_memory
from cardiac_motion.core.plots import check_figures
from cardiac_motion.evaluation import figures as pictures
from cardiac_motion.evaluation.case_evaluator import CaseEvaluator, Report
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.evaluation.writer import case_folder
from cardiac_motion.fields.ddf import change_grids
from cardiac_motion.fields.field_files import save_volume_ddf
from cardiac_motion.fields.regularity import folding_fraction, log_jacobian_sd
from cardiac_motion.registration.atlas import AtlasSegmentation, Segmentation
from cardiac_motion.registration.overlap import segmentation_scores
from cardiac_motion.volume.transforms import label_transforms
from cardiac_motion.volume.volume_case import LABELS, VolumeCase


@dataclass(frozen=True, eq=False)
class VolumeReport(Report):
    """Report of a segmented volume; ``labels`` is its label map on the volume's voxels, ``[*shape]``."""

    case: VolumeCase
    result: Segmentation
    labels: Tensor

    def lines(self) -> str:
        """Return atlases, Dice if known, LNCC² and seconds."""
        metrics, atlases = self.scores.metrics, self.result.names
        more = f" and {len(atlases) - 1} more atlases" if len(atlases) > 1 else ""
        lines = [f"{self.case.name}: {atlases[0]}{more}"]
        if "dice" in metrics:
            parts = ", ".join(f"{key} {metrics[f'dice_{key}']:.3f}" for key in LABELS.values())
            lines.append(f"  Dice {metrics['dice']:.3f} ({parts}), HD95 {metrics['hd95']:.2f} mm")
        lines.append(
            f"  LNCC² {metrics['lncc2']:.3f}, folding {100 * metrics['folding_fraction']:.3f} %, "
            f"{metrics['seconds']:.1f} s (choice {metrics['choice_seconds']:.1f} s)"
        )
        return "\n".join(lines)


class VolumeEvaluator(CaseEvaluator):
    """Segment each volume by registered atlases, evaluate the segmentation, and write it.

    Args:
        device, val_data_loader, network, output_dir, inferer, postprocessing, val_handlers: as in ``CaseEvaluator``.
            The inferer is an ``AtlasSegmentation``; its memberships are postprocessed to labels on the file's voxels.
        method: name of the method, stored in ``summary.json``.
        save_fields, save_figures, save_warped: files to write in addition to ``segmentation.nii.gz`` and
            ``summary.json``.
    """

    def __init__(
        self,
        *,
        method: str,
        save_fields: bool = True,
        save_figures: bool = True,
        save_warped: bool = False,
        **shared: Any,
    ) -> None:
        self.method = method
        self.files = {"save_fields": save_fields, "save_figures": save_figures, "save_warped": save_warped}
        super().__init__(**shared)
        if save_figures:
            check_figures()
        preprocessing: Compose = self.dataset.transform  # type: ignore[attr-defined]
        self.back = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False)
        self.postprocessing = self.postprocessing or label_transforms(preprocessing)

    def process(self, case: VolumeCase) -> VolumeReport:
        """Segment a case, evaluate its labels, and write its files."""
        result, labels = self.segment(case)
        scores = volume_scores(case, result, labels)
        folder = self.folder_of(case)
        background = self.back({"image": case.volume, "pred": MetaTensor(case.image[0])})["pred"][0]
        write_volume_case(folder, case, result, labels, scores, background, method=self.method, **self.files)
        return VolumeReport(case, result, scores, folder, labels)

    def segment(self, case: VolumeCase) -> tuple[Segmentation, Tensor]:
        """Return the registered atlases of a volume, and its label map ``[*shape]`` uint8 on the volume's voxels."""
        if isinstance(self.inferer, AtlasSegmentation):
            self.inferer.given = case.entry.atlas
        result = self.register(case)
        if not isinstance(result, Segmentation):
            raise TypeError(
                f"expected an inferer that segments, as AtlasSegmentation does; got {type(self.inferer).__name__}"
            )
        return result, self.postprocess(case.volume, MetaTensor(result.memberships[0]))[0].to(torch.uint8)


def volume_scores(case: VolumeCase, result: Segmentation, labels: Tensor) -> Scores:
    """Compute Dice, distances and regularity of a segmentation on the volume's voxels.

    With a reference label map ``dice_head``, ``dice_body``, ``dice``, ``hd95_…`` in mm, ``missed``; always
    ``folding_fraction`` (fraction of the voxels, mean over the atlases), ``log_jacobian_sd`` (and
    ``log_jacobian_sd_3``, of ln(det + 3), as in Learn2Reg's script), ``lncc2`` (window 5³) of the best atlas,
    ``seconds``, ``choice_seconds``, ``registration_seconds`` and ``memory_mib`` (peak of the process).

    Args:
        case, result: the volume and its registered atlases.
        labels: predicted label map, ``[*shape]`` on the file's voxels.
    """
    metrics: dict[str, float] = {}
    if case.label is not None:
        truth = torch.from_numpy(np.ascontiguousarray(case.label))
        spacing = np.linalg.norm(case.affine[:3, :3], axis=0).tolist()
        metrics = dict(segmentation_scores(labels, truth, LABELS, spacing))
    metrics |= {
        "folding_fraction": float(folding_fraction(result.ddf, case.mask).mean()),
        "log_jacobian_sd": float(log_jacobian_sd(result.ddf, case.mask).mean()),
        "log_jacobian_sd_3": float(log_jacobian_sd(result.ddf, case.mask, offset=3).mean()),
        "lncc2": result.lncc2[0],
        "seconds": result.seconds,
        "choice_seconds": result.choice_seconds,
        "registration_seconds": result.registration_seconds,
        "memory_mib": peak_memory() / 2**20,
    }
    return Scores(metrics)


def write_volume_case(
    folder: Path,
    case: VolumeCase,
    result: Segmentation,
    labels: Tensor,
    scores: Scores,
    background: Tensor,
    method: str,
    save_fields: bool = True,
    save_figures: bool = True,
    save_warped: bool = False,
) -> None:
    """Write the folder of a segmented volume.

    ``segmentation.nii.gz`` is on the volume's own grid. ``ddf.nii.gz`` (mm, LPS) maps the common grid in the volume's
    space to the best atlas's space: ITK and ANTs can apply it to the atlas's file. Optional are ``warped.nii.gz`` (the
    best atlas on the common grid) and ``segmentation.png``.

    Args:
        folder: folder of the case.
        case, result, labels, scores: the case and its results.
        background: the volume shown behind the labels in the figure, ``[*shape]`` on the file's voxels.
        method: name of the method, stored in ``summary.json``.
        save_fields, save_figures, save_warped: files to write.
    """
    affine = case.common_affine
    with case_folder(folder, case.entry, method) as (beside, summary):
        save_volume(beside / "segmentation.nii.gz", labels, case.affine)
        if save_fields:
            mapping = change_grids(result.ddf[:1], affine, result.affine)
            save_volume_ddf(beside / "ddf.nii.gz", mapping[0], affine)
        if save_warped:
            save_volume(beside / "warped.nii.gz", result.warped[0, 0], affine)
        if save_figures:
            truth = None if case.label is None else torch.from_numpy(case.label)
            pictures.draw_slices(background, labels, truth, beside / "segmentation.png")
        summary |= {
            "source": case.entry.image,
            "synthetic": case.entry.phantom is not None,
            "labels": {str(value): name for value, name in LABELS.items()},
            "voxels": {name: int((labels == value).sum()) for value, name in LABELS.items()},
            "atlases": result.names,
            "atlas_lncc2": result.lncc2,
            "metrics": scores.metrics,
        }


def save_volume(path: Path, values: Tensor, affine: np.ndarray) -> None:
    """Write ``values [X, Y, Z]`` as NIfTI."""
    nibabel.save(nibabel.Nifti1Image(values.numpy(), affine), path)
