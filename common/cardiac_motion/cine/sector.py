"""The imaging sector: the part of the frame that holds echo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image, disk

from cardiac_motion.core.arrays import close_mask, largest_component

VALUE_RANGE = (0.005, 0.995)
STILL = 0.02  # standard deviation over time of a mark, after lossy compression
BRIGHT_MARK, MARK_CONTRAST = 0.45, 0.25  # of a mark, and above what is around it
THICKEST_MARK = 5  # radius in pixels of what is no thin mark any more
MOST_BURNT = 0.02  # of the sector: where more stands still and is bright, the cine does
BRIGHT_TRACE, LEAST_TRACE = 0.25, 0.08  # grey value; length, as a part of the picture's longer side
LEAST_CHANGE = 1.5 / 255  # standard deviation over frames, or over neighbours, of echo


@dataclass(frozen=True, eq=False)
class FrameStatistics:
    """What a cine's frames hold at each pixel, ``[H, W]`` each.

    Attributes:
        mean, spread: over time, and the standard deviation.
        brightest: value.
        inside: share of the frames whose value lies in ``VALUE_RANGE``.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    brightest: NDArray[np.float32]
    inside: NDArray[np.float32]


def frame_statistics(cine: torch.Tensor) -> FrameStatistics:
    """The statistics of a cine ``[1, T, H, W]`` in [0, 1], in one pass, with no copy of it.

    Examples:
        >>> found = frame_statistics(torch.tensor([0.25, 0.75]).view(1, 2, 1, 1))
        >>> found.mean.item(), found.spread.item(), found.brightest.item(), found.inside.item()
        (0.5, 0.25, 0.75, 1.0)
    """
    frames = np.asarray(cine.detach().cpu())[0]
    low, high = VALUE_RANGE
    total, squares, inside = (np.zeros(frames.shape[1:]) for _ in range(3))
    brightest = frames[0].copy()
    for frame in frames:
        total += frame
        squares += np.square(frame, dtype=np.float64)
        inside += (frame >= low) & (frame <= high)
        np.maximum(brightest, frame, out=brightest)
    mean = total / len(frames)
    spread = np.sqrt(np.maximum(squares / len(frames) - mean**2, 0))
    return FrameStatistics(*(x.astype(np.float32) for x in (mean, spread, brightest, inside / len(frames))))


def sector_mask(
    cine: torch.Tensor, radius: int = 16, still: bool = False, statistics: FrameStatistics | None = None
) -> torch.Tensor:
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
        statistics: of the cine, where they are known.

    Returns:
        Boolean ``[H, W]``; all True where no echo is found.
    """
    return sector_masks(cine, (radius,), still, statistics)[0]


def sector_masks(
    cine: torch.Tensor, radii: Sequence[int], still: bool = False, statistics: FrameStatistics | None = None
) -> list[torch.Tensor]:
    """Return ``sector_mask`` of several radii, for little more time than one takes; arguments as there."""
    known = statistics or frame_statistics(cine)
    inside = known.inside >= 0.1
    moves = inside & (known.spread > LEAST_CHANGE)
    if moves.sum() < 0.02 * moves.size:
        moves = inside
    sector = _piece(moves)
    if still:
        mean = known.mean
        texture = np.sqrt(np.maximum(_density(mean**2, 5) - _density(mean, 5) ** 2, 0))
        whole = _piece(moves | inside & (texture > LEAST_CHANGE))
        sector = whole if sector.sum() < 0.8 * whole.sum() else sector
    if not sector.any():
        return [torch.ones(inside.shape, dtype=torch.bool) for _ in radii]
    outside = ndimage.distance_transform_edt(~sector)
    beside = ((known.mean > 0.1) & (outside > 2)) | traces(known.brightest, outside > 2)
    wanted = ~(ndimage.binary_dilation(beside, disk(3)) & ~sector)
    burnt = find_marks(known.mean, known.spread)
    if burnt.any() and (burnt & sector).sum() < MOST_BURNT * sector.sum():
        wanted &= ~ndimage.binary_dilation(burnt, disk(2))
    return [torch.from_numpy((outside <= radius) & wanted) for radius in radii]


def sector_hull(cine: torch.Tensor) -> torch.Tensor:
    """The convex hull ``[H, W]`` of what is ever lit in a cine ``[1, T, H, W]``: the sector, the dark in it included.

    All True where nothing is lit.
    """
    frames = np.asarray(cine.detach().cpu())[0]
    lit = largest_component(ndimage.binary_opening(frames.max(axis=0) > VALUE_RANGE[0], disk(1)))
    return torch.from_numpy(convex_hull_image(lit) if lit.any() else ~lit)


def find_marks(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Text, scales and other marks over the picture ``[H, W]``: thin and bright, and still in time.

    Args:
        mean, spread: of the frames, as in ``FrameStatistics``.
    """
    found = np.zeros(mean.shape, dtype=bool)
    if not ((spread < STILL) & (mean > BRIGHT_MARK)).any():
        return found
    margin = 2 * THICKEST_MARK  # that an opening looks at
    edges = []
    for axis in (1, 0):  # of what can be a part of a mark: an opening is no greater than the mean, and not negative
        index = np.flatnonzero(((spread < 2 * STILL) & (mean > MARK_CONTRAST / 2)).any(axis))
        edges.append(slice(max(int(index[0]) - margin, 0), int(index[-1]) + 1 + margin))
    part = mean[tuple(edges)], spread[tuple(edges)]
    above = part[0] - ndimage.grey_opening(part[0], footprint=disk(THICKEST_MARK))
    core = (part[1] < STILL) & (part[0] > BRIGHT_MARK) & (above > MARK_CONTRAST)
    near = (part[1] < 2 * STILL) & (above > MARK_CONTRAST / 2)
    found[tuple(edges)] = ndimage.binary_propagation(core, mask=near | core)
    return found


def traces(brightest: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Lines that move over the picture, an ECG say: long, thin pieces of what is ever bright ``[H, W]``.

    Args:
        brightest: value of each pixel, ``[H, W]``.
        where: ``[H, W]``, where to look for them.
    """
    pieces, _ = ndimage.label((brightest > BRIGHT_TRACE) & where, np.ones((3, 3)))
    found = np.zeros(pieces.shape, dtype=bool)
    for number, box in enumerate(ndimage.find_objects(pieces), 1):
        piece = pieces[box] == number
        if max(piece.shape) >= LEAST_TRACE * max(pieces.shape) and piece.mean() < 0.5:
            found[box] |= piece
    return found


def _piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of what is dense in a mask, without holes."""
    largest = largest_component(ndimage.binary_opening(_density(mask, 7) > 0.5, disk(3)))
    return _fill_gaps(largest, 6) if largest.any() else largest


def _density(mask: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(mask.astype(np.float32), size))


def _fill_gaps(mask: np.ndarray, radius: int) -> np.ndarray:
    """Close gaps of up to twice the radius and fill what is enclosed."""
    return np.asarray(ndimage.binary_fill_holes(close_mask(mask, radius) | mask))
