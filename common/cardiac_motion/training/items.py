"""Items that depend on the seed, the epoch and their index alone, so that a resumed training draws the same."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset


class RandomItems(Dataset[dict[str, torch.Tensor]]):
    """Items drawn from the seed, the epoch and the index alone."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Draw other items."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def _generator(self, index: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * 1009 + self.epoch) * 100_003 + index)
