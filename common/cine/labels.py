"""Stored label maps and masks."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from common.core.errors import InputError


def read_labels(path: str | Path) -> NDArray[np.uint8]:
    """A label map as it is stored, (X, Y), (X, Y, T) or (X, Y, Z), single dimensions left out.

    Raises:
        InputError: unreadable, or values that are no labels.
    """
    try:
        values = np.squeeze(np.asarray(nibabel.load(path).dataobj))  # type: ignore[attr-defined]
    except Exception as error:
        raise InputError(f"{path}: no readable label map ({type(error).__name__})") from error
    if values.ndim not in (2, 3) or values.size == 0:
        raise InputError(f"{path}: a label map is (X, Y), (X, Y, T) or (X, Y, Z), this is {values.shape}")
    if not np.isfinite(values).all() or (values != np.round(values)).any() or values.min() < 0 or values.max() > 255:
        raise InputError(f"{path}: labels are whole numbers from 0 to 255")
    return values.astype(np.uint8)


def read_mask(path: str | Path) -> np.ndarray:
    """A 2D mask ``[H, W]`` bool from a NIfTI (X, Y) or a picture: everything above 0 (of a label map: label 1).

    Raises:
        InputError: it can't be read or isn't 2D.
    """
    try:
        if str(path).endswith((".nii", ".nii.gz")):
            values = np.squeeze(np.asarray(nibabel.load(path).dataobj)).T  # type: ignore[attr-defined]
        else:
            import imageio.v3 as iio

            values = np.asarray(iio.imread(path))
            values = values[..., 0] if values.ndim == 3 else values
    except Exception as error:
        raise InputError(f"{path}: no readable mask ({error})") from error
    if values.ndim != 2:
        raise InputError(f"{path}: a mask is 2D, this is {values.shape}")
    labels = np.unique(values[values > 0])
    return values == 1 if len(labels) > 1 and labels[0] == 1 else values > 0
