"""Displacement fields as transforms of ITK and ANTs, and back.

ITK's displacement field transform maps a point x of the fixed image, in millimetres, to the point x + u(x) of the
moving image. It pulls back, like the fields of this package (``warped(p) = moving(p + ddf(p))``), so nothing is
inverted, and the file that ``save_itk_transform`` writes can be passed as it is to
``antsApplyTransforms -r fixed -i moving -t FILE`` or to ``SimpleITK.DisplacementFieldTransform``. The differences are
the unit (millimetres instead of voxels) and the axes: components are along ITK's physical axes, LPS (left, posterior,
superior), while affines here are nibabel's, RAS. The file is a NIfTI vector image (intent 1007) whose components are
already LPS; ITK does not reorient vectors of that intent.

Frames have no anatomical axes. Their transform is in ITK's plane: x along columns, y along rows, times the spacing,
as in ``SimpleITK.GetImageFromArray(frame)`` with ``SetSpacing((column, row))``; an affine may rotate that plane.

Outside the field's grid ITK applies no displacement, whereas ``warp`` extends the field from the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import save_nifti
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.fields.field_files import VECTOR_INTENT, save_volume_ddf

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SUFFIXES = (".nii", ".nii.gz")


def save_itk_transform(
    path: str | Path,
    ddf: Tensor,
    affine: np.ndarray | Tensor | None = None,
    spacing: Sequence[float] | None = None,
) -> None:
    """Write one displacement field as a transform that ITK, SimpleITK and ANTs apply.

    Args:
        path: ``….nii.gz`` or ``….nii``; written completely or not at all.
        ddf: ``[d, *S]`` or ``[1, d, *S]`` in voxels of the fixed grid, array axis order.
        affine: for a volume 4×4, voxel to RAS mm (``read_volume(…).affine``, nibabel's ``image.affine``); for a frame
            3×3, from (row, column) to ITK's (x, y) in mm.
        spacing: pixel size of a frame (row, column) in mm, if no affine is given.

    Raises:
        InputError: ``ddf`` holds several fields, the suffix is not NIfTI's, or affine or spacing is missing or invalid.

    Examples:
        >>> import tempfile
        >>> ddf = torch.rand(1, 2, 40, 30)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_itk_transform(f"{folder}/warp.nii.gz", ddf, spacing=(0.3, 0.4))
        ...     loaded, affine = load_itk_transform(f"{folder}/warp.nii.gz")
        >>> bool(loaded.allclose(ddf, atol=1e-5)), affine.round(3).tolist()
        (True, [[0.0, 0.4, 0.0], [0.3, 0.0, 0.0], [0.0, 0.0, 1.0]])
    """
    field = ddf[0] if ddf.dim() > 3 and ddf.shape[0] == 1 and ddf.shape[1] == ddf.dim() - 2 else ddf
    dimensions = field.dim() - 1
    if dimensions not in (2, 3) or field.shape[0] != dimensions:
        raise InputError(f"{path}: expected one field [d, *S], got shape {tuple(ddf.shape)}")
    if not str(path).lower().endswith(SUFFIXES):
        raise InputError(f"{path}: transforms are written as NIfTI; use the suffix {' or '.join(SUFFIXES)}")
    if dimensions == 3:
        if affine is None:
            raise InputError(f"{path}: the transform of a volume needs the affine of the fixed image")
        save_volume_ddf(path, field, _check_affine(path, affine, 4))
        return
    to_mm = _plane_affine(path, affine, spacing)
    vectors = np.einsum("ij,jrc->cri", to_mm[:2, :2], field.double().numpy(force=True))
    image = nibabel.Nifti1Image(vectors[:, :, None, None].astype(np.float32), _nifti_affine(to_mm))
    image.header.set_intent(VECTOR_INTENT)
    with write_whole(path) as beside:
        save_nifti(image, beside, f"writing {Path(path).name}")


def load_itk_transform(path: str | Path) -> tuple[Tensor, np.ndarray]:
    """Read a displacement field that ITK, ANTs (``…1Warp.nii.gz``) or ``save_itk_transform`` wrote as NIfTI.

    Returns:
        ``ddf [1, d, *S]`` in voxels of the field's grid, array axis order, and its affine: for a volume 4×4, voxel to
        RAS mm; for a frame 3×3, (row, column) to ITK's (x, y) in mm.

    Raises:
        InputError: the file is missing, is not a NIfTI file, or contains no displacement field.

    Examples:
        >>> import tempfile
        >>> ddf, affine = torch.rand(3, 4, 5, 6), np.diag([0.5, 0.5, 2.0, 1.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_itk_transform(f"{folder}/warp.nii.gz", ddf, affine)
        ...     load_itk_transform(f"{folder}/warp.nii.gz")[0][0].allclose(ddf, atol=1e-5)
        True
    """
    try:
        image = nibabel.load(path)
        vectors = np.asarray(image.dataobj, dtype=np.float64)  # type: ignore[attr-defined]
        affine = np.asarray(image.affine, dtype=np.float64)  # type: ignore[attr-defined]
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a displacement field ({error})") from error
    if vectors.ndim != 5 or vectors.shape[3] != 1 or vectors.shape[4] not in (2, 3):
        raise InputError(f"{path}: expected a transform (X, Y, Z, 1, 3) or (X, Y, 1, 1, 2), got shape {vectors.shape}")
    if vectors.shape[4] == 3:
        to_voxels = np.linalg.inv((RAS_TO_LPS @ affine)[:3, :3])
        return torch.from_numpy(np.einsum("ij,xyzj->ixyz", to_voxels, vectors[:, :, :, 0])[None]).float(), affine
    if vectors.shape[2] != 1:
        raise InputError(f"{path}: contains the {vectors.shape[2]} fields of a cine, in pixels; use load_ddf")
    to_mm = _from_nifti_affine(affine)
    ddf = np.einsum("ij,crj->irc", np.linalg.inv(to_mm[:2, :2]), vectors[:, :, 0, 0])
    return torch.from_numpy(ddf[None]).float(), to_mm


def _check_affine(path: str | Path, affine: np.ndarray | Tensor, size: int) -> np.ndarray:
    values = np.asarray(affine, dtype=np.float64)
    if values.shape != (size, size) or not np.isfinite(values).all() or abs(np.linalg.det(values)) < 1e-12:
        raise InputError(f"{path}: the affine must be an invertible {size}×{size} map of voxels to millimetres")
    return values


def _plane_affine(path: str | Path, affine: np.ndarray | Tensor | None, spacing: Sequence[float] | None) -> np.ndarray:
    """Return the affine 3×3 from (row, column) to ITK's (x, y) in mm."""
    if affine is not None:
        return _check_affine(path, affine, 3)
    if spacing is None:
        raise InputError(f"{path}: a transform is in mm; give the spacing (row, column) or an affine")
    row, column = (float(step) for step in spacing)
    return _check_affine(path, np.array([[0.0, column, 0.0], [row, 0.0, 0.0], [0.0, 0.0, 1.0]]), 3)


def _nifti_affine(to_mm: np.ndarray) -> np.ndarray:
    """Return the affine 4×4 of a NIfTI (X, Y), from (column, row) to RAS."""
    lps = np.eye(4)
    lps[:2, :2], lps[:2, 3] = to_mm[:2, [1, 0]], to_mm[:2, 2]
    return RAS_TO_LPS @ lps


def _from_nifti_affine(affine: np.ndarray) -> np.ndarray:
    """Inverse of ``_nifti_affine``."""
    lps = RAS_TO_LPS @ affine
    to_mm = np.eye(3)
    to_mm[:2, :2], to_mm[:2, 2] = lps[:2, [1, 0]], lps[:2, 3]
    return to_mm
