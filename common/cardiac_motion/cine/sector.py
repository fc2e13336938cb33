"""The imaging sector: the part of the frame that contains echo."""

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
BRIGHT_MARK, MARK_CONTRAST = 0.45, 0.25  # brightness of a mark, and its contrast to its surroundings
THICKEST_MARK = 5  # radius in pixels; thicker structures are not marks
MOST_BURNT = 0.02  # fraction of the sector; if more of it is static and bright, the cine itself is static
BRIGHT_TRACE, MIN_TRACE = 0.25, 0.08  # grey value; length as a fraction of the image's longer side
MIN_CHANGE = 1.5 / 255  # standard deviation of echo over frames, or over neighbouring pixels


@dataclass(frozen=True, eq=False)
class FrameStatistics:
    """Statistics of a cine over time at each pixel, ``[H, W]`` each.

    Attributes:
        mean, spread: mean and standard deviation over time.
        brightest: largest value.
        inside: fraction of the frames whose value lies in ``VALUE_RANGE``.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    brightest: NDArray[np.float32]
    inside: NDArray[np.float32]


def frame_statistics(cine: torch.Tensor) -> FrameStatistics:
    """Compute the statistics of a cine ``[1, T, H, W]`` in [0, 1], in one pass, without copying it.

    Examples:
        >>> statistics = frame_statistics(torch.tensor([0.25, 0.75]).view(1, 2, 1, 1))
        >>> [getattr(statistics, name).item() for name in ("mean", "spread", "brightest", "inside")]
        [0.5, 0.25, 0.75, 1.0]
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
    """Segment the part of the frame worth registering: echo, without text, marks, traces and bars, dilated by a disc.

    Pixels whose value lies in [0.005, 0.995] in at least a tenth of the frames, as in the papers (Li et al., arXiv
    1906.10510, section 3, and its extension, section III-A), restricted to moving pixels (marks and labels are static)
    and to the largest connected component, with holes filled, then dilated. Marks and labels within the dilated region
    are removed again. If hardly anything moves, static pixels are included.

    Args:
        cine: ``[1, T, H, W]`` in [0, 1].
        radius: radius in pixels of the dilating disc; 0 does not dilate.
        still: if more than a fifth of the echo is static (filtered over time, or simulated), include all textured
            pixels: the visible sector, rather than the part worth registering.
        statistics: statistics of the cine, if known.

    Returns:
        Boolean ``[H, W]``; all True if no echo is found.

    Examples:
        >>> cine = torch.zeros(1, 8, 48, 48)
        >>> cine[..., 8:40, 12:36] = 0.2 + 0.6 * torch.rand(1, 8, 32, 24)  # moving speckle on black
        >>> mask = sector_mask(cine, radius=0)
        >>> bool(mask[12:36, 16:32].all()), bool(mask[:8].any())
        (True, False)
    """
    return sector_masks(cine, (radius,), still, statistics)[0]


def sector_masks(
    cine: torch.Tensor, radii: Sequence[int], still: bool = False, statistics: FrameStatistics | None = None
) -> list[torch.Tensor]:
    """Return ``sector_mask`` of several radii, for little more time than one takes; arguments as there."""
    known = statistics or frame_statistics(cine)
    inside = known.inside >= 0.1
    moves = inside & (known.spread > MIN_CHANGE)
    if moves.sum() < 0.02 * moves.size:
        moves = inside
    sector = _densest_component(moves)
    if still:
        mean = known.mean
        texture = np.sqrt(np.maximum(_density(mean**2, 5) - _density(mean, 5) ** 2, 0))
        whole = _densest_component(moves | inside & (texture > MIN_CHANGE))
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
    """Return the convex hull ``[H, W]`` of pixels that are ever bright in a cine ``[1, T, H, W]``, dark areas included.

    All True if there are none.

    Examples:
        >>> cine = torch.zeros(1, 2, 32, 32)
        >>> cine[..., 4:28, 4:28] = 0.5
        >>> cine[..., 10:22, 10:22] = 0  # a dark cavity
        >>> hull = sector_hull(cine)
        >>> bool(hull[16, 16]), bool(hull[1, 1])
        (True, False)
    """
    frames = np.asarray(cine.detach().cpu())[0]
    lit = largest_component(ndimage.binary_opening(frames.max(axis=0) > VALUE_RANGE[0], disk(1)))
    return torch.from_numpy(convex_hull_image(lit) if lit.any() else ~lit)


def find_marks(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Find text, scales and other marks over the image: thin, bright and static, as bool ``[H, W]``.

    Args:
        mean, spread: mean and standard deviation over time, as in ``FrameStatistics``.
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
    """Find lines that move over the image, such as an ECG: long, thin components of bright pixels, bool ``[H, W]``.

    Args:
        brightest: largest value of each pixel over time, ``[H, W]``.
        where: bool ``[H, W]``, the region to search.
    """
    pieces, _ = ndimage.label((brightest > BRIGHT_TRACE) & where, np.ones((3, 3)))
    lines = np.zeros(pieces.shape, dtype=bool)
    for number, box in enumerate(ndimage.find_objects(pieces), 1):
        piece = pieces[box] == number
        if max(piece.shape) >= MIN_TRACE * max(pieces.shape) and piece.mean() < 0.5:
            lines[box] |= piece
    return lines


def _densest_component(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected component of the dense part of a mask, with holes filled."""
    largest = largest_component(ndimage.binary_opening(_density(mask, 7) > 0.5, disk(3)))
    return _fill_gaps(largest, 6) if largest.any() else largest


def _density(mask: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(mask.astype(np.float32), size))


def _fill_gaps(mask: np.ndarray, radius: int) -> np.ndarray:
    """Close gaps of up to twice the radius, and fill holes."""
    return np.asarray(ndimage.binary_fill_holes(close_mask(mask, radius) | mask))
