"""Paintings whose shapes are given."""

import math

import numpy as np
import pytest

from cardiac_motion.simulation.heart.canvas import Canvas


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
    level = canvas.brightness(np.random.default_rng(0))
    painted, around = level[canvas.level == -10.0], level[canvas.level == -40.0]
    assert 0 < level.min() and level.max() <= 1
    assert 20 * np.log10(np.median(painted)) == pytest.approx(-10, abs=5)
    assert 20 * np.log10(np.median(around)) == pytest.approx(-40, abs=5)


def test_a_line_is_as_wide_as_it_was_drawn():
    canvas = Canvas(80, 80, ground=-40.0)
    canvas.stroke(np.array([[30.0, -10.0], [30.0, 10.0]]), 4.0, -5.0)
    rows, columns = np.nonzero(canvas.level == -5.0)
    assert np.ptp(rows) * 0.5 == pytest.approx(4, abs=1) and np.ptp(columns) * 0.5 == pytest.approx(24, abs=1)
