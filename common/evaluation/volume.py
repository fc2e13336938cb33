"""Handlers of registration-based segmentation: Dice, distances and regularity of each case, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from torch import Tensor

from common.core.memory import peak_memory
from common.evaluation import figures
from common.evaluation.evaluator import CaseEvaluator, CaseEvents
from common.evaluation.writer import CaseWriter
from common.fields.ddf import between_grids
from common.fields.files import save_volume_ddf
from common.fields.regularity import folding, log_jacobian_sd
from common.registration.atlas import AtlasSegmentation, Segmentation
from common.registration.overlap import segmentation_scores
from common.volume.cases import LABELS


class SegmentationMetrics:
    """Measures the segmentation of each case, on the volume's own voxels, and its fields.

    Puts into the engine's output ``segmentation`` (label map ``[*shape]``), ``report`` (text) and ``metrics``: with a
    label ``dice_head``, ``dice_body``, ``dice``, ``hd95_…`` in mm, ``missed``; always ``folding`` (part of the voxels,
    in [0, 1], mean over the atlases), ``log_jacobian_sd``, ``nlcc`` (5³) of the best atlas, ``seconds``,
    ``choice_seconds``, ``registration_seconds`` and ``memory_mib`` (peak of the process).
    """

    def attach(self, engine: CaseEvaluator) -> None:
        engine.add_event_handler(CaseEvents.CASE_DONE, self)

    def __call__(self, engine: CaseEvaluator) -> None:
        case, found = engine.state.output, segmentation_of(engine)
        case["segmentation"] = case["grid"].own(found.memberships).argmax(1)[0].to(torch.uint8)
        metrics: dict[str, Any] = {}
        if "label" in case:
            truth = torch.from_numpy(np.ascontiguousarray(case["label"]))
            spacing = np.linalg.norm(case["grid"].affine[:3, :3], axis=0).tolist()
            metrics = segmentation_scores(case["segmentation"], truth, LABELS, spacing)
        metrics |= {
            "folding": float(folding(found.ddf, case["mask"]).mean()),
            "log_jacobian_sd": float(log_jacobian_sd(found.ddf, case["mask"]).mean()),
            "nlcc": found.nlcc[0],
            "seconds": case["seconds"],
            "choice_seconds": found.choice_seconds,
            "registration_seconds": found.registration_seconds,
            "memory_mib": peak_memory() / 2**20,
        }
        case["metrics"] = metrics
        case["report"] = report(case["case"], found, metrics)


def segmentation_of(engine: CaseEvaluator) -> Segmentation:
    """The result of the engine's ``AtlasSegmentation`` for the present case."""
    inferer = engine.inferer
    if not isinstance(inferer, AtlasSegmentation) or inferer.result is None:
        raise TypeError(f"needs an AtlasSegmentation as the evaluator's inferer, got {type(inferer).__name__}")
    return inferer.result


def report(name: str, found: Segmentation, metrics: dict[str, float]) -> str:
    """A few lines for the terminal."""
    count = len(found.names)
    lines = [f"{name}: {found.names[0]}" + (f" and {count - 1} more atlases" if count > 1 else "")]
    if "dice" in metrics:
        parts = ", ".join(f"{key} {metrics[f'dice_{key}']:.3f}" for key in LABELS.values())
        lines.append(f"  Dice {metrics['dice']:.3f} ({parts}), HD95 {metrics['hd95']:.2f} mm")
    lines.append(
        f"  NLCC {metrics['nlcc']:.3f}, folding {100 * metrics['folding']:.3f} %, {metrics['seconds']:.1f} s "
        f"(choice {metrics['choice_seconds']:.1f} s)"
    )
    return "\n".join(lines)


class SegmentationWriter(CaseWriter):
    """The folder of a segmented volume.

    ``segmentation.nii.gz`` lies on the volume's own grid. ``ddf.nii.gz`` (mm, LPS) leads from the common grid in the
    volume's space to the best atlas's space: ITK and ANTs apply it to the atlas as it is on disk. Beside them, where
    asked, ``warped.nii.gz`` (the best atlas on the common grid) and ``segmentation.png``.
    """

    def write(self, folder: Path, case: dict[str, Any], engine: CaseEvaluator) -> dict[str, Any]:
        found, grid = segmentation_of(engine), case["grid"]
        save_volume(folder / "segmentation.nii.gz", case["segmentation"], grid.affine)
        if self.ddf:
            mapping = between_grids(found.ddf[:1], grid.common_affine, found.grid.common_affine)
            save_volume_ddf(folder / "ddf.nii.gz", mapping[0], grid.common_affine)
        if self.warped:
            save_volume(folder / "warped.nii.gz", found.warped[0, 0], grid.common_affine)
        if self.figures:
            truth = torch.from_numpy(case["label"]) if "label" in case else None
            image = grid.own(case["image"])[0, 0]
            figures.segmented_slices(image, case["segmentation"], truth, folder / "segmentation.png")
        return {
            "source": case["entry"]["image"],
            "synthetic": "phantom" in case["entry"],
            "labels": {str(value): name for value, name in LABELS.items()},
            "voxels": {name: int((case["segmentation"] == value).sum()) for value, name in LABELS.items()},
            "atlases": found.names,
            "atlas_nlcc": found.nlcc,
            "metrics": case["metrics"],
        }


def save_volume(path: Path, values: Tensor, affine: np.ndarray) -> None:
    """Write ``values [X, Y, Z]`` as NIfTI."""
    nibabel.save(nibabel.Nifti1Image(values.numpy(), affine), path)
