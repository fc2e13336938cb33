"""How well the strain pipeline's image networks do on frames that they were not trained on: Dice, distances, F1.

Segmentation is measured on the frame's own pixels, as ``segment_cine`` gives it, in mm. The view is measured frame by
frame (Østvik et al. 2018, section 4: image-wise F1).
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
    """Write ``metrics.csv`` (a row a frame) and ``summary.json`` (all, ED and ES), and print the table.

    Args:
        network: as ``segment_cine`` takes it.
        dataset: without augmentation; its ``size`` is the network's.
        output_dir: made if missing.

    Returns:
        What ``summary.json`` holds: of each column mean, sd and n; Dice in [0, 1], ``hd95`` and ``hd`` in mm.
    """
    rows = []
    for frame in tqdm(dataset.frames, "segmentation", unit="frame", mininterval=1):
        found = segment_cine(frame.image[None].float() / 255, network, dataset.size)[0].argmax(0)
        scores = segmentation_scores(found, frame.label, LABELS, frame.spacing)
        for value, name in LABELS.items():
            a, b = (labels[None, None] == value for labels in (found, frame.label))
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
    """Write ``metrics.csv`` (a row a frame) and ``summary.json``, and print them.

    Args:
        network: ``[B, 1, S, S]`` to logits ``[B, 8]``.
        dataset: without augmentation.
        output_dir: made if missing.

    Returns:
        What ``summary.json`` holds for each of the data set's ``parts`` that has frames: ``frames``, ``accuracy``,
        ``macro_f1`` and ``f1`` over the views that occur, and ``confusion`` (a row a true view, a column a found one).
    """
    network.eval()
    device = next(network.parameters()).device
    found, truth = [], []
    with torch.no_grad():
        for items in tqdm(DataLoader(dataset, batch), "views", unit="batch", mininterval=1):
            found.append(network(items["image"].to(device)).float().softmax(1).cpu())
            truth.append(items["label"])
    shares, labels = torch.cat(found), torch.cat(truth)
    rows = [
        {
            "case": item.frame.name,
            "view": VIEWS[item.view],
            "found": VIEWS[int(share.argmax())],
            "share": float(share.max()),
        }
        for item, share in zip(dataset.frames, shares, strict=True)
    ]
    found_views = shares.argmax(1)
    summary = {
        name: view_scores(found_views[list(part)], labels[list(part)]) for name, part in dataset.parts.items() if part
    }
    _write(Path(output_dir), rows, summary)
    for name, scores in summary.items():
        print(
            f"{name}: {scores['frames']} frames, accuracy {scores['accuracy']:.3f}, macro F1 {scores['macro_f1']:.3f}"
        )
    return summary


def view_scores(predicted: Tensor, truth: Tensor) -> dict[str, Any]:
    """Scores of predicted against true numbers of views, ``[N]`` each; F1 over the views that ``truth`` holds."""
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
