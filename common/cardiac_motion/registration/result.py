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
    """Result of a scale.

    Attributes:
        scale: s.
        steps, seconds, loss: number of steps, duration, and loss of the last pass over the pairs.
        coarse: total field so far, on the grid of this scale over ``box``, ``[N, d, *(box·s)]`` in its voxels.
        box, size: first and last row, column, … of the registered region, and the image's size.
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
        """Name of the scale, such as ``scale 1/8``."""
        return f"scale {Fraction(self.scale).limit_denominator(64)}"

    def ddf(self, pairs: slice = slice(None)) -> Tensor:
        """Return the field of some pairs on the full grid, ``[n, d, *S]`` in voxels, extended outside ``box``."""
        return pad_to_image(
            rescale(self.coarse[pairs], [stop - start for start, stop in self.box]), self.box, self.size
        )


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """Fields of the pairs of a case.

    Attributes:
        ddf: ``[N, d, *S]`` in voxels, on the fixed grid, pulling back, on the CPU.
        stages: results of the scales, if there are several; the last one's field is ``ddf``.
        inconsistency: ``[N, 1, *S]``, forward–backward error in voxels; None if only one direction is registered.
        deviation: ``[N, d, *S]``, standard deviation in voxels of each component, if the network estimates it.
        seconds: duration.
        processor_seconds: processor time of all threads of this process, independent of the machine's load.
    """

    ddf: Tensor
    stages: tuple[Stage, ...] = ()
    inconsistency: Tensor | None = None
    deviation: Tensor | None = None
    seconds: float = 0.0
    processor_seconds: float = 0.0


class RegistrationInferer(Inferer):
    """Base class of inferers that return a ``RegistrationResult``.

    An inferer that wraps another stores it in ``inferer`` and forwards the methods below.
    """

    inferer: Inferer | None = None

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Register the pairs of a case.

        Args:
            inputs: ``[N, 2, *S]``: moving, fixed; unit range.
            network: registration network.
            mask: ``[1 or N, 1, *S]`` bool.
            part: name of this registration if a case needs several, so that each has its own checkpoint.
        """
        raise NotImplementedError

    def checkpoints(self) -> Path | None:
        """Return the folder for checkpoints of unfinished cases; None if there is none."""
        return self.inferer.checkpoints() if isinstance(self.inferer, RegistrationInferer) else None

    def keep_checkpoints(self, folder: Path) -> None:
        """Store checkpoints in another folder, if any are stored."""
        if isinstance(self.inferer, RegistrationInferer):
            self.inferer.keep_checkpoints(folder)

    def forget(self) -> None:
        """Remove the checkpoints of a case whose results are written."""
        if isinstance(self.inferer, RegistrationInferer):
            self.inferer.forget()


def register(
    inputs: Tensor, network: nn.Module, inferer: Inferer, mask: Tensor | None = None, part: str = ""
) -> RegistrationResult:
    """Register pairs by any inferer, and measure the time.

    Args:
        inputs: ``[N, 2, *S]``: moving, fixed; unit range.
        network: registration network.
        inferer: a ``RegistrationInferer``, or one of MONAI's that returns the fields.
        mask: ``[1 or N, 1, *S]`` bool; ignored by MONAI's ``SimpleInferer``.
        part: as in ``RegistrationInferer``.

    Examples:
        >>> result = register(torch.rand(3, 2, 8, 8), nn.Identity(), SimpleInferer())
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
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    return replace(result, seconds=seconds, processor_seconds=worked)


def are_consecutive(inputs: Tensor) -> bool:
    """Return whether pairs ``[N, 2, *S]`` are those of one cine: each begins with the last frame of the previous one.

    Examples:
        >>> frames = torch.arange(4.0).view(4, 1, 1)
        >>> pairs = torch.stack([frames[:-1], frames[1:]], 1)
        >>> are_consecutive(pairs), are_consecutive(pairs[[0, 2]])
        (True, False)
    """
    return torch.equal(inputs[1:, 0], inputs[:-1, 1])


def pad_to_image(values: Tensor, box: Sequence[Sequence[int]], size: Sequence[int]) -> Tensor:
    """Pad values ``[N, C, *box]`` of a part of an image to ``[N, C, *size]`` by repeating the part's edge.

    Examples:
        >>> pad_to_image(torch.tensor([[[[1.0, 2.0]]]]), [(0, 1), (1, 3)], (1, 4)).tolist()
        [[[[1.0, 1.0, 2.0, 2.0]]]]
    """
    margin = [m for (a, b), n in zip(reversed(box), reversed(size), strict=True) for m in (a, n - b)]
    return functional.pad(values, margin, mode="replicate") if any(margin) else values
