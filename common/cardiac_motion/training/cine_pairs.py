"""Random frame pairs of many cines, to train a registration network (as VoxelMorph; the V of NMSR_V)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.arrays import bounding_box, scale_size
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import downsample, warp
from cardiac_motion.fields.random import random_field
from cardiac_motion.training.items import RandomItems

_MARGIN = 8  # pixels around a patch from which deformation may draw image content
_SLOW = 24  # pixels over which a random field changes
_PLAIN = 0.03  # standard deviation of the local grey values below which no motion can be observed


class CinePairs(RandomItems):
    """Random patches of random frame pairs, at random scales, in both time directions.

    Args:
        input, datalist, fold, dataset_dir: as in ``CineCases``; the cines are held in memory.
        length: pairs per epoch.
        crop: (rows, columns) of a patch, after scaling.
        scales: scales at which the network will be used.
        gap: largest frame distance of a pair.
        seed: random seed.

    Raises:
        InputError: a cine cannot be read.
    """

    def __init__(
        self,
        input: str | None = None,
        datalist: str | None = None,
        fold: str = "training",
        dataset_dir: str = ".",
        length: int = 400,
        crop: Sequence[int] = (128, 128),
        scales: Sequence[float] = (1.0,),
        gap: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(length, seed)
        self.crop, self.scales, self.gap = tuple(crop), tuple(scales), gap
        cases = CineCases(input, datalist, fold, dataset_dir)
        self.cines = [self._crop_to_sector(cases[i]) for i in range(len(cases))]
        if gap < 1:
            raise InputError(f"gap must be at least 1, got {gap}")

    @staticmethod
    def _crop_to_sector(case: CineCase) -> tuple[Tensor, Tensor]:
        assert case.mask is not None
        mask = case.mask.any(0, keepdim=True)
        rows, columns = (slice(*edges) for edges in bounding_box(mask, mask.shape[2:]))
        return case.cine.as_tensor()[0, :, None, rows, columns], mask[..., rows, columns].float()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ``image [2, *crop]`` (moving, fixed) and ``mask [1, *crop]``."""
        rng = self._generator(index)

        def draw(n: int) -> int:
            return int(torch.randint(n, (1,), generator=rng))

        frames, mask = self.cines[draw(len(self.cines))]
        size = scale_size(frames.shape[2:], self.scales[draw(len(self.scales))])
        gap = 1 + draw(min(self.gap, len(frames) - 1))
        first = draw(len(frames) - gap)
        order = [first, first + gap] if draw(2) else [first + gap, first]
        both = downsample(torch.cat([frames[order], mask]), size)
        margin = [max(0, want - have) for want, have in zip(self.crop, size, strict=True)]
        both = functional.pad(both, (0, margin[1], 0, margin[0]), mode="replicate" if min(size) > 1 else "constant")
        top, left = (draw(have - want + 1) for want, have in zip(self.crop, both.shape[2:], strict=True))
        piece = both[:, 0, top : top + self.crop[0], left : left + self.crop[1]]
        return {"image": piece[:2], "mask": piece[2:]}


class DeformedFrames(CinePairs):
    """Patches of random frames and their copies under a known random smooth field.

    Pretraining on such pairs, small patches first, teaches a network which patches match. A U-Net trained on cine pairs
    from the start predicts one constant vector for thousands of steps.

    Args:
        deviation: standard deviation of the field in pixels: a shift and a slowly varying part.
        options: arguments of ``CinePairs``; ``gap`` has no effect.
    """

    def __init__(self, deviation: float = 1.5, **options: Any) -> None:
        self.piece = tuple(options.pop("crop", (32, 32)))
        super().__init__(crop=[n + 2 * _MARGIN for n in self.piece], **options)
        self.deviation = deviation

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ``image [2, *crop]`` (moving, fixed), ``field [2, *crop]`` in pixels and ``mask [1, *crop]``.

        The mask is true where there is texture.
        """
        item = super().__getitem__(index)
        moving, mask = item["image"][None, :1], item["mask"][None]
        rng = self._generator(-1 - index)
        shift = self.deviation * torch.randn(1, 2, 1, 1, generator=rng)
        field = shift + random_field(moving.shape[2:], 0.5 * self.deviation, _SLOW, rng)
        pair = torch.cat([moving, warp(moving, field)], 1)
        inner = (0, ..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
        textured = mask * (deviation_around(pair[:, 1:]) > _PLAIN)
        return {"image": pair[inner], "field": field[inner], "mask": textured[inner]}


def deviation_around(image: Tensor) -> Tensor:
    """Local standard deviation around each pixel ``[B, 1, H, W]``, after subtracting a mean over 5 pixels.

    Examples:
        >>> deviation_around(torch.ones(1, 1, 16, 16)).max().item()
        0.0
    """

    def mean(values: Tensor, window: int) -> Tensor:
        return functional.avg_pool2d(values, window, 1, window // 2, count_include_pad=False)

    return mean((image - mean(image, 5)).square(), 9).sqrt()
