"""Two images by name: the transform, the warped image, and what can't be registered."""

import json

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest

from cardiac_motion.command.main import run_command
from cardiac_motion.fields.itk_transforms import load_itk_transform
from tests.conftest import moving_cine
from tests.volume.made import save


@pytest.fixture
def pictures(tmp_path):
    frames = (moving_cine(2, (64, 72))[0].numpy() * 255).astype(np.uint8)
    for name, frame in zip(("moving", "fixed"), frames, strict=True):
        iio.imwrite(tmp_path / f"{name}.png", frame)
        save(tmp_path / f"{name}.nii.gz", frame.T, np.diag([0.4, 0.9, 1.0, 1.0]))
    return tmp_path


@pytest.mark.parametrize(("suffix", "words"), [("png", ["--spacing", "0.9", "0.4"]), ("nii.gz", [])])
def test_two_frames(pictures, suffix, words):
    moving, fixed = (str(pictures / f"{name}.{suffix}") for name in ("moving", "fixed"))
    out = pictures / "out"
    assert run_command(["register", moving, fixed, "--method", "farneback", "--output_dir", str(out), *words]) == 0
    ddf, affine = load_itk_transform(out / "warp.nii.gz")
    assert ddf.shape == (1, 2, 64, 72) and np.allclose(affine[:2, :2], [[0, 0.4], [0.9, 0]])
    frames = [iio.imread(pictures / f"{name}.png") / 255 for name in ("moving", "fixed")]
    warped = np.asarray(nibabel.load(out / "warped.nii.gz").dataobj).T
    inner = (slice(8, -8), slice(8, -8))
    assert np.abs(warped - frames[1])[inner].mean() < 0.4 * np.abs(frames[0] - frames[1])[inner].mean()
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["method"] == "farneback"


def test_two_volumes_and_an_option_of_the_method(tmp_path):
    values = np.random.default_rng(0).random((24, 26, 22)).astype(np.float32)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    paths = [
        save(tmp_path / "moving.nii.gz", values, affine),
        save(tmp_path / "fixed.nii.gz", np.roll(values, 1, 0), affine),
    ]
    out = tmp_path / "out"
    assert run_command(["register", *paths, "--method", "ssmsr", "--steps", "2", "--output_dir", str(out)]) == 0
    ddf, place = load_itk_transform(out / "warp.nii.gz")
    assert ddf.shape == (1, 3, 24, 26, 22) and np.allclose(place, affine)
    assert nibabel.load(out / "warped.nii.gz").shape == (24, 26, 22)


def test_a_picture_without_spacing_has_no_transform_in_millimetres(pictures):
    words = [str(pictures / "moving.png"), str(pictures / "fixed.png"), "--method", "dis"]
    assert run_command(["register", *words, "--output_dir", str(pictures / "out")]) == 0
    assert {path.name for path in (pictures / "out").iterdir()} == {"warped.nii.gz", "summary.json"}


def test_what_does_not_fit_is_refused(pictures, capsys):
    volume = save(pictures / "v.nii.gz", np.random.default_rng(0).random((8, 9, 10)).astype(np.float32))
    frame = str(pictures / "fixed.png")
    for words, line in (
        ([volume, frame], "one is a frame, the other a volume"),
        ([frame, str(pictures / "no.png")], "no such file"),
        ([frame, str(pictures / "no.nii.gz")], "no such file"),
        ([volume, volume, "--method", "dis"], "in 3D"),
        ([frame, frame, "--method", "dis", "--speed", "slow"], "DIS preset must be one of"),
    ):
        assert run_command(["register", *words, "--output_dir", str(pictures / "out")]) == 1
        assert line in capsys.readouterr().err.splitlines()[-1]
    assert not (pictures / "out").exists()
