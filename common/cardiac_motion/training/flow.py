"""Learning-rate schedule of a flow network (Evain et al. 2022, section III-C.2), and pictures of its estimates."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from torch import Tensor

from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.evaluation import figures
from cardiac_motion.networks.weights import unwrap
from cardiac_motion.training.trainer import RegistrationTrainer

HALVINGS = (0.4, 0.6, 0.8)


def halving_schedule(
    optimizer: torch.optim.Optimizer, epochs: int, loader: Sized
) -> torch.optim.lr_scheduler.LRScheduler:
    """Halve the learning rate after 40, 60 and 80 % of the training, counted in iterations.

    Args:
        optimizer: optimiser whose rate is scheduled.
        epochs: number of epochs of the training.
        loader: data loader; one pass is an epoch.
    """
    steps = epochs * len(loader)
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(part * steps) for part in HALVINGS], gamma=0.5)


class FlowExamples:
    """Draw fixed validation pairs with true and estimated motion after every epoch, into ``path``.

    Args:
        path: path of the PNG.
        dataset: pairs with a known field.
        indices: indices of the pairs to draw.
        interval: interval in epochs.
    """

    def __init__(self, path: str, dataset: Any, indices: Sequence[int] = (0, 1, 2), interval: int = 1) -> None:
        self.path, self.dataset, self.indices, self.interval = Path(path), dataset, tuple(indices), interval
        self.pairs: list[dict[str, Tensor]] = []

    def attach(self, engine: RegistrationTrainer) -> None:
        """Draw after every ``interval``-th epoch."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    def __call__(self, engine: RegistrationTrainer) -> None:
        if idist.get_rank():
            return
        self.pairs = self.pairs or [self.dataset[i] for i in self.indices if i < len(self.dataset)]
        network = unwrap(engine.network)
        network.eval()
        with torch.no_grad():
            fields = [network(pair["image"][None].to(engine.state.device)).float().cpu()[0] for pair in self.pairs]
        with write_whole(self.path) as beside:
            figures.draw_known_motion(self.pairs, fields, beside)
