"""The square about a sector: where it lies, what it takes, and the way back."""

import numpy as np
import pytest
import torch

from cardiac_motion.cine.square import FrameSquare
from cardiac_motion.core.errors import InputError


def mask(rows, columns, size=(20, 30)):
    found = np.zeros(size, bool)
    found[slice(*rows), slice(*columns)] = True
    return found


@pytest.mark.parametrize(
    "rows, columns, top, left, side",
    [
        ((4, 14), (10, 20), 4, 10, 10),
        ((4, 8), (10, 20), 1, 10, 10),  # widened about its middle, row 6
        ((0, 20), (10, 12), 0, 1, 20),
        ((0, 4), (0, 12), -4, 0, 12),  # over the frame's upper edge
    ],
)
def test_the_least_square_about_the_sector(rows, columns, top, left, side):
    found = FrameSquare.from_mask(mask(rows, columns), 16)
    assert (found.shape, found.top, found.left, found.side, found.size) == ((20, 30), top, left, side, 16)
    assert FrameSquare.from_mask(torch.from_numpy(mask(rows, columns)), 16) == found


@pytest.mark.parametrize("empty", [np.zeros((4, 4), bool), np.ones((1, 4, 4), bool)])
def test_no_sector(empty):
    with pytest.raises(InputError, match="no imaging sector"):
        FrameSquare.from_mask(empty, 8)


def test_pixels_are_taken_as_they_are_where_nothing_is_resized():
    frames = torch.rand(2, 20, 30)
    taken = FrameSquare((20, 30), -4, 3, 12, 12).take(frames)
    assert taken.shape == (2, 1, 12, 12) and taken[:, :, :4].abs().max() == 0, "black beyond the frame"
    torch.testing.assert_close(taken[:, 0, 4:], frames[:, :8, 3:15])
    with pytest.raises(ValueError, match=r"expected \[N, 20, 30\], got \(2, 30, 20\)"):
        FrameSquare((20, 30), 0, 0, 12, 12).take(frames.mT)


def test_a_ramp_keeps_its_slope_a_pixel():
    """Halved, a pixel's centre lies between two of the frame's."""
    ramp = torch.arange(30.0).expand(1, 20, 30)
    taken = FrameSquare((20, 30), 0, 5, 20, 10).take(ramp)[0, 0]
    torch.testing.assert_close(taken[5, 2:-2], 5 + 2 * torch.arange(10.0)[2:-2] + 0.5)


def test_maps_come_back_to_their_place():
    square = FrameSquare((20, 30), 4, 5, 12, 6)
    maps = torch.stack([torch.full((6, 6), 0.25), torch.full((6, 6), 3.0)])[None]
    back = square.paste(maps, (1.0, 0.0))
    assert back.shape == (1, 2, 20, 30)
    inside = torch.from_numpy(mask((4, 16), (5, 17)))
    assert back[0, 0][inside].unique().tolist() == [0.25] and back[0, 0][~inside].unique().tolist() == [1.0]
    assert back[0, 1][inside].unique().tolist() == [3.0] and back[0, 1][~inside].unique().tolist() == [0.0]


def test_what_is_put_over_the_edge_is_cut_off():
    square = FrameSquare((20, 30), -4, 25, 12, 12)
    back = square.paste(torch.ones(1, 1, 12, 12), (0.0,))[0, 0]
    assert back.sum() == 8 * 5 and back[:8, 25:].min() == 1
