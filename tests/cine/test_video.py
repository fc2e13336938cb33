from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

from common.cine.read import read_cine
from tests.cine.made import (
    H,
    T,
    W,
    loop,
)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_takes_the_first_channel(tmp_path: Path, suffix: str) -> None:
    colour = np.stack([loop(), loop() // 2, loop() // 3], -1)
    imageio.imwrite(tmp_path / f"c{suffix}", colour, fps=40, codec="libx264", macro_block_size=1, quality=10)
    cine = read_cine(tmp_path / f"c{suffix}")
    assert cine.shape == (1, T, H, W)
    assert np.abs(np.asarray(cine)[0] - loop() / 255.0).mean() < 0.03
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(T) / 40, rtol=1e-3)
    assert cine.meta["spacing"] is None


@pytest.mark.parametrize(("colour", "flow"), [("grey", False), ("tint", False), ("doppler", True)])
def test_colour_doppler_is_told_from_a_tint(tmp_path: Path, colour: str, flow: bool) -> None:
    frames = np.random.default_rng(0).integers(60, 250, (3, 40, 48)).astype(np.uint8)
    frames[:, :, :8] = 0
    rgb = np.stack([frames] * 3, axis=-1)
    if colour == "tint":
        rgb = (rgb * [1.0, 0.8, 0.5]).astype(np.uint8)
    elif colour == "doppler":
        rgb[:, 10:25, 15:30] = [220, 30, 20]
        rgb[:, 15:20, 20:25] = [20, 60, 230]
    path = tmp_path / "cine.gif"
    images = [Image.fromarray(frame) for frame in rgb]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    assert read_cine(path).meta["colour_flow"] is flow
