"""Stored label maps, masks and planes: axes, values, and what is refused."""

import imageio.v3 as imageio
import nibabel
import numpy as np
import pytest

from cardiac_motion.cine.labels import read_labels, read_mask, read_plane
from cardiac_motion.core.errors import InputError


def nifti(path, values, zooms=None):
    image = nibabel.Nifti1Image(values, np.eye(4))
    if zooms:
        image.header.set_zooms(zooms)
    nibabel.save(image, path)
    return path


def test_labels_as_they_are_stored(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3, 1) + 1e-4
    found = read_labels(nifti(tmp_path / "a.nii.gz", values))
    assert found.dtype == np.uint8 and np.array_equal(found, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    "values, words",
    [
        (np.full((2, 3), 0.5, np.float32), "whole numbers from 0 to 255"),
        (np.full((2, 3), -1, np.int16), "whole numbers from 0 to 255"),
        (np.full((2, 3), 256, np.int16), "whole numbers from 0 to 255"),
        (np.full((2, 3), np.nan, np.float32), "whole numbers from 0 to 255"),
        (np.zeros((2, 3, 2, 2), np.uint8), r"got shape \(2, 3, 2, 2\)"),
        (np.zeros((4,), np.uint8), r"got shape \(4,\)"),
    ],
)
def test_what_is_no_label_map(tmp_path, values, words):
    with pytest.raises(InputError, match=words):
        read_labels(nifti(tmp_path / "a.nii.gz", values))


def test_files_that_cannot_be_read(tmp_path):
    bad = tmp_path / "a.nii.gz"
    bad.write_bytes(b"no NIfTI")
    for read in (read_labels, read_mask, read_plane):
        with pytest.raises(InputError, match=r"a\.nii\.gz"):
            read(bad)
    with pytest.raises(InputError, match="no such file"):
        read_plane(tmp_path / "none.nii.gz")
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read as a mask"):
        read_mask(tmp_path / "a.png")


def test_a_mask_is_rows_by_columns_whatever_it_is_stored_in(tmp_path):
    expected = np.zeros((3, 5), bool)
    expected[1, 3:] = True
    imageio.imwrite(tmp_path / "grey.png", expected.astype(np.uint8) * 255)
    imageio.imwrite(tmp_path / "colour.png", np.repeat(expected[..., None].astype(np.uint8) * 255, 3, -1))
    files = [tmp_path / "grey.png", tmp_path / "colour.png", nifti(tmp_path / "m.nii", expected.T.astype(np.uint8))]
    for file in files:
        assert np.array_equal(read_mask(file), expected)


def test_of_a_label_map_the_mask_is_label_1(tmp_path):
    labels = np.array([[0, 1, 2], [1, 3, 0]], np.uint8)
    assert np.array_equal(read_mask(nifti(tmp_path / "l.nii", labels.T)), labels == 1)
    assert np.array_equal(read_mask(nifti(tmp_path / "o.nii", 2 * (labels > 0).T.astype(np.uint8))), labels > 0)
    with pytest.raises(InputError, match=r"2D mask, got shape \(2, 3, 4\)"):
        read_mask(nifti(tmp_path / "v.nii", np.ones((4, 3, 2), np.uint8)))


def test_a_plane_and_its_zooms(tmp_path):
    values = np.arange(6, dtype=np.int16).reshape(2, 3, 1)
    found, zooms = read_plane(nifti(tmp_path / "p.nii.gz", values, (0.5, 0.25, 1.0)))
    assert np.array_equal(found, values[..., 0].T) and tuple(zooms[:2]) == (0.5, 0.25), "column, row"
