"""The imaging sector: the part of the frame that holds echo."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import disk

VALUE_RANGE = (0.005, 0.995)
LEAST_CHANGE = 1.5 / 255  # standard deviation over frames, or over neighbours, of echo


def sector_mask(cine: torch.Tensor, radius: int = 16, still: bool = False) -> torch.Tensor:
    """The part of the frame worth registering: echo, without text, marks, traces and bars, widened by a disc.

    Pixels whose value lies in [0.005, 0.995] in at least a tenth of the frames, as in the papers (Li et al., arXiv
    1906.10510, section 3, and its extension, section III-A), restricted to what moves (marks and labels stay as they
    are), to the largest connected piece of it with its holes filled, then dilated. Marks and labels that the
    dilation reaches are taken out again. Where next to nothing moves, still pixels count too.

    Args:
        cine: ``[1, T, H, W]`` in [0, 1].
        radius: of the dilating disc, in pixels; 0 leaves the echo as it is.
        still: where more than a fifth of the echo stands still (filtered over time, or simulated so), all that has a
            texture: the sector that a reader sees, rather than what is worth registering.

    Returns:
        Boolean ``[H, W]``; all True where no echo is found.
    """
    frames = np.asarray(cine.detach().cpu())[0]
    low, high = VALUE_RANGE
    inside = np.mean((frames >= low) & (frames <= high), axis=0) >= 0.1
    moves = inside & (frames.std(axis=0) > LEAST_CHANGE)
    if moves.sum() < 0.02 * moves.size:
        moves = inside
    sector = _piece(moves)
    if still:
        mean = frames.mean(axis=0)
        texture = np.sqrt(np.maximum(_density(mean**2, 5) - _density(mean, 5) ** 2, 0))
        whole = _piece(moves | inside & (texture > LEAST_CHANGE))
        sector = whole if sector.sum() < 0.8 * whole.sum() else sector
    if not sector.any():
        return torch.ones(frames.shape[1:], dtype=torch.bool)
    outside = ndimage.distance_transform_edt(~sector)
    marks = (frames.mean(axis=0) > 0.1) & (outside > 2)
    mask = (outside <= radius) & ~(ndimage.binary_dilation(marks, disk(3)) & ~sector)
    return torch.from_numpy(mask)


def _piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of what is dense in a mask, without holes."""
    largest = _largest(ndimage.binary_opening(_density(mask, 7) > 0.5, disk(3)))
    return _filled(largest, 6) if largest.any() else largest


def _density(mask: np.ndarray, size: int) -> np.ndarray:
    return ndimage.uniform_filter(mask.astype(np.float32), size)


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else mask


def _filled(mask: np.ndarray, radius: int) -> np.ndarray:
    """Close gaps of up to twice the radius and fill what is enclosed."""
    return ndimage.binary_fill_holes(closed(mask, radius) | mask)


def closed(mask: np.ndarray, radius: int) -> np.ndarray:
    """The morphological closing of ``mask [H, W]`` by a disc of ``radius`` pixels, over the picture's edge too."""
    padded = np.pad(mask, radius + 1)
    widened = ndimage.distance_transform_edt(~padded) <= radius
    return (ndimage.distance_transform_edt(widened) > radius)[radius + 1 : -radius - 1, radius + 1 : -radius - 1]
