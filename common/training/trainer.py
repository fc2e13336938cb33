"""Training of registration networks on pairs, in 2D and 3D: without labels, with labels, or on simulated fields.

A batch is a dictionary with ``image [B, 2, *S]`` (moving, fixed; unit range) and what the loss takes besides it. The
network gives ``ddf = network(image)``, and what is minimised is ``loss_function(ddf, **batch)``: a ``RegistrationLoss``
takes ``mask``, a ``LabelledLoss`` also ``label``, a ``FieldLoss`` also ``field``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from monai.engines import SupervisedTrainer, Workflow
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from tqdm import tqdm

from common.core.files import written_whole
from common.networks.weights import save_weights

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
        self.loader, self.bar = train_data_loader, tqdm(disable=not progress, unit="step", mininterval=1)
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
        self.add_event_handler(Events.COMPLETED, lambda _: self.bar.close())

    def _begin_epoch(self, engine: Engine) -> None:
        torch.manual_seed((self.seed + 100_003 * self.state.epoch) % 2**63)
        dataset = getattr(self.loader, "dataset", None)
        for part in (dataset, getattr(self.loader, "sampler", None)):
            getattr(part, "set_epoch", lambda epoch: None)(self.state.epoch)
        self.bar.total = self.state.max_epochs * self.state.epoch_length
        self.bar.n = (self.state.epoch - 1) * self.state.epoch_length

    def _iteration(self, engine: Any, batchdata: Batch) -> dict[str, Any]:
        self.network.train()
        self.optimizer.zero_grad()
        ddf, loss = batch_loss(self, batchdata)
        loss.backward()
        if self.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        self.bar.update()
        return {"loss": loss.item(), "pred": ddf.detach()}


class RegistrationValidator(Workflow):
    """Mean loss, and mean of further measures, of a network over validation pairs.

    Args:
        val_data_loader: gives batches as the trainer's does.
        measures: name to ``measure(ddf, **batch)``, a number or a tensor whose finite values are averaged.
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
    ) -> None:
        self.network, self.loss_function, self.inferer = network, loss_function, inferer or SimpleInferer()
        self.measures, self.bfloat16 = measures or {}, bfloat16
        super().__init__(
            device=torch.device(device),
            max_epochs=1,
            data_loader=val_data_loader,
            decollate=False,
        )
        for name in ("loss", *self.measures):
            Average(output_transform=lambda output, name=name: output[name]).attach(self, name)
        for handler in val_handlers or ():
            handler.attach(self)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Measure once; ``engine.state.metrics`` holds the means."""
        self.state.max_epochs = global_epoch
        self.state.epoch = global_epoch - 1
        self.state.iteration = 0
        super().run()

    def _iteration(self, engine: Any, batchdata: Batch) -> dict[str, Any]:
        self.network.eval()
        with torch.no_grad():
            ddf, loss = batch_loss(self, batchdata)
            found = {name: torch.as_tensor(m(ddf.cpu(), **batchdata)).float() for name, m in self.measures.items()}
        return {"loss": loss.item(), **{name: value[value.isfinite()].mean() for name, value in found.items()}}


class TrainingCheckpoint:
    """Keeps the whole state of a training in ``path`` every ``interval`` epochs (the first of several processes does),
    and goes on from it.

    Args:
        path: of the checkpoint; one that is there when training starts is resumed.
        trainer: given by ``attach``.
        interval: in epochs.
    """

    def __init__(self, path: str, interval: int = 1) -> None:
        self.path, self.interval = Path(path), interval

    def attach(self, engine: RegistrationTrainer) -> None:
        engine.add_event_handler(Events.STARTED, self._resume)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self._save)
        engine.add_event_handler(Events.COMPLETED, self._save)

    @staticmethod
    def _parts(engine: RegistrationTrainer) -> dict[str, Any]:
        parts = {"network": getattr(engine.network, "module", engine.network), "optimizer": engine.optimizer}
        return parts | ({"lr_scheduler": engine.lr_scheduler} if engine.lr_scheduler is not None else {})

    def _save(self, engine: RegistrationTrainer) -> None:
        if idist.get_rank():
            return
        content = {name: part.state_dict() for name, part in self._parts(engine).items()}
        with written_whole(self.path) as beside:
            torch.save({**content, "epoch": engine.state.epoch, "iteration": engine.state.iteration}, beside)

    def _resume(self, engine: RegistrationTrainer) -> None:
        if not self.path.is_file():
            return
        content = torch.load(self.path, map_location=engine.state.device, weights_only=True)
        for name, part in self._parts(engine).items():
            part.load_state_dict(content[name])
        engine.state.epoch, engine.state.iteration = content["epoch"], content["iteration"]
        log.info("%s: goes on after epoch %d", self.path, engine.state.epoch)


class Weights:
    """Writes the network's weights, in fp16, to ``path`` when training ends and every ``interval`` epochs.

    Args:
        path: of the file.
        interval: in epochs.
        mean: of this share a step, the running mean of the weights is written instead: what a schedule's end would
            give, at any time. A training that is resumed begins a new mean.
    """

    def __init__(self, path: str, interval: int = 1, mean: float = 0.0) -> None:
        if not 0 <= mean < 1:
            raise ValueError(f"mean {mean}: expected 0 to below 1")
        self.path, self.interval, self.mean = Path(path), interval, mean
        self._averaged: torch.optim.swa_utils.AveragedModel | None = None

    def _average(self, engine: RegistrationTrainer) -> None:
        network = getattr(engine.network, "module", engine.network)
        if self._averaged is None:
            every = torch.optim.swa_utils.get_ema_multi_avg_fn(self.mean)
            self._averaged = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=every, use_buffers=True)
        self._averaged.update_parameters(network)

    def attach(self, engine: RegistrationTrainer) -> None:
        if self.mean:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._average)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self._save)
        engine.add_event_handler(Events.COMPLETED, self._save)

    def _save(self, engine: RegistrationTrainer) -> None:
        if idist.get_rank():
            return
        save_weights(engine.network if self._averaged is None else self._averaged.module, self.path)


class Validate:
    """Runs a validator every ``interval`` epochs, and prints its means beside the training loss.

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
        self.validator, self.interval, self.record = validator, interval, record

    def attach(self, engine: RegistrationTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    def __call__(self, engine: RegistrationTrainer) -> None:
        found = {"train_loss": float(engine.state.metrics["loss"])}
        if self.validator is not None:
            self.validator.run(engine.state.epoch)
            found.update({f"val_{k}": float(v) for k, v in self.validator.state.metrics.items()})
        if idist.get_rank():
            return
        tqdm.write(f"epoch {engine.state.epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in found.items()))
        if self.record is not None:
            self.record(found, engine.state.epoch)
