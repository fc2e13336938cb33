"""A volume with its place."""

import numpy as np
import pytest

from cardiac_motion.api.images import read_volume
from cardiac_motion.core.errors import InputError
from tests.volume.made import save


def test_a_volume_keeps_its_values_and_its_place(tmp_path):
    values, affine = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32), np.diag([0.5, -1.0, 2.0, 1.0])
    volume = read_volume(save(tmp_path / "v.nii.gz", values, affine))
    assert volume.shape == (1, 5, 6, 7) and np.array_equal(volume[0].numpy(), values)
    assert np.array_equal(volume.affine.numpy(), affine)


def test_a_missing_volume_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_volume(tmp_path / "v.nii.gz")
