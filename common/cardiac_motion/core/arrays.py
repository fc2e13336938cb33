"""Array helpers: sizes, bounding boxes, connected components."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label
from skimage.morphology import isotropic_closing
from torch import Tensor

from cardiac_motion.core.errors import InputError

Mask = NDArray[np.bool_]


def scale_size(size: Sequence[int], scale: float) -> tuple[int, ...]:
    """``size`` times ``scale``, in whole pixels.

    Examples:
        >>> scale_size((100, 75), 0.5)
        (50, 38)
    """
    return tuple(round(n * scale) for n in size)


def bounding_box(
    mask: Tensor | None, size: Sequence[int], margin: int = 0, least: int = 0
) -> tuple[tuple[int, int], ...]:
    """Return first and last (exclusive) index along each axis of ``mask [N, 1, *S]``'s true region plus ``margin``.

    Args:
        mask: None is everywhere.
        size: of the image, which the box does not leave.
        margin: in voxels.
        least: voxels along each axis; a smaller box is widened on both sides, as far as the image goes.

    Raises:
        InputError: the mask is empty.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 6, 20)
        >>> mask[..., 2, 3] = 1
        >>> bounding_box(mask, (6, 20), margin=1), bounding_box(mask, (6, 20), least=8)
        (((1, 4), (2, 5)), ((0, 6), (0, 8)))
    """
    if mask is None:
        return tuple((0, n) for n in size)
    seen = mask.bool().flatten(0, 1).any(0)
    if not seen.any():
        raise InputError("the mask is empty: no pixel is left to register")
    edges = []
    for axis, n in enumerate(size):
        index = seen.movedim(axis, 0).flatten(1).any(1).nonzero()
        low, high = max(int(index[0]) - margin, 0), min(int(index[-1]) + 1 + margin, n)
        if high - low < least:
            low = max(0, min(low - (least - high + low) // 2, n - least))
            high = min(n, low + least)
        edges.append((low, high))
    return tuple(edges)


def largest_component(mask: ArrayLike) -> Mask:
    """Return the largest connected component of a mask of any dimension (pixels that share a side are connected).

    Of two equal ones the first in the array's order stays; an empty mask stays empty.

    Examples:
        >>> largest_component([[1, 1, 0, 1], [0, 0, 0, 0]]).astype(int)
        array([[1, 1, 0, 0],
               [0, 0, 0, 0]])
    """
    whole = np.asarray(mask, dtype=bool)
    pieces = label(whole, connectivity=1)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(whole & (pieces == sizes.argmax()))


def close_mask(mask: ArrayLike, radius: int) -> Mask:
    """Close a mask morphologically with a disc or ball of ``radius`` pixels, across the image edge too.

    Examples:
        >>> close_mask([[1, 1, 1], [1, 0, 1], [1, 1, 1]], 1).all()
        np.True_
    """
    whole = np.pad(np.asarray(mask, dtype=bool), radius + 1)
    return np.asarray(isotropic_closing(whole, radius)[(slice(radius + 1, -radius - 1),) * whole.ndim])
