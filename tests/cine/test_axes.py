"""A cine or a volume: what of a file's words, zooms and picture settles it."""

from pathlib import Path

import numpy as np
import pytest

from cardiac_motion.cine.axes import Axes, axes_to_frames
from cardiac_motion.core.errors import InputError

FILE = Path("a.nii")


def values(shape=(8, 6, 5), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def known(*zooms, **more):
    return Axes(list(zooms), mm_per_unit=1.0, seconds_per_unit=1.0, **more)


def test_frames_spacing_and_times():
    array = values()
    loop = axes_to_frames(FILE, array, known(0.4, 0.5, 0.02))
    assert loop.frames.shape == (5, 6, 8) and np.allclose(loop.frames[3] * 255, array[:, :, 3].T)
    assert loop.spacing == (0.5, 0.4) and loop.aspect == pytest.approx(1.25)
    assert loop.frame_times == pytest.approx([0, 0.02, 0.04, 0.06, 0.08]) and not loop.notes


def test_units_count():
    loop = axes_to_frames(FILE, values(), Axes([40.0, 50.0, 20.0], None, 0.01, 0.001, own_units=True))
    assert loop.spacing == pytest.approx((0.5, 0.4)) and loop.frame_times[1] == pytest.approx(0.02)
    nothing = axes_to_frames(FILE, values(), Axes([0.4, 0.5, 0.02]))
    assert nothing.spacing is None and nothing.frame_times is None and nothing.aspect == pytest.approx(1.25)
    assert "no unit of length" in nothing.notes[0] and "no frame times" in nothing.notes[1]


def test_listed_times_begin_at_0():
    loop = axes_to_frames(FILE, values(), known(0.4, 0.5, 3.0, times=[1.0, 1.1, 1.3, 1.4, 1.6]))
    assert loop.frame_times == pytest.approx([0, 0.1, 0.3, 0.4, 0.6])


@pytest.mark.parametrize("zooms", [(0.0, 0.5, 0.02), (np.nan, 0.5, 0.02), (-1.0, 0.5, 0.02)])
def test_zooms_that_are_none(zooms):
    loop = axes_to_frames(FILE, values(), known(*zooms))
    assert loop.spacing is None and loop.aspect == 1.0 and "lengths are in pixels" in loop.notes[0]


@pytest.mark.parametrize(
    "axes, words",
    [
        (known(0.5, 0.5, 0.5), "all three zooms are 0.5 mm"),
        (known(0.5, 0.5, 3.0), "its third zoom, 3, is a slice spacing"),
        (known(0.4, 0.5, 0.02, affine=np.array([[1, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])),
         "a position in space"),
        (known(0.4, 0.5, 0.02, affine=np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 7], [0, 0, 0, 1.0]])),
         "a position in space"),
        (Axes([1.0, 1.0, 1.0]), "its planes do not resemble each other"),
    ],
)  # fmt: skip
def test_volumes(axes, words):
    with pytest.raises(InputError, match=f"a 3D volume, not a 2D cine: .*{words}"):
        axes_to_frames(FILE, values(), axes)


def test_what_settles_that_it_is_a_cine():
    slow = known(0.5, 0.5, 3.0, is_series=True)
    assert axes_to_frames(FILE, values(), slow).frame_times[1] == 3.0, "the file calls itself a series"
    assert axes_to_frames(FILE, values()[:, :, None], known(0.5, 0.5, 1.0, 3.0)).frame_times[1] == 3.0, "X, Y, 1, T"
    assert axes_to_frames(FILE, values(), known(0.5, 0.5, 0.5, own_units=True)).frame_times is None


def test_a_sector_that_stands_still_is_a_cine_whatever_its_third_zoom():
    y, x = np.mgrid[:60, :60]
    sector = (np.hypot(x - 30, y) < 50) & (np.abs(x - 30) < 0.6 * y)
    texture = np.random.default_rng(0).integers(60, 200, (60, 60))
    frames = np.stack([np.where(sector, texture + t, 0) for t in range(6)], -1).astype(np.uint8)
    loop = axes_to_frames(FILE, frames, known(0.5, 0.5, 3.0))
    assert loop.frames.shape == (6, 60, 60) and "is a static sector" in loop.notes[0]


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((4, 4)), "only 1 frame"),
        (np.zeros((4, 0, 3)), r"shape \(4, 0, 3\)"),
        (np.zeros((4, 4, 2, 3)), r"shape \(4, 4, 2, 3\)"),
        (np.zeros((4, 4, 3), complex), "complex values"),
    ],
)
def test_what_is_neither(array, words):
    with pytest.raises(InputError, match=words):
        axes_to_frames(FILE, array, known(*[0.5] * array.ndim))
