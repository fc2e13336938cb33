"""Volumes of the tests as files, and as cases."""

import nibabel
import numpy as np

from cardiac_motion.core.errors import unwrap_errors
from cardiac_motion.volume.transforms import volume_transforms


def save(path, values, affine=None):
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return str(path)


def case_of(path, label=None, labelled=False):
    """The case of a volume and its label, as the bundles read it."""
    with unwrap_errors():
        return volume_transforms(labelled=labelled)({"case": "v", "image": path, **({"label": label} if label else {})})
