"""Evaluation of the strain pipeline's image networks on frames not used for training: Dice, distances, F1.

Segmentations from ``segment_cine`` are evaluated on the frame's own pixels, distances in mm. Views are evaluated frame
by frame (Østvik et al. 2018, section 4: image-wise F1).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from monai.metrics import compute_hausdorff_distance
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from cardiac_motion.core.extras import import_extra
from cardiac_motion.core.tables import finite, statistics, write_csv
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.registration.overlap import segmentation_scores
from cardiac_motion.strain_pipeline.tracking.image_networks import segment_cine
from cardiac_motion.training.frames import SegmentationFrames
from cardiac_motion.training.view_frames import ViewFrames
from cardiac_motion.ventricle.labels import LABELS
from cardiac_motion.ventricle.views import VIEWS


def evaluate_segmentation(network: nn.Module, dataset: SegmentationFrames, output_dir: str) -> dict[str, Any]:
    """Write ``metrics.csv`` (one row per frame) and ``summary.json`` (all, ED and ES), and print the table.

    Args:
        network: segmentation network, as in ``segment_cine``.
        dataset: frames without augmentation; its ``size`` is the network's.
        output_dir: output folder, created if missing.

    Returns:
        The content of ``summary.json``: mean, sd and n of each column; Dice in [0, 1], ``hd95`` and ``hd`` in mm.
    """
    rows = []
    for frame in tqdm(dataset.frames, "segmentation", unit="frame", mininterval=1):
        predicted = segment_cine(frame.image[None].float() / 255, network, dataset.size)[0].argmax(0)
        scores = segmentation_scores(predicted, frame.label, LABELS, frame.spacing)
        for value, name in LABELS.items():
            a, b = (labels[None, None] == value for labels in (predicted, frame.label))
            both = bool(a.any() and b.any())
            distance = compute_hausdorff_distance(a, b, True, spacing=frame.spacing) if both else torch.nan
            scores[f"hd_{name}"] = float(distance)
        rows.append({"case": frame.name, **scores})
    parts = {"all": rows, **{phase: [r for r in rows if str(r["case"]).endswith(phase)] for phase in ("ED", "ES")}}
    summary = {part: statistics(chosen) for part, chosen in parts.items()}
    _write(Path(output_dir), rows, summary)
    for part, columns in summary.items():
        words = (f"{k} {v['mean']:.3f} ± {v['sd']:.3f}" for k, v in columns.items() if "_" in k)
        print(f"{part} ({len(parts[part])} frames): " + ", ".join(words))
    return summary


def evaluate_view(network: nn.Module, dataset: ViewFrames, output_dir: str, batch: int = 32) -> dict[str, Any]:
    """Write ``metrics.csv`` (one row per frame) and ``summary.json``, and print them.

    Args:
        network: maps ``[B, 1, S, S]`` to logits ``[B, 8]``.
        dataset: frames without augmentation.
        output_dir: output folder, created if missing.

    Returns:
        The content of ``summary.json``, for each non-empty part of the data set: ``frames``, ``accuracy``,
        ``macro_f1`` and ``f1`` over the views that occur, and ``confusion`` (rows: true views, columns: predicted).
    """
    network.eval()
    device = next(network.parameters()).device
    outputs, truth = [], []
    with torch.no_grad():
        for items in tqdm(DataLoader(dataset, batch), "views", unit="batch", mininterval=1):
            outputs.append(network(items["image"].to(device)).float().softmax(1).cpu())
            truth.append(items["label"])
    probabilities, labels = torch.cat(outputs), torch.cat(truth)
    rows = [
        {
            "case": item.frame.name,
            "view": VIEWS[item.view],
            "predicted": VIEWS[int(probability.argmax())],
            "probability": float(probability.max()),
        }
        for item, probability in zip(dataset.frames, probabilities, strict=True)
    ]
    predicted = probabilities.argmax(1)
    summary = {
        name: view_scores(predicted[list(part)], labels[list(part)]) for name, part in dataset.parts.items() if part
    }
    _write(Path(output_dir), rows, summary)
    for name, scores in summary.items():
        print(
            f"{name}: {scores['frames']} frames, accuracy {scores['accuracy']:.3f}, macro F1 {scores['macro_f1']:.3f}"
        )
    return summary


def view_scores(predicted: Tensor, truth: Tensor) -> dict[str, Any]:
    """Score predicted against true view numbers, ``[N]`` each; F1 over the views that occur in ``truth``."""
    occurs = truth.unique().tolist()
    pair = truth.numpy(force=True), predicted.numpy(force=True)
    metrics = import_extra("sklearn.metrics", "the scores of views")
    score = metrics.f1_score(*pair, labels=occurs, average=None, zero_division=0)
    return {
        "frames": len(truth),
        "accuracy": float(metrics.accuracy_score(*pair)),
        "macro_f1": float(score.mean()),
        "f1": {VIEWS[view]: float(value) for view, value in zip(occurs, score, strict=True)},
        "confusion": metrics.confusion_matrix(*pair, labels=range(len(VIEWS))).tolist(),
    }


def _write(output_dir: Path, rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    write_csv(output_dir / "metrics.csv", rows)
    with write_whole(output_dir / "summary.json") as beside:
        beside.write_text(json.dumps(finite(summary), indent=1), encoding="utf-8")
