from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000Lossless,
    RLELossless,
)

from common.cine.read import read_cine
from common.core.errors import InputError
from tests.cine.made import (
    H,
    T,
    W,
    loop,
    maximal_difference,
    region,
    write_dicom,
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
        ([region(y1=30, cm=0.03), region(y0=31, kind=3, units=4, spatial=3)], {}, (0.3, 0.3), "beside the B-mode"),
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
