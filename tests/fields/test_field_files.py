import itk
import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields import ddf as fields
from cardiac_motion.fields.field_files import load_ddf, save_cine_ddf, save_volume_ddf
from tests.fields.test_ddf import smooth_field, smooth_image


def test_cine_field_on_disk(tmp_path, bar_names):
    ddf = torch.rand(4, 2, 6, 7)
    save_cine_ddf(tmp_path / "ddf.nii.gz", ddf)
    assert bar_names == ["writing ddf.nii.gz"] and (tmp_path / "ddf.nii.gz").read_bytes()[:2] == b"\x1f\x8b", "gzip"
    image = nibabel.load(tmp_path / "ddf.nii.gz")
    assert image.shape == (7, 6, 4, 1, 2) and image.header["intent_code"] == 1007
    assert np.allclose(image.dataobj[3, 2, 1, 0], ddf[1].flip(0)[:, 2, 3])
    torch.testing.assert_close(load_ddf(tmp_path / "ddf.nii.gz"), ddf)


def test_volume_field_on_disk_is_what_itk_applies(tmp_path):
    """Oblique, anisotropic, flipped grid: ITK's own warp of the file gives our warp."""
    size = (20, 24, 18)
    image, ddf = smooth_image(size), smooth_field(size, 2.0)
    affine = np.array([[-1.2, 0.1, 0, 5], [0.1, 0.9, 0.2, -3], [0, -0.15, 1.5, 2], [0, 0, 0, 1]])
    q, _ = np.linalg.qr(affine[:3, :3])
    affine[:3, :3] = q * np.array([1.2, 0.9, 1.5])
    nibabel.save(nibabel.Nifti1Image(image[0, 0].numpy(), affine), tmp_path / "moving.nii.gz")
    save_volume_ddf(tmp_path / "ddf.nii.gz", ddf[0], affine)
    moving = itk.imread(str(tmp_path / "moving.nii.gz"), itk.F)
    field = itk.imread(str(tmp_path / "ddf.nii.gz"), itk.Vector[itk.F, 3])
    theirs = itk.array_from_image(itk.warp_image_filter(
        moving, displacement_field=field, output_parameters_from_image=moving
    ))  # fmt: skip
    ours = fields.warp(image, ddf)[0, 0].permute(2, 1, 0).numpy()
    inside = (slice(3, -3),) * 3
    assert np.abs(ours - theirs)[inside].max() < 1e-4
    torch.testing.assert_close(load_ddf(tmp_path / "ddf.nii.gz"), ddf, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("content", ["missing", "text", "image"])
def test_no_field_on_disk(tmp_path, content):
    path = tmp_path / "ddf.nii.gz"
    if content == "text":
        path.write_text("no field", encoding="utf-8")
    elif content == "image":
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), path)
    with pytest.raises(InputError, match=r"ddf\.nii\.gz"):
        load_ddf(path)
