"""What the trainer of ``common.training`` needs to train on labelled frames: losses, measures and the kept curve.

A batch has ``image [B, 1, S, S]`` and ``label``: ``[B, 1, S, S]`` of whole numbers for segmentation, ``[B]`` for views.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.nn import functional

from common.echo_frames import UNTOLD
from common.engine import peak_memory
from common.files import written_whole
from common.outputs import write_csv
from common.record import RECORD, environment, send_or_keep


def segmentation_loss(logits: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """1 − soft Dice over the batch, the mean of the structures (Østvik et al. 2018, section 2.2), and cross-entropy.

    A pixel labelled ``UNTOLD`` belongs to background and left atrium as the network itself divides it between them: the
    gradient of the cross-entropy is then that of their joint probability.

    Args:
        logits: ``[B, 4, H, W]``: background and ``LABELS``.
        label: ``[B, 1, H, W]``.
    """
    share = logits.softmax(1)
    truth = functional.one_hot(label[:, 0], UNTOLD + 1).movedim(-1, 1).to(share)
    divided = share.detach()[:, [0, 3]]
    divided = divided / divided.sum(1, keepdim=True).clamp(min=1e-6)
    first, second = (truth[:, UNTOLD] * part for part in divided.unbind(1))
    truth = torch.stack([truth[:, 0] + first, truth[:, 1], truth[:, 2], truth[:, 3] + second], 1)
    both, sizes = (share * truth).sum((0, 2, 3)), (share + truth).sum((0, 2, 3))
    dice = (2 * both + 1) / (sizes + 1)
    return 1 - dice[1:].mean() - (truth * logits.log_softmax(1)).sum(1).mean()


def view_loss(logits: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """Categorical cross-entropy (section 2.1) of ``logits [B, C]`` against ``label [B]``."""
    return functional.cross_entropy(logits, label)


class StructureDice:
    """Dice of one structure in each frame, ``[B]``; NaN where neither has it.

    Args:
        value: of the label.
    """

    def __init__(self, value: int) -> None:
        self.value = value

    def __call__(self, logits: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
        found, truth = logits.argmax(1) == self.value, label[:, 0] == self.value
        return 2 * (found & truth).sum((1, 2)) / (found.sum((1, 2)) + truth.sum((1, 2)))


def accuracy(logits: Tensor, label: Tensor, **batch: Tensor) -> Tensor:
    """1 where the largest of ``logits [B, C]`` is the label, else 0: ``[B]``."""
    return (logits.argmax(1) == label).float()


class TrainingRecord:
    """Keeps the curve of a training in ``<output_dir>/training.csv`` and sends it to MLflow when training ends.

    ``Validate(record=…)`` calls it with the metrics of an epoch; a resumed training goes on with the same table.

    Args:
        output_dir: where the table, the record and by default the MLflow store lie.
        experiment: of MLflow.
        params: the resolved numbers of the configuration.
        enabled: False leaves MLflow alone.
    """

    def __init__(
        self, output_dir: str, experiment: str, params: Mapping[str, Any] | None = None, enabled: bool = True
    ) -> None:
        self.output_dir, self.experiment, self.enabled = Path(output_dir), experiment, enabled
        self.params = dict(params or {})
        self.table = self.output_dir / "training.csv"

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self._end)

    def rows(self) -> list[dict[str, float]]:
        """The epochs kept so far."""
        if not self.table.is_file():
            return []
        with self.table.open(newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]

    def __call__(self, metrics: Mapping[str, float], epoch: int) -> None:
        before = [row for row in self.rows() if row["epoch"] < epoch]
        write_csv(self.table, [*before, {"epoch": epoch, **{k: round(v, 5) for k, v in metrics.items()}}])

    def _end(self, engine: Engine) -> None:
        rows = self.rows()
        if not (self.enabled and rows) or idist.get_rank():
            return
        curves = {name: [row[name] for row in rows] for name in rows[0] if name != "epoch"}
        record = {
            "experiment": self.experiment,
            "run_name": "training",
            "params": self.params,
            "environment": environment(),
            "cases": [{"case": "training", "metrics": rows[-1], "pairs": None, "files": []}],
            "curves": curves,
            "failed": {},
            "peak_memory_bytes": peak_memory(),
            "files": [self.table.name],
        }
        with written_whole(self.output_dir / RECORD) as beside:
            beside.write_text(json.dumps(record, indent=1, default=str))
        send_or_keep(self.output_dir)
