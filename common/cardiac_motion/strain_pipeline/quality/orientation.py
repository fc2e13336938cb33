"""Which way round a cine is segmented: as it is, or mirrored.

The segmentation has learned four-chamber views whose left ventricle lies on the picture's right, the right one beside
it. In a long-axis view, and where a laboratory shows the four-chamber view mirrored, the right ventricle lies on the
other side, and is taken into the wall. Mirrored before and after, such frames are segmented as those that it knows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cardiac_motion.strain_pipeline.quality.checks import LIMITS
from cardiac_motion.strain_pipeline.tracking.image_networks import HeartMemberships
from cardiac_motion.strain_pipeline.tracking.wall import Memberships, parts_of, walls_of
from cardiac_motion.ventricle.shape import read_shape_prior

LOOKED_AT = 4  # neighbouring frames in each of two places of a cine, since a segmentation is smoothed over time
POINTS = 120  # of the walls that are looked at

Segment = Callable[[Tensor], Memberships]


def mirror_segmentation(segment: Segment) -> Segment:
    """A segmentation of frames that are mirrored before it, its memberships after it."""

    def segment_mirrored(frames: Tensor) -> Memberships:
        found = segment(frames.flip(-1))
        if isinstance(found, HeartMemberships):
            return found.mirror()
        return found.flip(-1) if isinstance(found, Tensor) else (part.flip(-1) for part in found)

    return segment_mirrored


def walls_at(frames: Tensor, segment: Segment) -> NDArray[np.float64]:
    """The wall in some frames of a cine ``[T, H, W]``: lines ``[n, 3, P, 2]``, NaN where there is none; pixels."""
    count = len(frames)
    starts = {count // 5, max(0, 4 * count // 5 - LOOKED_AT)}
    found = []
    for start in sorted(starts):
        parts, grid = parts_of(segment(frames[start : start + LOOKED_AT]))
        labels = torch.cat([part.max(1).indices for part in parts])
        lines = walls_of(labels.numpy().astype(np.uint8), POINTS, steady=False)[0]
        found.append(lines if grid is None else grid.to_frame(lines))
    return np.concatenate(found)


def plausible_share(lines: NDArray[np.float64]) -> float:
    """Share of frames whose wall is there and has a ventricle's shape.

    Args:
        lines: ``[n, 3, P, 2]``, NaN where there is none.
    """
    known = np.isfinite(lines).all((1, 2, 3))
    if not known.any():
        return 0.0
    limit = LIMITS["shape of the wall"][1] or np.inf
    return float((read_shape_prior().distances(lines[known, 0]) <= limit).sum() / len(lines))


def orient_segmentation(frames: Tensor, segment: Segment) -> tuple[Segment, NDArray[np.float64]]:
    """The segmentation, mirrored where only that gives plausible walls, and the walls that were looked at.

    Args:
        frames: ``[T, H, W]`` in [0, 1].
        segment: as in ``StrainEvaluator``.
    """
    lines = walls_at(frames, segment)
    share = plausible_share(lines)
    if share < 1:
        other = walls_at(frames, mirror_segmentation(segment))
        if plausible_share(other) > share:
            return mirror_segmentation(segment), other
    return segment, lines
