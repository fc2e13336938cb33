"""Parametric ventricles whose sizes are given, and paintings whose shapes are."""

import math

import numpy as np
import pytest

from common.core.errors import InputError
from common.simulation.anatomy import Canvas, left_ventricle, view
from common.ventricle.views import VIEWS


@pytest.mark.parametrize(("length", "width", "thickness", "apex", "cut"), [(85, 46, 9, 7, 0.35), (70, 40, 12, 5, 0.0)])
def test_a_ventricle_has_the_sizes_it_was_given(length, width, thickness, apex, cut):
    endo, epi = left_ventricle(length, width, thickness, apex, cut)
    assert endo.shape == epi.shape == (200, 2)
    base = endo[[0, -1]].mean(0)
    tip = endo[np.argmin(endo[:, 0])]
    assert np.linalg.norm(base - tip) == pytest.approx(length, abs=0.05) and tip[0] == pytest.approx(apex, abs=0.05)
    assert np.ptp(endo[:, 1]) == pytest.approx(width, abs=0.05)
    assert np.ptp(epi[:, 1]) == pytest.approx(width + 2 * thickness, abs=0.05)
    assert epi[:, 0].min() == pytest.approx(0, abs=0.05) and endo[0, 1] < 0 < endo[-1, 1]
    assert endo[0, 0] == pytest.approx(epi[0, 0]), "both are cut by one base"


BAD = [{"length": 20}, {"width": 10}, {"thickness": 1}, {"apex": 0}, {"cut": 0.9}, {"cut": -1}]


@pytest.mark.parametrize("bad", BAD)
def test_sizes_that_make_no_ventricle(bad):
    with pytest.raises(InputError, match="fit none"):
        left_ventricle(**bad)


def test_an_ellipse_is_painted_where_its_pose_puts_it():
    """A pose 50 mm deep whose first axis points 90 degrees aside; the ellipse lies 20 mm along it."""
    canvas = Canvas(100, 90, ground=-60.0, origin=(50.0, 0.0), angle=90.0)
    canvas.ellipse((20.0, 0.0), (10.0, 5.0), -10.0)
    rows, columns = np.nonzero(canvas.level == -10.0)
    depth, lateral = rows * canvas.grid.spacing[0], canvas.grid.origin[1] + columns * canvas.grid.spacing[1]
    assert depth.mean() == pytest.approx(50, abs=0.3) and lateral.mean() == pytest.approx(20, abs=0.3)
    assert np.ptp(lateral) == pytest.approx(20, abs=1.1) and np.ptp(depth) == pytest.approx(10, abs=1.1)
    assert len(rows) * 0.25 == pytest.approx(math.pi * 50, rel=0.02), "mm²"
    assert canvas.place(np.array([[20.0, 0.0]])) == pytest.approx(np.array([[50.0, 20.0]]))
    mirrored = Canvas(100, 90, origin=(50.0, 0.0), mirror=True)
    assert mirrored.place(np.array([[3.0, 4.0]])) == pytest.approx(np.array([[53.0, -4.0]]))


def test_brightness_is_a_share_of_white_and_follows_the_paint():
    canvas = Canvas(80, 80, ground=-40.0)
    canvas.polygon(np.array([[20.0, -15.0], [20.0, 15.0], [50.0, 15.0], [50.0, -15.0]]), -10.0)
    found = canvas.brightness(np.random.default_rng(0))
    painted, around = found[canvas.level == -10.0], found[canvas.level == -40.0]
    assert 0 < found.min() and found.max() <= 1
    assert 20 * np.log10(np.median(painted)) == pytest.approx(-10, abs=5)
    assert 20 * np.log10(np.median(around)) == pytest.approx(-40, abs=5)


@pytest.mark.parametrize("name", VIEWS)
def test_a_heart_of_every_view_has_a_wall_inside_the_sector(name):
    heart = view(name, seed=3)
    depth = np.linalg.norm(heart.mesh.nodes, axis=1)
    assert heart.view == name and depth.max() < heart.depth and heart.brightness.shape == heart.grid.shape
    assert np.array_equal(view(name, seed=3).brightness, heart.brightness)
    assert not np.array_equal(view(name, seed=4).brightness[:50, :50], heart.brightness[:50, :50])
