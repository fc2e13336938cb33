"""A network on all frame pairs of a cine, some at a time, with the papers' forward-backward composition."""

from __future__ import annotations

import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from tqdm import tqdm

from common.ddf import warp


def consistent(ddf: Tensor, back: Tensor) -> Tensor:
    """The mean of a field and of what the opposite one says of it (Evain et al. 2022, section II-B.5).

    The paper follows a point by F_f, takes the backward motion F_b there, and averages F_f and −F_b. Here the point is
    the fixed pixel p: ``(ddf(p) − back(p + ddf(p))) / 2``; two fields that undo each other give ``ddf``.

    Args:
        ddf: ``[B, 2, H, W]`` in pixels, on the fixed grid.
        back: likewise with moving and fixed exchanged, on the moving image's grid.
    """
    return (ddf - warp(back, ddf)) / 2


class PairwiseInferer(Inferer):
    """Runs ``network`` on the pairs of a case, some at a time.

    Args:
        batch_size: pairs at a time.
        composition: register each pair in both directions and compose (``consistent``); twice the time.
        progress: show a bar.
    """

    def __init__(self, batch_size: int = 4, composition: bool = False, progress: bool = True) -> None:
        super().__init__()
        self.batch_size, self.composition, self.progress = batch_size, composition, progress

    def __call__(self, inputs: Tensor, network: nn.Module, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Fields of the pairs.

        Args:
            inputs: ``[N, 2, H, W]``: moving, fixed; unit range.
            network: of the contract; put into evaluation mode.
            mask: not looked at.

        Returns:
            ``[N, 2, H, W]`` in pixels, on the CPU.
        """
        network.eval()
        device = next((p.device for p in network.parameters()), inputs.device)
        found = []
        with torch.no_grad(), tqdm(total=len(inputs), unit="pair", disable=not self.progress, mininterval=0.5) as bar:
            for batch in inputs.split(self.batch_size):
                batch = batch.to(device).float()
                ddf = network(batch)
                if self.composition:
                    ddf = consistent(ddf, network(batch.flip(1)))
                found.append(ddf.float().cpu())
                bar.update(len(batch))
        return torch.cat(found)
