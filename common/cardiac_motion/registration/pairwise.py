"""A network on all frame pairs of a cine, some at a time, with the papers' forward-backward composition; at a size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn import functional

from cardiac_motion.core.arrays import bounding_box, scale_size
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.threads import map_workers, splits_well
from cardiac_motion.fields.ddf import compose, downsample, rescale, warp
from cardiac_motion.registration.network_kinds import TellsDeviation
from cardiac_motion.registration.result import (
    RegistrationInferer,
    RegistrationResult,
    follow_each_other,
    pad_to_image,
    register,
)

LEAST_SIDE = 32  # pixels of a region that is registered by itself


def make_consistent(ddf: Tensor, back: Tensor) -> Tensor:
    """The mean of a field and of what the opposite one says of it (Evain et al. 2022, section II-B.5).

    The paper follows a point by F_f, takes the backward motion F_b there, and averages F_f and −F_b. Here the point is
    the fixed pixel p: ``(ddf(p) − back(p + ddf(p))) / 2``; two fields that undo each other give ``ddf``.

    Args:
        ddf: ``[B, 2, H, W]`` in pixels, on the fixed grid.
        back: likewise with moving and fixed exchanged, on the moving image's grid.

    Examples:
        >>> ddf = torch.full((1, 2, 4, 4), 1.0)
        >>> make_consistent(ddf, -1.5 * ddf).unique().tolist()
        [1.25]
    """
    return (ddf - warp(back, ddf)) / 2


class PairwiseInferer(RegistrationInferer):
    """Runs ``network`` on the pairs of a case, some at a time.

    Args:
        batch_size: pairs at a time.
        composition: register each pair in both directions and compose (``make_consistent``); twice the time, and the
            result tells their ``inconsistency``. The ``deviation`` is what the network itself says
            (``forward_with_deviation``), of a composed field that of its first direction.
        progress: show a bar.
        name: of the bar.
    """

    def __init__(
        self, batch_size: int = 4, composition: bool = False, progress: bool = True, name: str = "motion"
    ) -> None:
        super().__init__()
        self.name = name
        self.batch_size, self.composition, self.progress = batch_size, composition, progress

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Fields of the pairs.

        Args:
            inputs: ``[N, 2, H, W]``: moving, fixed; unit range.
            network: of the contract; put into evaluation mode.
            mask: not looked at.
            part: of the case, for the bar's name.
        """
        network.eval()
        device = next((p.device for p in network.parameters()), inputs.device)
        name = f"{self.name}{part}".replace(".", " over a ")
        batches = inputs.split(self.batch_size)
        with torch.no_grad():
            results = map_workers(
                lambda batch: self._register_batch(batch.to(device).float(), network), batches, splits_well(network)
            )
            shown = show_bar(results, name, "batch", len(batches)) if self.progress else results
            found, missed, deviations = zip(*shown, strict=True)
        return RegistrationResult(torch.cat(found), inconsistency=_join(missed), deviation=_join(deviations))

    def _register_batch(self, batch: Tensor, network: nn.Module) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Fields of some pairs on the CPU, and what ``RegistrationResult`` calls inconsistency and deviation."""
        deviation, missed = None, None
        if isinstance(network, TellsDeviation):
            ddf, deviation = network.forward_with_deviation(batch)
            deviation = deviation.float().cpu()
        else:
            ddf = network(batch)
        if self.composition:
            back = network(batch.flip(1))
            missed = (ddf + warp(back, ddf)).square().sum(1, keepdim=True).sqrt().float().cpu()
            ddf = make_consistent(ddf, back)
        return ddf.float().cpu(), missed, deviation


def _join(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


class SpannedInferer(RegistrationInferer):
    """Corrects the motion from frame to frame by registration over several frames.

    A step of motion between neighbouring frames is small beside the speckle's own changes, and what is estimated of it
    falls short; over several frames that is less so, and the shortfall of one frame after the other adds up. Each run
    of ``frame_gap`` pairs is composed and compared with the field found between its first and its last frame; what is
    missing is shared out evenly among its pairs, and each pair takes the mean of the runs that it is in.

    Args:
        inferer: what registers; the ``inconsistency`` is that of neighbouring frames.
        frame_gap: pairs; 1 leaves the fields as they are.
    """

    inferer: Inferer

    def __init__(self, inferer: Inferer, frame_gap: int = 3) -> None:
        super().__init__()
        if frame_gap < 1:
            raise ValueError(f"frame_gap {frame_gap}, expected at least 1")
        self.inferer, self.frame_gap = inferer, frame_gap

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Fields ``[N, 2, H, W]`` in pixels of the pairs of one cine, ``inputs [N, 2, H, W]``: pair t is its frames t,
        t + 1. Pairs that do not follow each other, and fewer than ``frame_gap``, are left as they are.
        """
        result = register(inputs, network, self.inferer, mask, part)
        ddf, runs = result.ddf, len(inputs) - self.frame_gap + 1
        if self.frame_gap == 1 or runs < 1 or not follow_each_other(inputs):
            return result
        ends = torch.stack([inputs[:runs, 0], inputs[self.frame_gap - 1 :, 1]], 1)
        ends_mask = None if mask is None or len(mask) == 1 else mask[self.frame_gap - 1 :]
        missing = register(ends, network, self.inferer, ends_mask, f"{part}.span").ddf
        composed = ddf[self.frame_gap - 1 :]
        for back in range(2, self.frame_gap + 1):
            start = self.frame_gap - back
            composed = compose(ddf[start : start + runs], composed)
        missing = (missing - composed) / self.frame_gap
        shares, counts = torch.zeros_like(ddf), ddf.new_zeros(len(ddf), 1, 1, 1)
        for step in range(self.frame_gap):
            shares[step : step + runs] += missing
            counts[step : step + runs] += 1
        return RegistrationResult(ddf + shares / counts, inconsistency=result.inconsistency)


class SizedInferer(RegistrationInferer):
    """Runs another inferer on the box around the mask, made as large as what registers knows pictures to be.

    Args:
        inferer: what registers.
        longest: pixels along the longer side of the box, at most.
        shortest: pixels along that side, at least; 0 leaves small boxes as they are.
        margin: pixels that the box has around the mask.
        region: first and last (exclusive) row and column of what is wanted: the pixels keep their size, and of the box
            that part alone is registered; None is all of it.
        zoom: factor by which the images are enlarged after that, for a network whose finest estimate is coarse.
        enlarge: what is registered is made so many times as large, up to ``longest``; of 1 and less nothing is changed.
    """

    inferer: Inferer

    def __init__(
        self,
        inferer: Inferer,
        longest: int = 320,
        shortest: int = 0,
        margin: int = 0,
        region: Sequence[Sequence[int]] | None = None,
        zoom: float = 1.0,
        enlarge: float = 1.0,
    ) -> None:
        super().__init__()
        self.inferer, self.longest, self.shortest = inferer, longest, shortest
        self.margin, self.region, self.zoom, self.enlarge = margin, region, zoom, enlarge

    def restrict(self, region: Sequence[Sequence[int]] | None, enlarge: float = 1.0) -> SizedInferer:
        """The same for a region of the picture, which may be enlarged."""
        return SizedInferer(self.inferer, self.longest, self.shortest, self.margin, region, self.zoom, enlarge)

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Fields ``[N, 2, H, W]`` of ``inputs [N, 2, H, W]``, in its pixels, on the CPU; beyond the box its edge goes
        on. The network's ``deviation``, which is read between frames of that size alone, is not given back.

        Args:
            inputs: moving, fixed; unit range.
            network: of the contract.
            mask: ``[1 or N, 1, H, W]`` bool.
            part: handed on.
        """
        box = bounding_box(mask, inputs.shape[2:], self.margin)
        side = max(stop - start for start, stop in box)
        factor = max(min(1.0, self.longest / side), self.shortest / side) * self.zoom
        if self.region is not None:
            parts = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, self.region, strict=True)]
            box = tuple(parts) if all(b - a >= LEAST_SIDE for a, b in parts) else box
        crop: Any = (..., *(slice(*edges) for edges in box))
        inner = [stop - start for start, stop in box]
        if self.enlarge > 1:
            factor = max(factor, min(self.enlarge, self.longest / max(inner)))
        size = scale_size(inner, factor)
        small = inputs[crop].float()
        if factor > 1:
            small = functional.interpolate(small, size, mode="bilinear", align_corners=False)
        else:
            small = downsample(small, size)
        small_mask = None if mask is None else downsample(mask[crop].float(), size) > 0.5
        result = register(small, network, self.inferer, small_mask, part)
        missed = result.inconsistency
        if missed is not None:
            missed = functional.interpolate(missed, inner, mode="bilinear", align_corners=False) / factor
            missed = pad_to_image(missed, box, inputs.shape[2:])
        return RegistrationResult(pad_to_image(rescale(result.ddf, inner), box, inputs.shape[2:]), inconsistency=missed)
