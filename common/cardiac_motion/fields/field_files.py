"""Displacement fields in files that ITK and ANTs can read: NIfTI vectors, intent 1007."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import check_packed, save_nifti
from cardiac_motion.core.whole_files import write_whole

VECTOR_INTENT = 1007


def save_volume_ddf(path: str | Path, ddf: Tensor, affine: np.ndarray) -> None:
    """Write a volume's field for ITK and ANTs: NIfTI vector (X, Y, Z, 1, 3), mm, LPS.

    Args:
        path: ``….nii.gz``; written completely or not at all.
        ddf: ``[3, X, Y, Z]`` in voxels of the fixed grid.
        affine: affine of the fixed grid, 4×4, voxel to RAS mm.

    Examples:
        >>> import tempfile
        >>> ddf = torch.rand(3, 4, 5, 6)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_volume_ddf(f"{folder}/ddf.nii.gz", ddf, np.diag([0.5, 0.5, 2.0, 1.0]))
        ...     load_ddf(f"{folder}/ddf.nii.gz")[0].allclose(ddf)
        True
    """
    to_lps = np.diag([-1.0, -1.0, 1.0]) @ np.asarray(affine, dtype=float)[:3, :3]
    _save_vectors(path, np.einsum("ij,jxyz->xyzi", to_lps, ddf.double().numpy(force=True)), affine)


def save_cine_ddf(path: str | Path, ddf: Tensor) -> None:
    """Write the fields of a cine: NIfTI vector (X, Y, T−1, 1, 2), components (x, y) in pixels.

    Args:
        path: ``….nii.gz``; written completely or not at all.
        ddf: ``[T−1, 2, H, W]`` in pixels, (row, column).

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_cine_ddf(f"{folder}/ddf.nii.gz", torch.zeros(9, 2, 48, 64))
        ...     nibabel.load(f"{folder}/ddf.nii.gz").shape
        (64, 48, 9, 1, 2)
    """
    _save_vectors(path, ddf.flip(1).permute(3, 2, 0, 1).numpy(force=True), np.eye(4))


def _save_vectors(path: str | Path, vectors: np.ndarray, affine: np.ndarray) -> None:
    image = nibabel.Nifti1Image(np.ascontiguousarray(vectors[..., None, :], dtype=np.float32), affine)
    image.header.set_intent(VECTOR_INTENT)
    with write_whole(path) as beside:
        save_nifti(image, beside, f"writing {Path(path).name}")


def load_ddf(path: str | Path) -> Tensor:
    """Read a field as it was saved: a cine's ``[T−1, 2, H, W]`` in pixels, a volume's ``[1, 3, X, Y, Z]`` in voxels.

    Raises:
        InputError: the file is missing, is not a NIfTI file, or contains no vector field.

    Examples:
        >>> import tempfile
        >>> ddf = torch.rand(9, 2, 48, 64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_cine_ddf(f"{folder}/ddf.nii.gz", ddf)
        ...     load_ddf(f"{folder}/ddf.nii.gz").equal(ddf)
        True
    """
    try:
        image = nibabel.load(path)
        check_packed(path, math.prod(image.shape) * image.get_data_dtype().itemsize)  # type: ignore[attr-defined]
        vectors = np.asarray(image.dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a displacement field ({error})") from error
    if vectors.ndim != 5 or vectors.shape[3] != 1 or vectors.shape[4] not in (2, 3):
        raise InputError(f"{path}: expected a field (X, Y, Z, 1, 3) or (X, Y, T−1, 1, 2), got shape {vectors.shape}")
    vectors = vectors[:, :, :, 0]
    if vectors.shape[-1] == 2:
        return torch.from_numpy(np.ascontiguousarray(vectors.transpose(2, 3, 1, 0)[:, ::-1]))
    from_lps = np.linalg.inv(np.diag([-1.0, -1.0, 1.0]) @ image.affine[:3, :3])  # type: ignore[attr-defined]
    return torch.from_numpy(np.einsum("ij,xyzj->ixyz", from_lps, vectors)[None].astype(np.float32))
