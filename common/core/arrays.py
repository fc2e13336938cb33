"""Masks as arrays: the largest connected component and the closing, by scikit-image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label
from skimage.morphology import isotropic_closing

Mask = NDArray[np.bool_]


def largest_component(mask: ArrayLike) -> Mask:
    """The largest connected piece of a mask of any dimension; pixels that share a side are connected.

    Of two equal ones the first in the array's order stays; an empty mask stays empty.

    >>> largest_component([[1, 1, 0, 1], [0, 0, 0, 0]]).astype(int)
    array([[1, 1, 0, 0],
           [0, 0, 0, 0]])
    """
    whole = np.asarray(mask, dtype=bool)
    pieces = label(whole, connectivity=1)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(whole & (pieces == sizes.argmax()))


def closed(mask: ArrayLike, radius: int) -> Mask:
    """The morphological closing of a mask by a disc or ball of ``radius`` pixels, over the picture's edge too.

    >>> closed([[1, 1, 1], [1, 0, 1], [1, 1, 1]], 1).all()
    np.True_
    """
    whole = np.pad(np.asarray(mask, dtype=bool), radius + 1)
    return np.asarray(isotropic_closing(whole, radius)[(slice(radius + 1, -radius - 1),) * whole.ndim])
