"""Result of a registration, and the base class of the bundles' inferers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.nn import functional

from cardiac_motion.fields.ddf import rescale


@dataclass(frozen=True, eq=False)
class Stage:
    """What is known after a scale.

    Attributes:
        scale: s.
        steps, seconds, loss: what it took; the loss of the last pass over the pairs.
        coarse: the whole field so far, on the grid of this scale over ``box``, ``[N, d, *(box·s)]`` in its voxels.
        box, size: first and last row, column, … of the part that was computed, and the image's size.
    """

    scale: float
    steps: int
    seconds: float
    loss: float
    coarse: Tensor
    box: Sequence[Sequence[int]]
    size: Sequence[int]

    @property
    def title(self) -> str:
        """``scale 1/8``."""
        return f"scale {Fraction(self.scale).limit_denominator(64)}"

    def ddf(self, pairs: slice = slice(None)) -> Tensor:
        """The field of some pairs on the full grid, ``[n, d, *S]`` in voxels; outside ``box`` its edge is repeated."""
        return pad_to_image(
            rescale(self.coarse[pairs], [stop - start for start, stop in self.box]), self.box, self.size
        )


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """The fields of the pairs of a case.

    Attributes:
        ddf: ``[N, d, *S]`` in voxels, on the fixed grid, pulling back, on the CPU.
        stages: after each scale, where there are several; the last one's field is ``ddf``.
        inconsistency: ``[N, 1, *S]``, voxels that the two directions of registration miss each other by; None where
            only one is registered.
        deviation: ``[N, d, *S]``, standard deviation in voxels of each component, where the network tells it.
        seconds: that it took.
        processor_seconds: of all threads of this process together: what it took whoever else uses the machine.
    """

    ddf: Tensor
    stages: tuple[Stage, ...] = ()
    inconsistency: Tensor | None = None
    deviation: Tensor | None = None
    seconds: float = 0.0
    processor_seconds: float = 0.0


class RegistrationInferer(Inferer):
    """An inferer whose answer is a ``RegistrationResult``.

    One that runs another keeps it in ``inferer`` and passes on what follows.
    """

    inferer: Inferer | None = None

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Register the pairs of a case.

        Args:
            inputs: ``[N, 2, *S]``: moving, fixed; unit range.
            network: of the contract.
            mask: ``[1 or N, 1, *S]`` bool.
            part: name of this registration where a case needs several, so that each keeps its own checkpoint.
        """
        raise NotImplementedError

    def checkpoints(self) -> Path | None:
        """The folder in which it keeps what an unfinished case goes on with, if it does."""
        return self.inferer.checkpoints() if isinstance(self.inferer, RegistrationInferer) else None

    def keep_checkpoints(self, folder: Path) -> None:
        """Keep them in another folder, where it keeps any."""
        if isinstance(self.inferer, RegistrationInferer):
            self.inferer.keep_checkpoints(folder)

    def forget(self) -> None:
        """Remove the checkpoints of a case whose outputs are written."""
        if isinstance(self.inferer, RegistrationInferer):
            self.inferer.forget()


def register(
    inputs: Tensor, network: nn.Module, inferer: Inferer, mask: Tensor | None = None, part: str = ""
) -> RegistrationResult:
    """Register pairs by any inferer, and tell its seconds.

    Args:
        inputs: ``[N, 2, *S]``: moving, fixed; unit range.
        network: of the contract.
        inferer: a ``RegistrationInferer``, or one of MONAI's that gives the fields.
        mask: ``[1 or N, 1, *S]`` bool; MONAI's ``SimpleInferer`` does not look at it.
        part: as in ``RegistrationInferer``.

    Examples:
        >>> result = register(torch.rand(3, 2, 8, 8), nn.Identity(), SimpleInferer())  # no field, but its way
        >>> tuple(result.ddf.shape), result.stages, result.seconds > 0
        ((3, 2, 8, 8), (), True)
    """
    start, worked = time.perf_counter(), time.process_time()
    with torch.no_grad():
        if isinstance(inferer, RegistrationInferer):
            result = inferer(inputs, network, mask=mask, part=part)
        else:
            given = {} if mask is None or isinstance(inferer, SimpleInferer) else {"mask": mask}
            result = RegistrationResult(inferer(inputs, network, **given))
    took, worked = time.perf_counter() - start, time.process_time() - worked
    return replace(result, seconds=took, processor_seconds=worked)


def follow_each_other(inputs: Tensor) -> bool:
    """Whether pairs ``[N, 2, *S]`` are those of one cine: each begins with the frame that the one before ends with.

    Examples:
        >>> frames = torch.arange(4.0).view(4, 1, 1)
        >>> pairs = torch.stack([frames[:-1], frames[1:]], 1)
        >>> follow_each_other(pairs), follow_each_other(pairs[[0, 2]])
        (True, False)
    """
    return torch.equal(inputs[1:, 0], inputs[:-1, 1])


def pad_to_image(values: Tensor, box: Sequence[Sequence[int]], size: Sequence[int]) -> Tensor:
    """Values ``[N, C, *box]`` of a part of an image on all of it, ``[N, C, *size]``; the part's edge is repeated.

    Examples:
        >>> pad_to_image(torch.tensor([[[[1.0, 2.0]]]]), [(0, 1), (1, 3)], (1, 4)).tolist()
        [[[[1.0, 1.0, 2.0, 2.0]]]]
    """
    margin = [m for (a, b), n in zip(reversed(box), reversed(size), strict=True) for m in (a, n - b)]
    return functional.pad(values, margin, mode="replicate") if any(margin) else values
