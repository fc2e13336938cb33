"""Chambers, leaflets and the swing of the whole picture, against their formulas by hand."""

import math

import numpy as np
import pytest
import torch

from cardiac_motion.simulation.heart.surroundings import Chamber, Leaflet, PictureMotion, opening

WHOLE = PictureMotion((80.0, 5.0), 0.08, (4.0, -3.0), 3.0, 0.7)


def test_the_whole_picture_turns_rigidly():
    points = torch.rand(50, 2, dtype=torch.float64) * 100
    moved = WHOLE.forward(points, 0.9)
    torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(points, points), atol=1e-4, rtol=0)
    torch.testing.assert_close(WHOLE.inverse(moved, 0.9), points)
    torch.testing.assert_close(WHOLE.forward(points, 0.0), points)
    assert (moved - points).norm(dim=1).max() > 1.0


def test_a_quarter_of_the_period_on_it_has_swung_all_the_way():
    whole = PictureMotion((10.0, 0.0), math.pi / 2, (4.0, -3.0), period=8.0)
    points = torch.tensor([[10.0, 0.0], [12.0, 0.0], [10.0, 1.0]])
    wanted = torch.tensor([[14.0, -3.0], [14.0, -1.0], [13.0, -3.0]])  # a quarter turn about the centre, and the shift
    torch.testing.assert_close(whole.forward(points, 2.0), wanted)
    torch.testing.assert_close(whole.inverse(wanted, 2.0), points, atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.forward(points, 8.0), points, atol=1e-4, rtol=0)


def test_a_leaflet_hangs_on_its_hinge_and_opens_towards_the_apex():
    angle = np.linspace(-2.2, 2.2, 31)
    inner = np.stack([60 - 40 * np.cos(angle), 20 * np.sin(angle)], 1)[None].repeat(2, 0)
    for last in (True, False):
        hinge, tip = Leaflet(last, 15.0).ends(inner, np.array([0.0, 1.0]))
        np.testing.assert_allclose(hinge, inner[:, -1 if last else 0])
        np.testing.assert_allclose(np.linalg.norm(tip - hinge, axis=1), 15.0)
        assert tip[1, 0] < tip[0, 0] - 5, "the apex is at lesser depth"
    beat = opening(np.linspace(0, 1, 200), 60.0)
    assert 0 <= beat.min() and beat.max() <= 1 and beat[30:60].max() < 0.1 < 0.9 < beat[50:].max()


def test_courses_begin_at_nothing():
    for inverted in (False, True):
        chamber = Chamber((0.0, 0.0), 10.0, 0.2, (1.0, 0.0), 0.03, inverted)
        assert abs(float(chamber.course(np.zeros(1), 60.0)[0])) < 1e-12
        assert chamber.course(np.linspace(0, 1, 50), 60.0).max() > 0.8


def test_a_leaflet_between_closed_and_open_by_hand():
    inner = np.array([[[0.0, 0.0], [10.0, 5.0], [0.0, 10.0]]])  # hinge, apex, the other end of the annulus
    leaflet = Leaflet(False, 2.0, closed=0.0, opened=math.pi / 2)
    for share, wanted in ((0.0, [0.0, 2.0]), (1.0, [2.0, 0.0]), (0.5, [math.sqrt(2), math.sqrt(2)])):
        hinge, tip = leaflet.ends(inner, np.array([share]))
        np.testing.assert_allclose(hinge, [[0.0, 0.0]])
        np.testing.assert_allclose(tip, [wanted], atol=1e-12, err_msg="from the annulus towards the apex")


def test_a_chamber_swells_about_its_centre_and_ends_with_its_size():
    chamber = Chamber((10.0, 0.0), 5.0, 0.2, (1.0, -2.0))
    points = torch.tensor([[10.0, 0.0], [15.0, 0.0], [10.0, 60.0]], dtype=torch.float64)
    near = math.exp(-0.5)
    wanted = torch.tensor([[1.0, -2.0], [near * 2.0, near * -2.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(chamber.basis(points), wanted, atol=1e-12, rtol=0)


def test_courses_repeat_with_the_beat():
    times = np.linspace(0, 0.8, 9)
    for inverted in (False, True):
        chamber = Chamber((0.0, 0.0), 10.0, 0.2, (1.0, 0.0), 0.03, inverted)
        np.testing.assert_allclose(chamber.course(times + 0.75, 80.0), chamber.course(times, 80.0), atol=1e-9)


@pytest.mark.parametrize("heart_rate", [40.0, 75.0, 160.0])
def test_a_valve_is_shut_in_systole_and_opens_twice(heart_rate):
    part = np.linspace(0, 1, 1000, endpoint=False)
    share = opening(part * 60 / heart_rate, heart_rate)
    assert 0 <= share.min() and share.max() <= 1 and share[:100].max() < 0.1
    kick = share[(part > 0.86) & (part < 0.94)].max()
    assert share.max() > 0.9 and kick > 0.69
    np.testing.assert_allclose(opening((part + 3) * 60 / heart_rate, heart_rate), share, atol=1e-9)
