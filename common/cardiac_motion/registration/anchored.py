"""Motion without drift: every frame of a cine is registered to one anchor as well, beginning where the steps lead.

Steps between neighbours fall a little short, always to the same side, and a point at the end of the wall that is left
behind stays behind: over a beat that is what strain loses most by. A registration of frame t to the anchor itself has
no such sum in it, but its evidence is weaker, speckle having changed. So the place of a material point q of the anchor,

``x_t(q) = q + K_t(q) + δ_t(q)``,

is that of the composed steps, K, with a correction δ of least ``Σ_t |δ_(t+1) − δ_t|² + Σ_t |δ_t − (A_t − K_t)|² / w²``,
where A_t is the field found from K_t on between the anchor and frame t, and w the frames over which a correction is
spread: random steps of the one and errors of the other, weighed.
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
from cardiac_motion.registration.result import RegistrationInferer, RegistrationResult, follow_each_other, register


def spread_over_time(misses: Tensor, anchor: int, frames: float) -> Tensor:
    """The corrections ``δ`` of the module's sum, 0 at the anchor.

    Args:
        misses: ``A − K``, ``[T, …]``.
        anchor: its index.
        frames: w; 0 gives the misses back.

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
    found = torch.zeros_like(misses)
    if inner:
        solved = torch.linalg.inv(system[inner][:, inner]).to(misses)
        found[inner] = torch.einsum("ts,s...->t...", solved, misses[inner])
    return found


def refine_field(network: nn.Module, image: Tensor, ddf: Tensor) -> Tensor:
    """A better field of a pair from one that is nearly right: by the network's own ``refine``, or what it finds between
    the fixed image and the warped moving one, composed.

    Args:
        network: of the contract.
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
    """Registers the pairs of a cine, and every frame to an anchor; gives steps that agree with both.

    Args:
        inferer: what registers pairs; the result's ``inconsistency`` is that of neighbouring frames.
        anchors: frames, in order; end-diastole is a good one. Frames before the first belong to it as well.
        reach: frames from an anchor to the last that it serves; where the next one is further, others are put between.
        spread: frames over which a correction is spread, w.
        batch_size: frames at a time.
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
                f"anchors {list(anchors)}, reach {reach}, spread {spread}: frames in order, from 0, 1 and 0"
            )
        self.inferer, self.anchors, self.reach = inferer, tuple(anchors), reach
        self.spread, self.batch_size = spread, batch_size

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None, part: str = ""
    ) -> RegistrationResult:
        """Fields ``[N, 2, H, W]`` in pixels of the pairs of one cine, ``inputs [N, 2, H, W]``: pair t is its frames t,
        t + 1. Pairs that do not follow each other are left as they are.
        """
        near = register(inputs, network, self.inferer, mask, part)
        if not follow_each_other(inputs):
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
        """Anchor, first and last frame of every run of a cine of ``count`` frames; each begins where the last ended.

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
        """The steps ``[T − 1, 2, H, W]`` of a run of frames ``[T, 1, H, W]``, of which ``first`` is the first."""
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
