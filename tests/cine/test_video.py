from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio.v3 as imageio
import numpy as np
import pytest
from av.stream import Disposition
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from tests.cine.made import (
    H,
    T,
    W,
    cine_of,
    loop,
    maximal_difference,
    video_bytes,
)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_takes_the_first_channel(tmp_path: Path, suffix: str, bar_names: list[str]) -> None:
    colour = np.stack([loop(), loop() // 2, loop() // 3], -1)
    imageio.imwrite(tmp_path / f"c{suffix}", colour, fps=40, codec="libx264", macro_block_size=1, quality=10)
    cine = read_cine(tmp_path / f"c{suffix}")
    assert cine.shape == (1, T, H, W) and bar_names == [f"reading c{suffix}"]
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


@pytest.mark.parametrize(
    ("codec", "container", "suffix"),
    [
        ("libx264", "mp4", ".mp4"), ("libx264", "mov", ".mov"), ("mpeg4", "ipod", ".m4v"), ("mpeg4", "avi", ".avi"),
        ("libx264", "matroska", ".mkv"), ("libvpx", "webm", ".webm"), ("libvpx-vp9", "webm", ".webm"),
        ("wmv2", "asf", ".wmv"), ("mpeg2video", "mpeg", ".mpg"), ("mpeg2video", "mpegts", ".ts"),
        ("libx265", "mp4", ".mp4"), ("ffv1", "matroska", ".mkv"),
    ],
)  # fmt: skip
def test_containers_and_codecs(tmp_path: Path, codec: str, container: str, suffix: str) -> None:
    values = loop(12, 64, 96)
    (tmp_path / f"c{suffix}").write_bytes(video_bytes(values, codec, container))
    cine = read_cine(tmp_path / f"c{suffix}")
    assert cine.shape == (1, 12, 64, 96) and np.abs(np.asarray(cine)[0] - values / 255.0).mean() < 0.01
    np.testing.assert_allclose(cine.meta["frame_times"], np.arange(12) / 25, atol=1e-3)
    assert cine.meta["frame_time_source"] == "playback"
    assert any("playback" in note for note in cine.meta["notes"])


@pytest.mark.parametrize(
    ("container", "suffix"),
    [("mp4", ".mp4"), ("mov", ".mov"), ("matroska", ".mkv"), ("avi", ".avi"), ("asf", ".wmv"), ("mpegts", ".ts")],
)
@pytest.mark.parametrize("share", [0.6, 0.995])
def test_what_is_cut_off_is_missed(tmp_path: Path, container: str, suffix: str, share: float) -> None:
    content = video_bytes(loop(12, 64, 96), "mpeg4" if suffix in (".avi", ".wmv") else "libx264", container)
    (tmp_path / f"c{suffix}").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="truncated"):
        read_cine(tmp_path / f"c{suffix}")


@pytest.mark.parametrize(("container", "suffix"), [("matroska", ".mkv"), ("mp4", ".mp4")])
def test_times_of_a_variable_rate_and_the_shape_of_pixels(tmp_path: Path, container: str, suffix: str) -> None:
    stamps = [0, 20, 40, 80, 120, 200, 220, 240, 260, 280, 300, 400]
    content = video_bytes(loop(12), container=container, stamps=stamps, sar=Fraction(2, 1))
    (tmp_path / f"c{suffix}").write_bytes(content)
    cine = read_cine(tmp_path / f"c{suffix}")
    np.testing.assert_allclose(cine.meta["frame_times"], np.array(stamps) / 1000, atol=1e-3)
    assert cine.meta["aspect"] == 0.5


def test_a_cut_by_stream_copy_and_a_longer_sound(tmp_path: Path) -> None:
    values = loop(30, 64, 96)
    (tmp_path / "whole.mp4").write_bytes(video_bytes(values))
    ffmpeg(tmp_path, "-ss", "0.6", "-i", "whole.mp4", "-c", "copy", "cut.mp4")
    cut = np.asarray(read_cine(tmp_path / "cut.mp4"))[0]
    assert len(cut) == 15 and np.abs(cut - values[15:] / 255.0).mean() < 0.01
    sound = ("-f", "lavfi", "-i", "sine=duration=4", "-c:v", "copy", "-c:a", "aac")
    ffmpeg(tmp_path, "-i", "whole.mp4", *sound, "sound.mkv")
    assert read_cine(tmp_path / "sound.mkv").shape[1] == 30


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_a_turned_picture_is_shown_as_a_player_does(tmp_path: Path, degrees: int) -> None:
    (tmp_path / "c.mp4").write_bytes(video_bytes(loop(4), rotation=degrees))
    cine = read_cine(tmp_path / "c.mp4")
    ffmpeg(tmp_path, "-i", "c.mp4", "-f", "rawvideo", "-pix_fmt", "gray", "turned.raw")
    shown = np.fromfile(tmp_path / "turned.raw", np.uint8).reshape(cine.shape[1:])
    assert np.abs(np.asarray(cine)[0] - shown / 255.0).max() < 2 / 255
    assert any("rotated" in note for note in cine.meta["notes"])


def test_damage_in_the_middle_is_missed(tmp_path: Path) -> None:
    content = bytearray(video_bytes(loop(30, 64, 96)))
    middle = content.index(b"mdat") + 3000
    content[middle : middle + 600] = bytes(600)
    (tmp_path / "c.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"c\.mp4: (the video is damaged|the video cannot be read)"):
        read_cine(tmp_path / "c.mp4")


@pytest.mark.parametrize(("padding", "ratio"), [(b"\0", 1.0), (b"\0" * 20, 1.0), (b"more", 2.0)])
def test_a_gif_with_bytes_behind_its_end_and_pixels_that_are_not_square(
    tmp_path: Path, padding: bytes, ratio: float
) -> None:
    write_cine(tmp_path / "c.gif", cine_of(loop(), aspect=ratio, spacing=None, frame_times=None))
    with open(tmp_path / "c.gif", "ab") as file:
        file.write(padding)
    cine = read_cine(tmp_path / "c.gif")
    assert maximal_difference(cine, loop() / 255.0) < 1e-6
    assert cine.meta["aspect"] == pytest.approx(ratio, rel=0.02) and cine.meta["frame_time_source"] == "playback"


def test_dithered_grey_is_no_colour(tmp_path: Path) -> None:
    levels = np.array([0, 36, 73, 109, 146, 182, 219, 255])
    rng = np.random.default_rng(0).uniform(-18, 18, (3, 2, H, W, 3))  # the three channels are dithered apart
    grey = loop(2)[None, ..., None] + rng[:1]
    rgb = levels[np.abs(grey[0][..., None] - levels).argmin(-1)].astype(np.uint8)
    images = [Image.fromarray(frame) for frame in rgb]
    images[0].save(tmp_path / "c.gif", save_all=True, append_images=images[1:], duration=40)
    assert not read_cine(tmp_path / "c.gif").meta["colour_flow"]


def ffmpeg(folder: Path, *words: str) -> None:
    subprocess.run([get_ffmpeg_exe(), "-loglevel", "error", "-y", *words], cwd=folder, check=True)


def test_bytes_behind_the_end_and_sizes_that_are_unknown(tmp_path: Path) -> None:
    values = loop(12, 64, 96)
    padding = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    kinds = {"mp4": "libx264", "mov": "libx264", "avi": "mpeg4", "mkv": "libx264", "ts": "mpeg2video", "wmv": "wmv2"}
    names = {"mkv": "matroska", "ts": "mpegts", "wmv": "asf"}
    for suffix, codec in kinds.items():
        content = video_bytes(values, codec, names.get(suffix, suffix))
        for rest in (b"\0", bytes(300), b"more", padding if suffix in ("mp4", "mov", "avi") else b"x"):
            (tmp_path / f"c.{suffix}").write_bytes(content + rest)
            assert read_cine(tmp_path / f"c.{suffix}").shape[1] == 12, (suffix, len(rest))
    content = bytearray(video_bytes(values, "mpeg4", "avi"))
    for stated in (bytes(4), b"\xff" * 4):
        content[4:8] = stated
        (tmp_path / "c.avi").write_bytes(content)
        assert read_cine(tmp_path / "c.avi").shape[1] == 12
        (tmp_path / "c.avi").write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError):
            read_cine(tmp_path / "c.avi")


@pytest.mark.parametrize("container", ["matroska", "mp4"])
@pytest.mark.parametrize("attached", [True, False])
def test_a_cover_picture_before_the_video(tmp_path: Path, container: str, attached: bool) -> None:
    suffix = {"matroska": "mkv", "mp4": "mp4"}[container]
    with av.open(str(tmp_path / f"c.{suffix}"), "w", format=container) as video:
        cover = video.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        if attached and container == "mp4":
            cover.disposition = Disposition.attached_pic
        stream = video.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        video.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32), np.uint8), format="gray")))
        for frame in loop(12, 64, 96):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        video.mux(cover.encode())
        video.mux(stream.encode())
    assert read_cine(tmp_path / f"c.{suffix}").shape == (1, 12, 64, 96)


def test_names_that_look_like_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("12:30:05.mp4", "http:a.mp4", "-i.mp4", "a%03d.mp4"):
        Path(name).write_bytes(video_bytes(loop()))
        assert read_cine(name).shape[1] == T


def test_a_grey_video_of_sixteen_bits_that_uses_twelve(tmp_path: Path) -> None:
    values = loop(4).astype(np.uint16) * 16
    with av.open(str(tmp_path / "c.mkv"), "w") as video:
        stream = video.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *values.shape[1:], "gray16le"
        for frame in values:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray16le")))
        video.mux(stream.encode())
    assert maximal_difference(read_cine(tmp_path / "c.mkv"), values / 4095) < 1e-6
