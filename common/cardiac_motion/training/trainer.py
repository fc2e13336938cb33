"""Training of registration networks on pairs, in 2D and 3D: without labels, with labels, or on simulated fields.

A batch is a dictionary with ``image [B, 2, *S]`` (moving, fixed; unit range) and the other inputs of the loss. The
network returns ``ddf = network(image)``; ``loss_function(ddf, **batch)`` is minimised: a ``RegistrationLoss`` takes
``mask``, a ``LabelledLoss`` also ``label``, a ``FieldLoss`` also ``field``.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, ProgressBar
from ignite.metrics import Average, Metric
from monai.engines import Evaluator, IterationEvents, SupervisedTrainer
from monai.handlers import CheckpointLoader, ValidationHandler
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.weights import save_weights, unwrap

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]


def batch_loss(engine: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Compute field and loss of a batch on the engine's device; the network runs in bfloat16 if the engine says so.

    If the inferer returns a list of fields (of several scales, finest last), the loss receives that list.
    """
    device = engine.state.device
    batch = {key: value.to(device) for key, value in batch.items() if isinstance(value, Tensor)}
    with torch.autocast(device.type, torch.bfloat16, enabled=engine.bfloat16):
        ddf = engine.inferer(batch["image"], engine.network)
    if isinstance(ddf, list):
        fields = [field.float() for field in ddf]
        return fields[-1], engine.loss_function(fields, **batch)
    ddf = ddf.float()
    return ddf, engine.loss_function(ddf, **batch)


@runtime_checkable
class ChangesByEpoch(Protocol):
    """A data set or sampler whose items change with the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Draw the items of this epoch."""


class RegistrationTrainer(SupervisedTrainer):
    """Train a network on pairs.

    Args:
        device: device of the network.
        max_epochs: number of passes over the data.
        train_data_loader: yields batches (dictionaries). ``set_epoch(n)`` of its data set is called with each epoch, so
            that random items depend only on seed, epoch and index, and a resumed run draws the same ones. The network's
            own random numbers (dropout) are reseeded in each epoch, from torch's current seed.
        network: maps ``image [B, 2, *S]`` to ``ddf [B, d, *S]``.
        optimizer: optimiser of its parameters.
        loss_function: maps ``(ddf, **batch)`` to a scalar.
        lr_scheduler: stepped after every iteration.
        inferer: runs the network; None calls it directly.
        train_handlers: handlers, attached in this order.
        bfloat16: run the network in bfloat16 (parameters and loss stay float32).
        clip: largest norm of the gradient; 0 does not clip.
        progress: show a progress bar.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: Iterable[Batch],
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_function: Callable[..., Tensor],
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        inferer: Inferer | None = None,
        train_handlers: Sequence[Any] | None = None,
        bfloat16: bool = False,
        clip: float = 0.0,
        progress: bool = True,
    ) -> None:
        self.lr_scheduler, self.bfloat16, self.clip = lr_scheduler, bfloat16, clip
        self.seed = torch.initial_seed()
        self.loader = train_data_loader
        super().__init__(
            device=torch.device(device),
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss_function,
            inferer=inferer or SimpleInferer(),
            decollate=False,
        )
        Average(output_transform=lambda output: output["loss"]).attach(self, "loss")
        self._register_handlers(list(train_handlers or ()))  # after the mean loss, which they read
        self.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)
        if progress and not idist.get_rank():
            bar = ProgressBar(desc="Training", mininterval=1)
            bar.attach(self, output_transform=lambda output: {"loss": output["loss"]})

    def _begin_epoch(self, engine: Engine) -> None:
        torch.manual_seed((self.seed + 100_003 * self.state.epoch) % 2**63)
        parts = (self.loader.dataset, self.loader.sampler) if isinstance(self.loader, DataLoader) else ()
        for part in parts:
            if isinstance(part, ChangesByEpoch):
                part.set_epoch(self.state.epoch)

    def _iteration(self, engine: Any, batchdata: Batch) -> dict[str, Any]:
        self.network.train()
        self.optimizer.zero_grad()
        ddf, loss = batch_loss(self, batchdata)
        self.state.output = {"image": batchdata["image"], "pred": ddf.detach(), "loss": loss.item()}
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        loss.backward()
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if self.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = self.state.output
        return output


class MeanOf(Average):
    """Mean over the batches of one entry of an engine's output, for use as a key metric of MONAI's engines.

    Args:
        name: name of the entry.
    """

    def __init__(self, name: str) -> None:
        super().__init__(output_transform=lambda output: output[name])


class RegistrationValidator(Evaluator):
    """Compute mean loss and further metrics of a network over validation pairs.

    Args:
        device, network, loss_function, inferer, bfloat16: as in ``RegistrationTrainer``.
        val_data_loader: yields batches as the trainer's loader.
        measures: metrics by name, each ``measure(ddf, **batch)``, whose finite values are averaged.
        key_val_metric: the metric, by its name, that selects ``state.best_metric`` and ``state.best_metric_epoch``, as
            in MONAI's evaluators.
        lower_is_better: whether lower values of that metric are better.
        val_handlers: further handlers, attached in this order.
        progress: show a progress bar.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: Iterable[Batch],
        network: nn.Module,
        loss_function: Callable[..., Tensor],
        inferer: Inferer | None = None,
        measures: dict[str, Callable[..., Tensor]] | None = None,
        val_handlers: Sequence[Any] | None = None,
        bfloat16: bool = False,
        key_val_metric: dict[str, Metric] | None = None,
        lower_is_better: bool = False,
        progress: bool = True,
    ) -> None:
        self.network, self.loss_function, self.inferer = network, loss_function, inferer or SimpleInferer()
        self.measures, self.bfloat16 = measures or {}, bfloat16
        super().__init__(
            device=torch.device(device),
            val_data_loader=val_data_loader,
            decollate=False,
            key_val_metric=key_val_metric,
            metric_cmp_fn=operator.lt if lower_is_better else operator.gt,
        )
        for name in (name for name in ("loss", *self.measures) if name not in (key_val_metric or ())):
            Average(output_transform=lambda output, name=name: output[name]).attach(self, name)
        self._register_handlers(list(val_handlers or ()))
        if progress:
            ProgressBar(desc="Validation", mininterval=1).attach(self)

    def _iteration(self, engine: Any, batchdata: Batch) -> dict[str, Any]:
        self.network.eval()
        with torch.no_grad():
            ddf, loss = batch_loss(self, batchdata)
            values = {name: torch.as_tensor(m(ddf.cpu(), **batchdata)).float() for name, m in self.measures.items()}
        means = {name: value[value.isfinite()].mean() for name, value in values.items()}
        self.state.output = {"image": batchdata["image"], "pred": ddf, "loss": loss.item(), **means}
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = self.state.output
        return output


def _load(loader: CheckpointLoader, engine: Engine) -> None:
    """Run MONAI's loader, and report errors in one line.

    Raises:
        InputError: the file is missing, was not written by torch, belongs to another network, or has more epochs than
            requested.
    """
    try:
        loader(engine)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{loader.load_path}: cannot resume training from it ({reason})") from error


class StartWeights:
    """Load initial weights by MONAI's ``CheckpointLoader`` when training starts.

    A training that ``TrainingCheckpoint`` has resumed continues from its own weights.

    Args:
        path: file of the weights; None starts from random weights.

    Raises:
        InputError: the file is missing.
    """

    def __init__(self, path: str | None) -> None:
        if path is not None and not Path(path).is_file():
            raise InputError(f"{path}: no such file of initial weights")
        self.path = path

    def attach(self, engine: RegistrationTrainer) -> None:
        """Load the weights when training starts."""
        if self.path is not None:
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: RegistrationTrainer) -> None:
        if engine.state.epoch:
            return
        network = unwrap(engine.network)
        _load(CheckpointLoader(self.path, {"model": network}, map_location=engine.state.device), engine)  # type: ignore


class TrainingCheckpoint:
    """Write the full training state to ``path`` every ``interval`` epochs, and resume from it.

    Uses ignite's ``Checkpoint`` (written by the first of several processes) and MONAI's ``CheckpointLoader``.

    Args:
        path: path of the checkpoint; if it exists when training starts, training resumes from it.
        interval: interval in epochs.
        also: further objects to save, by name; each has ``state_dict`` and ``load_state_dict``.
    """

    def __init__(self, path: str, interval: int = 1, also: dict[str, Any] | None = None) -> None:
        self.path, self.interval, self.also = Path(path), interval, dict(also or {})

    def attach(self, engine: RegistrationTrainer) -> None:
        """Resume when training starts; save every ``interval`` epochs and at the end."""
        saver = DiskSaver(str(self.path.parent), create_dir=True, require_empty=False)
        save = Checkpoint(self._parts(engine), saver, filename_pattern=self.path.name, n_saved=1)
        engine.add_event_handler(Events.STARTED, self._resume)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), save)
        engine.add_event_handler(Events.COMPLETED, save)

    def _parts(self, engine: RegistrationTrainer) -> dict[str, Any]:
        parts = {"trainer": engine, "network": engine.network, "optimizer": engine.optimizer, **self.also}
        return parts | ({"lr_scheduler": engine.lr_scheduler} if engine.lr_scheduler is not None else {})

    def _resume(self, engine: RegistrationTrainer) -> None:
        if not self.path.is_file():
            return
        _load(CheckpointLoader(str(self.path), self._parts(engine), map_location=engine.state.device), engine)
        log.info("%s: resumed after epoch %d", self.path, engine.state.epoch)


class Weights:
    """Write the network's weights, in fp16, to ``path`` when training ends and every ``interval`` epochs.

    Args:
        path: path of the file.
        interval: interval in epochs.
        mean: decay of an exponential moving average (EMA) of the weights, which is written instead; 0 writes the
            weights themselves. After n steps the decay is at most (1 + n) / (10 + n), so that the initial weights are
            soon forgotten. A resumed training starts a new average unless the checkpoint contains this handler
            (``TrainingCheckpoint(also=…)``).
    """

    def __init__(self, path: str, interval: int = 1, mean: float = 0.0) -> None:
        if not 0 <= mean < 1:
            raise ValueError(f"mean {mean}: expected a value from 0 to below 1")
        self.path, self.interval, self.mean = Path(path), interval, mean
        self._network: nn.Module | None = None
        self._averaged: torch.optim.swa_utils.AveragedModel | None = None

    def network(self) -> nn.Module:
        """Return the network whose weights are written.

        Raises:
            RuntimeError: the handler is not attached to a training.
        """
        if self._network is None:
            raise RuntimeError("attach this handler to a training first")
        return self._network if self._averaged is None else self._averaged.module

    def state_dict(self) -> dict[str, Any]:
        """Return the moving average for a checkpoint; empty if there is none yet."""
        return {} if self._averaged is None else self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume the moving average of a checkpoint."""
        if state and self.mean:
            self._begin()
            assert self._averaged is not None
            self._averaged.load_state_dict(state)

    def _begin(self) -> None:
        def average(mean: Any, weights: Any, steps: Tensor | int) -> None:
            share = min(self.mean, (1 + float(steps)) / (10 + float(steps)))
            torch.optim.swa_utils.get_ema_multi_avg_fn(share)(mean, weights, steps)

        assert self._network is not None
        self._averaged = torch.optim.swa_utils.AveragedModel(self._network, multi_avg_fn=average, use_buffers=True)

    def _average(self, engine: RegistrationTrainer) -> None:
        assert self._network is not None
        if self._averaged is None:
            self._begin()
        assert self._averaged is not None
        self._averaged.update_parameters(self._network)

    def attach(self, engine: RegistrationTrainer) -> None:
        """Update the average after every iteration; save every ``interval`` epochs and at the end."""
        self._network = unwrap(engine.network)
        if self.mean:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._average)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self._save)
        engine.add_event_handler(Events.COMPLETED, self._save)

    def _save(self, engine: RegistrationTrainer) -> None:
        if idist.get_rank():
            return
        save_weights(self.network(), self.path)


class Validate(ValidationHandler):
    """MONAI's ``ValidationHandler`` every ``interval`` epochs, which prints its means with the training loss.

    Args:
        validator: validator whose ``state.metrics`` are read.
        interval: interval in epochs.
        record: called with the metrics (name to value) and the epoch, for example to log a curve to MLflow.
    """

    def __init__(
        self,
        validator: RegistrationValidator | None = None,
        interval: int = 1,
        record: Callable[[dict[str, float], int], None] | None = None,
    ) -> None:
        super().__init__(interval, validator)
        self.record = record

    def __call__(self, engine: Engine) -> None:
        metrics = {"train_loss": float(engine.state.metrics["loss"])}
        if self.validator is not None:
            super().__call__(engine)
            metrics.update({f"val_{k}": float(v) for k, v in self.validator.state.metrics.items()})
        if idist.get_rank():
            return
        tqdm.write(f"epoch {engine.state.epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
        if self.record is not None:
            self.record(metrics, engine.state.epoch)
