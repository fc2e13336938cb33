"""Simulated DENSE of a heart: the phase of the MR signal holds the displacement of the tissue.

The images show a short-axis ring that contracts and turns, 32 × 32 pixels of 2.5 mm, 25 phases of a beat. At a pixel x
of phase t the phase of the signal is 2π·k·(x − X), with X the place of its tissue at the first phase and k = 0.08
cycles/mm (the encoding frequency that the files state), so X − x is the true field that pulls phase 0 back to phase t.
Methods register the magnitude images, which have no texture within the wall: they can find the motion of its borders,
not its turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
import torch
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import rescale
from cardiac_motion.fields.points import step_backward
from cardiac_motion.prove.measurement import Registration, Row, register_pairs
from cardiac_motion.prove.sources import DENSE
from cardiac_motion.ventricle.strain import length

TITLE = "simulated DENSE of a heart"
EPE, STRAIN = "endpoint error, mm", "circumferential strain, %"
FRAMES = (4, 8, 12, 16, 20)  # phases that are registered to the first one
PHASES = 25
FREQUENCY = 0.08  # cycles/mm
SPACING = 2.5  # mm
LARGEST = 4095  # the stored value of a phase of π; 0 is −π
ENLARGED = 4  # methods search in windows as large as the whole image is
ANGLES = 360


def read_series(data: Path, name: str) -> Tensor:
    """Read the phases of a beat of one series (``mag``, ``px``: rows, ``py``: columns) as ``[T, H, W]``.

    Raises:
        InputError: a file cannot be read.
    """
    frames = []
    for k in range(PHASES):
        path = data / DENSE.folder / f"tagsim/cardiac_data/dense_dicom/{name}/im_{k:03d}.dcm"
        try:
            frames.append(pydicom.dcmread(path).pixel_array.astype(np.float32))
        except (OSError, AttributeError, ValueError, pydicom.errors.InvalidDicomError) as error:
            raise InputError(f"{path}: cannot be read as DICOM ({type(error).__name__})") from None
    return torch.from_numpy(np.stack(frames))


def decode_phase(values: Tensor) -> Tensor:
    """Convert stored phases to displacements in mm, positive toward larger index, within ±6.25 mm.

    Examples:
        >>> decode_phase(torch.tensor([0.0, 2047.5, 4095.0])).tolist()
        [-6.25, 0.0, 6.25]
    """
    return (values / LARGEST - 0.5) / FREQUENCY


def circumferential_strain(ddf: Tensor, wall: Tensor) -> float:
    """Compute the strain of the wall's middle circle in percent, from the first phase to the current one.

    Args:
        ddf: ``[2, H, W]`` in pixels, pulling the first phase back to the current one.
        wall: ``[H, W]`` bool, the ring at the current phase.

    Examples:
        >>> p = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")) - 15.5
        >>> ring = (p.norm(dim=0) > 8) & (p.norm(dim=0) < 12)
        >>> round(circumferential_strain(0.25 * p, ring), 3)  # it was 1.25 times as large
        -20.0
    """
    places = wall.nonzero().float()
    centre = places.mean(0)
    radius = (places - centre).norm(dim=1).mean()
    angle = torch.linspace(0, 2 * math.pi, ANGLES + 1)
    circle = centre + radius * torch.stack([angle.sin(), angle.cos()], 1)
    now, before = (float(length(points.numpy())) for points in (circle, step_backward(circle, ddf)))
    return 100 * (now / before - 1)


def measure_dense(data: Path, ready: Mapping[str, Registration], reasons: Mapping[str, str]) -> list[Row]:
    """Register the magnitude of later phases with the first one; compare with the displacement in the phase.

    Rows are the mean endpoint error over the wall in mm and the circumferential strain, at each of five phases; the
    row ``phase (truth)`` has the strain of the true field.

    Args:
        data: the data folder.
        ready: methods by title.
        reasons: by title, why other methods cannot be run.
    """
    missing = DENSE.find_missing(data)
    if missing:
        return [Row(TITLE, "all", "all", EPE, None, note=f"missing: {missing[0]}")]
    magnitude = read_series(data, "mag")
    truth = -torch.stack([decode_phase(read_series(data, name)) for name in ("px", "py")], 1)  # [T, 2, H, W] in mm
    size = magnitude.shape[1:]
    grey = functional.interpolate(
        (magnitude / magnitude.max())[None], scale_factor=ENLARGED, mode="bicubic", align_corners=False
    )[0].clamp(0, 1)
    rows: list[Row] = []
    for t in show_bar(FRAMES, "DENSE", "phase"):
        wall, case = magnitude[t] > magnitude[t].max() / 2, f"phase {t}"
        strain = circumferential_strain(truth[t] / SPACING, wall)
        rows.append(Row(TITLE, case, "phase (truth)", STRAIN, strain))
        pair, empty = (grey[0], grey[t]), Row(TITLE, case, "", EPE, None)
        for title, (result,) in register_pairs(ready.items(), [pair], empty, rows, reasons):
            ddf = rescale(result.ddf, size)[0]
            distance = (ddf * SPACING - truth[t]).norm(dim=0)[wall].mean()
            rows.append(Row(TITLE, case, title, EPE, float(distance), result.processor_seconds))
            found = circumferential_strain(ddf, wall)
            rows.append(Row(TITLE, case, title, STRAIN, found, result.processor_seconds))
    return rows
