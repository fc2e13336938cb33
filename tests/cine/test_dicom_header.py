"""Values of a DICOM header: one that can't be understood is lost alone, with a note that names its tag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from cardiac_motion.cine.dicom_header import Header, shorten
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.study import list_cines
from tests.cine.made import T, loop, maximal_difference, region, write_dicom


def with_raw(path: Path, keyword: str, value: bytes, item: bool = False) -> Path:
    """The file with bytes as the value of a tag, in its first ultrasound region if ``item``."""
    dataset = pydicom.dcmread(path)
    tag = Tag(tag_for_keyword(keyword) or 0)
    raw = RawDataElement(tag, dictionary_VR(keyword), len(value), value, 0, False, True)
    (dataset.SequenceOfUltrasoundRegions[0] if item else dataset)._dict[tag] = raw
    pydicom.dcmwrite(path, dataset)
    return path


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("FrameTime", b"33,33 "), ("FrameTime", b"33.3 ms "), ("FrameTime", b"33.3\\33.3 "), ("FrameTime", b"abc "),
        ("FrameTimeVector", b"0\\33\\x "), ("CineRate", b"thirty"), ("RecommendedDisplayFrameRate", b"30 fps"),
        ("ActualFrameDuration", b"33,3"), ("PixelSpacing", b"0,3\\0,3 "), ("PixelSpacing", b"0.3 "),
        ("PixelSpacing", b"0.3\\0.3\\0.3"), ("PixelAspectRatio", b"2:1 "), ("PixelAspectRatio", b"2 "),
        ("InstanceNumber", b"1a"), ("SeriesNumber", b"one "), ("NumberOfFrames", b"many"), ("NumberOfFrames", b"6.5 "),
        ("RWaveTimeVector", b"\1\2\3"), ("WindowCenter", b"a "), ("RescaleSlope", b"1,0 "),
    ],
)  # fmt: skip
def test_a_bad_value_is_lost_alone(tmp_path: Path, keyword: str, value: bytes) -> None:
    path = with_raw(write_dicom(tmp_path / "c.dcm", loop(), FrameTime=20, PixelSpacing=[0.5, 0.5]), keyword, value)
    cine = read_cine(path)
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert (cine.meta["spacing"] is None) == (keyword == "PixelSpacing")
    assert (cine.meta["frame_times"] is None) == (keyword == "FrameTime")
    used = keyword not in ("InstanceNumber", "SeriesNumber", "WindowCenter", "RescaleSlope", "CineRate",
                           "RecommendedDisplayFrameRate", "ActualFrameDuration")  # fmt: skip
    assert any(keyword in note and "is invalid" in note for note in cine.meta["notes"]) == (
        used or keyword == "RescaleSlope"
    )
    assert len(list_cines(tmp_path)) == 1


@pytest.mark.parametrize("keyword", ["PhysicalDeltaX", "PhysicalUnitsXDirection", "RegionLocationMinX0"])
def test_a_bad_value_of_a_region_is_lost_alone(tmp_path: Path, keyword: str) -> None:
    path = write_dicom(tmp_path / "c.dcm", loop(), FrameTime=20, SequenceOfUltrasoundRegions=[region()])
    cine = read_cine(with_raw(path, keyword, b"\1\2\3", item=True))
    assert cine.shape[1] == T and cine.meta["spacing"] is None
    assert any(keyword in note for note in cine.meta["notes"])
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) * 0.02)


def test_words_of_an_unknown_character_set(tmp_path: Path) -> None:
    path = with_raw(write_dicom(tmp_path / "c.dcm", loop()), "ViewName", b"A4C \xff\xfe")
    assert read_cine(path).meta["view"].startswith("A4C")


def test_numbers_and_notes() -> None:
    dataset, notes = Dataset(), []
    dataset.Rows, dataset.FrameTime, dataset.CineRate = 5, "20", None
    header = Header(dataset, notes)
    assert (header.whole("Rows"), header.positive("FrameTime"), header.number("CineRate")) == (5, 20.0, None)
    assert header.numbers("PixelSpacing") is None and header.text("ViewName") == "" and not notes
    dataset.FrameTime = "20.5"
    assert header.whole("FrameTime") is None and header.whole("FrameTime") is None
    assert notes == ["FrameTime (0018,1063) is invalid (20.5); it is ignored."]
    assert shorten("a\x00b\nc") == "a?b c" and shorten("x" * 50) == "x" * 40 + "…"
