"""The evaluator that every bundle runs: one case after the other, and a bad one never stops the list."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import EventEnum, Events
from monai.engines import Evaluator
from monai.inferers import Inferer, SimpleInferer
from torch import nn
from torch.utils.data import Dataset

from common.core.errors import InputError, input_error_in
from common.core.folders import case_names

log = logging.getLogger(__name__)


class CaseEvents(EventEnum):
    """``CASE_READ`` fires with the case in ``engine.state.output`` before the inferer runs, ``CASE_DONE`` when the
    field is there; what a handler raises counts against the case."""

    CASE_READ = "case_read"
    CASE_DONE = "case_done"


class CaseEvaluator(Evaluator):
    """Runs ``inferer(image, network, mask=…)`` on each case of a data set.

    ``engine.state.output`` then holds what the data set gave, ``pred`` (the field) and ``seconds``;
    ``engine.state.failed`` maps the cases that could not be done to the reason.

    Args:
        dataset: gives dictionaries with ``case``, ``image`` and, if any, ``mask``; its ``entries`` are those of a list.
        network: under the contract ``image [B, 2, *S]`` to ``ddf [B, d, *S]``.
        inferer: MONAI inferer; a ``MultiScaleTestTimeTraining``, say. One that keeps checkpoints is told to
            ``forget()`` them when the case's outputs are written.
        val_handlers: writers, metrics and records, attached in this order.
        output_dir: where the results go; before anything is computed each case gets a folder there that is no input
            and no other case's (``common.core.folders``).
    """

    def __init__(
        self,
        device: torch.device | str,
        dataset: Dataset,
        network: nn.Module,
        inferer: Inferer | None = None,
        val_handlers: Sequence[Any] | None = None,
        output_dir: str | None = None,
    ) -> None:
        self.dataset, self.output_dir, self.placed = dataset, output_dir, output_dir is None
        self.inferer = inferer or SimpleInferer()
        super().__init__(
            torch.device(device) if isinstance(device, str) else device,
            range(len(dataset)),  # type: ignore[arg-type]
            val_handlers=val_handlers,
            event_names=[CaseEvents],
            decollate=False,
        )
        self.network = network.to(self.state.device)

    def place(self, names: Sequence[str] | None = None) -> None:
        """Give the cases the names of their folders.

        Args:
            names: where they are known.

        Raises:
            InputError: ``common.core.folders.case_names`` refuses one.
        """
        if self.placed and names is None:
            return
        entries = self.dataset.entries  # type: ignore[attr-defined]
        if names is None:
            names = case_names(entries, str(self.output_dir))
        for entry, name in zip(entries, names, strict=True):
            entry["case"] = name
        self.placed = True

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Go through the cases.

        Raises:
            InputError: results can't go where they are to; or a case failed, raised after the others are done.
        """
        self.place()
        self.state.failed = {}
        super().run(global_epoch)
        failed = self.state.failed
        if len(failed) == 1 and len(self.data_loader) == 1:  # type: ignore[arg-type]
            raise InputError(next(iter(failed.values())))
        if failed:
            reasons = "; ".join(failed.values())
            raise InputError(f"{len(failed)} of {len(self.data_loader)} cases failed: {reasons}")  # type: ignore[arg-type]

    def run_case(self, index: int) -> None:
        """Do one case alone, with what writes it; what a handler collects of a whole list begins anew.

        Raises:
            InputError: the case can't be done.
        """
        self.place()
        self.state.failed = {}
        self.fire_event(Events.STARTED)
        self._iteration(self, index)
        if self.state.failed:
            raise InputError(next(iter(self.state.failed.values())))

    def _iteration(self, engine: Any, index: int) -> dict[str, Any]:  # type: ignore[override]
        self.state.output = {"case": str(index)}
        try:
            case = self.dataset[index]
            self.state.output = case
            start = time.perf_counter()
            with torch.no_grad():
                self.fire_event(CaseEvents.CASE_READ)
                kwargs = {"mask": case["mask"]} if case.get("mask") is not None else {}
                case["pred"] = self.inferer(case["image"], self.network, **kwargs)
            case["seconds"] = time.perf_counter() - start
            self.fire_event(CaseEvents.CASE_DONE)
            getattr(self.inferer, "forget", lambda: None)()
        except Exception as error:
            found = input_error_in(error)
            if found is None:
                raise
            name = str(getattr(self.dataset, "entries", {index: {}})[index].get("case", index))
            self.state.failed[name] = str(found)
            if len(self.data_loader) > 1:  # type: ignore[arg-type]
                log.error("%s: %s", name, found)
        return self.state.output
