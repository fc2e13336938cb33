"""Motion without drift: every frame of a cine is also registered to an anchor frame, starting from the composed steps.

Steps between neighbouring frames are slightly underestimated, always in the same direction, and a point at the end of
the wall that lags once remains behind: over a beat this is the main error of strain. A registration of frame t to the
anchor does not accumulate errors, but is less certain because speckle has changed. Therefore the position of a material
point q of the anchor,

``x_t(q) = q + K_t(q) + δ_t(q)``,

is that of the composed steps, K, with a correction δ that minimises
``Σ_t |δ_(t+1) − δ_t|² + Σ_t |δ_t − (A_t − K_t)|² / w²``. A_t is the field between the anchor and frame t, estimated
from K_t, and w the number of frames over which corrections are spread: it balances random errors of the steps against
errors of the anchor registrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.threads import map_workers, splits_well
from cardiac_motion.fields.ddf import compose, warp
from cardiac_motion.registration.midwall import accumulate_fields, correct_step
from cardiac_motion.registration.network_kinds import RefinesField
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult, are_consecutive, register


def spread_over_time(misses: Tensor, anchor: int, frames: float) -> Tensor:
    """Compute the corrections ``δ`` that minimise the module's sum, 0 at the anchor.

    Args:
        misses: ``A − K``, ``[T, …]``.
        anchor: index of the anchor.
        frames: w; 0 returns the misses unchanged.

    Examples:
        >>> misses = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
        >>> spread_over_time(misses, 0, 0).flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]
        >>> [round(x, 2) for x in spread_over_time(misses, 0, 2).flatten().tolist()]
        [0.0, 0.25, 0.31, 0.45]
    """
    count = len(misses)
    differences = torch.eye(count, dtype=torch.float64).diff(dim=0)
    system = torch.eye(count, dtype=torch.float64) + frames**2 * differences.t() @ differences
    inner = [t for t in range(count) if t != anchor]  # the anchor itself is known
    corrections = torch.zeros_like(misses)
    if inner:
        solved = torch.linalg.inv(system[inner][:, inner]).to(misses)
        corrections[inner] = torch.einsum("ts,s...->t...", solved, misses[inner])
    return corrections


def refine_field(network: nn.Module, image: Tensor, ddf: Tensor) -> Tensor:
    """Refine a nearly correct field of a pair.

    Uses the network's ``refine`` if it has one; otherwise composes the field with that between the fixed and the warped
    moving image.

    Args:
        network: registration network.
        image: ``[B, 2, H, W]``: moving, fixed.
        ddf: ``[B, 2, H, W]`` in pixels.

    Examples:
        >>> refine_field(nn.Identity(), torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4)).unique().tolist()
        [1.0]
    """
    if isinstance(network, RefinesField):
        return network.refine(image, ddf)
    return compose(ddf, network(torch.cat([warp(image[:, :1], ddf), image[:, 1:]], 1)))


class AnchoredInferer(RegistrationInferer):
    """Register the pairs of a cine, and every frame to an anchor; return steps that are consistent with both.

    Args:
        inferer: registers pairs; the result's ``inconsistency`` is that of neighbouring frames.
        anchors: anchor frames in increasing order; end-diastole is a good choice. The first anchor also serves the
            frames before it.
        reach: largest distance in frames between an anchor and a frame that it serves; anchors further apart get
            additional ones in between.
        spread: number of frames over which a correction is spread, w.
        batch_size: frames per batch.
    """

    inferer: Inferer

    def __init__(
        self,
        inferer: Inferer,
        anchors: Sequence[int] = (0,),
        reach: int = 64,
        spread: float = 4.0,
        batch_size: int = 4,
    ) -> None:
        super().__init__()
        if reach < 1 or spread < 0 or not anchors or list(anchors) != sorted({*anchors}) or anchors[0] < 0:
            raise ValueError(
                f"anchors {list(anchors)}, reach {reach}, spread {spread}: must be increasing frames, ≥ 1, and ≥ 0"
            )
        self.inferer, self.anchors, self.reach = inferer, tuple(anchors), reach
        self.spread, self.batch_size = spread, batch_size

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Register the pairs of one cine, ``inputs [N, 2, H, W]``: fields ``[N, 2, H, W]`` in pixels.

        Pair t has frames t and t + 1. Fields of non-consecutive pairs are returned uncorrected.
        """
        near = register(inputs, network, self.inferer, mask, part)
        if not are_consecutive(inputs):
            return near
        frames = torch.cat([inputs[:, :1], inputs[-1:, 1:]]).float()
        ddf = near.ddf.clone()
        network.eval()
        with torch.no_grad():
            for anchor, start, stop in self.runs(len(frames)):
                ddf[start:stop] = self._anchor_run(
                    frames[start : stop + 1], near.ddf[start:stop], anchor - start, start, network
                )
        return replace(near, ddf=ddf, stages=(), deviation=None)

    def runs(self, count: int) -> list[tuple[int, int, int]]:
        """Return anchor, first and last frame of every run of a cine of ``count`` frames; runs share their end frames.

        Examples:
            >>> AnchoredInferer(torch.nn.Identity(), anchors=[3], reach=10).runs(20)
            [(3, 0, 13), (13, 13, 19)]
        """
        known = [a for a in self.anchors if a < count - 1] or [0]
        runs, first = [], 0
        for anchor, following in zip(known, [*known[1:], count - 1], strict=True):
            while first < following:
                stop = min(following, anchor + self.reach)
                runs.append((anchor, first, stop))
                first = anchor = stop
        return runs

    def _anchor_run(self, frames: Tensor, steps: Tensor, anchor: int, first: int, network: nn.Module) -> Tensor:
        """Return the steps ``[T − 1, 2, H, W]`` of a run of frames ``[T, 1, H, W]`` that begins at frame ``first``."""
        starts, back = accumulate_fields(steps, anchor)
        device = next((p.device for p in network.parameters()), frames.device)
        pairs = torch.cat([frames, frames[anchor : anchor + 1].expand_as(frames)], 1)
        batches = list(zip(pairs.split(self.batch_size), starts.split(self.batch_size), strict=True))
        fields = map_workers(
            lambda batch: refine_field(network, batch[0].to(device), batch[1].to(device)).float().cpu(),
            batches,
            splits_well(network),
        )
        refined = torch.cat([*show_bar(fields, f"motion to frame {first + anchor}", "batch", len(batches))])
        corrections = spread_over_time(refined - starts, anchor, self.spread).split(1)
        return torch.cat(
            [
                correct_step(steps[t : t + 1], back[t + 1 : t + 2], corrections[t], corrections[t + 1])
                for t in show_bar(range(len(steps)), "corrected fields", "pair")
            ]
        )
