"""A server's requests: a bundle's answer, checks of files, how uncertain a segmentation is."""

import json

import nibabel
import nrrd
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.wall_files import read_contour
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.serving.requests import ANSWER, convert_to_nrrd, open_requests, uncertainty, wall_labels
from tests.bundles.running import ROOT
from tests.conftest import moving_cine


@pytest.fixture
def cine(tmp_path):
    """A NIfTI cine of four frames, 72 × 80."""
    path = tmp_path / "speckle.nii.gz"
    frames, _ = moving_cine()
    write_cine(path, MetaTensor(frames[None], meta={"spacing": (0.5, 0.4), "frame_times": [0, 0.1, 0.2, 0.3]}))
    return path


def ask(folder, **request):
    open_requests()(json.dumps({"folder": str(folder), **request}))
    return json.loads((folder / ANSWER).read_text(encoding="utf-8"))


def save(path, values):
    nibabel.save(nibabel.Nifti1Image(np.asarray(values, np.uint8), np.eye(4)), path)
    return str(path)


def test_bundle_on_one_case_with_its_options(cine, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    files = ["bundles/farneback/configs/inference.json"]
    entry = {"image": str(cine), "spacing": [0.7, 0.7]}
    found = ask(tmp_path, task="infer", files=files, options={"max_frames": 3, "save_figures": False}, entry=entry)
    assert found["result"] == "ddf.nii.gz" and found["files"] == ["ddf.nii.gz", "summary.json"]
    assert found["summary"]["frames"] == 3 and found["summary"]["spacing"] == [0.7, 0.7]
    assert nibabel.load(tmp_path / "case" / "ddf.nii.gz").shape == (80, 72, 2, 1, 2)
    with pytest.raises(InputError, match="has no option --nonsense"):
        ask(tmp_path, task="infer", files=files, options={"nonsense": 1}, entry=entry)


@pytest.mark.parametrize(
    "shape", [(7, 6, 5), (7, 6, 5, 1, 3), (7, 6, 5, 1, 2)], ids=["labels", "volume's field", "cine's"]
)
def test_nrrd_holds_what_nifti_holds_and_lies_where_it_lies(shape, tmp_path):
    affine = np.array([[-0.5, 0, 0, 3], [0, 0, 0.7, -4], [0, 0.6, 0, 5], [0, 0, 0, 1]])
    path, values = tmp_path / "case.nii.gz", np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_intent(1007 if len(shape) == 5 else 0)
    nibabel.save(image, path)
    found, header = nrrd.read(str(tmp_path / convert_to_nrrd(path)))
    wanted = values if len(shape) == 3 else np.moveaxis(values[:, :, :, 0], -1, 0)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(header["space origin"], [-3, 4, 5], atol=1e-6)
    directions = np.array([row for row in header["space directions"] if np.isfinite(row).all()])
    np.testing.assert_allclose(directions.T, np.diag([-1, -1, 1]) @ affine[:3, :3], atol=1e-6)
    assert header["space"] == "left-posterior-superior"


def test_check_tells_cine_volume_and_label(cine, tmp_path):
    assert ask(tmp_path, task="check", image=str(cine)) == {"kind": "cine", "shape": [4, 72, 80]}
    rng = np.random.default_rng(0).integers(0, 200, (30, 31, 32))
    volume = tmp_path / "volume.nii.gz"
    nibabel.save(nibabel.Nifti1Image(rng.astype(np.float32), np.eye(4)), volume)
    assert ask(tmp_path, task="check", image=str(volume))["kind"] == "volume"
    for shape in ((80, 72, 4), (80, 72)):
        ask(tmp_path, task="check", image=str(cine), label=save(tmp_path / "label.nii.gz", np.ones(shape)))
    for shape, said in (
        ((72, 80, 4), "the label has shape"),
        ((80, 72, 5), "the label has shape"),
        ((80, 72, 2, 2), "expected a label map"),
    ):
        with pytest.raises(InputError, match=said):
            ask(tmp_path, task="check", image=str(cine), label=save(tmp_path / "label.nii.gz", np.ones(shape)))
    (tmp_path / "text.nii.gz").write_text("no image", encoding="utf-8")
    with pytest.raises(InputError):
        ask(tmp_path, task="check", image=str(tmp_path / "text.nii.gz"))


def test_uncertainty_of_known_memberships():
    sure, split = torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)
    sure[:, 1] = 1
    split[:, :2] = 0.5
    nothing = torch.zeros(2, 4, 8, 8)
    nothing[:, 0] = 1
    assert uncertainty(sure) == pytest.approx(0, abs=1e-6)
    assert uncertainty(split) == pytest.approx(0.5)  # one bit of two
    assert uncertainty(torch.full((2, 4, 8, 8), 0.25)) == pytest.approx(1)
    assert uncertainty(nothing) == 1


def test_wall_labels_lie_between_the_lines():
    class Tracked:
        class beat:
            ed = 1

        lines = np.array([[[[20, 10], [5, 15], [20, 20]], [[20, 9], [4, 15], [20, 21]], [[20, 8], [3, 15], [20, 22]]]])

    labels = torch.full((3, 30, 30), 3, dtype=torch.uint8)
    labels[:, :12] = 2
    found = wall_labels(labels, [Tracked])
    assert (found[[0, 2]] == labels[[0, 2]].numpy()).all()
    assert found[1, 15, 15] == 1 and found[1, 19, 10] in (1, 2) and found[1, 4, 15] == 2
    assert found[1, 5, 2] == 0 and found[1, 25, 15] == 3  # the segmentation's wall is gone, the atrium stays


def test_contour_of_a_frame_of_many(tmp_path):
    values = np.zeros((40, 50, 3))
    values[14:26, 10:40, 1] = 2
    values[17:23, 13:40, 1] = 1
    path = save(tmp_path / "labels.nii.gz", values)
    alone = save(tmp_path / "alone.nii.gz", values[..., 1])
    assert np.array_equal(read_contour(path, 1, (50, 40)), read_contour(alone, 0, (50, 40)))
    with pytest.raises(InputError):
        read_contour(path, 0, (50, 40))
