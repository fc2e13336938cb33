"""The motion of a wall whose borders are known in one frame: as the fields have it, or regularised, in two ways."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.registration.material_wall import follow_wall
from cardiac_motion.registration.midwall import follow_midwall
from cardiac_motion.ventricle.contours import wall_mask

WALL_MOTIONS = ("none", "midwall", "material")


def check_wall_motion(name: str) -> str:
    """The name itself.

    Raises:
        InputError: it is none of ``WALL_MOTIONS``.

    Examples:
        >>> check_wall_motion("midwall")
        'midwall'
    """
    if name not in WALL_MOTIONS:
        raise InputError(f"wall_motion must be one of {', '.join(WALL_MOTIONS)}; got {name}")
    return name


def regularise_wall(
    name: str, image: Tensor, ddf: Tensor, endo: NDArray[np.float64], epi: NDArray[np.float64], first: int = 0
) -> Tensor:
    """The fields of a cine in which the wall moves as one of ``WALL_MOTIONS`` has it.

    Args:
        name: ``none`` leaves the fields; ``midwall`` fits affine motion inside the wall (``midwall.follow_midwall``);
            ``material`` registers the wall in its own coordinates (``material_wall.follow_wall``).
        image: ``[T − 1, 2, H, W]``, pair t is frames t (moving) and t + 1 (fixed); unit range.
        ddf: ``[T − 1, 2, H, W]`` in pixels, of the same pairs.
        endo, epi: the wall's borders in frame ``first``, ``[P, 2]`` (row, column) in pixels, point k of one across the
            wall from point k of the other.
        first: the frame in which they are known.

    Returns:
        ``[T − 1, 2, H, W]``.

    Raises:
        InputError: no such name.

    Examples:
        >>> ddf = torch.ones(1, 2, 8, 8)
        >>> regularise_wall("none", torch.zeros(1, 2, 8, 8), ddf, np.zeros((3, 2)), np.ones((3, 2))) is ddf
        True
    """
    if check_wall_motion(name) == "none":
        return ddf
    if name == "midwall":
        return follow_midwall(ddf, wall_mask(endo, epi, (ddf.shape[2], ddf.shape[3])), first)
    with torch.no_grad():
        return follow_wall(image, ddf, endo, epi, first)
