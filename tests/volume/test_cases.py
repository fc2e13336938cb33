import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from common.core.errors import InputError
from common.core.files import PROGRAM
from common.core.folders import source_of
from common.volume.cases import (
    SIZE,
    Grid,
    VolumeCases,
    load_case,
    normalised,
    one_hot,
    phantom_entries,
    read_label,
    to_common,
)
from common.volume.phantom import phantom


def save(path, values, affine=None):
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return str(path)


@pytest.fixture
def volume():
    return phantom(3)


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
def test_any_orientation_gives_the_same_common_volume_and_comes_back(volume, axes, flips):
    values, label = volume
    plain = to_common(values, Grid(np.eye(4), values.shape))
    stored, affine = turned(values, axes, flips)
    grid = Grid(affine, stored.shape)
    assert torch.allclose(to_common(stored, grid), plain)
    assert torch.allclose(grid.own(plain)[0, 0], torch.from_numpy(stored), atol=1e-3)
    labels, _ = turned(label, axes, flips)
    assert (grid.own(one_hot(labels, grid)).argmax(1)[0].numpy() == labels).all()


def test_a_point_keeps_its_place_in_millimetres():
    offsets = np.meshgrid(np.arange(20) - 9, np.arange(30) - 20, np.arange(16) - 7, indexing="ij")
    values = np.exp(-sum(x**2 for x in offsets) / 8).astype(np.float32)
    affine = np.diag([-1.5, 0.8, 2.0, 1]) + np.array([[0, 0, 0, 7], [0, 0, 0, -3], [0, 0, 0, 11], [0] * 4])
    grid = Grid(affine, values.shape)
    blurred = to_common(values, grid)[0, 0]
    weights = blurred / blurred.sum()
    centre = [float((weights * g).sum()) for g in torch.meshgrid(*map(torch.arange, blurred.shape), indexing="ij")]
    assert np.allclose(grid.common_affine @ [*centre, 1], affine @ [9, 20, 7, 1], atol=0.05)


def test_anisotropic_labels_come_back_on_their_own_grid(tmp_path, volume):
    values, label = volume
    affine = np.diag([1, 1, 2.0, 1])
    path = save(tmp_path / "v.nii.gz", values[:, :, ::2].copy(), affine)
    mask = save(tmp_path / "l.nii.gz", label[:, :, ::2].copy(), affine)
    case = load_case({"case": "v", "image": path, "label": mask})
    back = case["grid"].own(one_hot(case["label"], case["grid"])).argmax(1)[0].numpy()
    assert back.shape == (36, 50, 18)
    assert (back == case["label"]).mean() > 0.995


def test_the_common_volume_is_of_the_papers_size_and_range(volume):
    case = load_case(phantom_entries("x", 1)[0])
    assert case["image"].shape == (1, 1, *SIZE)
    assert 0 <= case["image"].min() and case["image"].max() <= 1
    assert int(case["mask"].sum()) == 36 * 50 * 36


def test_intensities_are_clipped_at_six_deviations():
    values = np.random.default_rng(0).normal(size=100_000)
    values[0] = 1e6
    scaled = normalised(values)
    assert scaled.max() == 1 and scaled.min() == 0
    ordinary = normalised(values[1:])
    assert ordinary.std() > 0.1
    with pytest.raises(InputError, match="constant"):
        normalised(np.full((4, 4), 7.0))


BAD = {
    "missing": (lambda d: str(d / "none.nii.gz"), "no such file"),
    "no volume": (lambda d: _text(d / "text.nii.gz"), "no readable volume"),
    "two axes": (lambda d: save(d / "flat.nii.gz", np.zeros((5, 5), np.float32)), "expected a volume"),
    "not finite": (lambda d: save(d / "nan.nii.gz", np.full((5, 5, 5), np.nan, np.float32)), "not finite"),
    "too large": (
        lambda d: save(d / "big.nii.gz", np.zeros((60, 40, 40), np.float32)),
        "60×40×40 mm is larger than the 48×64×48 mm",
    ),
    "colours": (lambda d: save(d / "rgb.nii.gz", np.zeros((5, 5, 5), [(c, "u1") for c in "RGB"])), "holds colours"),
    "complex": (lambda d: save(d / "z.nii.gz", np.zeros((5, 5, 5), np.complex64)), "holds complex values"),
    "constant": (lambda d: save(d / "flat3.nii.gz", np.ones((9, 9, 9), np.float32)), "constant"),
}


def _text(path):
    Path(path).write_text("no image")
    return str(path)


@pytest.mark.parametrize("name", BAD)
def test_bad_volumes_end_in_one_line_that_names_the_file(tmp_path, name):
    make, message = BAD[name]
    path = make(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        load_case({"case": "x", "image": path})
    assert path in str(error.value)


BAD_LABELS = {
    "other size": (np.ones((4, 5, 6), np.uint8), None, r"the label is \(4, 5, 6\), its volume is \(9, 9, 9\)"),
    "other labels": (np.full((9, 9, 9), 3, np.uint8), None, r"labels must be 0, 1, 2; found \[3.0\]"),
    "empty": (np.zeros((9, 9, 9), np.uint8), None, "the label is empty"),
    "elsewhere": (np.ones((9, 9, 9), np.uint8), np.diag([2.0, 1, 1, 1]), "lies elsewhere"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_end_in_one_line_that_names_the_file(tmp_path, name):
    values, affine, message = BAD_LABELS[name]
    path = save(tmp_path / "label.nii.gz", values, affine)
    with pytest.raises(InputError, match=message) as error:
        read_label(path, Grid(np.eye(4), (9, 9, 9)))
    assert path in str(error.value)


def test_labels_that_are_nearly_whole_are_rounded(tmp_path):
    values = np.zeros((9, 9, 9), np.float32)
    values[2:5], values[5:7] = 0.9995, 2.0004
    grid = Grid(np.eye(4), values.shape)
    assert np.unique(read_label(save(tmp_path / "label.nii.gz", values), grid)).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="labels must be"):
        read_label(save(tmp_path / "label.nii.gz", np.where(values > 0, values + 0.1, 0)), grid)


def test_a_label_is_missed_only_where_it_is_needed(tmp_path, volume):
    path = save(tmp_path / "v.nii.gz", volume[0])
    assert "label" not in load_case({"case": "v", "image": path})
    with pytest.raises(InputError, match="has no label"):
        load_case({"case": "v", "image": path}, labelled=True)


def test_finished_cases_are_left_out(tmp_path):
    entry = VolumeCases().entries[1]
    summary = {"program": PROGRAM, "case": entry["case"], "input": source_of(entry["image"]), "method": "m"}
    for name, content in (("synthetic_target_1", summary), ("synthetic_target_2", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(content))
    assert [e["case"] for e in VolumeCases(done_dir=str(tmp_path)).entries] == [
        "synthetic_target_0",
        "synthetic_target_2",
    ]


def test_every_volume_of_task04_fits_and_its_label_comes_back(data_dir):
    cases = VolumeCases(datalist="data_lists/hippocampus.json", dataset_dir=str(data_dir), labelled=True)
    assert len(cases) == 41
    for index in range(0, 41, 8):
        case = cases[index]
        assert (case["grid"].own(one_hot(case["label"], case["grid"])).argmax(1)[0].numpy() == case["label"]).all()
