"""Volumes as the workbench shows and segments them, with synthetic atlases."""

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.field_files import save_volume_ddf
from cardiac_motion.serving import volumes as V
from cardiac_motion.serving.workbench import open_case
from cardiac_motion.volume.phantom import phantom
from cardiac_motion.volume.transforms import SIZE, reorient_to_ras
from tests.bundles.running import ROOT


def save(path, values, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return str(path)


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    """A volume that lies left-handed in its file, its label, and a folder of atlases with three others."""
    monkeypatch.chdir(ROOT)
    for k in (1, 2, 3):
        values, label = phantom(k)
        for folder, what in (("imagesTr", values.astype(np.float32)), ("labelsTr", label)):
            save(tmp_path / "atlases" / folder / f"a{k}.nii.gz", what, np.eye(4))
    values, label = (array[::-1] for array in phantom(7))
    affine = np.diag([-1.0, 1, 1, 1])
    (tmp_path / "job").mkdir()
    return {
        "folder": str(tmp_path / "job"),
        "case": str(tmp_path / "case"),
        "source": save(tmp_path / "case" / "source" / "image.nii.gz", values.astype(np.float32), affine),
        "label": save(tmp_path / "label.nii.gz", np.ascontiguousarray(label), affine),
        "atlases": str(tmp_path / "atlases"),
        "method": "ssmsr",
        "title": "image.nii.gz",
    }


def shown(request, name, shape, kind=np.uint8):
    return np.frombuffer((Path(request["case"]) / "shown" / name).read_bytes(), kind).reshape(shape)


def test_a_volume_is_shown_in_the_axes_of_the_body(request_of):
    about = open_case({**request_of, "method": None})
    values, label = phantom(7)
    assert about["kind"] == "volume" and tuple(about["shape"]) == values.shape and about["ready"]
    grey = shown(request_of, "volume.bin", values.shape).astype(float)
    assert np.corrcoef(grey.ravel(), values.ravel())[0, 1] > 0.999  # turned back to RAS
    Path(request_of["label"]).rename(Path(request_of["source"]).with_name("label.nii.gz"))
    assert open_case({**request_of, "method": None})["label"]
    np.testing.assert_array_equal(shown(request_of, "label.bin", label.shape), label)


def test_atlases_segment_it_and_a_label_gives_dice(request_of, monkeypatch):
    Path(request_of["label"]).rename(Path(request_of["source"]).with_name("label.nii.gz"))
    about = open_case({**request_of, "method": None})
    answer = V.segment_volume(request_of)
    assert answer["row"]["dice"] > 0.6 and answer["result"]["atlases"][0].startswith("a")
    labels = shown(request_of, "labels_ssmsr.bin", about["shape"])
    truth = shown(request_of, "label.bin", about["shape"])
    both = ((labels == 2) & (truth == 2)).sum()
    assert 2 * both / ((labels == 2).sum() + (truth == 2).sum()) == pytest.approx(answer["row"]["dice_body"], abs=1e-6)
    assert shown(request_of, "arrows_ssmsr.bin", (*(-(-n // V.EVERY) for n in about["shape"]), 3), "<f4").any()
    monkeypatch.setattr(V, "infer", None)  # nothing is segmented again where a label comes later
    again = V.segment_volume(request_of)
    assert again["row"]["dice"] == pytest.approx(answer["row"]["dice"]) and again["result"]["atlases"]
    files = V.take_volume(request_of)["files"]
    assert {"segmentation.nii.gz", "ddf.nii.gz", "summary.json", "command.txt"} <= set(files)
    with zipfile.ZipFile(Path(request_of["case"]) / "take.zip") as archive:
        assert {f"image/{file}" for file in files} == set(archive.namelist())
        command = archive.read("image/command.txt").decode()
    assert '--input "image/image.nii.gz"' in command and "--atlas_dir" in command and "--label image/label" in command


def test_without_atlases_nothing_is_segmented(request_of):
    with pytest.raises(InputError, match="--atlases DIR"):
        V.segment_volume({**request_of, "atlases": None})
    assert not open_case({**request_of, "atlases": None, "method": None})["ready"]


def test_the_shown_field_is_in_voxels_of_the_turned_volume_less_its_median(tmp_path):
    volume = reorient_to_ras(np.zeros((20, 40, 30)), np.diag([-2.0, 1, 1, 1]))  # its centre: −19, 19.5, 14.5 mm
    common = np.eye(4)
    common[:3, 3] = -19 - 23.5, 19.5 - 31.5, 14.5 - 23.5
    ddf = torch.zeros(3, *SIZE) + torch.tensor([5.0, 6, 7])[:, None, None, None]
    ddf[0, 24, 32, 24] += 4  # mm, and voxels of the common grid
    save_volume_ddf(tmp_path / "ddf.nii.gz", ddf, common)
    field = V.sample_field(tmp_path / "ddf.nii.gz", volume)
    assert field.shape == (7, 14, 10, 3) and np.abs(np.median(field, axis=(0, 1, 2))).max() < 1e-5
    assert np.abs(field[..., 1:]).max() < 1e-5 and 0 <= field[..., 0].max() <= 2 + 1e-5
