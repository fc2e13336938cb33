"""The evaluator of all bundles: processes cases one by one; a failed case does not stop the others.

Each kind of evaluator defines the processing of a case, from its file to its report, in ``process``: plain functions,
called in sequence, with typed values. Handlers observe: they receive the case when it has been read, and the report
when it has been written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import torch
from ignite.engine import EventEnum, Events
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cardiac_motion.core.devices import check_device
from cardiac_motion.core.entry import Case, Keyed
from cardiac_motion.core.errors import InputError, input_error_in
from cardiac_motion.core.folders import case_names
from cardiac_motion.core.locks import share_folder
from cardiac_motion.core.whole_files import check_writable, clear_unfinished
from cardiac_motion.evaluation.interrupted import ListProgress
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult, register

log = logging.getLogger(__name__)


class CaseEvents(EventEnum):
    """Events of a case.

    ``CASE_READ`` fires with the case in ``engine.state.batch``; ``CASE_DONE`` fires with the report in
    ``engine.state.output`` when its files exist. If a handler raises an error, the case has failed.
    """

    CASE_READ = "case_read"
    CASE_DONE = "case_done"


@dataclass(frozen=True, eq=False)
class Report(Keyed):
    """Report of a case: input, result, scores, and the location of its files.

    Attributes:
        case: case as read.
        result: result of the registration.
        scores: metrics.
        folder: folder of its files.
    """

    KEYS: ClassVar[Mapping[str, str]] = {
        "case": "case.name", "image": "case.image", "mask": "case.mask", "entry": "case.entry", "pred": "result.ddf",
        "seconds": "result.seconds", "metrics": "scores.metrics", "pairs": "scores.pairs", "folder": "folder",
    }  # fmt: skip

    case: Any
    result: RegistrationResult
    scores: Scores
    folder: Path

    def lines(self) -> str:
        """Return a summary for the terminal."""
        return f"{self.case.name}: {len(self.result.ddf)} pairs"


def _remove_empty(folder: Path) -> None:
    """Remove a folder if it is empty."""
    with suppress(OSError):
        folder.rmdir()


class CaseDataset(Protocol):
    """Cases by their number, and the entries (of a datalist, or made of an input) that they are read from."""

    entries: list[dict[str, Any]]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class CaseEvaluator(Evaluator):
    """Process each case of a data set.

    ``engine.state.output`` then holds the report, ``engine.state.metrics`` the means of its metrics over the cases so
    far, ``engine.state.failed`` the failed cases and their reasons, and ``engine.state.taken`` the cases, and their
    folders, that an interrupted run of the same list had finished.

    Args:
        device: device of the network.
        val_data_loader: data loader of a data set of cases whose ``entries`` are those of a list. Its sampler gives
            the order of the cases; each is read when it is due, so that one that cannot be read does not end the run.
        network: maps ``image [B, 2, *S]`` to ``ddf [B, d, *S]``.
        inferer: a ``RegistrationInferer``, or one of MONAI's.
        output_dir: output folder. Before any computation, each case is assigned a subfolder that is neither an input
            nor another case's (``cardiac_motion.core.folders``).
        postprocessing: applied to an inferer's output, ``pred`` of ``{"image", "pred"}``, before it is evaluated and
            written; None leaves it unchanged.
        val_handlers: handlers (tables, records, or any of MONAI's and ignite's), attached in this order.
    """

    method = ""  # name of the method, stored with its results
    _progress: ListProgress | None = None

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: DataLoader[Any],
        network: nn.Module,
        output_dir: str,
        inferer: Inferer | None = None,
        postprocessing: Callable[[Any], Any] | None = None,
        val_handlers: Sequence[Any] | None = None,
    ) -> None:
        check_device(device)
        self.loader, self.output_dir, self.placed = val_data_loader, Path(output_dir), False
        self.dataset = cast(CaseDataset, val_data_loader.dataset)
        self.inferer = inferer or SimpleInferer()
        self.postprocessing = postprocessing
        super().__init__(
            torch.device(device) if isinstance(device, str) else device,
            list(val_data_loader.sampler),
            val_handlers=val_handlers,
            event_names=[CaseEvents],
            decollate=False,
        )
        self.network = network.to(self.state.device)

    def process(self, case: Any) -> Report:
        """Process a case, write its files, and return its report.

        Raises:
            InputError: the case cannot be processed.
        """
        raise NotImplementedError

    def register(self, case: Case) -> RegistrationResult:
        """Register the pairs of a case; MONAI's ``FORWARD_COMPLETED`` fires afterwards.

        Returns:
            The output of the inferer: a ``RegistrationResult``.
        """
        result = register(case.image, self.network, self.inferer, case.mask)
        self.state.output = {"image": case.image, "pred": result.ddf}
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        return result

    def fields_of(self, case: Case) -> RegistrationResult:
        """Register the pairs of a case, and postprocess their fields."""
        result = self.register(case)
        return replace(result, ddf=self.postprocess(case.image, result.ddf))

    def postprocess(self, image: Tensor, pred: Tensor) -> Tensor:
        """Apply ``postprocessing`` to a prediction."""
        if self.postprocessing is None:
            return torch.as_tensor(pred)
        return torch.as_tensor(self.postprocessing({"image": image, "pred": pred})["pred"])

    def folder_of(self, case: Case) -> Path:
        """Return the folder for the files of a case."""
        return self.output_dir / case.name

    def checkpoints(self) -> Path | None:
        """Return the inferer's folder for checkpoints of unfinished cases; None if it has none."""
        return self.inferer.checkpoints() if isinstance(self.inferer, RegistrationInferer) else None

    def keep_checkpoints(self, folder: Path) -> None:
        """Store checkpoints in another folder, if the inferer stores any."""
        if isinstance(self.inferer, RegistrationInferer):
            self.inferer.keep_checkpoints(folder)

    def place(self, names: Sequence[str] | None = None) -> None:
        """Assign result folders to the cases.

        Args:
            names: names of the folders, if known.

        Raises:
            InputError: ``cardiac_motion.core.folders.case_names`` rejects a name.
        """
        if self.placed and names is None:
            return
        entries = self.dataset.entries
        for entry, name in zip(entries, names or case_names(entries, self.output_dir, self.method), strict=True):
            entry["case"] = name
        self.placed = True

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Process all cases.

        Raises:
            InputError: the results cannot be written, or a case failed (raised after the others are done).
        """
        self._begin()
        check_writable(self.output_dir)
        made = not self.output_dir.is_dir()
        self.output_dir.mkdir(parents=True, exist_ok=True)
        with share_folder(self.output_dir) as alone:
            if alone:
                clear_unfinished(self.output_dir)
            if len(self.data_loader) > 1:  # type: ignore[arg-type]
                self._progress = ListProgress(self.output_dir, self.dataset.entries)
                self.state.taken = self._progress.find_finished()
                if self.state.taken:
                    left = len(self.data_loader) - len(self.state.taken)  # type: ignore[arg-type]
                    print(
                        f"{len(self.state.taken)} cases were finished before the run was interrupted; {left} are left"
                    )
            super().run(global_epoch)
            if self._progress is not None:
                self._progress.close()
        failed = self.state.failed
        if made and failed:
            _remove_empty(self.output_dir)
        if len(failed) == 1 and len(self.data_loader) == 1:  # type: ignore[arg-type]
            raise InputError(next(iter(failed.values())))
        if failed:
            reasons = "; ".join(failed.values())
            raise InputError(f"{len(failed)} of {len(self.data_loader)} cases failed: {reasons}")  # type: ignore[arg-type]

    def run_case(self, index: int) -> None:
        """Process a single case with its handlers, which start a new list.

        Raises:
            InputError: the case cannot be processed.
        """
        self._begin()
        self.fire_event(Events.STARTED)
        self._iteration(self, index)
        if self.state.failed:
            raise InputError(next(iter(self.state.failed.values())))

    def read_case(self, index: int) -> Any:
        """Read a case of the data set.

        Raises:
            InputError: it cannot be used.
        """
        return self.dataset[index]

    def _begin(self) -> None:
        self.place()
        self.state.failed, self.state.metrics, self.state.taken = {}, {}, {}
        self._progress = None
        self._done: dict[str, list[float]] = {}

    def _iteration(self, engine: Any, index: int) -> Any:  # type: ignore[override]
        entry = self.dataset.entries[index]
        name = str(entry["case"])
        self.state.output = {"case": name}
        if name in self.state.taken:
            return self.state.output
        try:
            case = self.read_case(index)
            self.state.batch = case
            self.fire_event(CaseEvents.CASE_READ)
            report = self.process(case)
            self.state.output = report
            for key, value in report.scores.metrics.items():
                self._done.setdefault(key, []).append(value)
            self.state.metrics = {key: sum(values) / len(values) for key, values in self._done.items()}
            self.fire_event(IterationEvents.MODEL_COMPLETED)
            self.fire_event(CaseEvents.CASE_DONE)
            if isinstance(self.inferer, RegistrationInferer):
                self.inferer.forget()
            if self._progress is not None:
                self._progress.finish(name)
        except Exception as error:
            known = input_error_in(error)
            several = len(self.data_loader) > 1  # type: ignore[arg-type]
            if known is None and not several:
                raise
            reason = str(known) if known is not None else " ".join(f"{type(error).__name__}: {error}".split())[:500]
            self.state.failed[name] = f"{name}: {reason}" if several and str(entry["image"]) not in reason else reason
            if several:  # the other cases are still processed
                log.error("%s: %s", name, reason)
            if known is None:
                log.info("%s", name, exc_info=error)
        return self.state.output
