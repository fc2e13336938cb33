from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import (
    H,
    T,
    W,
    loop,
    maximal_difference,
    phantom,
    write_nifti,
)


@pytest.mark.parametrize(
    ("zooms", "units", "spacing", "times"),
    [
        ((0.3, 0.4, 0.02), ("mm", "sec"), (0.4, 0.3), True),
        ((0.3, 0.4, 20.0), ("mm", "msec"), (0.4, 0.3), True),
        ((0.308, 0.308, 1.0), ("mm", "sec"), (0.308, 0.308), False),
        ((1.0, 1.0, 1.0), ("unknown", "unknown"), None, False),
        ((0.3, 0.4, 0.02), ("unknown", "unknown"), None, False),
    ],
)
def test_nifti_axes_units_and_times(
    tmp_path: Path, zooms: tuple[float, ...], units: tuple[str, str], spacing: Any, times: bool
) -> None:
    cine = read_cine(write_nifti(tmp_path / "c.nii.gz", loop().transpose(2, 1, 0), zooms, units))
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == (None if spacing is None else pytest.approx(spacing))
    if times:
        np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) * 0.02, rtol=1e-5)
    else:
        assert cine.meta["frame_times"] is None
        assert any("third axis" in note for note in cine.meta["notes"])


def test_nifti_without_units_is_a_cine_where_its_frames_are_alike(tmp_path: Path) -> None:
    values = phantom(60)[0][:, ::2, ::2]
    unnamed = ("unknown", "unknown")
    cine = read_cine(write_nifti(tmp_path / "c.nii.gz", values.transpose(2, 1, 0), (1.0, 1.0, 1.0), unnamed))
    assert cine.shape == (1, 60, 80, 100) and cine.meta["spacing"] is None and cine.meta["frame_times"] is None


def test_nifti_with_an_explicit_time_axis(tmp_path: Path) -> None:
    values = loop().transpose(2, 1, 0)[:, :, None]
    cine = read_cine(write_nifti(tmp_path / "c.nii", values, (0.3, 0.4, 1.0, 0.5), ("mm", "sec"), origin=30.0))
    assert cine.shape == (1, T, H, W) and cine.meta["spacing"] == pytest.approx((0.4, 0.3))
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) * 0.5)


@pytest.mark.parametrize(
    ("values", "expected", "noted"),
    [
        (loop() / np.float32(255), loop() / 255.0, False),
        (loop().astype(np.int16), loop() / 255.0, True),
        (loop().astype(np.float32) * 100 - 50, (loop() - 5.0) / (loop().max() - 5.0), True),
    ],
    ids=["unit floats", "bytes in int16", "other floats"],
)
def test_scaling_of_values(tmp_path: Path, values: np.ndarray, expected: np.ndarray, noted: bool) -> None:
    cine = read_cine(write_nifti(tmp_path / "c.nii.gz", values.transpose(2, 1, 0), (0.3, 0.3, 0.02), ("mm", "sec")))
    if values.min() < 0:
        expected = (values - values.min()) / np.ptp(values)
    assert maximal_difference(cine, expected) < 1e-6
    assert bool(cine.meta["notes"]) == noted


@pytest.mark.parametrize(
    ("at", "content", "spacing", "note"),
    [
        (123, struct.pack("<B", 7), None, "no unit of length"),
        (123, struct.pack("<B", 10 + 64), (0.4, 0.3), None),
        (123, struct.pack("<B", 2 + 56), (0.4, 0.3), "no frame times"),
        (80, struct.pack("<f", float("nan")), None, "spacing, nan × 0.4, is invalid"),
        (80, struct.pack("<f", 0.0), None, "spacing, 0 × 0.4, is invalid"),
        (84, struct.pack("<f", float("inf")), None, "spacing, 0.3 × inf, is invalid"),
        (80, struct.pack("<f", -0.3), (0.4, 0.3), None),
    ],
    ids=["unit 7", "unit with a high bit", "time unit 7", "NaN", "zero", "infinite", "negative"],
)
def test_headers_that_say_nothing_of_use(
    tmp_path: Path, at: int, content: bytes, spacing: Any, note: str | None
) -> None:
    path = write_nifti(tmp_path / "c.nii", loop().transpose(2, 1, 0), (0.3, 0.4, 0.02), ("mm", "sec"))
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(bytes(data))
    cine = read_cine(path)
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == (None if spacing is None else pytest.approx(spacing))
    assert note is None or any(note in said for said in cine.meta["notes"])


def test_zooms_without_a_unit_tell_the_shape_of_a_pixel(tmp_path: Path) -> None:
    cine = read_cine(
        write_nifti(tmp_path / "c.nii", loop().transpose(2, 1, 0), (1.0, 2.0, 1.0), ("unknown", "unknown"))
    )
    assert cine.meta["spacing"] is None and cine.meta["aspect"] == 2


def test_colours_give_their_first_channel_and_complex_values_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros(loop().transpose(2, 1, 0).shape, [(name, "u1") for name in "RGB"])
    rgb["R"] = loop().transpose(2, 1, 0)
    cine = read_cine(write_nifti(tmp_path / "c.nii", rgb, (0.3, 0.4, 0.02), ("mm", "sec")))
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    values = loop().transpose(2, 1, 0).astype(np.complex64)
    with pytest.raises(InputError, match="complex values"):
        read_cine(write_nifti(tmp_path / "c.nii", values, (0.3, 0.4, 0.02), ("mm", "sec")))
