import imageio.v3 as iio
import nibabel
import numpy as np
import pytest

from cardiac_motion.cine.cases import CineCases, demo_cine
from cardiac_motion.cine.labels import read_mask
from cardiac_motion.cine.read import CINE_SUFFIXES, read_two_frames
from cardiac_motion.cine.transforms import cine_transforms
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.datalist import case_name
from cardiac_motion.core.errors import InputError
from tests.conftest import moving_cine


def test_the_demo_is_a_case():
    (case,) = (CineCases(transform=cine_transforms(4))[i] for i in range(1))
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
    with pytest.raises(InputError, match="cannot be read as a mask"):
        read_mask(tmp_path / "missing.png")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), tmp_path / "volume.nii.gz")
    with pytest.raises(InputError, match="expected a 2D mask"):
        read_mask(tmp_path / "volume.nii.gz")


def test_two_frames_have_the_meta_of_a_cine_that_is_read(tmp_path):
    frames = np.random.default_rng(0).random((2, 8, 6), np.float32)
    paths = [tmp_path / name for name in ("ed.nii.gz", "es.nii.gz")]
    for path, frame in zip(paths, frames, strict=True):
        nibabel.save(nibabel.Nifti1Image(frame, np.eye(4)), path)
    write_cine(tmp_path / "cine.nii.gz", moving_cine(3, (112, 112))[0][None])
    meta, read = read_two_frames(*paths).meta, CineCases(str(tmp_path / "cine.nii.gz"))[0]["cine"].meta
    assert set(meta) >= {"spacing", "frame_times", "regions", "r_waves", "colour_flow", "source", "notes"} <= set(read)


def test_the_name_of_a_case_is_without_any_format_that_is_read():
    assert {case_name(f"a/b{suffix}") for suffix in CINE_SUFFIXES} == {"b"}
