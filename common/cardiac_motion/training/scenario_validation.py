"""Validate a flow network per simulation scenario, on pairs of neighbouring frames from held-out templates.

A scenario is a folder of pairs that ``python -m cardiac_motion.simulation pairs`` has rendered, ``<set>/<scenario>``
(``clean/static``). The same pairs are registered once by reference methods, for the same table.
"""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from tqdm import tqdm

from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import write_csv
from cardiac_motion.networks.weights import save_weights
from cardiac_motion.registration.flow_loss import endpoint_error, endpoint_error_mm
from cardiac_motion.registration.pairwise import SizedInferer
from cardiac_motion.registration.result import register
from cardiac_motion.simulation.datasets.rendered import map_arrays, read_pair
from cardiac_motion.training.trainer import RegistrationTrainer, Weights

log = logging.getLogger(__name__)

Item = dict[str, Tensor]
_AROUND = 24  # margin in pixels around the mask for networks with a ``SizedInferer``


def read_scenarios(folder: str | Path, patients: int = 8, pairs: int = 1) -> dict[str, list[Item]]:
    """Read pairs of neighbouring frames, by scenario ``<set>/<scenario>``.

    Args:
        folder: contains one folder of ``write_pairs`` for each set.
        patients: number of patients of each scenario; those without a pair of neighbouring frames are skipped.
        pairs: number of pairs of each patient.

    Raises:
        InputError: the folder contains no such pair.
    """
    scenarios: dict[str, list[Item]] = {}
    for scenario in sorted(path for path in Path(folder).glob("*/*") if path.is_dir()):
        for path in sorted(scenario.glob("[0-9]*.npz"))[:patients]:
            near = [number for number, gap in enumerate(map_arrays(path)["gaps"]) if gap == 1][:pairs]
            items = [item for item in (read_pair(path, number) for number in near) if item is not None]
            name = f"{scenario.parent.name}/{scenario.name}"
            scenarios.setdefault(name, []).extend(i for i in items if i["mask"].any())
    scenarios = {name: items for name, items in scenarios.items() if items}
    if not scenarios:
        raise InputError(f"{folder}: contains no rendered pairs of neighbouring frames")
    return scenarios


def measure_scenarios(
    scenarios: Mapping[str, Sequence[Item]], network: nn.Module, inferer: Inferer | None = None
) -> dict[str, float]:
    """Return the mean endpoint error of each scenario, ``<name> mm`` and ``<name> px``, and the mean over scenarios.

    Args:
        scenarios: pairs, from ``read_scenarios``.
        network: maps ``image [B, 2, H, W]`` to ``ddf [B, 2, H, W]``.
        inferer: runs it on the pairs; a ``SizedInferer`` is restricted to the surroundings of the mask to save time.
    """
    inferer = inferer or SimpleInferer()
    network.eval()
    errors: dict[str, float] = {}
    for name, items in scenarios.items():
        pairs = []
        for item in items:
            run = inferer
            if isinstance(inferer, SizedInferer):
                run = inferer.restrict(bounding_box(item["mask"][None] > 0, item["mask"].shape[1:], _AROUND))
            with torch.no_grad():
                ddf = register(item["image"][None], network, run).ddf.float().cpu()
            known = [item[key][None] for key in ("field", "mask", "spacing")]
            pairs.append((endpoint_error_mm(ddf, *known), endpoint_error(ddf, *known[:2])))
        for unit, values in zip(("mm", "px"), zip(*pairs, strict=True), strict=True):
            errors[f"{name} {unit}"] = float(torch.cat(values).mean())
    for unit in ("mm", "px"):
        errors[f"mean {unit}"] = sum(errors[f"{name} {unit}"] for name in scenarios) / len(scenarios)
    return errors


class ValidateScenarios:
    """Write the endpoint error per scenario to a table during training, after those of the reference methods.

    Columns: ``method``, ``step``, ``processor_s`` (CPU seconds of the training so far, validation included), and the
    results of ``measure_scenarios``. A resumed training continues the same table.

    Args:
        folder, patients, pairs: as in ``read_scenarios``.
        path: the CSV file.
        weights: handler whose network is measured (its moving average, if it has one).
        inferer: as in ``measure_scenarios``.
        references: reference methods by name; they are given whole frames.
        interval: in epochs.
        best: file for the fp16 weights with the lowest mean error in mm over the scenarios; None writes none.
    """

    def __init__(
        self,
        folder: str | Path,
        path: str | Path,
        weights: Weights,
        inferer: Inferer | None = None,
        references: Mapping[str, nn.Module] | None = None,
        patients: int = 8,
        pairs: int = 1,
        interval: int = 1,
        best: str | Path | None = None,
    ) -> None:
        self.scenarios = read_scenarios(folder, patients, pairs)
        self.path, self.weights, self.inferer, self.interval, self.best = Path(path), weights, inferer, interval, best
        self.references = dict(references or {})
        self._before: float | None = None
        self._began = 0.0

    def attach(self, engine: RegistrationTrainer) -> None:
        """Measure the reference methods at the start, and the network after every ``interval``-th epoch."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    def rows(self) -> list[dict[str, str]]:
        """Read the table."""
        if not self.path.is_file():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _start(self, engine: RegistrationTrainer) -> None:
        if idist.get_rank():
            return
        self._began = time.process_time()
        rows: list[dict[str, Any]] = list(self.rows())
        measured = {row["method"] for row in rows}
        for name, network in self.references.items():
            if name not in measured:
                rows.append(self._row(name, "", "", measure_scenarios(self.scenarios, network)))
                write_csv(self.path, rows)

    @staticmethod
    def _row(method: str, step: int | str, seconds: float | str, errors: Mapping[str, float]) -> dict[str, Any]:
        row = {"method": method, "step": step, "processor_s": seconds}
        return row | {key: round(value, 5) for key, value in errors.items()}

    def __call__(self, engine: RegistrationTrainer) -> None:
        if idist.get_rank():
            return
        step = engine.state.iteration
        rows: list[dict[str, Any]] = [row for row in self.rows() if not row["step"] or int(row["step"]) < step]
        curve = [row for row in rows if row["step"]]
        if self._before is None:
            self._before = max((float(row["processor_s"]) for row in curve), default=0.0)
        seconds = round(self._before + time.process_time() - self._began, 2)
        errors = measure_scenarios(self.scenarios, self.weights.network(), self.inferer)
        write_csv(self.path, [*rows, self._row("network", step, seconds, errors)])
        tqdm.write(f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in errors.items() if k.endswith("mm")))
        lowest = min((float(row["mean mm"]) for row in curve), default=float("inf"))
        if self.best is not None and errors["mean mm"] < lowest:
            save_weights(self.weights.network(), self.best)
