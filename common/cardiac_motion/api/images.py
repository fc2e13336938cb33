"""Read volumes as tensors with their affine."""

from __future__ import annotations

from pathlib import Path

from monai.data import MetaTensor

from cardiac_motion.volume import read
from cardiac_motion.volume.transforms import volume_tensor


def read_volume(path: str | Path) -> MetaTensor:
    """Read a 3D NIfTI (or another format of nibabel): ``[1, X, Y, Z]`` float32, with its ``affine`` (voxel to RAS mm).

    Raises:
        InputError: the file cannot be read, is not 3D, has non-finite values, or has no usable affine.

    Examples:
        >>> import tempfile, nibabel, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6)), np.diag([1, 1, 2, 1])), f"{folder}/t1.nii.gz")
        ...     volume = read_volume(f"{folder}/t1.nii.gz")
        >>> tuple(volume.shape), volume.pixdim.tolist()
        ((1, 4, 5, 6), [1.0, 1.0, 2.0])
    """
    return volume_tensor(*read.read_volume(path))
