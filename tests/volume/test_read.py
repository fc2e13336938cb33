"""Volumes and labels that can't be used are rejected in one line that names the file."""

from pathlib import Path

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.volume.read import read_label
from tests.volume.made import case_of, save

BAD = {
    "missing": (lambda d: str(d / "none.nii.gz"), "no such file"),
    "no volume": (lambda d: _text(d / "text.nii.gz"), "cannot be read as a volume"),
    "two axes": (lambda d: save(d / "flat.nii.gz", np.zeros((5, 5), np.float32)), "expected a volume"),
    "not finite": (lambda d: save(d / "nan.nii.gz", np.full((5, 5, 5), np.nan, np.float32)), "not finite"),
    "too large": (
        lambda d: save(d / "big.nii.gz", np.zeros((60, 40, 40), np.float32)),
        "60×40×40 mm is larger than the atlases' 48×64×48 mm",
    ),
    "colours": (lambda d: save(d / "rgb.nii.gz", np.zeros((5, 5, 5), [(c, "u1") for c in "RGB"])), "holds colours"),
    "complex": (lambda d: save(d / "z.nii.gz", np.zeros((5, 5, 5), np.complex64)), "holds complex values"),
    "constant": (lambda d: save(d / "flat3.nii.gz", np.ones((9, 9, 9), np.float32)), "same value"),
}


def _text(path):
    Path(path).write_text("no image", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", BAD)
def test_bad_volumes_are_rejected_in_one_line_that_names_the_file(tmp_path, name):
    make, message = BAD[name]
    path = make(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        case_of(path)
    assert path in str(error.value)


BAD_LABELS = {
    "other size": (np.ones((4, 5, 6), np.uint8), None, r"the label map has shape \(4, 5, 6\), its volume \(9, 9, 9\)"),
    "other labels": (np.full((9, 9, 9), 3, np.uint8), None, r"labels must be 0, 1, 2; got \[3.0\]"),
    "empty": (np.zeros((9, 9, 9), np.uint8), None, "label map is empty"),
    "elsewhere": (np.ones((9, 9, 9), np.uint8), np.diag([2.0, 1, 1, 1]), "affine differs"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_rejected_in_one_line_that_names_the_file(tmp_path, name):
    values, affine, message = BAD_LABELS[name]
    path = save(tmp_path / "label.nii.gz", values, affine)
    with pytest.raises(InputError, match=message) as error:
        read_label(path, (9, 9, 9), np.eye(4))
    assert path in str(error.value)


def test_labels_that_are_nearly_whole_are_rounded(tmp_path):
    values = np.zeros((9, 9, 9), np.float32)
    values[2:5], values[5:7] = 0.9995, 2.0004
    assert np.unique(read_label(save(tmp_path / "label.nii.gz", values), (9, 9, 9), np.eye(4))).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="labels must be"):
        read_label(save(tmp_path / "label.nii.gz", np.where(values > 0, values + 0.1, 0)), (9, 9, 9), np.eye(4))


def test_a_missing_label_is_an_error_only_where_one_is_required(tmp_path, volume):
    path = save(tmp_path / "v.nii.gz", volume[0])
    assert "label" not in case_of(path)
    with pytest.raises(InputError, match="a label map is required"):
        case_of(path, labelled=True)
