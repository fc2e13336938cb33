"""GIFs: delays, the shape of a pixel, and files that end early."""

import numpy as np
import pytest
from PIL import Image

from cardiac_motion.cine.gif import read_gif
from cardiac_motion.core.errors import InputError


def write(path, frames, duration=40):
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration, loop=0)
    return path


def frames(count=4):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20, 24)).astype(np.uint8) for _ in range(count)]


def test_frames_and_times(tmp_path):
    loop = read_gif(write(tmp_path / "a.gif", frames(), [40, 80, 40, 40]))
    assert loop.frames.shape == (4, 20, 24) and np.allclose(loop.frames * 255, np.stack(frames()))
    assert loop.frame_times == pytest.approx([0, 0.04, 0.12, 0.16]) and loop.frame_time_source == "playback"
    assert loop.spacing is None and loop.aspect == 1.0 and len(loop.notes) == 2


def test_a_delay_of_nothing_gives_no_times(tmp_path):
    assert read_gif(write(tmp_path / "a.gif", frames(), 0)).frame_times is None


@pytest.mark.parametrize("byte, aspect", [(0, 1.0), (49, 1.0), (17, 2.0), (113, 0.5)])
def test_the_shape_of_a_pixel(tmp_path, byte, aspect):
    """Byte 12 is 64 times the width over the height, less 15 (GIF89a, section 18)."""
    path = write(tmp_path / "a.gif", frames())
    data = bytearray(path.read_bytes())
    data[12] = byte
    path.write_bytes(data)
    assert read_gif(path).aspect == pytest.approx(aspect)


def test_what_follows_the_picture_is_no_matter_and_what_is_cut_off_is(tmp_path):
    path = write(tmp_path / "a.gif", frames())
    whole = path.read_bytes()
    path.write_bytes(whole + b"more")
    assert len(read_gif(path).frames) == 4
    for keep in (len(whole) - 1, len(whole) // 2, 20):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError, match=r"a\.gif: .*(ends early|truncated)"):
            read_gif(path)
