"""What a header claims is checked before anything of that size is made."""

import nibabel
import numpy as np
import psutil
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import check_size, load_nifti


def test_sizes_that_fit_and_that_do_not(monkeypatch):
    check_size("a", (2, 3), 24, 1 / 4)
    with pytest.raises(InputError, match=r"^a: truncated, or a damaged header: 2 × 3 pixels claimed, 23 bytes"):
        check_size("a", (2, 3), 23, 1 / 4)
    with pytest.raises(InputError, match="claims 0 × 3 pixels"):
        check_size("a", (0, 3), 24, 1)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": 23}))
    with pytest.raises(InputError, match=r"2 × 3 pixels need 0\.0 GB of memory"):
        check_size("a", (2, 3), 24, 1)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_values_of_a_file(tmp_path, suffix):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 2, 3, 1])), tmp_path / f"v{suffix}")
    image, found = load_nifti(tmp_path / f"v{suffix}")
    assert (found == values).all() and image.header.get_zooms() == (1, 2, 3)


def test_a_file_that_is_shorter_than_its_header_says(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 20, 20), np.float32), np.eye(4)), tmp_path / "v.nii")
    whole = (tmp_path / "v.nii").read_bytes()
    (tmp_path / "v.nii").write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"v\.nii: truncated"):
        load_nifti(tmp_path / "v.nii")


@pytest.mark.parametrize(
    ("kind", "message"), [(np.complex64, "complex values"), (np.dtype([(c, "u1") for c in "RGB"]), "colours")]
)
def test_what_is_no_grey_value_is_refused(tmp_path, kind, message):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), kind), np.eye(4)), tmp_path / "v.nii.gz")
    with pytest.raises(InputError, match=message):
        load_nifti(tmp_path / "v.nii.gz")
