"""Pixels in millimetres and back."""

import math

import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid

GRID = ImageGrid((3, 4), (0.5, 2.0), (10.0, -3.0))


def test_points_go_row_by_row_from_the_origin():
    points = GRID.points()
    assert points.shape == (12, 2) and points.dtype == torch.float64
    assert (
        points[0].tolist() == [10.0, -3.0] and points[1].tolist() == [10.0, -1.0] and points[4].tolist() == [10.5, -3.0]
    )


def test_millimetres_and_pixels_are_each_others_inverse():
    pixels = GRID.to_pixels(GRID.points())
    assert pixels.tolist() == [[float(r), float(c)] for r in range(3) for c in range(4)]
    assert GRID.to_pixels(torch.tensor([[[10.25, -2.0]]])).tolist() == [[[0.5, 0.5]]]


@pytest.mark.parametrize("shape", [(101, 101), (101, 300), (300, 101)])
def test_a_sector_just_fits(shape):
    """100 mm deep, 30 degrees to each side: as wide as it is deep."""
    grid = ImageGrid.from_sector(100.0, math.radians(30), shape)
    assert grid.spacing[0] == grid.spacing[1] == pytest.approx(100 / (min(shape) - 1))
    points = grid.points()
    assert points[:, 0].min() == 0 and points[:, 0].max() >= 100 - 1e-9
    assert points[:, 1].max().item() == pytest.approx(-points[:, 1].min().item()) and points[:, 1].max() >= 50 - 1e-9


@pytest.mark.parametrize("bad", [((1, 4), (1.0, 1.0)), ((3, 4), (0.0, 1.0)), ((3, 4), (1.0, math.nan))])
def test_what_is_no_grid(bad):
    with pytest.raises(InputError, match="must be positive"):
        ImageGrid(*bad, (0.0, 0.0))
