"""Neural multi-scale self-supervised registration at test time (NMSR; SSMSR for volumes).

The pairs of one case (all frame pairs of a cine, or one pair of volumes) are registered from coarse to fine. At scale s
the fixed images and the moving images, warped by the field of the coarser scales, are resized (NMSR eq. 1,
SSMSR eq. 4), θˢ is found by minimising −NCC² + λ·smoothness over all pairs (eq. 2), and the residual field is composed
with the coarser ones (eq. 4; eq. 5).

In addition to the papers, the unknown at the fine scales may be the stationary velocity field itself instead of the
weights of a network (``field_scales``): a few steps of smoothed gradients then replace thousands of network steps.
Network scales are fitted by ``NetworkStage``, field scales by ``VelocityStage``.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cardiac_motion.core.arrays import bounding_box, scale_size
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.memory import keep_freed_memory
from cardiac_motion.fields.ddf import compose, downsample, rescale, warp
from cardiac_motion.registration.checkpoints import Checkpoints, hash_state
from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.registration.network_stage import NetworkStage
from cardiac_motion.registration.optimisation import ScaleProblem, predict_fields
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult, Stage
from cardiac_motion.registration.velocity_stage import VelocityStage


@dataclass
class _State:
    network: nn.Module
    prior: Tensor | None = None  # field of the network scales, on the grid of the last of them
    velocity: Tensor | None = None  # velocity of the field scales, on its grid
    done: list[Stage] = dataclass_field(default_factory=list)


class MultiScaleTestTimeTraining(RegistrationInferer):
    """Register all pairs of a case by training at test time, scale by scale.

    Args:
        scales: coarse to fine, e.g. 1/8, 1/4, 1/2, 1; a single scale is SSR (the papers' single-scale method).
        steps: optimisation steps per scale (over all pairs for a network, per batch for a field).
        loss: a ``RegistrationLoss``; the papers use a radius of 6.
        regularisation_weight: λ, one number or one per scale; the papers use 10 at every scale.
        network_stage: how the network is trained at its scales.
        velocity_stage: how the velocity field is optimised at its scales; the network should integrate likewise.
        field_scales: scales at which the velocity field itself is the unknown.
        init_from_network: start the first scale from the full-size field of the given, trained network.
        batch_size: pairs per step.
        checkpoint_dir: folder for the state after each scale; a second call with the same input and settings resumes
            from there.
        seed: seed of the order of the pairs.
        progress: show a progress bar per scale.
    """

    def __init__(
        self,
        scales: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
        steps: int | Sequence[int] = 3500,
        loss: RegistrationLoss | None = None,
        regularisation_weight: float | Sequence[float] = 10.0,
        network_stage: NetworkStage | None = None,
        velocity_stage: VelocityStage | None = None,
        field_scales: Sequence[float] = (),
        init_from_network: bool = False,
        batch_size: int = 8,
        checkpoint_dir: str | Path | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        super().__init__()
        self.scales = [float(s) for s in scales]
        self.steps = [int(n) for n in expand_scales(steps, len(self.scales), "steps")]
        if not self.scales or self.scales != sorted(self.scales) or not all(0 < s <= 1 for s in self.scales):
            raise InputError(f"scales must increase and be in (0, 1], got {list(scales)}")
        self.regularisation_weight = [
            float(x) for x in expand_scales(regularisation_weight, len(self.scales), "regularisation_weight")
        ]
        self.network_stage = network_stage or NetworkStage()
        self.velocity_stage = velocity_stage or VelocityStage()
        self.is_field = [s in set(map(float, field_scales)) for s in self.scales]
        if self.is_field != sorted(self.is_field):
            raise InputError(f"field_scales {list(field_scales)} must be the finest of the scales {list(scales)}")
        strided = list(self.velocity_stage.strided_scales)
        if not {s for s in self.scales if s in strided} <= set(map(float, field_scales)):
            raise InputError(f"strided_scales {strided} must be among the field_scales {list(field_scales)}")
        self.batch_size, self.loss, self.init_from_network = batch_size, loss or RegistrationLoss(), init_from_network
        self.seed, self.progress = seed, progress
        self._checkpoints = Checkpoints(checkpoint_dir)

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Register the pairs of a case.

        Args:
            inputs: ``[N, 2, *S]``: moving, fixed; unit range. If the field itself is the unknown at every scale, both
                may have more channels, for a loss that uses them: ``[N, 2 C, *S]``.
            network: registration network; it is copied, never changed.
            mask: ``[1 or N, 1, *S]`` bool, the region of the loss; only its bounding box is registered, extended to
                fit the NCC window at the coarsest scale.
            part: part of the checkpoint's name.

        Returns:
            The fields, extended outside the box, and one stage per scale: NMSR (1/8), ….

        Raises:
            InputError: an image is too small for the NCC window at some scale.
        """
        size = tuple(inputs.shape[2:])
        window = 2 * self.loss.similarity.radius + 1
        box = bounding_box(mask, size, self.loss.similarity.radius, least=math.ceil(window / self.scales[0]))
        crop: Any = (..., *(slice(*edges) for edges in box))
        whole, inputs = inputs, inputs[crop].float()
        mask = None if mask is None else mask[crop].float()
        for scale in self.scales:
            self._check_size(scale, size, inputs.shape[2:])
        state = _State(network if all(self.is_field) else copy.deepcopy(network))
        identity = self._identity(inputs, mask, network)
        self._resume(state, identity, part)
        if self.init_from_network and not state.done:
            state.prior = predict_fields(network, whole, self.batch_size, self.progress)[crop]
        with torch.enable_grad():
            for i in range(len(state.done), len(self.scales)):
                start = time.perf_counter()
                if not self.network_stage.carry_weights:
                    state.network.load_state_dict(network.state_dict())
                fit = self._fit_field if self.is_field[i] else self._fit_network
                coarse, taken, loss = fit(i, inputs, mask, state)
                seconds = time.perf_counter() - start
                state.done.append(Stage(self.scales[i], taken, seconds, loss, coarse, box, size))
                self._save(state, identity, part)
        seconds = sum(stage.seconds for stage in state.done)
        return RegistrationResult(state.done[-1].ddf(), tuple(state.done), seconds=seconds)

    def _fit_network(self, i: int, inputs: Tensor, mask: Tensor | None, state: _State) -> tuple[Tensor, int, float]:
        """Find θˢ by NMSR eq. 2, and compose its residual field with the coarser ones (eq. 4)."""
        keep_freed_memory()
        problem = self._problem(i, inputs, mask, state)
        residual, taken, loss = self.network_stage.fit(problem, state.network)
        coarse = None if state.prior is None else rescale(state.prior, problem.pairs.shape[2:])
        state.prior = residual if coarse is None else compose(coarse, residual)
        return state.prior, taken, loss

    def _fit_field(self, i: int, inputs: Tensor, mask: Tensor | None, state: _State) -> tuple[Tensor, int, float]:
        """Optimise the velocity field, starting from the coarser scale's, and compose it with the networks' field."""
        problem = self._problem(i, inputs, mask, state)
        grid = self.velocity_stage.grid(inputs.shape[2:], self.scales[i])
        if state.velocity is None:
            start = torch.zeros(len(inputs), len(grid), *grid)
        else:
            start = rescale(state.velocity, grid)
        state.velocity, ddf, loss = self.velocity_stage.fit(problem, start)
        whole = ddf if state.prior is None else compose(rescale(state.prior, grid), ddf)
        return whole, self.steps[i], loss

    def _problem(self, i: int, inputs: Tensor, mask: Tensor | None, state: _State) -> ScaleProblem:
        pairs, mask = self._rescale_inputs(self.scales[i], inputs, mask, state.prior)
        return ScaleProblem(
            self.scales[i],
            pairs,
            mask,
            loss=self.loss,
            steps=self.steps[i],
            regularisation_weight=self.regularisation_weight[i],
            batch_size=self.batch_size,
            device=next(state.network.parameters()).device,
            seed=self.seed,
            progress=self.progress,
        )

    def _rescale_inputs(
        self, scale: float, inputs: Tensor, mask: Tensor | None, prior: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return Mˢ and Iˢ of NMSR eq. 1, ``[N, 2, *S·s]``, and the mask at that scale."""
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
        scaled, window = scale_size(box, scale), 2 * self.loss.similarity.radius + 1
        if min(scaled) < window:
            name = Fraction(scale).limit_denominator(64)
            raise InputError(
                f"scale {name} reduces {'×'.join(map(str, size))} to {'×'.join(map(str, scaled))} pixels, less than "
                f"the NCC window of {window}: omit this scale or reduce the radius"
            )

    def _identity(self, inputs: Tensor, mask: Tensor | None, network: nn.Module) -> str:
        """Return a digest of settings, images and weights that a checkpoint must match to be resumed."""
        settings = {k: v for k, v in vars(self).items() if k != "progress" and not k.startswith("_")}
        return hash_state(settings, (inputs, mask, *network.state_dict().values()))

    def checkpoints(self) -> Path | None:
        """Return the folder of the checkpoints; None if none are stored."""
        return self._checkpoints.folder

    def keep_checkpoints(self, folder: Path) -> None:
        """Store checkpoints in another folder, if any are stored."""
        if self._checkpoints.folder is not None:
            self._checkpoints.folder = folder

    def forget(self) -> None:
        """Remove the checkpoints of a case whose results are written."""
        self._checkpoints.forget()

    def _save(self, state: _State, identity: str, part: str) -> None:
        content = {
            "network": state.network.state_dict(),
            "prior": state.prior,
            "velocity": state.velocity,
            "done": [asdict(stage) for stage in state.done],
        }
        self._checkpoints.save(part, identity, content)

    def _resume(self, state: _State, identity: str, part: str) -> None:
        content = self._checkpoints.load(part, identity)
        if content is not None:
            state.network.load_state_dict(content["network"])
            state.prior, state.velocity = content["prior"], content["velocity"]
            state.done = [Stage(**stage) for stage in content["done"]]


def expand_scales(value: float | Sequence[float], count: int, name: str) -> list[float]:
    """Expand ``value`` to ``count`` scales: a single number is used for all.

    Raises:
        InputError: the number of values differs from ``count``.

    Examples:
        >>> expand_scales(10.0, 3, "regularisation_weight"), expand_scales([1, 2, 3], 3, "steps")
        ([10.0, 10.0, 10.0], [1, 2, 3])
    """
    values = [value] * count if isinstance(value, int | float) else list(value)
    if len(values) != count:
        raise InputError(f"{name} {value} has {len(values)} values for {count} scales")
    return values
