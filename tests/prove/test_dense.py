"""Simulated DENSE: the true field in the phase, a method that finds it, and what is missing."""

import numpy as np
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from cardiac_motion.core.errors import InputError
from cardiac_motion.prove import dense
from cardiac_motion.prove.sources import DENSE
from cardiac_motion.registration.result import RegistrationResult

SHRUNK = 0.9  # of the ring's size, from the first phase to each later one


def write_dicom(path, values):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.Rows, file.Columns = values.shape
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit = 15
    file.PixelData = values.astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


@pytest.fixture
def data(tmp_path):
    """A ring that shrinks by a tenth at once; the phase of a pixel is its tissue's way in mm."""
    rows, columns = np.meshgrid(np.arange(32) - 15.5, np.arange(32) - 15.5, indexing="ij")
    for t in range(dense.PHASES):
        scale = SHRUNK if t else 1.0
        radius = np.hypot(rows, columns) / scale
        images = {"mag": 4000.0 * ((radius > 8) & (radius < 13))}
        for name, p in (("px", rows), ("py", columns)):
            way = (p - p / scale) * dense.SPACING  # to here
            images[name] = np.round((way * dense.FREQUENCY + 0.5) * dense.LARGEST)
        for name, image in images.items():
            write_dicom(tmp_path / DENSE.folder / f"tagsim/cardiac_data/dense_dicom/{name}/im_{t:03d}.dcm", image)
    return tmp_path


class Scaling:
    """Pulls an enlarged ring back to the size that it had."""

    def run(self, moving, fixed):
        p = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in fixed.shape), indexing="ij"))
        centre = (fixed.shape[0] - 1) / 2
        return RegistrationResult(((p - centre) * (1 / SHRUNK - 1))[None], processor_seconds=0.5)


def test_a_method_that_finds_the_motion_has_no_error(data):
    rows = dense.measure_dense(data, {"exact": Scaling()}, {"other": "No module named 'b'"})
    errors = [row for row in rows if row.measure == dense.EPE and row.method == "exact"]
    assert len(errors) == len(dense.FRAMES) and all(row.value < 0.01 and row.seconds == 0.5 for row in errors)
    strains = [row.value for row in rows if row.measure == dense.STRAIN]
    assert strains == pytest.approx([-10.0] * 2 * len(dense.FRAMES), abs=0.1)
    assert [row.note for row in rows if row.method == "other"] == ["No module named 'b'"] * len(dense.FRAMES)


def test_what_is_missing_is_named(tmp_path):
    rows = dense.measure_dense(tmp_path, {}, {})
    assert [row.note for row in rows] == [f"missing: {DENSE.folder}/{DENSE.files[0]}"]


def test_a_file_that_is_not_dicom(data):
    path = data / DENSE.folder / DENSE.files[3]
    path.write_bytes(b"no DICOM")
    with pytest.raises(InputError, match=r"im_003\.dcm: cannot be read as DICOM"):
        dense.read_series(data, "mag")
