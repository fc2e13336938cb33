"""Pairwise registration of a cine by a network, with the papers' forward-backward composition, and at a given size."""

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
    are_consecutive,
    pad_to_image,
    register,
)

MIN_SIDE = 32  # pixels: smallest region that is registered on its own


def make_consistent(ddf: Tensor, back: Tensor) -> Tensor:
    """Average a field with the one derived from the opposite direction (Evain et al. 2022, section II-B.5).

    The paper follows a point by F_f, takes the backward motion F_b there, and averages F_f and −F_b. Here the point is
    the fixed pixel p: ``(ddf(p) − back(p + ddf(p))) / 2``; two fields that are inverse to each other give ``ddf``.

    Args:
        ddf: ``[B, 2, H, W]`` in pixels, on the fixed grid.
        back: likewise with moving and fixed swapped, on the moving image's grid.

    Examples:
        >>> ddf = torch.full((1, 2, 4, 4), 1.0)
        >>> make_consistent(ddf, -1.5 * ddf).unique().tolist()
        [1.25]
    """
    return (ddf - warp(back, ddf)) / 2


class PairwiseInferer(RegistrationInferer):
    """Run ``network`` on the pairs of a case in batches.

    Args:
        batch_size: pairs per batch.
        composition: register each pair in both directions and compose (``make_consistent``); takes twice the time, and
            the result contains their ``inconsistency``. The ``deviation`` is the network's own estimate
            (``forward_with_deviation``), for a composed field that of the first direction.
        progress: show a progress bar.
        name: name of the progress bar.
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
        """Return the fields of the pairs.

        Args:
            inputs: ``[N, 2, H, W]``: moving, fixed; unit range.
            network: registration network; it is switched to evaluation mode.
            mask: ignored.
            part: part of the case, for the progress bar's name.
        """
        network.eval()
        device = next((p.device for p in network.parameters()), inputs.device)
        name = f"{self.name}{part}".replace(".", " over a ")
        batches = inputs.split(self.batch_size)
        with torch.no_grad():
            results = map_workers(
                lambda batch: self._register_batch(batch.to(device).float(), network), batches, splits_well(network)
            )
            batches_done = show_bar(results, name, "batch", len(batches)) if self.progress else results
            fields, inconsistencies, deviations = zip(*batches_done, strict=True)
        return RegistrationResult(torch.cat(fields), inconsistency=_join(inconsistencies), deviation=_join(deviations))

    def _register_batch(self, batch: Tensor, network: nn.Module) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return fields, inconsistency and deviation (see ``RegistrationResult``) of some pairs, on the CPU."""
        deviation, inconsistency = None, None
        if isinstance(network, TellsDeviation):
            ddf, deviation = network.forward_with_deviation(batch)
            deviation = deviation.float().cpu()
        else:
            ddf = network(batch)
        if self.composition:
            back = network(batch.flip(1))
            inconsistency = (ddf + warp(back, ddf)).square().sum(1, keepdim=True).sqrt().float().cpu()
            ddf = make_consistent(ddf, back)
        return ddf.float().cpu(), inconsistency, deviation


def _join(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


class SpannedInferer(RegistrationInferer):
    """Correct frame-to-frame motion by registration over several frames.

    Motion between neighbouring frames is small compared with changes of the speckle and is underestimated; over several
    frames this effect is smaller, but the shortfalls of single frames add up. Each run of ``frame_gap`` pairs is
    composed and compared with the field between its first and last frame; the difference is distributed evenly over its
    pairs, and each pair takes the mean over the runs that contain it.

    Args:
        inferer: registers pairs; the result's ``inconsistency`` is that of neighbouring frames.
        frame_gap: number of pairs in a run; 1 leaves the fields unchanged.
    """

    inferer: Inferer

    def __init__(self, inferer: Inferer, frame_gap: int = 3) -> None:
        super().__init__()
        if frame_gap < 1:
            raise ValueError(f"frame_gap must be at least 1, got {frame_gap}")
        self.inferer, self.frame_gap = inferer, frame_gap

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Register the pairs of one cine, ``inputs [N, 2, H, W]``: fields ``[N, 2, H, W]`` in pixels.

        Pair t has frames t and t + 1. Fields of non-consecutive pairs, or of fewer than ``frame_gap``, are returned
        uncorrected.
        """
        result = register(inputs, network, self.inferer, mask, part)
        ddf, runs = result.ddf, len(inputs) - self.frame_gap + 1
        if self.frame_gap == 1 or runs < 1 or not are_consecutive(inputs):
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
    """Run another inferer on the mask's bounding box, resized to the image size that its network expects.

    Args:
        inferer: registers pairs.
        longest: maximum length of the box's longer side in pixels.
        shortest: minimum length of that side in pixels; 0 does not enlarge small boxes.
        margin: margin of the box around the mask in pixels.
        region: first and last (exclusive) row and column of the required region: pixels keep their size, but only this
            part of the box is registered; None is all of it.
        zoom: factor by which images are then enlarged, for a network whose finest estimate is coarse.
        enlarge: factor by which the registered region is enlarged, up to ``longest``; values up to 1 have no effect.
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
        """Return the same inferer for a region of the image, which may be enlarged."""
        return SizedInferer(self.inferer, self.longest, self.shortest, self.margin, region, self.zoom, enlarge)

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Register ``inputs [N, 2, H, W]``: fields ``[N, 2, H, W]`` in pixels, on the CPU, extended beyond the box.

        The network's ``deviation`` is not returned, because it is valid only at the resized resolution.

        Args:
            inputs: moving, fixed; unit range.
            network: registration network.
            mask: ``[1 or N, 1, H, W]`` bool.
            part: passed on.
        """
        box = bounding_box(mask, inputs.shape[2:], self.margin)
        side = max(stop - start for start, stop in box)
        factor = max(min(1.0, self.longest / side), self.shortest / side) * self.zoom
        if self.region is not None:
            parts = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, self.region, strict=True)]
            box = tuple(parts) if all(b - a >= MIN_SIDE for a, b in parts) else box
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
        inconsistency = result.inconsistency
        if inconsistency is not None:
            inconsistency = functional.interpolate(inconsistency, inner, mode="bilinear", align_corners=False) / factor
            inconsistency = pad_to_image(inconsistency, box, inputs.shape[2:])
        ddf = pad_to_image(rescale(result.ddf, inner), box, inputs.shape[2:])
        return RegistrationResult(ddf, inconsistency=inconsistency)
