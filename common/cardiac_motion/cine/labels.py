"""Readers of stored frames, label maps and masks."""

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
    """Read a label map as stored, (X, Y), (X, Y, T) or (X, Y, Z), without singleton dimensions.

    Raises:
        InputError: the file is unreadable, or its values are not labels.

    Examples:
        >>> import tempfile, nibabel
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nibabel.save(nibabel.Nifti1Image(np.full((4, 5, 1), 2, np.uint8), np.eye(4)), f"{folder}/ed.nii")
        ...     labels = read_labels(f"{folder}/ed.nii")
        >>> labels.shape, np.unique(labels).tolist()
        ((4, 5), [2])
    """
    try:
        values = np.squeeze(load_nifti(path)[1])
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a label map ({type(error).__name__})") from error
    if values.ndim not in (2, 3) or values.size == 0:
        raise InputError(f"{path}: expected a label map (X, Y), (X, Y, T) or (X, Y, Z), got shape {values.shape}")
    whole = np.round(values)
    if not (np.abs(values - whole) <= NEARLY_WHOLE).all() or whole.min() < 0 or whole.max() > 255:
        raise InputError(f"{path}: labels must be whole numbers from 0 to 255")
    return whole.astype(np.uint8)


def read_mask(path: str | Path) -> np.ndarray:
    """Read a 2D mask ``[H, W]`` bool from a NIfTI (X, Y) or an image: values above 0 or, in a label map, label 1.

    Raises:
        InputError: the file cannot be read, or is not 2D.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     iio.imwrite(f"{folder}/cavity.png", np.array([[0, 255], [0, 255], [0, 0]], np.uint8))
        ...     read_mask(f"{folder}/cavity.png").tolist()
        [[False, True], [False, True], [False, False]]
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
        raise InputError(f"{path}: cannot be read as a mask ({error})") from error
    if values.ndim != 2:
        raise InputError(f"{path}: expected a 2D mask, got shape {values.shape}")
    values = np.round(values) if np.abs(values - np.round(values)).max() <= NEARLY_WHOLE else values
    labels = np.unique(values[values > 0])
    return values == 1 if len(labels) > 1 and labels[0] == 1 else values > 0


def read_plane(path: str | Path) -> tuple[NDArray[Any], Sequence[float]]:
    """Read values ``[H, W]`` of a NIfTI file stored as (X, Y), without singletons, and its zooms (column, row, …).

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
