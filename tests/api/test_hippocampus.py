"""A synthetic hippocampus by synthetic atlases."""

import nibabel
import numpy as np
import pytest

from cardiac_motion.api.hippocampus import segment_hippocampus
from cardiac_motion.core.errors import InputError
from cardiac_motion.volume.phantom import phantom
from tests.volume.made import save


@pytest.fixture(scope="module")
def atlas_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlases")
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    for number in range(3):
        values, labels = phantom(number)
        save(folder / f"imagesTr/{number}.nii.gz", values)
        save(folder / f"labelsTr/{number}.nii.gz", labels.astype(np.uint8))
    return folder


def test_head_and_body_are_found_on_the_volumes_own_voxels(atlas_dir, tmp_path):
    values, truth = phantom(9)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    result = segment_hippocampus(save(tmp_path / "v.nii.gz", values, affine), atlas_dir, steps=5, candidates=3)
    assert result.labels.shape == truth.shape and set(result.labels.unique().tolist()) == {0, 1, 2}
    labels = result.labels.numpy()
    for value, name in ((1, "head"), (2, "body")):
        dice = 2 * ((labels == value) & (truth == value)).sum() / ((labels == value).sum() + (truth == value).sum())
        assert dice > 0.6, name
        assert result.volumes[name] == (labels == value).sum()
    assert set(result.atlases) <= {"0", "1", "2"}
    result.save(tmp_path / "labels.nii.gz")
    stored = nibabel.load(tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asarray(stored.dataobj), labels) and np.array_equal(stored.affine, result.affine)


def test_without_atlases_it_is_refused(tmp_path):
    path = save(tmp_path / "v.nii.gz", phantom(9)[0])
    with pytest.raises(InputError, match="imagesTr"):
        segment_hippocampus(path, tmp_path)
