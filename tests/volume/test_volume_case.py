import numpy as np

from cardiac_motion.volume.cases import VolumeCases
from cardiac_motion.volume.transforms import volume_tensor
from cardiac_motion.volume.volume_case import LABELS, VolumeCase, VolumeEntry
from tests.volume.made import case_of, save


def test_both_places_of_a_volume(tmp_path):
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = 40, -7, 3
    case = case_of(
        save(tmp_path / "v.nii.gz", np.random.default_rng(0).random((20, 30, 24)).astype(np.float32), affine)
    )
    assert np.allclose(case.affine, affine)
    assert np.allclose(case.common_affine[:3, :3], np.eye(3)), "RAS, 1 mm"
    first, last = (affine @ [*voxel, 1] for voxel in ((0, 0, 0), (19, 29, 23)))
    inner = np.linalg.inv(case.common_affine) @ np.stack([first, last], 1)
    assert np.allclose(inner[:3].mean(1), [23.5, 31.5, 23.5]), "its centre is the grid's"


def test_the_keys_that_handlers_take():
    case = VolumeCases()[0]
    assert set(case) == {"case", "image", "mask", "entry", "volume", "label"} and case["case"] == case.name
    volume = volume_tensor(np.zeros((2, 2, 2)), np.eye(4))
    assert "label" not in VolumeCase(VolumeEntry("a", "a"), volume[None], None, volume)
    assert LABELS == {1: "head", 2: "body"}
