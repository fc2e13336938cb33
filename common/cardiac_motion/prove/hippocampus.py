"""Hippocampi of two public T1 scans: label propagation by registration, in both directions and on both sides.

The scans are cropped to 48 × 64 × 48 mm around the hippocampus of the moving scan, as in the data for which the methods
were developed; the fixed scan's labels are used only for the score, the Dice coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.prove.measurement import BundleMethod, Registration, Row, register_pairs
from cardiac_motion.prove.sources import TUTORIALS, VOXELMORPH
from cardiac_motion.volume.transforms import SIZE, normalise

DATA, MEASURE = "hippocampus, other scans", "Dice"
SIDES = {"left": 17, "right": 53}  # FreeSurfer's labels
METHODS = tuple(
    BundleMethod(title, bundle, configs, inferer="registration", needs=needs)
    for title, bundle, configs, needs in (
        ("SSMSR", "ssmsr_hippocampus", (), ""),
        ("ANTs SyN, CC", "ants_syn", (), "ants"),
        ("ANTs SyN, quick", "ants_syn", ("quick.json",), "ants"),
        ("greedy, NCC", "greedy", ("volume.json",), "picsl_greedy"),
        ("convexAdam", "convexadam", (), "convexAdam"),
        ("B-spline free-form deformation", "niftyreg", (), ""),
        ("VoxelMorph, trained on Task04", "voxelmorph", (), ""),
        ("NeurReg, trained on Task04", "neurreg", (), ""),
    )
)


@dataclass(frozen=True)
class Scan:
    """A scan with the labels of both hippocampi.

    Attributes:
        name: name of the scan.
        values: intensities ``[X, Y, Z]``, axes in RAS order, voxels of 1 mm.
        labels: ``[X, Y, Z]``, FreeSurfer's labels.
    """

    name: str
    values: NDArray[np.float64]
    labels: NDArray[np.int64]


def to_ras(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring an array of these data sets (axes left, inferior, anterior) into RAS order.

    Examples:
        >>> float(to_ras(np.arange(8.0).reshape(2, 2, 2))[0, 0, 0])
        6.0
    """
    return np.ascontiguousarray(values[::-1, ::-1].transpose(0, 2, 1))


def read_scans(data: Path) -> list[Scan]:
    """Read the two scans.

    Raises:
        InputError: a file is missing or is not one of these.
    """
    scan, (volume, segmentation) = (data / VOXELMORPH.folder / VOXELMORPH.files[0]), TUTORIALS.files
    parts = {
        "test_scan": ((scan, "vol"), (scan, "seg")),
        "subject_1": tuple((data / TUTORIALS.folder / file, "vol_data") for file in (volume, segmentation)),
    }
    scans = []
    for name, files in parts.items():
        arrays = []
        for path, key in files:
            try:
                with np.load(path) as stored:
                    arrays.append(to_ras(stored[key]))
            except (OSError, ValueError, KeyError) as error:
                raise InputError(f"{path}: cannot be read as a scan ({type(error).__name__})") from None
        scans.append(Scan(name, arrays[0], arrays[1].round().astype(np.int64)))
    return scans


def crop_around(labels: NDArray[np.int64], label: int) -> tuple[slice, ...]:
    """Return the box of ``SIZE`` voxels around the middle of a label, shifted to lie inside the scan.

    Examples:
        >>> labels = np.zeros((60, 70, 60), dtype=np.int64)
        >>> labels[30, 40, 30] = 17
        >>> [(part.start, part.stop) for part in crop_around(labels, 17)]
        [(6, 54), (6, 70), (6, 54)]
    """
    voxels = np.nonzero(labels == label)
    box = []
    for axis, size in enumerate(SIZE):
        middle = (int(voxels[axis].min()) + int(voxels[axis].max()) + 1) // 2
        start = min(max(middle - size // 2, 0), labels.shape[axis] - size)
        box.append(slice(start, start + size))
    return tuple(box)


def dice(first: Tensor, second: Tensor) -> float:
    """Return the Dice coefficient of two masks.

    Examples:
        >>> dice(torch.tensor([True, True, False]), torch.tensor([True, False, False]))
        0.6666666865348816
    """
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def measure_scans(data: Path, ready: Mapping[str, Registration], reasons: Mapping[str, str]) -> list[Row]:
    """Register the scans by all methods, in both directions, around either hippocampus.

    Args:
        data: the data folder.
        ready: methods by title.
        reasons: by title, why other methods cannot be run.
    """
    missing = [*VOXELMORPH.find_missing(data), *TUTORIALS.find_missing(data)]
    if missing:
        return [Row(DATA, "both", "all", MEASURE, None, note=f"missing: {missing[0]}")]
    first, second = read_scans(data)
    rows: list[Row] = []
    directions = [(a, b, side) for a, b in ((first, second), (second, first)) for side in SIDES]
    for moving, fixed, side in show_bar(directions, "hippocampi", "pair"):
        box = crop_around(moving.labels, SIDES[side])
        moving_image, fixed_image = (torch.from_numpy(normalise(scan.values[box])) for scan in (moving, fixed))
        labels = [torch.from_numpy(scan.labels[box] == SIDES[side]) for scan in (moving, fixed)]
        case = f"{moving.name} to {fixed.name}, {side}"
        rows.append(Row(DATA, case, "identity", MEASURE, dice(*labels)))
        empty = Row(DATA, case, "", MEASURE, None)
        for title, (result,) in register_pairs(ready.items(), [(moving_image, fixed_image)], empty, rows, reasons):
            propagated = warp(labels[0][None, None].float(), result.ddf)[0, 0] > 0.5
            rows.append(Row(DATA, case, title, MEASURE, dice(propagated, labels[1]), result.processor_seconds))
    return rows
