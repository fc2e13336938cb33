"""TIFF stacks: their axes, spacing and times as they are described; kinds of pixels; what is no cine is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.study import list_cines
from cardiac_motion.core.errors import InputError
from tests.cine.made import T, loop, maximal_difference

OTHER = loop()[:, ::-1, ::-1]


@pytest.mark.parametrize("axes", ["TCYX", "TZYX", "CTYX", "ZYX", "CYX"])
@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
def test_channels_and_slices_are_no_frames(tmp_path: Path, axes: str, kind: str) -> None:
    values = loop() if len(axes) == 3 else np.stack([loop(), OTHER], 1 if axes[0] == "T" else 0)
    if kind == "imagej":
        if axes == "CTYX":
            values, axes = np.stack([loop(), OTHER], 1), "TCYX"
        meta = {"axes": axes, "spacing": 2.0}
        tifffile.imwrite(tmp_path / "c.tif", values, imagej=True, metadata=meta)
    else:
        options: dict[str, Any] = {"ome": True} if kind == "ome" else {}
        tifffile.imwrite(tmp_path / "c.tif", values, photometric="minisblack", metadata={"axes": axes}, **options)
    with pytest.raises(InputError, match=r"c\.tif: .*(channels|slices)"):
        read_cine(tmp_path / "c.tif")


def test_axes_that_nothing_names(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "c.tif", np.stack([loop(), OTHER], 1), photometric="minisblack")
    with pytest.raises(InputError, match="a stack of 6 pages, 2 pages"):
        read_cine(tmp_path / "c.tif")


@pytest.mark.parametrize(
    ("meta", "spacing", "times"),
    [
        (
            {"PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "mm", "PhysicalSizeY": 0.4, "PhysicalSizeYUnit": "mm",
             "TimeIncrement": 30.0, "TimeIncrementUnit": "ms"},
            (0.4, 0.3), np.arange(T) * 0.03,
        ),
        ({"PhysicalSizeX": 300.0, "PhysicalSizeY": 400.0, "TimeIncrement": 0.03}, (0.4, 0.3), np.arange(T) * 0.03),
        ({"Plane": {"DeltaT": [0.0, 0.02, 0.05, 0.06, 0.09, 0.1]}}, None, [0.0, 0.02, 0.05, 0.06, 0.09, 0.1]),
        ({}, None, None),
    ],
    ids=["mm and ms", "default units", "a time a plane", "nothing"],
)  # fmt: skip
def test_an_ome_tiff_with_its_scale(tmp_path: Path, meta: dict[str, Any], spacing: Any, times: Any) -> None:
    tifffile.imwrite(tmp_path / "c.ome.tif", loop(), metadata={"axes": "TYX", **meta}, photometric="minisblack")
    cine = read_cine(tmp_path / "c.ome.tif")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["spacing"] == (spacing and pytest.approx(spacing))
    assert (cine.meta["frame_times"] is None) == (times is None)
    if times is not None:
        np.testing.assert_allclose(cine.meta["frame_times"], times, atol=1e-6)


def test_a_stack_of_imagej_that_calls_its_frames_slices(tmp_path: Path) -> None:
    meta = {"axes": "ZYX", "finterval": 0.04}
    tifffile.imwrite(tmp_path / "c.tif", loop(), imagej=True, metadata=meta)
    np.testing.assert_allclose(read_cine(tmp_path / "c.tif").meta["frame_times"], np.arange(T) * 0.04)


@pytest.mark.parametrize("kind", ["u2", "u4", "u8", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "zstd", "deflate", "lzw"])
def test_pixels_of_any_kind(tmp_path: Path, kind: str, compression: str | None) -> None:
    values = loop().astype(kind) if kind[0] != "f" else (loop() / 255).astype(kind)
    tifffile.imwrite(tmp_path / "c.tif", values, photometric="minisblack", compression=compression)
    assert maximal_difference(read_cine(tmp_path / "c.tif"), loop() / 255.0) < (5e-4 if kind == "f2" else 1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_is_zero(tmp_path: Path, kind: type) -> None:
    top = np.iinfo(kind).max
    values = (top - loop().astype(kind) * (top // 255)).astype(kind)
    tifffile.imwrite(tmp_path / "c.tif", values, photometric="miniswhite")
    assert maximal_difference(read_cine(tmp_path / "c.tif"), loop() / 255.0) < 1e-6


def test_an_outlier_does_not_set_the_scale(tmp_path: Path) -> None:
    values = loop().astype(np.float64)
    values[1, 2, 3] = 1e9
    tifffile.imwrite(tmp_path / "c.tif", values, photometric="minisblack")
    shown = np.asarray(read_cine(tmp_path / "c.tif"))[0]
    low, high = loop().min(), loop().max()
    expected = (loop() - low) / (high - low)
    expected[1, 2, 3] = 1
    assert np.abs(shown - expected).max() < 0.01


def test_colours_and_palettes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.repeat(loop()[..., None], 3, -1), photometric="rgb")
    assert maximal_difference(read_cine(tmp_path / "rgb.tif"), loop() / 255.0) < 1e-6
    images = [Image.fromarray(255 - frame) for frame in loop()]
    for image in images:
        image.putpalette([v for k in range(256) for v in (255 - k,) * 3])
    images[0].save(tmp_path / "palette.tif", save_all=True, append_images=images[1:])
    assert maximal_difference(read_cine(tmp_path / "palette.tif"), loop() / 255.0) < 1e-6


SHOWN: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # TIFF 6.0: what the first row and column of the file are
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.T,
    6: lambda a: a.T[:, ::-1], 7: lambda a: a.T[::-1, ::-1], 8: lambda a: a.T[::-1],
}  # fmt: skip


@pytest.mark.parametrize("orientation", SHOWN)
def test_the_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    code = (274, "H", 1, orientation, True)
    tifffile.imwrite(tmp_path / "c.tif", loop(), photometric="minisblack", extratags=[code], metadata=None)
    expected = SHOWN[orientation](loop()[0])
    assert np.abs(np.asarray(read_cine(tmp_path / "c.tif"))[0, 0] * 255 - expected).max() < 1e-3


def test_stacks_of_different_origin_are_cases_of_their_own(tmp_path: Path) -> None:
    for name, values in (("1", loop()), ("2", OTHER)):
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="minisblack")
    assert [cine.name for cine in list_cines(tmp_path)] == ["1", "2"]
    with pytest.raises(InputError, match="2 cines"):
        read_cine(tmp_path)
