"""Random items that depend only on seed, epoch and index, so that a resumed training draws the same items."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset


class RandomItems(Dataset[dict[str, torch.Tensor]]):
    """Data set of items drawn from the seed, the epoch and the index only."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the items of another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def _generator(self, index: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * 1009 + self.epoch) * 100_003 + index)
