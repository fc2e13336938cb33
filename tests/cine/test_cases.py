import json

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest

from common.cine.cases import CineCases, case_name, demo_cine, read_datalist
from common.cine.labels import read_mask
from common.cine.write import write_cine
from common.core.errors import InputError
from tests.conftest import moving_cine


@pytest.mark.parametrize(
    "path, name",
    [("a/b.nii.gz", "b"), ("b.dcm", "b"), ("x/p.1.mp4", "p.1"), ("folder", "folder"), ("odd.xyz", "odd.xyz")],
)
def test_case_name(path, name):
    assert case_name(path) == name


def test_datalist(tmp_path):
    path = tmp_path / "list.json"
    content = {
        "test": [{"image": "a.nii.gz", "label": "m/a.nii.gz", "ed": 3}, "b.mp4", {"image": "c", "case": "third"}]
    }
    path.write_text(json.dumps(content))
    entries = read_datalist(path, "test", tmp_path)
    assert [e["case"] for e in entries] == ["a", "b", "third"]
    assert entries[0] == {
        "case": "a",
        "image": str(tmp_path / "a.nii.gz"),
        "label": str(tmp_path / "m/a.nii.gz"),
        "ed": 3,
    }


@pytest.mark.parametrize(
    "text, reason",
    [
        (None, "cannot be read"),
        ("{", "not a JSON"),
        ("[1]", "no list 'test'"),
        ('{"training": []}', r"no list 'test' \(it has: training\)"),
        ('{"test": []}', "is empty"),
        ('{"test": [{"label": "a"}]}', "no 'image'"),
        ('{"test": [{"case": "a", "image": "a.nii"}, {"case": "a", "image": "b.nii"}]}', "names a case twice: a"),
    ],
)
def test_datalist_that_is_none(tmp_path, text, reason):
    path = tmp_path / "list.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_datalist(path, "test")


def test_the_demo_is_a_case():
    (case,) = (CineCases(frames=4)[i] for i in range(1))
    assert case["case"] == "examples_ybr_color" and demo_cine().endswith(".dcm")
    assert case["image"].shape == (3, 2, 240, 320) and case["mask"].shape == (1, 1, 240, 320)
    assert case["cine"].shape == (1, 4, 240, 320) and len(case["cine"].meta["frame_times"]) == 4
    assert (case["image"][0, 1] == case["image"][1, 0]).all(), "the fixed frame of a pair is the next pair's moving"


def disc(radius):
    rows, columns = np.mgrid[:112, :112] - 55.5
    return rows**2 + columns**2 < radius**2


def test_blood_pool_shrinks_from_ed_to_es(tmp_path):
    cine, _ = moving_cine(5, (112, 112))
    write_cine(tmp_path / "cine.nii.gz", cine[None])
    labels = np.where(disc(40), 1, 2 * disc(46))  # cavity and wall: the cavity is label 1
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8).T, np.eye(4)), tmp_path / "ed.nii.gz")
    iio.imwrite(tmp_path / "es.png", disc(28).astype(np.uint8) * 255)
    masks = {"ed_mask": str(tmp_path / "ed.nii.gz"), "es_mask": str(tmp_path / "es.png")}
    case = CineCases(str(tmp_path / "cine.nii.gz"), ed=0, es=4, **masks)[0]
    areas = case["mask"].sum((1, 2, 3))
    assert case["mask"].shape == (4, 1, 112, 112) and (areas.diff() < 0).all()
    assert abs(areas[-1] / disc(28).sum() - 1) < 0.05
    assert (case["image"][:, 1:][~case["mask"]] == 0).all(), "the wall is removed"
    iio.imwrite(tmp_path / "small.png", disc(28)[:100].astype(np.uint8) * 255)
    with pytest.raises(InputError, match=r"small\.png"):
        CineCases(
            str(tmp_path / "cine.nii.gz"),
            ed=0,
            es=4,
            ed_mask=str(tmp_path / "small.png"),
            es_mask=str(tmp_path / "small.png"),
        )[0]


def test_mask_that_is_none(tmp_path):
    with pytest.raises(InputError, match="no readable mask"):
        read_mask(tmp_path / "missing.png")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), tmp_path / "volume.nii.gz")
    with pytest.raises(InputError, match="a mask is 2D"):
        read_mask(tmp_path / "volume.nii.gz")
