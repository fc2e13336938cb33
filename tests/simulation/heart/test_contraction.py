"""The time course of a beat, and walls that contract by what was prescribed."""

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.anatomy import left_ventricle
from cardiac_motion.simulation.heart.contraction import (
    Defect,
    contour_length,
    prescribe_end_systole,
    systole,
    time_course,
)
from cardiac_motion.ventricle.mesh import myocardial_mesh, wall_mesh


@pytest.fixture(scope="module")
def mesh():
    return myocardial_mesh(*(contour + [15.0, 0.0] for contour in left_ventricle()))


@pytest.mark.parametrize("rate", [45.0, 70.0, 120.0, 180.0])
def test_time_course_rises_once_and_falls_once_a_beat(rate):
    period, closing = 60 / rate, min(systole(rate)[1], 0.6 * 60 / rate)
    times = np.linspace(0, period, 2001)
    course = time_course(times, rate)
    assert course[0] == course[-1] == 0 and course.max() <= 1
    assert time_course(np.array([closing]), rate) == pytest.approx(1)
    assert (np.diff(course[times <= closing]) >= -1e-12).all()
    assert (np.diff(course[times >= closing]) <= 1e-12).all()
    np.testing.assert_allclose(time_course(times + 3 * period, rate), course, atol=1e-9)


@pytest.mark.parametrize("rate", [0.0, 20.0, 400.0, float("nan")])
def test_heart_rates_that_make_no_sense_are_refused(rate):
    with pytest.raises(InputError, match="heart_rate"):
        time_course(np.zeros(1), rate)


def test_lengths_of_lines():
    square = np.array([[0.0, 0.0], [0.0, 3.0], [3.0, 3.0], [3.0, 0.0]])
    assert contour_length(square) == pytest.approx(9) and contour_length(square, closed=True) == pytest.approx(12)


def test_a_defect_takes_part_in_its_stretch_alone():
    weight = Defect(0.5, width=0.2, severity=0.8).weight(np.array([0.29, 0.4, 0.5, 0.6, 0.71]))
    np.testing.assert_allclose(weight, [0, 0.4, 0.8, 0.4, 0], atol=1e-12)


@pytest.mark.parametrize("gls", [-0.02, -0.1, -0.2])
def test_a_ring_reaches_its_strain(gls):
    """The way to a ring of 0.72 of its radius is straight, so that the radius shrinks by the strain itself."""
    around = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], 1)
    ring = wall_mesh(20 * circle, 30 * circle, closed=True)
    nodes = prescribe_end_systole(ring, None, gls)
    np.testing.assert_allclose(np.linalg.norm(nodes[:: ring.layers], axis=1), 20 * (1 + gls), rtol=1e-9)
    with pytest.raises(InputError, match="r: the ring's end-systole does not reach a strain of -40"):
        prescribe_end_systole(ring, ring.nodes * 0.9, -0.4, name="r")


def test_what_cannot_be_is_refused(mesh):
    with pytest.raises(InputError, match="gls -20"):
        prescribe_end_systole(mesh, None, -20)
    with pytest.raises(InputError, match=r"gls 0\.1"):
        prescribe_end_systole(mesh, None, 0.1)
    with pytest.raises(InputError, match="severity"):
        Defect(0.5, severity=5)
