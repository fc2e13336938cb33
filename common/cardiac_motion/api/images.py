"""Volumes from files as tensors that know where they lie."""

from __future__ import annotations

from pathlib import Path

from monai.data import MetaTensor

from cardiac_motion.volume import read
from cardiac_motion.volume.transforms import volume_tensor


def read_volume(path: str | Path) -> MetaTensor:
    """Read a 3D NIfTI, or what else nibabel reads: ``[1, X, Y, Z]`` float32, with its ``affine`` (voxel to RAS mm).

    Raises:
        InputError: it can't be read, isn't 3D, holds values that aren't finite, or has no usable affine.

    Examples:
        >>> import tempfile, nibabel, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6)), np.diag([1, 1, 2, 1])), f"{folder}/t1.nii.gz")
        ...     volume = read_volume(f"{folder}/t1.nii.gz")
        >>> tuple(volume.shape), volume.pixdim.tolist()
        ((1, 4, 5, 6), [1.0, 1.0, 2.0])
    """
    return volume_tensor(*read.read_volume(path))
