"""Ejection fraction of segmented single frames against experts' contours, and whether its intervals hold.

``python -m benchmarks ejection_fraction`` segments end-diastole and end-systole of the four-chamber frames of CAMUS's
``valid`` list (the segmentation network was trained on ``train``), as they are and made small and compressed as public
clips are, and compares EF by the method of discs with that of the experts' contours. A cine has more than these two
frames: the pipeline's EF is the median over five of them, so single frames show the segmentation's part of the error
at its largest. ``docs/results/ef_camus.csv`` has a row a kind of frames, in percentage points. It needs
``DATA_DIR`` with ``CAMUS_616um`` and ``CAMUS_split.json``; ``EJECTION_FRACTION_CASES`` takes the first patients alone.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.results import ROOT
from cardiac_motion.core.tables import write_csv
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, QUANTILE
from cardiac_motion.strain_pipeline.tracking.image_networks import load_segmentation, segment_heart
from cardiac_motion.strain_pipeline.tracking.wall import extract_lines
from cardiac_motion.training.frames import PHASES, LabelledFrame, read_labelled_frame, read_split
from cardiac_motion.ventricle.contours import wall_contours
from cardiac_motion.ventricle.strain import disc_volume, ejection_fraction

TABLE = ROOT / "docs/results/ef_camus.csv"
KINDS: dict[str, tuple[int, int] | None] = {  # side in pixels and quality of the JPEG
    "as they are": None,
    "112 × 112, JPEG of quality 70": (112, 70),
    "112 × 112, JPEG of quality 40": (112, 40),
}
WORST = 2  # patients whose borders are lost, that a second root mean square error leaves out


def run() -> dict[str, Any]:
    """Write the table; gives the errors of all patients."""
    data = Path(os.environ["DATA_DIR"])
    count = int(os.environ.get("EJECTION_FRACTION_CASES", "0")) or None
    patients = read_split(data / "CAMUS_split.json", "valid")[:count]
    network = load_segmentation(ROOT / "bundles/strain_pipeline/models/segmentation.pt")
    frames = {
        patient: [read_labelled_frame(data / "CAMUS_616um" / patient / f"{patient}_4CH_{phase}.nii.gz")
                  for phase in PHASES]
        for patient in patients
    }  # fmt: skip
    true = {
        patient: ejection_fraction(*(disc_volume(wall_contours(f.label.numpy())[0], f.spacing) for f in pair))
        for patient, pair in frames.items()
    }
    rows, errors = [], {}
    for kind, how in KINDS.items():
        found = {
            patient: ejection_fraction(*(_segmented_volume(frame, how, network) for frame in pair))
            for patient, pair in frames.items()
        }
        errors[kind] = {patient: round(found[patient] - true[patient], 2) for patient in patients}
        rows.append({"frames": kind, **summarise(np.array(list(errors[kind].values())))})
        write_csv(TABLE, rows)
    return {"errors": errors}


def summarise(errors: np.ndarray) -> dict[str, Any]:
    """Bias, errors and share of the intervals that hold, of the errors of all patients; those without a wall apart."""
    known = errors[np.isfinite(errors)]
    size = np.abs(known)
    half = QUANTILE * METHOD["ejection_fraction"]
    return {
        "n": len(known), "no wall": len(errors) - len(known), "bias": known.mean(), "MAE": size.mean(),
        "median absolute error": np.median(size),
        "RMS error without the two worst": np.sqrt((np.sort(size)[:-WORST] ** 2).mean()),
        "intervals that hold, %": 100 * (size <= half).mean(),
    }  # fmt: skip


def shrink_frame(frame: LabelledFrame, side: int, quality: int) -> tuple[np.ndarray, tuple[float, float]]:
    """A frame as a square of ``side``² pixels after JPEG, ``[side, side]`` uint8, and its (row, column) in mm."""
    image = frame.image.numpy()
    longer = max(image.shape)
    square = np.zeros((longer, longer), np.uint8)
    top, left = ((longer - n) // 2 for n in image.shape)
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    file = io.BytesIO()
    Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    row, column = (step * longer / side for step in frame.spacing)
    return np.asarray(Image.open(file)), (row, column)


def _segmented_volume(frame: LabelledFrame, how: tuple[int, int] | None, network: torch.nn.Module) -> float:
    image, spacing = (frame.image.numpy(), frame.spacing) if how is None else shrink_frame(frame, *how)
    cine = torch.from_numpy(image.copy())[None].float() / 255
    line = extract_lines(segment_heart(cine, network), source=frame.name, required=False).lines[0, 0]
    return disc_volume(line, spacing) if np.isfinite(line).all() else float("nan")
