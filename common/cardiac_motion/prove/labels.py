"""Data sets with labels in two images: labels of the moving image carried to the fixed one, scored by Dice.

CAMUS (end-diastole to end-systole of one beat) and the pairs of Learn2Reg's Hippocampus MR that no network here was
trained on. Both are read in the layout of their public download.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.prove import hippocampus
from cardiac_motion.prove.hippocampus import dice
from cardiac_motion.prove.measurement import BundleMethod, Registration, Row, register_pairs
from cardiac_motion.prove.sources import CAMUS, TASK04
from cardiac_motion.volume.transforms import normalise, reorient_to_ras

Pair = tuple[Tensor, Tensor]
LISTS = Path("data_lists")  # of the repository
STRUCTURES = {"cavity": 1, "myocardium": 2, "atrium": 3}
PARTS = {"head": 1, "body": 2}
GRID = (48, 64, 48)
CAMUS_METHODS = (
    BundleMethod("NCC flow", "cpwc_echo", options={"wall_motion": "none"}),
    BundleMethod("NCC flow, refined on the pair", "cpwc_echo", ("refined.json",)),
    BundleMethod("nmsr_echo, default", "nmsr_echo"),
    BundleMethod("DIS fast", "dis", ("fast.json",)),
    BundleMethod("Farnebäck", "farneback"),
    BundleMethod("ILK", "ilk"),
    BundleMethod("greedy, NCC", "greedy", needs="picsl_greedy"),
)
TASK04_METHODS = tuple(method for method in hippocampus.METHODS if method.title != "ANTs SyN, CC")  # minutes a pair


def read_array(path: Path) -> Tensor:
    """Read a NIfTI file as ``[*S]`` in RAS order (of a frame: as it is).

    Raises:
        InputError: no readable NIfTI file.
    """
    try:
        image: Any = nibabel.load(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError(f"{path}: no readable NIfTI file ({type(error).__name__})") from None
    if values.ndim == 3:
        return torch.as_tensor(reorient_to_ras(values, image.affine)[0].numpy())
    return torch.from_numpy(values.squeeze().T.copy())


def pad_to_grid(values: Tensor, edge: bool) -> Tensor:
    """Pad a volume symmetrically to ``GRID``, by its edge or by zeros.

    Examples:
        >>> pad_to_grid(torch.ones(40, 60, 40), edge=False).shape
        torch.Size([48, 64, 48])
    """
    margins: list[int] = []
    for size, wanted in zip(reversed(values.shape), reversed(GRID), strict=True):
        before = max(wanted - size, 0) // 2
        margins += [before, max(wanted - size, 0) - before]
    mode = "replicate" if edge else "constant"
    return functional.pad(values[None, None].float(), margins, mode=mode)[0, 0]


def carry_labels(ddf: Tensor, labels: Pair, names: Mapping[str, int]) -> dict[str, float]:
    """Return the Dice coefficient of each carried label.

    Args:
        ddf: field ``[1, d, *S]`` in voxels from the fixed to the moving image.
        labels: label maps ``[*S]`` of the moving and the fixed image.
        names: names of the labels, with their values.

    Examples:
        >>> labels = torch.tensor([[[0, 1, 0]] * 3, [[0, 0, 1]] * 3])  # one column to the right
        >>> ddf = torch.tensor([0.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
        >>> carry_labels(ddf, (labels[0], labels[1]), {"cavity": 1})
        {'cavity': 1.0}
    """
    shares = torch.stack([(labels[0] == value).float() for value in (0, *names.values())])
    carried = warp(shares[None], ddf)[0].argmax(0)
    return {name: dice(carried == k, labels[1] == value) for k, (name, value) in enumerate(names.items(), 1)}


def measure_camus(data: Path, ready: Mapping[str, Registration], reasons: Mapping[str, str]) -> list[Row]:
    """Carry the labels of all patients of the ``valid`` list whose files are there from end-diastole to end-systole."""
    entries = json.loads((LISTS / "camus.json").read_text(encoding="utf-8"))["validation"]
    keys, folder = ("image", "es_image", "ed_label", "es_label"), data / CAMUS.folder
    cases = [[folder / entry[key] for key in keys] for entry in entries]

    def read_pair(paths: list[Path]) -> tuple[Pair, Pair]:
        first, second, label, truth = (read_array(path) for path in paths)
        return (first / 255, second / 255), (label, truth)

    return _measure("CAMUS, end-diastole to end-systole", cases, read_pair, STRUCTURES, ready, reasons)


def measure_task04(data: Path, ready: Mapping[str, Registration], reasons: Mapping[str, str]) -> list[Row]:
    """Register the pairs of Learn2Reg's Hippocampus MR that share no volume with the training list."""
    entries = json.loads((LISTS / "learn2reg_hippocampus.json").read_text(encoding="utf-8"))["unseen"]
    folder, cases = data / TASK04.folder, []
    for entry in entries:
        atlas = f"{entry['atlas']}.nii.gz"
        files = ("imagesTr/" + atlas, entry["image"], "labelsTr/" + atlas, entry["label"])
        cases.append([folder / file for file in files])

    def read_pair(paths: list[Path]) -> tuple[Pair, Pair]:
        moving, fixed = (pad_to_grid(torch.from_numpy(normalise(read_array(p).numpy())), True) for p in paths[:2])
        label, truth = (pad_to_grid(read_array(path), False) for path in paths[2:])
        return (moving, fixed), (label.round(), truth.round())

    return _measure("Learn2Reg Hippocampus MR, unseen pairs", cases, read_pair, PARTS, ready, reasons)


def _measure(
    title: str,
    cases: list[list[Path]],
    read_pair: Callable[[list[Path]], tuple[Pair, Pair]],
    names: Mapping[str, int],
    ready: Mapping[str, Registration],
    reasons: Mapping[str, str],
) -> list[Row]:
    there = [paths for paths in cases if all(path.is_file() for path in paths)]
    measure = f"mean Dice, {len(there)} pairs"
    if not there:
        missing = next(path for path in cases[0] if not path.is_file())
        return [Row(title, "all", "all", "mean Dice", None, note=f"missing: {missing}")]
    values: dict[str, list[dict[str, float]]] = {"identity": []}
    seconds: dict[str, list[float]] = {}
    notes = dict(reasons)
    for paths in show_bar(there, title, "pair"):
        images, labels = read_pair(paths)
        values["identity"].append({n: dice(labels[0] == v, labels[1] == v) for n, v in names.items()})
        left = [(name, method) for name, method in ready.items() if name not in notes]
        failed: list[Row] = []
        for name, (result,) in register_pairs(left, [images], Row(title, "all", "", measure, None), failed):
            values.setdefault(name, []).append(carry_labels(result.ddf, labels, names))
            seconds.setdefault(name, []).append(result.processor_seconds)
        notes |= {row.method: row.note for row in failed}
    rows = []
    for method_title, found_all in values.items():
        if method_title in notes:
            continue
        took = float(np.mean(seconds[method_title])) if method_title in seconds else None
        for name in names:
            value = float(np.mean([found[name] for found in found_all]))
            rows.append(Row(title, name, method_title, measure, value, took))
    return rows + [Row(title, "all", name, measure, None, note=why) for name, why in notes.items()]
