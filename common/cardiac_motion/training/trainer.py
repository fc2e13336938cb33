"""Training of registration networks on pairs, in 2D and 3D: without labels, with labels, or on simulated fields.

A batch is a dictionary with ``image [B, 2, *S]`` (moving, fixed; unit range) and what the loss takes besides it. The
network gives ``ddf = network(image)``, and what is minimised is ``loss_function(ddf, **batch)``: a ``RegistrationLoss``
takes ``mask``, a ``LabelledLoss`` also ``label``, a ``FieldLoss`` also ``field``.
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
    """The field and the loss of a batch, moved to the engine's device; the network runs in bfloat16 where asked.

    An inferer that gives a list of fields (of several scales, the last the finest) hands the loss that list.
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
    """A data set or sampler whose items are others in each epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Draw the items of this epoch."""


class RegistrationTrainer(SupervisedTrainer):
    """Trains a network on pairs.

    Args:
        device: where the network is.
        max_epochs: passes over the data.
        train_data_loader: gives batches (dictionaries). A data set with ``set_epoch(n)`` is told the epoch: what it
            draws at random then depends on the seed, the epoch and the index alone, and a resumed run draws the same.
            What the network draws (dropout) begins anew with each epoch, from the seed that torch has now.
        network: ``image [B, 2, *S]`` to ``ddf [B, d, *S]``.
        optimizer: of its parameters.
        loss_function: ``(ddf, **batch)`` to a scalar.
        lr_scheduler: stepped after every iteration.
        train_handlers: attached in this order.
        bfloat16: run the network in bfloat16 (parameters and loss stay float32).
        clip: largest norm of the gradient; 0 leaves it.
        progress: show a bar.
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
        self._register_handlers(list(train_handlers or ()))  # after the mean, which they read when an epoch ends
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
    """The mean over the batches of one entry of an engine's output: a key metric as MONAI's engines take it.

    Args:
        name: the entry.
    """

    def __init__(self, name: str) -> None:
        super().__init__(output_transform=lambda output: output[name])


class RegistrationValidator(Evaluator):
    """Mean loss, and mean of further measures, of a network over validation pairs.

    Args:
        val_data_loader: gives batches as the trainer's does.
        measures: name to ``measure(ddf, **batch)``, a number or a tensor whose finite values are averaged.
        key_val_metric: the metric, by its name, whose best value and epoch ``state.best_metric`` and
            ``state.best_metric_epoch`` tell, as for MONAI's evaluators.
        lower_is_better: whether a lower value of it is better.
        val_handlers: further handlers, attached in this order.
        progress: show a bar.
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
            found = {name: torch.as_tensor(m(ddf.cpu(), **batchdata)).float() for name, m in self.measures.items()}
        means = {name: value[value.isfinite()].mean() for name, value in found.items()}
        self.state.output = {"image": batchdata["image"], "pred": ddf, "loss": loss.item(), **means}
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = self.state.output
        return output


def _load(loader: CheckpointLoader, engine: Engine) -> None:
    """What MONAI's loader loads; its reasons not to as one line.

    Raises:
        InputError: no such file, nothing that torch wrote, another network's, or of more epochs than are asked for.
    """
    try:
        loader(engine)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{loader.load_path}: training cannot go on from it ({reason})") from error


class StartWeights:
    """Weights that training starts from, read by MONAI's ``CheckpointLoader`` when it starts; a training that
    ``TrainingCheckpoint`` has resumed goes on from its own.

    Args:
        path: of the weights; None begins anew.

    Raises:
        InputError: no such file.
    """

    def __init__(self, path: str | None) -> None:
        if path is not None and not Path(path).is_file():
            raise InputError(f"{path}: no such weights to start from")
        self.path = path

    def attach(self, engine: RegistrationTrainer) -> None:
        if self.path is not None:
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: RegistrationTrainer) -> None:
        if engine.state.epoch:
            return
        network = unwrap(engine.network)
        _load(CheckpointLoader(self.path, {"model": network}, map_location=engine.state.device), engine)  # type: ignore


class TrainingCheckpoint:
    """Keeps the whole state of a training in ``path`` every ``interval`` epochs (ignite's ``Checkpoint``; the first of
    several processes writes it), and goes on from it (MONAI's ``CheckpointLoader``).

    Args:
        path: of the checkpoint; one that is there when training starts is resumed.
        interval: in epochs.
        also: further objects to save, by name; each has ``state_dict`` and ``load_state_dict``.
    """

    def __init__(self, path: str, interval: int = 1, also: dict[str, Any] | None = None) -> None:
        self.path, self.interval, self.also = Path(path), interval, dict(also or {})

    def attach(self, engine: RegistrationTrainer) -> None:
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
        log.info("%s: goes on after epoch %d", self.path, engine.state.epoch)


class Weights:
    """Writes the network's weights, in fp16, to ``path`` when training ends and every ``interval`` epochs.

    Args:
        path: of the file.
        interval: in epochs.
        mean: decay of an exponential moving average (EMA) of the weights, which is written instead; 0 writes the
            weights themselves. After n steps the decay is at most (1 + n) / (10 + n), so that the average soon forgets
            the start weights. A resumed training starts a new average unless the checkpoint holds this handler
            (``TrainingCheckpoint(also=…)``).
    """

    def __init__(self, path: str, interval: int = 1, mean: float = 0.0) -> None:
        if not 0 <= mean < 1:
            raise ValueError(f"mean {mean}: expected 0 to below 1")
        self.path, self.interval, self.mean = Path(path), interval, mean
        self._network: nn.Module | None = None
        self._averaged: torch.optim.swa_utils.AveragedModel | None = None

    def network(self) -> nn.Module:
        """Return the network whose weights are written.

        Raises:
            RuntimeError: the handler is not attached to a training.
        """
        if self._network is None:
            raise RuntimeError("the weights are not attached to a training")
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
    """MONAI's ``ValidationHandler`` every ``interval`` epochs, whose means are printed beside the training loss.

    Args:
        validator: whose ``state.metrics`` is read.
        interval: in epochs.
        record: called with the metrics (name to number) and the epoch; logs a curve to MLflow, say.
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
        found = {"train_loss": float(engine.state.metrics["loss"])}
        if self.validator is not None:
            super().__call__(engine)
            found.update({f"val_{k}": float(v) for k, v in self.validator.state.metrics.items()})
        if idist.get_rank():
            return
        tqdm.write(f"epoch {engine.state.epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in found.items()))
        if self.record is not None:
            self.record(found, engine.state.epoch)
