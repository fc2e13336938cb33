"""Two scans whose labels are known: what the identity and a shift give."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cardiac_motion.core.errors import InputError
from cardiac_motion.prove import hippocampus
from cardiac_motion.prove.sources import TUTORIALS, VOXELMORPH
from cardiac_motion.registration.result import RegistrationResult

SHAPE = (60, 62, 70)  # left, inferior, anterior


def from_ras(values):
    return np.ascontiguousarray(values.transpose(0, 2, 1)[::-1, ::-1])


@pytest.fixture
def data(tmp_path):
    """Scans of noise with two boxes as hippocampi; those of the second lie 4 voxels further to the right."""
    texture = gaussian_filter(np.random.default_rng(0).random((60, 70, 62)), 2)
    labels = np.zeros(texture.shape)
    labels[20:30, 30:40, 25:35], labels[31:39, 30:40, 25:35] = 17, 53
    texture[labels > 0] += 0.1
    for folder, files in ((VOXELMORPH.folder, VOXELMORPH.files), (TUTORIALS.folder, TUTORIALS.files)):
        for file in files:
            (tmp_path / folder / file).parent.mkdir(parents=True, exist_ok=True)
    np.savez(tmp_path / VOXELMORPH.folder / VOXELMORPH.files[0], vol=from_ras(texture), seg=from_ras(labels))
    for file, values in zip(TUTORIALS.files, (texture, labels), strict=True):
        np.savez(tmp_path / TUTORIALS.folder / file, vol_data=from_ras(np.roll(values, 4, 0)))
    return tmp_path


class Shift:
    """Knows that the second scan is the first one, 4 voxels further; crops follow the moving scan's label."""

    def run(self, moving, fixed):
        ddf = torch.zeros(1, 3, *fixed.shape)
        inner = moving[8:-8]
        ddf[:, 0] = min((-4, 4), key=lambda s: float((inner - fixed[8 - s : fixed.shape[0] - 8 - s]).std()))
        return RegistrationResult(ddf, processor_seconds=2.0)


def test_arrays_are_brought_into_ras(data):
    first, second = hippocampus.read_scans(data)
    assert np.argwhere(first.labels == 17).min(0).tolist() == [20, 30, 25]
    assert np.argwhere(second.labels == 53).min(0).tolist() == [35, 30, 25]


def test_labels_are_carried_both_ways(data):
    rows = hippocampus.measure_scans(data, {"shift": Shift()}, {"absent": "No module named 'x'"})
    values = {(row.case, row.method): row.value for row in rows}
    assert len(values) == 12
    for way in ("test_scan to subject_1", "subject_1 to test_scan"):
        assert values[f"{way}, left", "identity"] == pytest.approx(0.6, abs=1e-6)
        assert values[f"{way}, right", "identity"] == pytest.approx(0.5, abs=1e-6)
        assert values[f"{way}, right", "shift"] == values[f"{way}, left", "shift"] == pytest.approx(1.0)
        assert values[f"{way}, left", "absent"] is None


def test_missing_and_damaged_files_are_named(data, tmp_path):
    row = hippocampus.measure_scans(tmp_path / "no", {}, {})[0]
    assert row.value is None and row.note == "missing: voxelmorph/voxelmorph/data/test_scan.npz"
    (data / VOXELMORPH.folder / VOXELMORPH.files[0]).write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"test_scan\.npz: cannot be read as a scan"):
        hippocampus.read_scans(data)
