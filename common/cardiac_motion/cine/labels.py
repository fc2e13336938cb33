"""Stored frames, label maps and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import NEARLY_WHOLE, load_nifti


def read_labels(path: str | Path) -> NDArray[np.uint8]:
    """A label map as it is stored, (X, Y), (X, Y, T) or (X, Y, Z), single dimensions left out.

    Raises:
        InputError: unreadable, or values that are no labels.
    """
    try:
        values = np.squeeze(load_nifti(path)[1])
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: no readable label map ({type(error).__name__})") from error
    if values.ndim not in (2, 3) or values.size == 0:
        raise InputError(f"{path}: a label map is (X, Y), (X, Y, T) or (X, Y, Z), this is {values.shape}")
    whole = np.round(values)
    if not (np.abs(values - whole) <= NEARLY_WHOLE).all() or whole.min() < 0 or whole.max() > 255:
        raise InputError(f"{path}: labels are whole numbers from 0 to 255")
    return whole.astype(np.uint8)


def read_mask(path: str | Path) -> np.ndarray:
    """A 2D mask ``[H, W]`` bool from a NIfTI (X, Y) or a picture: everything above 0 (of a label map: label 1).

    Raises:
        InputError: it can't be read or isn't 2D.
    """
    try:
        if str(path).endswith((".nii", ".nii.gz")):
            values = np.squeeze(load_nifti(path)[1]).T
        else:
            values = np.asarray(iio.imread(path))
            values = values[..., 0] if values.ndim == 3 else values
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: no readable mask ({error})") from error
    if values.ndim != 2:
        raise InputError(f"{path}: a mask is 2D, this is {values.shape}")
    values = np.round(values) if np.abs(values - np.round(values)).max() <= NEARLY_WHOLE else values
    labels = np.unique(values[values > 0])
    return values == 1 if len(labels) > 1 and labels[0] == 1 else values > 0


def read_plane(path: str | Path) -> tuple[NDArray[Any], Sequence[float]]:
    """Values ``[H, W]`` of a NIfTI file stored as (X, Y), single dimensions left out, and its zooms (column, row, …).

    Raises:
        InputError: the file is missing or unreadable.
    """
    try:
        stored, values = load_nifti(path)
        values = np.squeeze(values).T
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:
        raise InputError(f"{path}: not a readable NIfTI file ({type(error).__name__})") from error
    return values, stored.header.get_zooms()
