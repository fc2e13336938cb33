"""Tasks of the workbench's workers for volumes: open, segment by atlases, show in the anatomical planes.

The page receives data on the volume's own voxels, with axes reoriented to RAS (right, anterior, superior): grey values,
labels and every ``EVERY``-th vector of the field, in voxels of that grid.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from cardiac_motion.bundle.config import config_files
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.plots import cv2
from cardiac_motion.core.tables import finite
from cardiac_motion.core.whole_files import SUMMARY, write_whole
from cardiac_motion.fields.ddf import sample
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.registration.overlap import segmentation_scores
from cardiac_motion.serving.requests import infer
from cardiac_motion.serving.settings import VOLUME_METHODS
from cardiac_motion.serving.validation import file_stem
from cardiac_motion.serving.workers import CASE, report_progress
from cardiac_motion.volume.read import read_label, read_volume
from cardiac_motion.volume.transforms import SIZE, extent_of, normalise, reorient_to_ras
from cardiac_motion.volume.volume_case import LABELS

BUNDLE = "bundles/ssmsr_hippocampus"
EVERY = 3  # voxels between two arrows
MOST_VOXELS = 2**26
TAKE = "take.zip"  # download of a case
LABEL = "label.nii.gz"  # next to the volume, if given


def open_volume(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read a volume, and its label if given, and prepare them for the page.

    Raises:
        InputError: it is not a volume, is too large, or the label does not match.
    """
    folder = Path(request["case"])
    values, affine = read_volume(request["source"])
    if values.size > MOST_VOXELS:
        raise InputError(
            f"{request['source']}: {values.size / 2**20:.0f} million voxels; the maximum is {MOST_VOXELS >> 20}"
        )
    label = find_uploaded_label(request)
    truth = None if label is None else read_label(label, values.shape, affine)
    oriented = reorient_to_ras(normalise(values), affine)
    grey = np.round(255 * oriented[0].numpy()).astype(np.uint8)
    write_shown(folder, "volume.bin", grey)
    if truth is not None:
        write_shown(folder, "label.bin", reorient_to_ras(truth, affine)[0].numpy().astype(np.uint8))
    middle = cv2.resize(grey[:, ::-1, grey.shape[2] // 2].T, (96, 96))
    (folder / "shown" / "thumbnail.webp").write_bytes(cv2.imencode(".webp", middle)[1].tobytes())
    fits = bool((np.round(extent_of(values.shape, affine)) <= SIZE).all())
    notes = [] if fits else [f"larger than the atlases' {'×'.join(map(str, SIZE))} mm; crop it to the hippocampus"]
    return {
        "kind": "volume",
        "shape": list(grey.shape),
        "zooms": oriented.pixdim.tolist(),
        "label": truth is not None,
        "names": {str(value): name for value, name in LABELS.items()},
        "every": EVERY,
        "notes": notes if request.get("atlases") else ["no atlases; start the workbench with --atlases DIR", *notes],
        "ready": fits and bool(request.get("atlases")),
    }


def segment_volume(request: Mapping[str, Any]) -> dict[str, Any]:
    """Segment a volume by the bundle's ``method``; return ``result`` and its ``row`` of the comparison.

    Raises:
        InputError: there are no atlases, or the volume cannot be segmented by them.
    """
    if not request.get("atlases"):
        raise InputError("segmentation needs atlases; start the workbench with --atlases DIR")
    folder, method, label = Path(request["case"]), request["method"], find_uploaded_label(request)
    if label is not None and (folder / "motion" / method / SUMMARY).is_file():
        return compare_with_label(folder / "motion" / method, method, label)
    report_progress(request["folder"], f"registering atlases by {VOLUME_METHODS[method]}", 0.1)
    options = {"input": request["source"], "atlas_dir": request["atlases"], "label": label}
    answer = infer({"folder": request["folder"], "files": files_of(method), "options": options})
    report_progress(request["folder"], "pictures", 0.95)
    case, stored = Path(request["folder"]) / CASE, folder / "motion" / method
    labels, affine = read_volume(case / "segmentation.nii.gz")
    oriented = reorient_to_ras(labels, affine)
    write_shown(folder, f"labels_{method}.bin", oriented[0].numpy().astype(np.uint8))
    write_shown(folder, f"arrows_{method}.bin", sample_field(case / "ddf.nii.gz", oriented))
    shutil.rmtree(stored, ignore_errors=True)
    shutil.copytree(case, stored)
    return answer_of(answer["summary"], method)


def compare_with_label(stored: Path, method: str, label: str) -> dict[str, Any]:
    """Return the answer for a volume segmented earlier, with Dice and distances to a label uploaded later.

    Raises:
        InputError: the label does not match the volume.
    """
    labels, affine = read_volume(stored / "segmentation.nii.gz")
    truth = read_label(label, labels.shape, affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    predicted, given = (torch.from_numpy(np.ascontiguousarray(values)).round().long() for values in (labels, truth))
    summary = json.loads((stored / SUMMARY).read_text(encoding="utf-8"))
    summary["metrics"] |= dict(segmentation_scores(predicted, given, LABELS, spacing))
    with write_whole(stored / SUMMARY) as beside:
        beside.write_text(json.dumps(finite(summary), indent=1), encoding="utf-8")
    return answer_of(summary, method)


def answer_of(summary: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return ``result`` and ``row`` of a segmented volume's summary."""
    scores = {name: value for name, value in summary["metrics"].items() if isinstance(value, int | float)}
    result = {
        "method": method,
        "title": VOLUME_METHODS[method],
        "scores": scores,
        "atlases": summary.get("atlases", []),
    }
    return {"result": result, "row": {"title": VOLUME_METHODS[method], **scores}}


def take_volume(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files for download: labels, field, picture, summary and the command.

    Raises:
        InputError: the volume has not been segmented by this method yet.
    """
    folder, method, label = Path(request["case"]), request["method"], find_uploaded_label(request)
    stored = folder / "motion" / method
    if not stored.is_dir():
        raise InputError(f"not segmented by {VOLUME_METHODS[method]} yet")
    name = file_stem(request["title"])
    configs = ",".join(f"'{path}'" for path in files_of(method))
    words = ["python -m monai.bundle run", f'--config_file "[{configs}]"', f'--input "{name}/{request["title"]}"']
    words += [f"--label {name}/{LABEL}"] * (label is not None)
    words += [f"--atlas_dir {request['atlases']}", "--output_dir output/again"]
    files = sorted(path for path in stored.iterdir() if path.is_file())
    with write_whole(folder / TAKE) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            archive.write(path, f"{name}/{path.name}")
        archive.writestr(f"{name}/command.txt", " ".join(words) + "\n")
        if label is not None:
            archive.write(label, f"{name}/{LABEL}")
    return {"files": [*(path.name for path in files), "command.txt", *([LABEL] if label else [])], "name": name}


def files_of(method: str) -> list[str]:
    """Return the configurations of a method; later ones override earlier ones."""
    further = [] if method == "ssmsr" else [f"{method}.json"]
    return [str(path) for path in config_files(BUNDLE, further=further)]


def find_uploaded_label(request: Mapping[str, Any]) -> str | None:
    """Return the path of the uploaded label, if any."""
    path = Path(request["case"]) / "source" / LABEL
    return str(path) if path.is_file() else None


def sample_field(path: str | Path, volume: MetaTensor) -> NDArray[np.float32]:
    """Return every ``EVERY``-th vector ``[X, Y, Z, 3]`` of a field, in voxels of the reoriented volume.

    The median is subtracted: it is the offset between the spaces of atlas and volume.

    Args:
        path: file of ``cardiac_motion.fields.field_files.save_volume_ddf``, on the common grid, in voxels of 1 mm.
        volume: ``[1, X, Y, Z]``, reoriented to RAS.
    """
    common = np.asarray(nibabel.load(path).affine)  # type: ignore[attr-defined]
    to_common = torch.from_numpy(np.linalg.inv(common) @ volume.affine.numpy()).float()
    voxels = torch.meshgrid(*(torch.arange(0.0, n, EVERY) for n in volume.shape[1:]), indexing="ij")
    at = torch.einsum("ij,j...->i...", to_common[:3, :3], torch.stack(voxels)) + to_common[:3, 3, None, None, None]
    vectors = sample(load_ddf(path), at[None])[0]
    vectors = vectors - vectors.flatten(1).median(1).values[:, None, None, None]
    return np.asarray(vectors.movedim(0, -1).numpy() / volume.pixdim.numpy(), dtype="<f4")


def write_shown(folder: Path, name: str, values: NDArray[Any]) -> None:
    """Write an array as bytes for the page; the last axis varies fastest."""
    with write_whole(folder / "shown" / name) as beside:
        beside.write_bytes(np.ascontiguousarray(values).tobytes())
