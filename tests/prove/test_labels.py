"""Labels carried by a known shift: Dice of the identity and of the right field, and what is missing."""

import nibabel
import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.prove import labels
from cardiac_motion.prove.sources import CAMUS
from cardiac_motion.registration.result import RegistrationResult
from tests.bundles.running import ROOT


class Shift:
    """Knows that the fixed image is the moving one, 2 columns further."""

    def run(self, moving, fixed):
        ddf = torch.zeros(1, 2, *fixed.shape)
        ddf[:, 1] = -2.0
        return RegistrationResult(ddf, processor_seconds=3.0)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """One patient: three squares that move by 2 columns (x, the first axis of NIfTI)."""
    monkeypatch.chdir(ROOT)
    truth = np.zeros((40, 30), np.uint8)
    truth[4:14, 3:9], truth[4:14, 12:18], truth[4:14, 20:26] = 1, 2, 3
    folder = tmp_path / CAMUS.folder / "patient0200"
    folder.mkdir(parents=True)
    for time, shift in (("ED", 0), ("ES", 2)):
        for name, values in ((f"4CH_{time}", truth * 60), (f"4CH_{time}_gt", truth)):
            image = nibabel.Nifti1Image(np.roll(values, shift, 0), np.eye(4))
            nibabel.save(image, folder / f"patient0200_{name}.nii.gz")
    return tmp_path


def test_labels_are_carried_and_scored(data):
    rows = labels.measure_camus(data, {"shift": Shift()}, {"other": "No module named 'o'"})
    found = {(row.method, row.case): row.value for row in rows}
    for name in labels.STRUCTURES:
        assert found["identity", name] == pytest.approx(0.8)
        assert found["shift", name] == pytest.approx(1.0)
    assert {row.measure for row in rows} == {"mean Dice, 1 pairs"}
    assert found["other", "all"] is None and rows[-1].note == "No module named 'o'"
    assert next(row.seconds for row in rows if row.method == "shift") == 3.0


def test_missing_data_are_one_row(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for measure in (labels.measure_camus, labels.measure_task04):
        (row,) = measure(tmp_path, {}, {})
        assert row.value is None and row.note.startswith("missing: ")


def test_a_method_that_fails_is_one_row_with_its_reason(data):
    class Broken:
        def run(self, moving, fixed):
            raise ValueError("too small")

    rows = labels.measure_camus(data, {"broken": Broken()}, {})
    assert [(row.method, row.note) for row in rows if row.value is None] == [("broken", "too small")]


def test_what_is_no_nifti_is_refused(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.nii\.gz: no readable NIfTI file"):
        labels.read_array(tmp_path / "a.nii.gz")


def test_volumes_are_padded_in_the_middle():
    padded = labels.pad_to_grid(torch.ones(40, 60, 45), edge=False)
    assert padded.shape == labels.GRID and padded.sum() == 40 * 60 * 45
    assert padded[4:44, 2:62, 1:46].min() == 1
    assert labels.pad_to_grid(torch.ones(40, 60, 45), edge=True).min() == 1
