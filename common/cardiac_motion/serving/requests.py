"""Tasks of a server's worker process: it runs one bundle on one case after another, each with its own options.

``cohort.process`` runs it: a request is a JSON text, its answer ``<folder>/answer.json``. Only the imported libraries
persist between two requests, so that a case gives the same result as ``monai.bundle run``.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from torch import Tensor

from cardiac_motion.bundle.config import content, parse_config
from cardiac_motion.cine.cine_case import CineMeta
from cardiac_motion.cine.labels import read_labels
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.scale import resample_square
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra
from cardiac_motion.core.plots import cv2
from cardiac_motion.core.tables import finite
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.evaluation.case_evaluator import Report
from cardiac_motion.serving.workers import ANSWER, CASE
from cardiac_motion.strain_pipeline.strain_case import StrainCase, lines_by_frame
from cardiac_motion.strain_pipeline.tracking.image_networks import load_segmentation, segment_cine
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.volume.read import read_volume

SHOWN_FRAMES = 16  # frames of a cine from which the uncertainty of its segmentation is computed


def open_requests() -> Callable[[str], None]:
    """Return the function that processes a request.

    A request is a JSON object with ``folder`` (absolute and existing; all files are written there) and ``task``:

    - ``infer``: ``files`` (configurations, merged in order), ``options`` (applied on top) and ``entry`` (``image`` and
      other keys of a datalist entry; None if ``options`` give the input); ``nrrd``: whether the result is also
      written as NRRD.
    - ``check``: ``image``, which must be a cine or a volume; ``label``, if given, must match the image.
    - ``uncertainty``: ``image`` and ``weights`` of a segmentation network.
    - ``train``: ``files`` and ``options`` of a training; its output is written to ``<folder>/log.txt``.
    """
    return serve({"infer": infer, "check": check, "uncertainty": uncertainty_of, "train": train})


def serve(tasks: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]) -> Callable[[str], None]:
    """Return the function that processes requests of these tasks, one at a time, with the given number of threads.

    Args:
        tasks: name to the function that returns a request's answer; it raises ``InputError`` for bad input.
    """
    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)

    def run_task(text: str) -> None:
        request = json.loads(text)
        answer = tasks[request["task"]](request)
        with write_whole(Path(request["folder"]) / ANSWER) as beside:
            beside.write_text(write_json(answer), encoding="utf-8")
        gc.collect()
        if (
            not gc.get_freeze_count()
        ):  # the program itself: to look at it after each request takes longer than a small one
            gc.freeze()

    return run_task


def write_json(answer: dict[str, Any]) -> str:
    """An answer as JSON, which has no NaN, arrays or tensors; most answers have none either.

    Examples:
        >>> write_json({"a": 1.5}), write_json({"a": float("nan")})
        ('{"a": 1.5}', '{"a": null}')
    """
    try:
        return json.dumps(answer, allow_nan=False)
    except (ValueError, TypeError):
        return json.dumps(finite(answer))


def infer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a bundle: ``summary`` as the bundle writes it, ``result`` (the file for the viewer) and ``files``, by name.

    The result is the field (``ddf.nii.gz``), the labels of a volume (``segmentation.nii.gz``) or, for the strain
    pipeline, the labels of the cine's frames (``labels.nii.gz``).

    Raises:
        InputError: the case cannot be processed.
    """
    parser = _parse(request)
    content(parser, "initialize")
    evaluator = content(parser, "evaluator")
    evaluator.run_case(0)
    report: Report = evaluator.state.output
    folder = Path(request["folder"]) / CASE
    if report.folder != folder:
        os.replace(report.folder, folder)
    if isinstance(report, StrainCase):
        labels = wall_labels(report.wall.frame_labels(), report.tracked)
        save_frames(folder / "labels.nii.gz", labels, report.case.entry.image, report.case.meta)
    results = [name for name in ("labels.nii.gz", "segmentation.nii.gz", "ddf.nii.gz") if (folder / name).is_file()]
    if results and request.get("nrrd"):
        results = [convert_to_nrrd(folder / results[0])]
    return {
        "summary": json.loads((folder / "summary.json").read_text(encoding="utf-8")),
        "result": results[0] if results else None,
        "files": sorted(path.name for path in folder.iterdir() if path.is_file()),
    }


def convert_to_nrrd(path: Path) -> str:
    """Write a NIfTI file as NRRD into the same folder, with its affine; return the new file's name."""
    target = path.with_name(path.name.removesuffix(".nii.gz") + ".nrrd")
    itk = import_extra("itk", "an image as NRRD")
    with write_whole(target) as beside:
        itk.imwrite(itk.imread(str(path)), str(beside), compression=True)
    return target.name


def _parse(request: Mapping[str, Any]) -> ConfigParser:
    folder, options = Path(request["folder"]), dict(request["options"])
    if request.get("entry"):
        entry = {**request["entry"], "case": CASE}
        if "blood_mask" in entry:
            entry |= _blood_masks(folder, entry)
        if str(entry.get("contour", "")).endswith((".nii", ".nii.gz")) and "ed" not in entry:
            entry |= find_labelled_frame(entry["contour"])
        datalist = folder / "datalist.json"
        datalist.write_text(json.dumps({"served": [entry]}), encoding="utf-8")
        options |= {"datalist": str(datalist), "dataset_dir": "/", "fold": "served"}
    options |= {"output_dir": str(folder), "mlflow": False}
    return parse_config(request["files"], options)


def _blood_masks(folder: Path, entry: dict[str, Any]) -> dict[str, str]:
    """Write the cavity at end-diastole and end-systole of one label map (X, Y, T) as one file each."""
    path = entry.pop("blood_mask")
    values = read_labels(path)
    if values.ndim != 3 or "ed" not in entry or "es" not in entry:
        raise InputError(
            f"{path}: tracking blood needs ed, es and labels (X, Y, T) of these frames; "
            f"the labels have shape {values.shape}"
        )
    masks = {}
    for name in ("ed", "es"):
        if not 0 <= entry[name] < values.shape[2] or not (values[..., entry[name]] == 1).any():
            raise InputError(f"{path}: no cavity (label 1) at frame {entry[name]} of {values.shape[2]}")
        masks[f"{name}_mask"] = str(folder / f"{name}.nii.gz")
        nibabel.save(
            nibabel.Nifti1Image((values[..., entry[name]] == 1).astype(np.uint8), np.eye(4)), masks[f"{name}_mask"]
        )
    return masks


def find_labelled_frame(path: str) -> dict[str, int]:
    """Return the labelled frame as end-diastole if labels (X, Y, T) contain the cavity in only one; else empty."""
    values = read_labels(path)
    frames = np.flatnonzero((values == 1).any((0, 1)))
    return {"ed": int(frames[0])} if values.ndim == 3 and len(frames) == 1 else {}


def wall_labels(segmented: Tensor, tracked: Sequence[TrackedBeat]) -> NDArray[np.uint8]:
    """Return labels ``[T, H, W]`` of a measured cine: 1 cavity, 2 myocardium, 3 left atrium.

    In the frames of the beats, cavity and myocardium are bounded by the tracked lines on which strain was measured; in
    the others, and for the atrium, the segmentation is used.

    Args:
        segmented: labels ``[T, H, W]`` of the segmentation.
        tracked: tracked wall in each beat.
    """
    labels = segmented.numpy().copy()
    for t, lines in lines_by_frame(tracked, 1).items():
        atrium = labels[t] == 3
        labels[t] = 3 * atrium
        endo, _, epi = (np.round(line[:, ::-1] * 16).astype(np.int32) for line in lines)
        cv2.fillPoly(labels[t], [np.concatenate([epi, endo[::-1]])], 2, cv2.LINE_8, 4)
        cv2.fillPoly(labels[t], [endo], 1, cv2.LINE_8, 4)
    return labels


def save_frames(path: Path, labels: NDArray[np.uint8], source: str, meta: CineMeta) -> None:
    """Write labels ``[T, H, W]`` as NIfTI (X, Y, T), on the grid of the cine if that is NIfTI itself."""
    if source.endswith((".nii", ".nii.gz")):
        like: Any = nibabel.load(source)
        affine, zooms = like.affine, like.header.get_zooms()
        steps = (*zooms[:2], zooms[3] if len(zooms) > 3 else zooms[2])
    else:
        row, column = (step * z for step, z in zip(meta.steps, meta.zoom, strict=True))
        times = meta.frame_times
        steps = (column, row, (times[-1] - times[0]) / (len(times) - 1) if times else 1.0)
        affine = np.diag([*steps, 1.0])
    height, width = (round(n / z) for n, z in zip(labels.shape[1:], meta.zoom, strict=True))
    if (height, width) != labels.shape[1:]:  # measured on square pixels
        labels = np.stack([cv2.resize(t, (width, height), interpolation=cv2.INTER_NEAREST) for t in labels])
    image = nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine)
    image.header.set_zooms(steps)
    nibabel.save(image, path)


def check(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``kind`` (``cine`` or ``volume``) and ``shape``, (T, rows, columns) or (X, Y, Z), of an image.

    Raises:
        InputError: it is neither, or the label's shape differs.
    """
    kind, shape = _kind(request["image"])
    if "label" in request:
        expected = shape if kind == "volume" else shape[::-1]
        label = read_labels(request["label"]).shape
        if label not in (expected, expected[:2] if kind == "cine" else expected):
            raise InputError(f"{request['label']}: the label has shape {label}, its image {expected}")
    return {"kind": kind, "shape": shape}


def _kind(path: str) -> tuple[str, tuple[int, ...]]:
    try:
        return "cine", tuple(read_cine(path).shape[1:])
    except InputError as error:
        if not path.endswith((".nii", ".nii.gz")):
            raise
        no_cine = error
    try:
        return "volume", read_volume(path)[0].shape
    except InputError as error:
        raise InputError(f"{no_cine}; as a volume: {error}") from error


def train(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a training to its end.

    Raises:
        InputError: the data are unsuitable for training.
    """
    with (
        open(Path(request["folder"]) / "log.txt", "w", buffering=1, encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        parser = parse_config(request["files"], request["options"])
        for part in ("initialize", "run"):
            content(parser, part)
    return {}


def uncertainty_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``uncertainty`` of a cine's segmentation, from up to ``SHOWN_FRAMES`` of its frames.

    Raises:
        InputError: the image is not a cine, or the weights cannot be read.
    """
    cine = resample_square(read_cine(request["image"])).as_tensor()[0]
    frames = cine[torch.linspace(0, len(cine) - 1, min(SHOWN_FRAMES, len(cine))).round().long()]
    memberships = segment_cine(frames, load_segmentation(request["weights"]), smooth=False)
    return {"uncertainty": uncertainty(memberships)}


def uncertainty(memberships: Tensor) -> float:
    """Return the mean entropy of memberships ``[T, C, H, W]`` relative to its maximum, in [0, 1], in the foreground.

    The foreground is where the background's membership is below 0.95. If it is empty, nothing was found: 1.
    """
    foreground = memberships[:, 0] < 0.95
    if not foreground.any():
        return 1.0
    entropy = -(memberships * memberships.clamp(min=1e-12).log()).sum(1) / np.log(memberships.shape[1])
    return float(entropy[foreground].mean())
