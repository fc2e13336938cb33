from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from PIL import Image

from cardiac_motion.cine.read import read_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import (
    T,
    loop,
    maximal_difference,
)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", np.uint8), ("tif", np.uint8), ("bmp", np.uint8), ("png", np.uint16)]
)
def test_folder_in_natural_order(tmp_path: Path, suffix: str, kind: type, bar_names: list[str]) -> None:
    values = loop(12)
    for t, frame in enumerate(values):
        imageio.imwrite(tmp_path / f"frame{t}.{suffix}", frame.astype(kind) * (np.iinfo(kind).max // 255))
    (tmp_path / "notes.txt").write_text("ignored", encoding="utf-8")
    cine = read_cine(tmp_path)
    assert maximal_difference(cine, values / 255.0) < 1e-6 and bar_names == [f"reading {tmp_path.name}"]
    assert cine.meta["frame_times"] is None and cine.meta["spacing"] is None


def save_pages(path: Path, values: np.ndarray, **options: Any) -> None:
    images = [Image.fromarray(frame) for frame in values]
    images[0].save(path, save_all=True, append_images=images[1:], **options)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_all_pages_of_a_tiff(tmp_path: Path, compression: str) -> None:
    save_pages(tmp_path / "c.tif", loop(), compression=compression)
    assert maximal_difference(read_cine(tmp_path / "c.tif"), loop() / 255.0) < 1e-6


def test_a_tiff_of_one_page_is_one_frame(tmp_path: Path) -> None:
    save_pages(tmp_path / "c.tif", loop(1))
    with pytest.raises(InputError, match="only 1 frame"):
        read_cine(tmp_path / "c.tif")


def test_all_pages_of_a_folder_of_tiffs_in_order(tmp_path: Path) -> None:
    values = loop(8)
    for name, part in (("10", values[5:]), ("9", values[:5])):
        save_pages(tmp_path / f"{name}.tif", part)
    assert maximal_difference(read_cine(tmp_path), values / 255.0) < 1e-6


def test_a_stack_of_imagej_with_its_spacing_and_frame_time(tmp_path: Path) -> None:
    meta = {"finterval": 0.02, "unit": "mm", "axes": "TYX"}
    tifffile.imwrite(tmp_path / "c.tif", loop(), imagej=True, resolution=(2.0, 2.5), metadata=meta)
    cine = read_cine(tmp_path / "c.tif")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == pytest.approx((0.4, 0.5))
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) * 0.02)


@pytest.mark.parametrize("name", ["{0}²{0}.png", "a{0}b²ⅳ.png", "٣_{0}.png", "frame ({0}).PNG"])
def test_names_of_any_characters(tmp_path: Path, name: str) -> None:
    values = loop(12)
    for t, frame in enumerate(values):
        imageio.imwrite(tmp_path / name.format(t), frame, extension=".png")
    assert maximal_difference(read_cine(tmp_path), values / 255.0) < 1e-6


@pytest.mark.parametrize("mark", ["_mask", "-seg", " label", "_GT"])
def test_masks_beside_the_frames_are_left_out(tmp_path: Path, mark: str) -> None:
    for t, frame in enumerate(loop()):
        imageio.imwrite(tmp_path / f"{t:03d}.png", frame)
        imageio.imwrite(tmp_path / f"{t:03d}{mark}.png", 255 * (frame > 100).astype(np.uint8))
    cine = read_cine(tmp_path)
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert any("6 files are masks" in note for note in cine.meta["notes"])


def test_a_folder_of_nothing_but_masks_is_read(tmp_path: Path) -> None:
    for t, frame in enumerate(loop()):
        imageio.imwrite(tmp_path / f"{t}_mask.png", frame)
    assert read_cine(tmp_path).shape[1] == T


@pytest.mark.parametrize(
    ("suffix", "dpi", "aspect"), [("png", (100, 50), 2.0), ("jpg", (50, 100), 0.5), ("png", (72, 72), 1.0)]
)
def test_pictures_whose_densities_differ(tmp_path: Path, suffix: str, dpi: tuple[int, int], aspect: float) -> None:
    for t, frame in enumerate(loop()):
        Image.fromarray(frame).save(tmp_path / f"{t}.{suffix}", dpi=dpi)
    assert read_cine(tmp_path).meta["aspect"] == pytest.approx(aspect, rel=1e-3)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "1", "I;16"])
def test_pictures_of_any_mode(tmp_path: Path, mode: str) -> None:
    values = loop() // 2 * 2 if mode != "1" else 255 * (loop() > 100).astype(np.uint8)
    for t, frame in enumerate(values):
        image = (
            Image.fromarray(frame.astype(np.uint16) * 16) if mode == "I;16" else Image.fromarray(frame).convert(mode)
        )
        image.save(tmp_path / f"{t}.png")
    expected = values * (16 / 4095) if mode == "I;16" else values / 255.0
    assert maximal_difference(read_cine(tmp_path), expected) < 1e-6


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pictures_are_turned_as_they_are_to_be_shown(tmp_path: Path, orientation: int) -> None:
    for t, frame in enumerate(loop()):
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(frame).save(tmp_path / f"{t}.png", exif=exif)
    turned = np.rot90(loop(), {3: 2, 6: -1, 8: 1}[orientation], (1, 2))
    assert maximal_difference(read_cine(tmp_path), turned / 255.0) < 1e-6


def test_a_damaged_picture_is_found_by_its_checksum(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 48, 64), dtype=np.uint8)
    for t, frame in enumerate(noise):
        imageio.imwrite(tmp_path / f"{t}.png", frame)
    content = bytearray((tmp_path / "1.png").read_bytes())
    for place in range(60, len(content) - 20, 97):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        (tmp_path / "1.png").write_bytes(damaged)
        with pytest.raises(InputError, match=r"1\.png"):
            read_cine(tmp_path)
