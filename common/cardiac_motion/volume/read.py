"""Readers of volumes and label maps, with validation: errors name the file and the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.orientations import OrientationError, io_orientation

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import NEARLY_WHOLE, load_nifti
from cardiac_motion.volume.volume_case import LABELS


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the values and the affine of a 3D NIfTI file (or of another format that nibabel reads).

    Raises:
        InputError: the file is missing or unreadable, is not 3D, holds colour or complex values, declares a size that
            the file cannot hold, contains non-finite values, or has an unusable affine.

    Examples:
        >>> import nibabel, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6)), np.diag([1, 1, 2, 1])), f"{folder}/a.nii")
        ...     values, affine = read_volume(f"{folder}/a.nii")
        >>> values.shape, affine.diagonal().tolist()
        ((4, 5, 6), [1.0, 1.0, 2.0, 1.0])
    """
    try:
        image, values = load_nifti(path)
        affine = np.asarray(image.affine, dtype=np.float64)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a volume ({error})") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or min(values.shape) < 2:
        raise InputError(f"{path}: expected a volume (X, Y, Z), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{path}: contains values that are not finite")
    try:
        invertible = not np.isnan(io_orientation(affine)).any() and abs(np.linalg.det(affine[:3, :3])) > 1e-6
    except (OrientationError, ValueError, np.linalg.LinAlgError):
        invertible = False
    if not invertible:
        raise InputError(f"{path}: the affine does not map voxels to millimetres: {affine[:3].round(3).tolist()}")
    return values, affine


def read_label(path: str | Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Read the label map of a volume: uint8 on the volume's voxels, 0 background, 1 head, 2 body.

    Args:
        path: file of the label map.
        shape, affine: shape and affine of the volume's file.

    Raises:
        InputError: the file is unreadable, its size or affine differs from the volume's, it contains other labels, or
            it is empty.

    Examples:
        >>> import nibabel, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nibabel.save(nibabel.Nifti1Image(np.full((4, 5, 6), 2, np.uint8), np.eye(4)), f"{folder}/a.nii")
        ...     label = read_label(f"{folder}/a.nii", (4, 5, 6), np.eye(4))
        >>> label.dtype, int(label.max())
        (dtype('uint8'), 2)
    """
    values, label_affine = read_volume(path)
    if values.shape != shape:
        raise InputError(f"{path}: the label map has shape {values.shape}, its volume {shape}")
    if not np.allclose(label_affine, affine, atol=1e-2):
        raise InputError(f"{path}: the label map's affine differs from the volume's")
    whole = np.round(values)
    if np.abs(values - whole).max() <= NEARLY_WHOLE:
        values = whole
    present = np.unique(values)
    other = [float(v) for v in present if v not in (0, *LABELS)]
    if other:
        raise InputError(f"{path}: labels must be 0, {', '.join(map(str, LABELS))}; got {other[:5]}")
    if not values.any():
        raise InputError(f"{path}: the label map is empty")
    return values.astype(np.uint8)
