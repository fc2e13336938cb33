"""Labelled frames of the user's cines to train segmentation: one label map (X, Y, T) per cine."""

from __future__ import annotations

from typing import Any

import torch

from cardiac_motion.cine.labels import read_labels
from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.datalist import read_datalist
from cardiac_motion.core.errors import InputError
from cardiac_motion.training.frames import BACKGROUND_OR_ATRIUM, LabelledFrame, LabelledFrames, make_labelled_frame


class StudyFrames(LabelledFrames):
    """The labelled frames of a datalist's cines, in memory.

    A frame is labelled if it contains the cavity (label 1). If a cine's label map has no left atrium (3), unlabelled
    pixels count as background or atrium, not as background.

    Args:
        datalist: list with entries ``image``, a cine, and ``label``, NIfTI (X, Y, T) or, for its first frame, (X, Y).
        fold: name of the fold.
        dataset_dir: folder of relative paths.
        frames: maximum number of frames per cine, evenly spaced.
        size: size of the square.
        augmentation: fields of ``FrameAugmentation``; None does not augment.
        seed: seed of the augmentation.

    Raises:
        InputError: a file cannot be read, a label map does not match its cine, or no frame is labelled.
    """

    def __init__(
        self,
        datalist: str,
        fold: str = "training",
        dataset_dir: str = ".",
        frames: int = 8,
        size: int = 256,
        augmentation: dict[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        entries = read_datalist(datalist, fold, dataset_dir)
        labelled = [frame for entry in entries for frame in read_labelled_frames(entry, frames, size)]
        if not labelled:
            raise InputError(f"{datalist}: no frame of '{fold}' has a labelled cavity (label 1)")
        super().__init__(labelled, size, augmentation, seed)


def read_labelled_frames(entry: dict[str, Any], count: int, size: int) -> list[LabelledFrame]:
    """Read up to ``count`` labelled frames of one cine.

    Raises:
        InputError: a file cannot be read, or the label map does not match the cine.
    """
    cine = read_cine(entry["image"])
    frames = (cine.as_tensor()[0] * 255).round().to(torch.uint8)
    labels = torch.from_numpy(read_labels(entry["label"]).T.copy())
    labels = labels[None] if labels.ndim == 2 else labels
    if labels.shape[1:] != frames.shape[1:] or len(labels) not in (1, len(frames)):
        raise InputError(f"{entry['label']}: label map {tuple(labels.shape)} does not match cine {tuple(frames.shape)}")
    if labels.max() >= BACKGROUND_OR_ATRIUM:
        raise InputError(
            f"{entry['label']}: labels must be 1 cavity, 2 myocardium or 3 left atrium; got {int(labels.max())}"
        )
    if not (labels == 3).any():
        labels = torch.where(labels == 0, torch.full_like(labels, BACKGROUND_OR_ATRIUM), labels)
    labelled = torch.nonzero((labels == 1).any(-1).any(-1))[:, 0]
    chosen = labelled[torch.linspace(0, len(labelled) - 1, min(count, len(labelled))).round().long()].tolist()
    spacing = cine.meta["spacing"] or (1.0, 1.0)
    return [make_labelled_frame(f"{entry['case']}_{t}", frames[t], labels[t], spacing, size) for t in chosen]
