"""Strain of contours whose deformation is known."""

import numpy as np
import pytest

from common.errors import InputError
from common.strain import end_systole, gls, lagrangian, length, long_axis, mapse, mapse_mm, peak_systolic


def ventricle(points=201):
    """Half an ellipse, base below, in pixels."""
    angle = np.linspace(0, np.pi, points)
    return np.stack([100 - 60 * np.sin(angle), 80 - 25 * np.cos(angle)], -1)


def test_translation_and_rotation_are_no_strain():
    shape = ventricle()
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    moved = np.stack([shape, shape + [3.0, -7.0], shape @ turn.T])
    assert gls(moved) == pytest.approx(0, abs=1e-12)
    assert mapse(moved) == pytest.approx(0, abs=1e-12)
    assert mapse_mm(moved, (0.5, 0.5)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.1])
def test_uniform_stretch(factor):
    moved = np.stack([ventricle(), factor * ventricle()])
    assert gls(moved) == pytest.approx([0, factor - 1])
    assert mapse(moved, (0.5, 0.5)) == pytest.approx([0, factor - 1])


def test_long_axis_of_known_length():
    shape = ventricle()
    shorter = shape.copy()
    shorter[:, 0] = 100 - 0.75 * (100 - shape[:, 0])
    moved = np.stack([shape, shorter])
    assert long_axis(moved) == pytest.approx([60, 45])
    assert mapse(moved) == pytest.approx([0, -0.25])
    assert mapse_mm(moved, (0.4, 0.9)) == pytest.approx([0, 15 * 0.4])


def test_length_takes_the_spacing_of_each_axis():
    line = np.array([[[0.0, 0.0], [3.0, 4.0]]])
    assert length(line) == pytest.approx([5])
    assert length(line, (2.0, 2.0)) == pytest.approx([10])
    assert length(line, (1.0, 2.0)) == pytest.approx([np.hypot(3, 8)])


def test_any_frame_can_be_end_diastole():
    moved = np.stack([0.8 * ventricle(), ventricle()])
    assert gls(moved, ed=1) == pytest.approx([-0.2, 0])
    assert peak_systolic(gls(moved, ed=1), 1, 0) == pytest.approx(-0.2)


def test_peak_is_looked_for_in_systole_alone():
    assert peak_systolic([0, -0.1, -0.15, -0.2], 0, 2) == -0.15


def test_end_systole_is_the_smallest_cavity():
    assert end_systole(np.stack([f * ventricle() for f in (1, 0.9, 0.7, 0.8)])) == 2


def test_what_cannot_be():
    with pytest.raises(InputError, match="end-diastole at frame 2"):
        gls(np.stack([ventricle()] * 2), ed=2)
    with pytest.raises(InputError, match="no length"):
        lagrangian([0.0, 1.0])
    with pytest.raises(InputError, match="spacing"):
        mapse_mm(np.stack([ventricle()] * 2), None)
