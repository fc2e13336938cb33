"""Volumes and their labels as files hold them: values, voxels and place; each refused in one line that names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.orientations import OrientationError, io_orientation

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import NEARLY_WHOLE, load_nifti
from cardiac_motion.volume.volume_case import LABELS


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Values and affine of a 3D NIfTI (or what else nibabel reads).

    Raises:
        InputError: it can't be read, isn't 3D, is in colour or complex, claims more than its file can hold,
            holds values that aren't finite, or has no usable affine.
    """
    try:
        image, values = load_nifti(path)
        affine = np.asarray(image.affine, dtype=np.float64)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except Exception as error:
        raise InputError(f"{path}: no readable volume ({error})") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or min(values.shape) < 2:
        raise InputError(f"{path}: expected a volume (X, Y, Z), this is {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{path}: holds values that are not finite")
    try:
        turned = not np.isnan(io_orientation(affine)).any() and abs(np.linalg.det(affine[:3, :3])) > 1e-6
    except (OrientationError, ValueError, np.linalg.LinAlgError):
        turned = False
    if not turned:
        raise InputError(f"{path}: the affine is no map of voxels to millimetres: {affine[:3].round(3).tolist()}")
    return values, affine


def read_label(path: str | Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The label map of a volume, uint8 on the volume's own voxels: 0, 1 = head, 2 = body.

    Args:
        path: of the label.
        shape, affine: of the volume's file.

    Raises:
        InputError: unreadable, another size or place than the volume, other labels, or nothing labelled.
    """
    values, own = read_volume(path)
    if values.shape != shape:
        raise InputError(f"{path}: the label is {values.shape}, its volume is {shape}")
    if not np.allclose(own, affine, atol=1e-2):
        raise InputError(f"{path}: the label lies elsewhere than its volume (another affine)")
    whole = np.round(values)
    if np.abs(values - whole).max() <= NEARLY_WHOLE:
        values = whole
    found = np.unique(values)
    other = [float(v) for v in found if v not in (0, *LABELS)]
    if other:
        raise InputError(f"{path}: labels must be 0, {', '.join(map(str, LABELS))}; found {other[:5]}")
    if not values.any():
        raise InputError(f"{path}: the label is empty")
    return values.astype(np.uint8)
