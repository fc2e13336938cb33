import json

import ants
import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.fields.regularity import log_jacobian_sd
from cardiac_motion.registration.overlap import segmentation_scores
from cardiac_motion.volume.phantom import phantom
from tests.bundles.running import run_here, run_module_here

NAMES = {1: "head", 2: "body"}


def cube(first, last, value=1, size=(12, 12, 12)):
    labels = torch.zeros(size, dtype=torch.uint8)
    labels[(slice(first, last),) * 3] = value
    return labels


def test_scores_of_a_shifted_cube_are_exact():
    truth = cube(2, 6) + cube(8, 10, 2)
    found = truth.roll(1, 0)
    scores = segmentation_scores(found, truth, NAMES, (2.0, 1.0, 1.0))
    assert scores["dice_head"] == pytest.approx(0.75) and scores["dice_body"] == pytest.approx(0.5)
    assert scores["hd95_head"] == pytest.approx(2.0)
    assert scores["dice"] == pytest.approx(0.625) and scores["missed"] == 0


def test_a_missed_structure_counts_as_zero_and_is_told():
    scores = segmentation_scores(cube(2, 6), cube(2, 6) + cube(8, 10, 2), NAMES, (1, 1, 1))
    assert scores["dice_body"] == 0 and np.isnan(scores["hd95_body"]) and scores["missed"] == 1
    assert scores["dice"] == 0.5 and scores["hd95"] == 0
    absent = segmentation_scores(cube(2, 6), cube(2, 6), NAMES, (1, 1, 1))
    assert np.isnan(absent["dice_body"]) and absent["missed"] == 0 and absent["dice"] == 1


def test_log_jacobian_of_a_stretch_does_not_vary_and_of_a_wave_does():
    rows = torch.arange(20.0)[:, None, None].expand(20, 20, 20)
    stretch = torch.stack([0.2 * rows, 0 * rows, 0 * rows])[None]
    assert float(log_jacobian_sd(stretch)) == pytest.approx(0, abs=1e-4)
    wave = torch.stack([torch.sin(rows), 0 * rows, 0 * rows])[None]
    inner = torch.log((1 + np.sin(1) * torch.cos(torch.arange(1.0, 19))).clamp(min=1e-3)).std(correction=0)
    mask = torch.zeros(1, 1, 20, 20, 20, dtype=torch.bool)
    mask[:, :, 1:19] = True
    assert float(log_jacobian_sd(wave, mask)) == pytest.approx(float(inner), abs=1e-3)


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """A user's volume in LPS-like storage with 1.2 mm slices, segmented with an atlas folder that lies elsewhere."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
    place = np.eye(4)
    place[:3, 3] = 20, -10, 5
    for i in range(3):
        for name, values in zip(("imagesTr", "labelsTr"), phantom(i), strict=True):
            nibabel.save(nibabel.Nifti1Image(values, place), folder / name / f"a{i}.nii.gz")
    values, label = phantom(7)
    affine = np.diag([-1.0, -1, 1.2, 1])
    for name, array in (("target", values), ("truth", label)):
        nibabel.save(nibabel.Nifti1Image(array[::-1, ::-1].copy(), affine), folder / f"{name}.nii.gz")
    run_here(
        "ssmsr_hippocampus/configs/inference.json",
        input=str(folder / "target.nii.gz"),
        label=str(folder / "truth.nii.gz"),
        atlas_dir=str(folder),
        output_dir=str(folder / "out"),
        save_warped=True,
    )
    return folder


def test_a_users_volume_is_segmented_on_its_own_grid(segmented):
    out = segmented / "out" / "target"
    found, given = nibabel.load(out / "segmentation.nii.gz"), nibabel.load(segmented / "target.nii.gz")
    assert found.shape == given.shape and np.allclose(found.affine, given.affine)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["metrics"]["dice"] > 0.7
    assert summary["metrics"]["folding_fraction"] < 0.005
    assert set(summary["atlases"]) <= {"a0", "a1", "a2"}
    assert (out / "segmentation.png").stat().st_size > 10_000


def test_the_written_field_warps_the_atlas_file_as_ants_does(segmented):
    out = segmented / "out" / "target"
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    warped = ants.image_read(str(out / "warped.nii.gz"))
    atlas = ants.image_read(str(segmented / "imagesTr" / f"{summary['atlases'][0]}.nii.gz"))
    by_ants = ants.apply_transforms(warped, atlas, [str(out / "ddf.nii.gz")]).numpy()
    ours = warped.numpy()
    inner = (slice(12, -12),) * 3
    assert np.corrcoef(by_ants[inner].ravel(), ours[inner].ravel())[0, 1] > 0.999


def test_bad_input_ends_in_one_line(tmp_path):
    config = "bundles/ssmsr_hippocampus/configs/inference.json"
    words = ["--config_file", config, "--input", str(tmp_path / "none.nii.gz"), "--output_dir", str(tmp_path)]
    done = run_module_here("monai.bundle", "run", *words)
    assert done.returncode != 0
    assert "error: no atlases to register: give a folder" in done.stderr and "Traceback" not in done.stderr
