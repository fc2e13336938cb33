from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
import pytest
from scipy import ndimage

from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import (
    loop,
    maximal_difference,
    metaimage_bytes,
)


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_metaimage_as_itk_writes_it(tmp_path: Path, suffix: str, compression: bool, kind: type) -> None:
    values = loop().astype(kind) / kind(1 if kind is not np.float32 else 255)
    image = itk.image_from_array(values.astype(kind))
    image.SetSpacing([0.3, 0.4, 0.02])
    itk.imwrite(image, str(tmp_path / f"c{suffix}"), compression=compression)
    cine = read_cine(tmp_path / f"c{suffix}")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == pytest.approx((0.4, 0.3))
    assert cine.meta["frame_times"][1] == pytest.approx(0.02)


def test_metaimage_volume_is_refused(tmp_path: Path) -> None:
    image = itk.image_from_array(loop())
    image.SetSpacing([0.7, 0.7, 1.0])
    image.SetOrigin([0.0, 0.0, -35.0])
    itk.imwrite(image, str(tmp_path / "c.mha"))
    with pytest.raises(InputError, match="3D volume, not a 2D cine: its slices have a position"):
        read_cine(tmp_path / "c.mha")


def sector(count: int = 20) -> np.ndarray:
    """Speckle that moves in a sector which stands still, as bytes ``[T, 96, 128]``."""
    y, x = np.mgrid[:96, :128]
    inside = (np.hypot(y + 6, x - 64) < 95) & (np.abs(np.arctan2(x - 64, y + 6)) < 0.7)
    grain = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(96, 160)), 2)
    moved = [np.roll(grain, t // 3, 1)[:, :128] for t in range(count)]
    return np.stack([np.clip(110 + 350 * g, 20, 255) * inside for g in moved]).astype(np.uint8)


def test_a_sector_whose_third_spacing_is_no_frame_time(tmp_path: Path) -> None:
    (tmp_path / "c.mha").write_bytes(metaimage_bytes(sector(), ElementSpacing="0.308 0.154 1.54"))
    cine = read_cine(tmp_path / "c.mha")
    assert maximal_difference(cine, sector() / 255.0) < 1e-6
    assert cine.meta["spacing"] == pytest.approx((0.154, 0.308)) and cine.meta["frame_times"] is None
    assert any("static sector" in note for note in cine.meta["notes"])


def test_slices_of_an_organ_are_no_sector(tmp_path: Path) -> None:
    z, y, x = np.mgrid[-10:10, -48:48, -64:64]
    ball = (255 * ((x / 50) ** 2 + (y / 40) ** 2 + (z / 11) ** 2 < 1)).astype(np.uint8)
    (tmp_path / "c.mha").write_bytes(metaimage_bytes(ball, ElementSpacing="0.7 0.7 1.54"))
    with pytest.raises(InputError, match="slice spacing"):
        read_cine(tmp_path / "c.mha")


def test_a_tracked_sequence_with_a_time_stamp_a_frame(tmp_path: Path) -> None:
    times = np.array([0, 0.04, 0.09, 0.12, 0.16, 0.21]) + 7.5
    stamps = {f"Seq_Frame{t:04d}_Timestamp": str(time) for t, time in enumerate(times)}
    fields = {"Kinds": "domain domain list", "UltrasoundImageOrientation": "MFA", "ElementSpacing": "1 1 1", **stamps}
    (tmp_path / "c.igs.mha").write_bytes(metaimage_bytes(loop(), **fields))
    cine = read_cine(tmp_path / "c.igs.mha")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6 and cine.meta["spacing"] is None
    np.testing.assert_allclose(cine.meta["frame_times"], times - 7.5)
    assert cine.meta["frame_time_source"] == "acquired"


def test_a_header_of_many_fields(tmp_path: Path) -> None:
    more = {f"Comment{i}": "x" * 100 for i in range(1000)}
    (tmp_path / "c.mha").write_bytes(metaimage_bytes(loop(), **more))
    assert maximal_difference(read_cine(tmp_path / "c.mha"), loop() / 255.0) < 1e-6


def test_pixels_as_text(tmp_path: Path) -> None:
    text = " ".join(map(str, loop().ravel())).encode()
    (tmp_path / "c.mha").write_bytes(metaimage_bytes(loop(), text, BinaryData="False"))
    assert maximal_difference(read_cine(tmp_path / "c.mha"), loop() / 255.0) < 1e-6
    (tmp_path / "c.mha").write_bytes(metaimage_bytes(loop(), text[: len(text) // 2], BinaryData="False"))
    with pytest.raises(InputError, match="truncated"):
        read_cine(tmp_path / "c.mha")
