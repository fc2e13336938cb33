"""Neural multi-scale self-supervised registration at test time (NMSR; SSMSR for volumes).

The pairs of one case (all frame pairs of a cine, or one pair of volumes) are registered from coarse to fine. At scale s
the moving images, warped by what the coarser scales found, and the fixed images are resized (NMSR eq. 1, SSMSR eq. 4),
θˢ is found by minimising −NCC² + λ·smoothness over all pairs (eq. 2), and the residual field is composed with the
coarser ones (eq. 4; eq. 5).

Beyond the papers, the unknown at the fine scales may be the stationary velocity field itself instead of the weights of
a network (``field_scales``): a few steps of smoothed gradients then do what thousands of network steps do.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from ignite.metrics import Average
from torch import Tensor, nn
from tqdm import tqdm

from cardiac_motion.core.arrays import bounding_box, scale_size
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.memory import keep_freed_memory
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.fields.ddf import compose, downsample, exponentiate, exponentiate_quickly, rescale, smooth, warp
from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult, Stage

CHECKPOINT = ".scales"  # and the part's name, and .pt


@dataclass
class _State:
    network: nn.Module
    prior: Tensor | None = None  # field of the network scales, on the grid of the last of them
    velocity: Tensor | None = None  # of the field scales, on its grid
    done: list[Stage] = dataclass_field(default_factory=list)


class MultiScaleTestTimeTraining(RegistrationInferer):
    """Registers all pairs of a case by training at test time, scale by scale.

    Args:
        scales: coarse to fine, e.g. 1/8, 1/4, 1/2, 1; one scale is SSR (the papers' single-scale method).
        steps: optimisation steps a scale (of all pairs together for a network, a batch for a field).
        batch_size: pairs a step.
        learning_rate: of Adam on the network's weights.
        loss: a ``RegistrationLoss``; the papers' radius is 6.
        regularisation_weight: λ, one number or one a scale; the papers' is 10 at every scale.
        init_from_network: the given network is trained: its field at full size is what the first scale begins with.
        carry_weights: a scale's network begins with the weights of the coarser scale (NMSR_VI) instead of the given.
        squarings: n > 0 makes each field the exponential of a stationary velocity field (no folding); the network
            should integrate likewise.
        field_scales: scales at which the velocity field itself is the unknown.
        field_rate: Adam step of the field in voxels of its grid.
        field_resolution: the field's grid as a part of the full grid, at most; 0.5 halves it.
        field_sigma: Gaussian in voxels of the grid through which the field is seen (and its gradient smoothed).
        strided_scales: of the field scales, those with NCC windows around every second pixel alone, and the gradient of
            ``exponentiate_quickly``.
        patience: epochs (passes over the pairs) of a network without progress of ``min_delta`` after which a scale
            ends early; 0 never.
        min_delta: of the loss.
        checkpoint_dir: where the state after each scale is kept; a second call with the same input and settings goes
            on from there.
        seed: of the order of the pairs.
        progress: show a bar a scale.
    """

    def __init__(
        self,
        scales: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
        steps: int | Sequence[int] = 3500,
        batch_size: int = 8,
        learning_rate: float = 1e-3,
        loss: RegistrationLoss | None = None,
        regularisation_weight: float | Sequence[float] = 10.0,
        init_from_network: bool = False,
        carry_weights: bool = True,
        squarings: int = 0,
        field_scales: Sequence[float] = (),
        field_rate: float = 0.2,
        field_resolution: float = 0.5,
        field_sigma: float = 1.0,
        strided_scales: Sequence[float] = (),
        patience: int = 0,
        min_delta: float = 1e-4,
        checkpoint_dir: str | Path | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        super().__init__()
        self.scales = [float(s) for s in scales]
        self.steps = [int(n) for n in expand_scales(steps, len(self.scales), "steps")]
        if not self.scales or self.scales != sorted(self.scales) or not all(0 < s <= 1 for s in self.scales):
            raise InputError(f"scales must rise and lie in (0, 1], got {list(scales)}")
        self.regularisation_weight = [
            float(x) for x in expand_scales(regularisation_weight, len(self.scales), "regularisation_weight")
        ]
        field = [s in set(map(float, field_scales)) for s in self.scales]
        if field != sorted(field):
            raise InputError(f"field_scales {list(field_scales)} must be the finest of the scales {list(scales)}")
        self.is_field = field
        self.is_strided = [s in set(map(float, strided_scales)) for s in self.scales]
        if any(quick and not own for quick, own in zip(self.is_strided, field, strict=True)):
            raise InputError(
                f"strided_scales {list(strided_scales)} must be among the field_scales {list(field_scales)}"
            )
        self.batch_size, self.learning_rate, self.loss = batch_size, learning_rate, loss or RegistrationLoss()
        self.init_from_network, self.carry_weights, self.squarings = init_from_network, carry_weights, squarings
        self.field_rate, self.field_resolution, self.field_sigma = field_rate, field_resolution, field_sigma
        self.patience, self.min_delta = patience, min_delta
        self.checkpoint_dir, self.seed, self.progress = checkpoint_dir, seed, progress
        self._begun: set[Path] = set()  # checkpoints of the present case

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Register the pairs of a case.

        Args:
            inputs: ``[N, 2, *S]``: moving, fixed; unit range. Where the field itself is the unknown at every scale,
                either may have more channels, for a loss that knows them: ``[N, 2 C, *S]``.
            network: contract network; it is copied, never changed.
            mask: ``[1 or N, 1, *S]`` bool; the loss counts inside, and only its bounding box is computed, widened to
                what the NCC window needs at the coarsest scale.
            part: of the name of the checkpoint.

        Returns:
            the fields, outside the box the box's edge repeated, and a stage a scale: NMSR (1/8), ….

        Raises:
            InputError: a scale leaves an image too small for the NCC window.
        """
        size = tuple(inputs.shape[2:])
        window = 2 * self.loss.similarity.radius + 1
        box = bounding_box(mask, size, self.loss.similarity.radius, least=math.ceil(window / self.scales[0]))
        crop: Any = (..., *(slice(*edges) for edges in box))
        whole, inputs = inputs, inputs[crop].float()
        mask = None if mask is None else mask[crop].float()
        for scale in self.scales:
            self._check_size(scale, size, inputs.shape[2:])
        state = _State(copy.deepcopy(network))
        identity = self._identity(inputs, mask, network)
        self._resume(state, identity, part)
        if self.init_from_network and not state.done:
            state.prior = self._forward(network, whole)[crop]
        with torch.enable_grad():
            for i in range(len(state.done), len(self.scales)):
                start = time.perf_counter()
                if not self.carry_weights:
                    state.network.load_state_dict(network.state_dict())
                fit = self._fit_field if self.is_field[i] else self._fit_network
                coarse, taken, loss = fit(i, inputs, mask, state)
                seconds = time.perf_counter() - start
                state.done.append(Stage(self.scales[i], taken, seconds, loss, coarse, box, size))
                self._save(state, identity, part)
        seconds = sum(stage.seconds for stage in state.done)
        return RegistrationResult(state.done[-1].ddf(), tuple(state.done), seconds=seconds)

    def _fit_network(self, i: int, inputs: Tensor, mask: Tensor | None, state: _State) -> tuple[Tensor, int, float]:
        """θˢ by NMSR eq. 2; its residual field is composed with the coarser ones (eq. 4)."""
        keep_freed_memory()
        scale, steps, weight = self.scales[i], self.steps[i], self.regularisation_weight[i]
        pairs, mask = self._rescale_inputs(scale, inputs, mask, state.prior)
        layout = torch.channels_last if pairs.dim() == 4 else torch.contiguous_format  # a fifth to a third less time
        network = state.network.train().to(memory_format=layout)  # type: ignore[call-overload]
        device = next(network.parameters()).device
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        order = torch.Generator().manual_seed(self.seed)
        batches = min(steps, -(-len(pairs) // self.batch_size))

        def step(engine: Engine, index: Tensor) -> float:
            batch = pairs[index].to(device).contiguous(memory_format=layout)
            loss = self.loss(network(batch), batch, _select_masks(mask, index, device), weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            return float(loss.item())

        def shuffle() -> Iterator[Tensor]:
            while True:
                yield from torch.randperm(len(pairs), generator=order).split(self.batch_size)

        engine = Engine(step)
        Average().attach(engine, "loss")
        if self.patience:
            stop = EarlyStopping(self.patience, lambda e: -e.state.metrics["loss"], engine, min_delta=self.min_delta)
            engine.add_event_handler(Events.EPOCH_COMPLETED, stop)
        loss = self._run(engine, scale, shuffle(), epochs=-(-steps // batches), length=batches)
        residual = self._forward(network, pairs)
        state.prior = residual if state.prior is None else compose(rescale(state.prior, pairs.shape[2:]), residual)
        return state.prior, engine.state.iteration, loss

    @torch.no_grad()
    def _forward(self, network: nn.Module, pairs: Tensor) -> Tensor:
        """The network's fields of ``pairs [N, 2, *S]``, on the CPU."""
        network, device = network.eval(), next(network.parameters()).device
        parts: Iterable[Tensor] = pairs.split(self.batch_size)
        parts = show_bar(parts, "fields", "batch") if self.progress else parts
        return torch.cat([network(part.to(device).float()).cpu() for part in parts])

    def _fit_field(self, i: int, inputs: Tensor, mask: Tensor | None, state: _State) -> tuple[Tensor, int, float]:
        """The velocity field itself by Adam, seen through a Gaussian; it goes on from the coarser scale's."""
        scale, steps, weight = self.scales[i], self.steps[i], self.regularisation_weight[i]
        pairs, mask = self._rescale_inputs(scale, inputs, mask, state.prior)
        device = next(state.network.parameters()).device
        size = pairs.shape[2:]
        grid = scale_size(inputs.shape[2:], min(scale, self.field_resolution))
        if state.velocity is None:
            velocity = torch.zeros(len(pairs), len(grid), *grid)
        else:
            velocity = rescale(state.velocity, grid)
        batches = torch.arange(len(pairs)).split(self.batch_size)
        unknown = start = batch = torch.empty(0)
        batch_mask: Tensor | None = None
        optimiser: torch.optim.Optimizer
        exponential, registration_loss = exponentiate, self.loss
        if self.is_strided[i]:
            exponential, registration_loss = exponentiate_quickly, copy.deepcopy(self.loss)
            registration_loss.similarity.stride = 2

        def field() -> tuple[Tensor, Tensor]:
            seen = start + smooth(unknown, self.field_sigma)
            return seen, exponential(seen, self.squarings) if self.squarings else seen

        def step(engine: Engine, index: Tensor) -> float:
            seen, ddf = field()
            loss = registration_loss(rescale(ddf, size), batch, batch_mask, weight, seen)
            optimiser.zero_grad()
            (loss * unknown.numel()).backward()  # a sum over the grid: Adam's eps then means the same at every size
            optimiser.step()
            return float(loss.item())

        def begin(engine: Engine) -> None:
            nonlocal unknown, start, optimiser, batch, batch_mask
            index = batches[engine.state.epoch - 1]
            batch, batch_mask = pairs[index].to(device), _select_masks(mask, index, device)
            start = velocity[index].to(device)
            unknown = torch.zeros_like(start, requires_grad=True)
            optimiser = torch.optim.Adam([unknown], lr=self.field_rate, betas=(0.9, 0.99), eps=1e-3)

        def keep(engine: Engine) -> None:
            with torch.no_grad():
                velocity[batches[engine.state.epoch - 1]] = field()[0].cpu()

        engine = Engine(step)
        Average().attach(engine, "loss")
        engine.add_event_handler(Events.EPOCH_STARTED, begin)
        engine.add_event_handler(Events.EPOCH_COMPLETED, keep)
        each = (index for index in batches for _ in range(steps))
        loss = self._run(engine, scale, each, epochs=len(batches), length=steps)
        state.velocity = velocity
        ddf = torch.cat(
            [exponential(v, self.squarings) if self.squarings else v for v in velocity.split(self.batch_size)]
        )
        whole = ddf if state.prior is None else compose(rescale(state.prior, grid), ddf)
        return whole, steps, loss

    def _run(self, engine: Engine, scale: float, data: Iterator[Tensor], epochs: int, length: int) -> float:
        name = f"scale {Fraction(scale).limit_denominator(64)}"
        with tqdm(total=epochs * length, desc=name, unit="step", disable=not self.progress, mininterval=0.5) as bar:
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: bar.update())
            engine.add_event_handler(
                Events.EPOCH_COMPLETED, lambda e: bar.set_postfix(loss=f"{e.state.metrics['loss']:.4f}")
            )
            engine.run(data, max_epochs=epochs, epoch_length=length)
        return float(engine.state.metrics["loss"])

    def _rescale_inputs(
        self, scale: float, inputs: Tensor, mask: Tensor | None, prior: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Mˢ and Iˢ of NMSR eq. 1, ``[N, 2, *S·s]``, and the mask at that scale."""
        size = scale_size(inputs.shape[2:], scale)
        parts = []
        for start in range(0, len(inputs), self.batch_size):
            part = inputs[start : start + self.batch_size]
            if prior is not None:
                ddf = rescale(prior[start : start + self.batch_size], part.shape[2:])
                moving, fixed = part.chunk(2, 1)
                part = torch.cat([warp(moving, ddf), fixed], 1)
            parts.append(downsample(part, size))
        return torch.cat(parts), None if mask is None else downsample(mask, size)

    def _check_size(self, scale: float, size: Sequence[int], box: Sequence[int]) -> None:
        left, window = scale_size(box, scale), 2 * self.loss.similarity.radius + 1
        if min(left) < window:
            name = Fraction(scale).limit_denominator(64)
            raise InputError(
                f"scale {name} leaves {'×'.join(map(str, left))} of {'×'.join(map(str, size))} pixels, less than the "
                f"NCC window of {window}: leave out this scale or lower the radius"
            )

    def _identity(self, inputs: Tensor, mask: Tensor | None, network: nn.Module) -> str:
        """What a checkpoint must have been made from to be gone on with: settings, images and weights."""
        changeless = ("checkpoint_dir", "progress")
        settings = {k: v for k, v in vars(self).items() if k not in changeless and not k.startswith("_")}
        digest = hashlib.sha256(repr(settings).encode())
        for tensor in (inputs, mask, *network.state_dict().values()):
            if tensor is not None:
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def checkpoints(self) -> Path | None:
        """The folder of the checkpoints; None keeps none."""
        return None if self.checkpoint_dir is None else Path(self.checkpoint_dir)

    def keep_checkpoints(self, folder: Path) -> None:
        """Keep them there, unless none are kept."""
        if self.checkpoint_dir is not None:
            self.checkpoint_dir = folder

    def _save(self, state: _State, identity: str, part: str) -> None:
        if self.checkpoint_dir is None:
            return
        content = {
            "identity": identity,
            "network": state.network.state_dict(),
            "prior": state.prior,
            "velocity": state.velocity,
            "done": [asdict(stage) for stage in state.done],
        }
        path = Path(self.checkpoint_dir) / f"{CHECKPOINT}{part}.pt"
        self._begun.add(path)
        with write_whole(path) as beside, open(beside, "wb") as file:
            torch.save(content, file)

    def forget(self) -> None:
        """Remove the checkpoints of a case whose outputs are written."""
        for path in self._begun:
            path.unlink(missing_ok=True)
        self._begun.clear()

    def _resume(self, state: _State, identity: str, part: str) -> None:
        if self.checkpoint_dir is None:
            return
        path = Path(self.checkpoint_dir) / f"{CHECKPOINT}{part}.pt"
        if not path.is_file():
            return
        try:
            content = torch.load(path, weights_only=True)
        except Exception:  # half-written by an older version or damaged: begin anew
            return
        if content["identity"] == identity:
            self._begun.add(path)
            state.network.load_state_dict(content["network"])
            state.prior, state.velocity = content["prior"], content["velocity"]
            state.done = [Stage(**stage) for stage in content["done"]]


def expand_scales(value: float | Sequence[float], count: int, name: str) -> list[float]:
    """``value`` for each of ``count`` scales: one number serves all.

    Raises:
        InputError: another number of values.

    Examples:
        >>> expand_scales(10.0, 3, "regularisation_weight"), expand_scales([1, 2, 3], 3, "steps")
        ([10.0, 10.0, 10.0], [1, 2, 3])
    """
    values = [value] * count if isinstance(value, int | float) else list(value)
    if len(values) != count:
        raise InputError(f"{name} {value} has {len(values)} values for {count} scales")
    return values


def _select_masks(mask: Tensor | None, index: Tensor, device: torch.device) -> Tensor | None:
    """The masks of some pairs, where each has its own."""
    if mask is None:
        return None
    return (mask if len(mask) == 1 else mask[index]).to(device)
