"""Movies: encoded as they are shown, whole or not at all, and what can't be encoded costs nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from cardiac_motion.cine import movie
from cardiac_motion.cine.movie import decode_movie, encode_movie, write_movie
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import cine_of, loop


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_frames_times_and_the_shape_of_pixels(tmp_path: Path, colour: bool, size: tuple[int, int]) -> None:
    values = loop(12, *size)
    frames = np.repeat(values[..., None], 3, -1) if colour else values
    (tmp_path / "c.mp4").write_bytes(encode_movie(iter(frames), 12.5, crf=5, aspect=2.0))
    cine = read_cine(tmp_path / "c.mp4")
    assert cine.shape == (1, 12, *size) and np.abs(np.asarray(cine)[0] - values / 255).mean() < 0.01
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(12) / 12.5, atol=1e-3)
    assert cine.meta["aspect"] == pytest.approx(2)
    grey = decode_movie(encode_movie(iter(frames), 12.5, crf=5))
    assert grey.dtype == np.uint8 and np.abs(grey.astype(float) - values).mean() < 2.5


def test_an_ffmpeg_without_h264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movie, "CODECS", ("no_such_encoder", "mpeg4"))
    assert write_movie(tmp_path / "c.mp4", loop(), 25)
    assert read_cine(tmp_path / "c.mp4").shape[1:] == loop().shape


def test_an_ffmpeg_without_any_encoder_costs_the_movie_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(movie, "CODECS", ("no_such_encoder",))
    with caplog.at_level(logging.WARNING):
        assert not write_movie(tmp_path / "c.mp4", loop(), 25)
    assert "c.mp4 was not written" in caplog.text and not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"none of the encoders"):
        write_cine(tmp_path / "c.mp4", cine_of(loop()))
    assert not list(tmp_path.iterdir())


def test_a_movie_of_no_frames() -> None:
    with pytest.raises(InputError, match="at least one frame"):
        encode_movie([], 25)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(OSError):
        write_movie("/dev/full", loop(), 25)
