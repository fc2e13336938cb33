"""Frames to train the segmentation on, of cines whose labels somebody saved: one label map (X, Y, T) a cine."""

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

    A frame is labelled where it shows the cavity (label 1). Where a cine's labels have no left atrium (3), it counts as
    untold there, not as background.

    Args:
        datalist: entries with ``image``, a cine, and ``label``, NIfTI (X, Y, T) or, of its first frame, (X, Y).
        fold: which of its lists.
        dataset_dir: folder that relative paths start from.
        frames: of each cine at most, evenly chosen.
        size: of the square.
        augmentation: fields of ``FrameAugmentation``; none leaves the frames as they are.
        seed: of the augmentation.

    Raises:
        InputError: a file can't be read, a label doesn't fit its cine, or no frame is labelled.
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
        found = [frame for entry in entries for frame in read_labelled_frames(entry, frames, size)]
        if not found:
            raise InputError(f"{datalist}: no frame of '{fold}' has a labelled cavity (label 1)")
        super().__init__(found, size, augmentation, seed)


def read_labelled_frames(entry: dict[str, Any], count: int, size: int) -> list[LabelledFrame]:
    """Up to ``count`` labelled frames of one cine.

    Raises:
        InputError: a file can't be read, or the label doesn't fit the cine.
    """
    cine = read_cine(entry["image"])
    frames = (cine.as_tensor()[0] * 255).round().to(torch.uint8)
    labels = torch.from_numpy(read_labels(entry["label"]).T.copy())
    labels = labels[None] if labels.ndim == 2 else labels
    if labels.shape[1:] != frames.shape[1:] or len(labels) not in (1, len(frames)):
        raise InputError(f"{entry['label']}: the label is {tuple(labels.shape)}, the cine {tuple(frames.shape)}")
    if labels.max() >= BACKGROUND_OR_ATRIUM:
        raise InputError(
            f"{entry['label']}: labels are 1 cavity, 2 myocardium, 3 left atrium; found {int(labels.max())}"
        )
    if not (labels == 3).any():
        labels = torch.where(labels == 0, torch.full_like(labels, BACKGROUND_OR_ATRIUM), labels)
    shown = torch.nonzero((labels == 1).any(-1).any(-1))[:, 0]
    chosen = shown[torch.linspace(0, len(shown) - 1, min(count, len(shown))).round().long()].tolist()
    spacing = cine.meta["spacing"] or (1.0, 1.0)
    return [make_labelled_frame(f"{entry['case']}_{t}", frames[t], labels[t], spacing, size) for t in chosen]
