from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    HEVCMP51,
    MPEG2MPHL,
    MPEG2MPML,
    MPEG4HP41,
    MPEG4HP42STEREO,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import (
    H,
    T,
    W,
    loop,
    maximal_difference,
    region,
    video_bytes,
    write_dicom,
    write_video_dicom,
)


@pytest.mark.parametrize(
    "make",
    [
        lambda v: (v, {}),
        lambda v: (255 - v, {"photometric": "MONOCHROME1"}),
        lambda v: (v, {"syntax": RLELossless}),
        lambda v: (v, {"syntax": JPEG2000Lossless}),
        lambda v: (np.stack([v, v, v], -1), {"photometric": "RGB"}),
        lambda v: (np.stack([v, v, v], -1), {"photometric": "RGB", "PlanarConfiguration": 1}),
        lambda v: (np.stack([v, v, v], -1), {"photometric": "RGB", "syntax": RLELossless}),
        lambda v: (np.stack([v, v * 0 + 128, v * 0 + 128], -1), {"photometric": "YBR_FULL"}),
        lambda v: (np.round(v * (4095 / 255)).astype(np.uint16), {"BitsStored": 12}),
        lambda v: (v.astype(np.uint16) * 257, {}),
        lambda v: ((v.astype(np.int32) * 257 - 32768).astype(np.int16), {}),
    ],
    ids="mono2 mono1 rle jpeg2000 rgb planar rgb-rle ybr 12-bit 16-bit signed".split(),
)
def test_dicom_pixels(tmp_path: Path, make: Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]) -> None:
    values, options = make(loop())
    cine = read_cine(write_dicom(tmp_path / "c.dcm", values, **options))
    assert cine.shape == (1, T, H, W)
    assert maximal_difference(cine, loop() / 255.0) < 2.5e-4 + (options.get("photometric") == "YBR_FULL") / 255


def test_dicom_palette(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    tags: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        tags[f"{name}PaletteColorLookupTableData"] = ramp[::-1].tobytes()
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), photometric="PALETTE COLOR", **tags))
    assert maximal_difference(cine, (255 - loop()) / 255.0) < 1e-6


def test_dicom_without_suffix_and_with_colour_flow(tmp_path: Path) -> None:
    values = np.stack([loop()] * 3, -1)
    values[:, 10:30, 10:40] = (200, 20, 20)
    values[:, :, :, 0] += np.arange(T, dtype=np.uint8)[:, None, None]
    cine = read_cine(write_dicom(tmp_path / "IM_0001", values, photometric="RGB"))
    assert maximal_difference(cine, values[..., 0] / 255.0) < 1e-6
    assert any("coloured" in note for note in cine.meta["notes"])


@pytest.mark.parametrize(
    "name", ["JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_RLE.dcm", "JPEGLSNearLossless_08.dcm"]
)
def test_compressed_syntaxes_decode_to_one_frame(name: str) -> None:
    path = pydicom.data.get_testdata_file(name, download=False)
    with pytest.raises(InputError, match="only 1 frame"):
        read_cine(path)


@pytest.mark.parametrize(
    ("regions", "more", "expected", "note"),
    [
        ([region(cm=0.05)], {}, (0.5, 0.5), None),
        ([region(cm=0.05, cm_y=0.04)], {}, (0.4, 0.5), None),
        ([region(cm=-0.05)], {}, (0.5, 0.5), None),
        ([region(x1=W, y1=H)], {}, (0.5, 0.5), None),
        ([region(x1=2 * W)], {}, None, "resized or cropped"),
        ([region(x1=2 * W)], {"PixelSpacing": [0.5, 0.5]}, None, "resized or cropped"),
        ([region(0, 0, 40, 40, cm=0.01), region(20, 0, 63, 40, cm=0.03)], {}, (0.3, 0.3), "differ in spacing"),
        ([region(y1=30, cm=0.03), region(y0=31, kind=3, units=4, spatial=3)], {}, (0.3, 0.3), "next to the B-mode"),
        ([region(units=4, kind=3, spatial=5)], {}, None, "no spacing in mm"),
        ([region(units=0)], {"PixelSpacing": [0.7, 0.6]}, (0.7, 0.6), None),
        ([], {"PixelSpacing": [0.7, 0.6]}, (0.7, 0.6), None),
        ([], {}, None, "no spacing in mm"),
    ],
)
def test_dicom_spacing(
    tmp_path: Path, regions: list[Dataset], more: dict[str, Any], expected: tuple[float, float] | None, note: str | None
) -> None:
    tags = {"SequenceOfUltrasoundRegions": regions, "FrameTime": 20, **more}
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), **tags))
    assert cine.meta["spacing"] == (None if expected is None else pytest.approx(expected))
    assert [n for n in cine.meta["notes"] if note is None or note not in n] == []
    assert read_cine(tmp_path / "c.dcm", spacing=0.9).meta["spacing"] == (0.9, 0.9)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"FrameTime": 20}, np.arange(T) * 0.02),
        ({"FrameTimeVector": [0, 10, 20, 10, 20, 10]}, [0, 0.01, 0.03, 0.04, 0.06, 0.07]),
        ({"FrameTimeVector": [0, 10], "FrameTime": 20}, np.arange(T) * 0.02),
        ({"CineRate": 40}, np.arange(T) / 40),
        ({"RecommendedDisplayFrameRate": 25}, np.arange(T) / 25),
        ({}, None),
    ],
)
def test_dicom_times(tmp_path: Path, tags: dict[str, Any], expected: Any) -> None:
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), RWaveTimeVector=[5.0, 905.0], **tags))
    if expected is None:
        assert cine.meta["frame_times"] is None
    else:
        np.testing.assert_allclose(cine.meta["frame_times"], expected, atol=1e-9)
    assert cine.meta["r_waves"] == [0.005, 0.905]


RAMP = np.arange(256, dtype=np.uint16)


@pytest.mark.parametrize(
    ("syntax", "bits", "table"),
    [
        (ExplicitVRLittleEndian, 16, (RAMP << 8).astype("<u2").tobytes()),
        (ExplicitVRBigEndian, 16, (RAMP << 8).astype(">u2").tobytes()),
        (ExplicitVRLittleEndian, 8, RAMP.astype("<u2").tobytes()),
        (ExplicitVRLittleEndian, 8, RAMP.astype(np.uint8).tobytes()),
        (ExplicitVRLittleEndian, 16, RAMP.astype("<u2").tobytes()),
        (ExplicitVRLittleEndian, 16, (RAMP * 257).astype("<u2").tobytes()),
    ],
    ids="high-byte big-endian 8-in-16 bytes low-byte both-bytes".split(),
)
def test_palettes_however_their_entries_are_stored(tmp_path: Path, syntax: UID, bits: int, table: bytes) -> None:
    tags: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        tags[f"{name}PaletteColorLookupTableData"] = table
    path = write_dicom(tmp_path / "c.dcm", loop(), photometric="PALETTE COLOR", **tags)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    for name in ("Red", "Green", "Blue"):
        dataset[f"{name}PaletteColorLookupTableData"].VR = "OW"
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=syntax == ExplicitVRLittleEndian)
    cine = read_cine(path)
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert not any("black" in note for note in cine.meta["notes"])


def test_segmented_palette(tmp_path: Path) -> None:
    segments = np.array([0, 1, 0, 1, 255, 255 << 8], "<u2")  # one entry of 0, then a line of 255 up to 65280
    tags: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"Segmented{name}PaletteColorLookupTableData"] = segments.tobytes()
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), photometric="PALETTE COLOR", **tags))
    assert maximal_difference(cine, loop() / 255.0) < 1.5 / 255


def test_a_nearly_black_cine_is_said(tmp_path: Path) -> None:
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop() // 20))
    assert any("nearly black" in note for note in cine.meta["notes"])


@pytest.mark.parametrize("position", [True, False])
def test_an_enhanced_volume_is_refused(tmp_path: Path, position: bool) -> None:
    groups = []
    for t in range(T):
        plane, group = Dataset(), Dataset()
        plane.ImagePositionVolume = [0.0, 0.0, 0.5 * t if position else 0.0]
        group.PlanePositionVolumeSequence = [plane]
        groups.append(group)
    sop = "1.2.840.10008.5.1.4.1.1.3.1" if position else "1.2.840.10008.5.1.4.1.1.6.2"
    path = write_dicom(tmp_path / "c.dcm", loop(), PerFrameFunctionalGroupsSequence=groups, SOPClassUID=sop)
    with pytest.raises(InputError, match="3D volume"):
        read_cine(path)


@pytest.mark.parametrize("name", ["c.dcm", "IM_0001"])
@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preamble(tmp_path: Path, name: str, implicit: bool) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "whole.dcm", loop(), FrameTime=20))
    dataset.file_meta = FileMetaDataset()
    pydicom.dcmwrite(tmp_path / name, dataset, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    cine = read_cine(tmp_path / name)
    assert maximal_difference(cine, loop() / 255.0) < 1e-6 and cine.meta["frame_times"][1] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("codec", "container", "syntax"),
    [
        ("mpeg2video", "mpeg", MPEG2MPML),
        ("mpeg2video", "mpeg2video", MPEG2MPHL),
        ("libx264", "mp4", MPEG4HP41),
        ("libx264", "mpegts", MPEG4HP42STEREO),
        ("libx265", "mpegts", HEVCMP51),
    ],
)
def test_videos_inside(tmp_path: Path, codec: str, container: str, syntax: UID) -> None:
    values = loop(10, 64, 96)
    content = video_bytes(values, codec, container)
    cine = read_cine(write_video_dicom(tmp_path / "c.dcm", content, syntax, 10, FrameTime=30))
    assert cine.shape == (1, 10, 64, 96) and np.abs(np.asarray(cine)[0] - values / 255.0).mean() < 0.01
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(10) * 0.03)
    assert cine.meta["frame_time_source"] == "acquired"
    with pytest.raises(InputError, match="20 frames declared but 10"):
        read_cine(write_video_dicom(tmp_path / "c.dcm", content, syntax, 20, FrameTime=30))
    untimed = read_cine(write_video_dicom(tmp_path / "c.dcm", content, syntax, 10))
    assert untimed.meta["frame_time_source"] == "playback"


def test_pixel_aspect_ratio(tmp_path: Path) -> None:
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), PixelAspectRatio=["2", "1"]))
    assert cine.meta["spacing"] is None and cine.meta["aspect"] == 2
    assert any("2 times as high as wide" in note for note in cine.meta["notes"])
    assert read_cine(write_dicom(tmp_path / "c.dcm", loop(), PixelSpacing=[0.4, 0.5])).meta["aspect"] == 0.8


@pytest.mark.parametrize(
    ("regions", "crop", "kind"),
    [
        ([region(0, 0, 39, 47), region(40, 0, 63, 47)], (0, 0, 48, 40), "2D image"),
        ([region(0, 0, 31, 47), region(32, 0, 63, 47)], (0, 0, 48, 32), "2D image"),
        ([region(0, 0, 31, 47, kind=2), region(32, 0, 63, 47)], (0, 32, 48, 64), "2D image"),
        ([region(10, 0, 50, 23), region(0, 24, 63, 47, spatial=2)], (0, 10, 24, 51), "M-mode"),
        ([region(10, 0, 50, 23), region(0, 24, 63, 47, spatial=3, kind=3)], (0, 10, 24, 51), "spectral Doppler"),
    ],
    ids=["unequal", "equal", "colour beside tissue", "M-mode below", "Doppler below"],
)
def test_the_b_mode_image_is_cropped(tmp_path: Path, regions: list[Dataset], crop: Any, kind: str) -> None:
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), SequenceOfUltrasoundRegions=regions))
    top, left, bottom, right = crop
    assert cine.meta["crop"] == crop and not cine.meta["colour_flow"]
    assert maximal_difference(cine, loop()[:, top:bottom, left:right] / 255.0) < 1e-6
    assert any(f"({kind}) lies next to the B-mode" in note for note in cine.meta["notes"])
    assert cine.meta["spacing"] == pytest.approx((0.5, 0.5)) and cine.meta["regions"][0]["x0"] == 0


@pytest.mark.parametrize("more", [region(5, 5, 20, 20, kind=2), region(0, 40, 63, 47, spatial=4, kind=10)])
def test_colour_over_the_image_and_an_ecg_below_are_not_cropped(tmp_path: Path, more: Dataset) -> None:
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), SequenceOfUltrasoundRegions=[region(y1=39), more]))
    assert cine.meta["crop"] is None and cine.shape[2:] == (H, W)
    assert cine.meta["colour_flow"] == (more.RegionDataType == 2)


def test_an_m_mode_alone_is_said(tmp_path: Path) -> None:
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), SequenceOfUltrasoundRegions=[region(spatial=2)]))
    assert any("no 2D image, only M-mode" in note for note in cine.meta["notes"])


@pytest.mark.parametrize(
    ("tags", "spacing", "times", "note"),
    [
        ({"PixelSpacing": [11.0, 11.0]}, None, True, "528 mm deep"),
        ({"PixelSpacing": [0.001, 0.001]}, None, True, "impossible"),
        ({"PixelSpacing": [4.0, 0.4]}, None, True, "impossible"),
        ({"PixelSpacing": [0.5, 0.5], "FrameTime": 0.02}, (0.5, 0.5), False, "0.02 ms is impossible"),
        ({"PixelSpacing": [0.5, 0.5], "FrameTime": 5000}, (0.5, 0.5), False, "5000 ms is impossible"),
    ],
)
def test_what_is_impossible_is_said_and_not_used(
    tmp_path: Path, tags: dict[str, Any], spacing: Any, times: bool, note: str
) -> None:
    cine = read_cine(write_dicom(tmp_path / "c.dcm", loop(), **{"FrameTime": 20, **tags}))
    assert cine.meta["spacing"] == spacing and (cine.meta["frame_times"] is not None) == times
    assert any(note in said for said in cine.meta["notes"])


@pytest.mark.parametrize(("keyword", "kind"), [("FrameTime", "acquired"), ("RecommendedDisplayFrameRate", "playback")])
def test_whose_times_they_are(tmp_path: Path, keyword: str, kind: str) -> None:
    assert read_cine(write_dicom(tmp_path / "c.dcm", loop(), **{keyword: 30})).meta["frame_time_source"] == kind


def test_what_the_header_says_of_the_view(tmp_path: Path) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "399214001", "SCT", "Apical four chamber"
    assert read_cine(write_dicom(tmp_path / "c.dcm", loop(), ViewCodeSequence=[code])).meta["view"] == code.CodeMeaning
    assert read_cine(write_dicom(tmp_path / "c.dcm", loop(), ViewName="A4C")).meta["view"] == "A4C"
    assert read_cine(write_dicom(tmp_path / "c.dcm", loop())).meta["view"] is None
