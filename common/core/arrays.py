"""Sizes, boxes and pieces of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from common.core.errors import InputError


def scale_size(size: Sequence[int], scale: float) -> tuple[int, ...]:
    """``size`` times ``scale``, in whole pixels."""
    return tuple(round(n * scale) for n in size)


def bounding_box(mask: Tensor | None, size: Sequence[int], margin: int = 0) -> tuple[tuple[int, int], ...]:
    """First and last (exclusive) index along each axis of what is true in ``mask [N, 1, *S]``, and ``margin`` around.

    Raises:
        InputError: the mask is empty.
    """
    if mask is None:
        return tuple((0, n) for n in size)
    seen = mask.bool().flatten(0, 1).any(0)
    if not seen.any():
        raise InputError("the mask is empty: no pixel is left to register")
    edges = []
    for axis, n in enumerate(size):
        index = seen.movedim(axis, 0).flatten(1).any(1).nonzero()
        edges.append((max(int(index[0]) - margin, 0), min(int(index[-1]) + 1 + margin, n)))
    return tuple(edges)


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected piece (over edges and faces, not corners) of ``mask [*S]``; the mask where it is empty."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    return pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
