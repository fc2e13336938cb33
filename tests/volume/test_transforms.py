"""From a volume's file to the atlases' grid, and back by MONAI's ``Invertd``."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd

from cardiac_motion.core.errors import InputError
from cardiac_motion.volume.cases import phantom_entries
from cardiac_motion.volume.transforms import SIZE, AntiAliasd, normalise, one_hot, volume_tensor, volume_transforms
from tests.volume.made import case_of, save


def back(transforms, case, values):
    """``values [C, *size]`` on the file's voxels."""
    invert = Invertd("pred", transforms, orig_keys="image", nearest_interp=False)
    return invert({"image": case.volume, "pred": MetaTensor(values)})["pred"].numpy()


def turned(values, axes, flips, zooms=(1, 1, 1)):
    """The same volume stored with other axes: values and an affine that leads back to the same places."""
    stored = np.flip(values.transpose(axes), [i for i, f in enumerate(flips) if f])
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for i, axis in enumerate(axes):
        affine[axis, i] = -zooms[axis] if flips[i] else zooms[axis]
        affine[axis, 3] = zooms[axis] * (stored.shape[i] - 1) if flips[i] else 0
    return np.ascontiguousarray(stored), affine


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(0, 0, 0), (1, 0, 1), (1, 1, 1)])
def test_any_orientation_gives_the_same_common_volume_and_comes_back(tmp_path, volume, axes, flips):
    values, label = volume
    stored, affine = turned(values, axes, flips)
    labels, _ = turned(label, axes, flips)
    plain = case_of(save(tmp_path / "plain.nii.gz", values))
    transforms = volume_transforms()
    files = {"image": save(tmp_path / "v.nii.gz", stored, affine), "label": save(tmp_path / "l.nii.gz", labels, affine)}
    case = transforms({"case": "v", **files})
    assert torch.allclose(case.image, plain.image) and (case.mask == plain.mask).all()
    assert np.allclose(back(transforms, case, case.image[0])[0], normalise(stored), atol=1e-6)
    assert (back(transforms, case, one_hot(case)[0]).argmax(0) == labels).all()


def test_a_point_keeps_its_place_in_millimetres(tmp_path):
    offsets = np.meshgrid(np.arange(20) - 9, np.arange(30) - 20, np.arange(16) - 7, indexing="ij")
    values = np.exp(-sum(x**2 for x in offsets) / 8).astype(np.float32)
    affine = np.diag([-1.5, 0.8, 2.0, 1]) + np.array([[0, 0, 0, 7], [0, 0, 0, -3], [0, 0, 0, 11], [0] * 4])
    case = case_of(save(tmp_path / "v.nii.gz", values, affine))
    blurred = case.image[0, 0]
    weights = blurred / blurred.sum()
    centre = [float((weights * g).sum()) for g in torch.meshgrid(*map(torch.arange, blurred.shape), indexing="ij")]
    assert np.allclose(case.common_affine @ [*centre, 1], affine @ [9, 20, 7, 1], atol=0.05)


def test_anisotropic_labels_come_back_on_their_own_grid(tmp_path, volume):
    values, label = volume
    affine = np.diag([1, 1, 2.0, 1])
    path = save(tmp_path / "v.nii.gz", values[:, :, ::2].copy(), affine)
    mask = save(tmp_path / "l.nii.gz", label[:, :, ::2].copy(), affine)
    transforms = volume_transforms()
    case = transforms({"case": "v", "image": path, "label": mask})
    found = back(transforms, case, one_hot(case)[0]).argmax(0)
    assert found.shape == (36, 50, 18)
    assert (found == case.label).mean() > 0.995


def test_the_common_volume_is_of_the_papers_size_and_range():
    case = volume_transforms()(phantom_entries("x", 1)[0])
    assert case["image"].shape == (1, 1, *SIZE)
    assert 0 <= case["image"].min() and case["image"].max() <= 1
    assert int(case["mask"].sum()) == 36 * 50 * 36


def test_intensities_are_clipped_at_six_deviations():
    values = np.random.default_rng(0).normal(size=100_000)
    values[0] = 1e6
    scaled = normalise(values)
    assert scaled.max() == 1 and scaled.min() == 0
    ordinary = normalise(values[1:])
    assert ordinary.std() > 0.1
    with pytest.raises(InputError, match="same value"):
        normalise(np.full((4, 4), 7.0))


def test_what_becomes_coarser_is_smoothed_first():
    stripes = np.broadcast_to(np.arange(40) % 2, (12, 12, 40)).astype(np.float32)
    smoothed = {}
    for size in (0.4, 0.8, 1.0):
        image = volume_tensor(stripes, np.diag([1, 1, size, 1]))
        found = AntiAliasd()({"image": image})["image"]
        assert torch.equal(found.affine, image.affine)
        smoothed[size] = float(found[0, 5, 5, 10:30].std())
    assert smoothed[0.4] < 0.05 < smoothed[0.8] == smoothed[1.0] == pytest.approx(0.513, abs=1e-3)
