"""The structured report: written whole, or left out with a word."""

import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.report import dicom_sr

pytest.importorskip("highdicom")


def test_dicom_begins_with_its_word_after_128_bytes(tmp_path):
    for content, found in ((bytes(128) + b"DICM", True), (bytes(127) + b"DICM", False), (bytes(128) + b"DIC", False),
                           (b"DICM", False), (b"", False)):  # fmt: skip
        (tmp_path / "file").write_bytes(content)
        assert dicom_sr.is_dicom(tmp_path / "file") is found
    assert not dicom_sr.is_dicom(tmp_path / "none") and not dicom_sr.is_dicom(tmp_path)


class Report:
    def __init__(self, failing=False):
        self.failing = failing

    def save_as(self, path, enforce_file_format):
        assert enforce_file_format
        path.write_bytes(b"half")
        if self.failing:
            raise OSError("no space left")
        path.write_bytes(b"whole")


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    from cardiac_motion.strain_pipeline.report import sr_content

    given = []
    monkeypatch.setattr(sr_content, "strain_report", lambda *said: given.append(said) or Report())
    dicom_sr.write_sr(tmp_path / "a.dcm", ["view"], -18.5)
    assert given == [(["view"], -18.5)] and (tmp_path / "a.dcm").read_bytes() == b"whole"
    monkeypatch.setattr(sr_content, "strain_report", lambda *said: Report(failing=True))
    with pytest.raises(OSError, match="no space"):
        dicom_sr.write_sr(tmp_path / "b.dcm", [])
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]


def test_without_highdicom_it_is_left_out_and_said(tmp_path, monkeypatch, caplog):
    def missing(name, what):
        raise InputError(f"{what} needs {name}")

    monkeypatch.setattr(dicom_sr, "import_extra", missing)
    dicom_sr.write_sr(tmp_path / "sr.dcm", [])
    assert "left out: sr.dcm, the DICOM structured report, needs highdicom" in caplog.text
    assert not list(tmp_path.iterdir())
