"""Middlebury's ``.flo`` files: dense flow from one image to the next (Baker et al. 2011, 10.1007/s11263-010-0390-2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError

TAG = 202021.25  # "PIEH" in little-endian single precision
UNKNOWN = 1e9  # flow with larger components is unknown


def read_flow(path: str | Path) -> tuple[Tensor, Tensor]:
    """Read the flow of a ``.flo`` file as a pull-back field.

    The file's flow takes pixel p of image 1 to p + w(p) of image 2, so it is the field with image 1 as the fixed and
    image 2 as the moving image: ``image1(p) = image2(p + ddf(p))``.

    Args:
        path: the file.

    Returns:
        ddf: ``[1, 2, H, W]`` in pixels (row, column); 0 where it is unknown.
        known: ``[H, W]`` bool.

    Raises:
        InputError: the file is missing, or is not a complete ``.flo`` file.
    """
    try:
        content = Path(path).read_bytes()
        tag, (width, height) = np.frombuffer(content, "<f4", 1)[0], np.frombuffer(content, "<i4", 2, 4)
        if tag != np.float32(TAG) or min(width, height) < 1:
            raise ValueError
        flow = np.frombuffer(content, "<f4", 2 * int(width) * int(height), 12).reshape(height, width, 2)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a complete .flo file ({type(error).__name__})") from None
    known = np.isfinite(flow).all(-1) & (np.abs(flow) < UNKNOWN).all(-1)
    ddf = np.where(known[..., None], flow, 0)[..., ::-1]  # the file has (column, row)
    return torch.from_numpy(ddf.copy()).movedim(-1, 0)[None], torch.from_numpy(known)
