"""Bodies of known motion: their fields undo each other, and their measures say what was done to a field."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.analytic import (
    BLOCK_SQUEEZE,
    CENTRE,
    DISC_ANGLE,
    PHANTOMS,
    get_phantom,
    phantom_errors,
    probe_points,
)
from cardiac_motion.fields.points import track
from cardiac_motion.simulation.ultrasound.physics import body_fields, picture_grid

bodies = pytest.mark.parametrize("name", PHANTOMS)


@bodies
def test_material_goes_and_comes_back(name):
    body, points = get_phantom(name), probe_points(name)
    assert body.inside(points).all() and len(points) > 100
    there = body.moved(points, 0.7)
    assert np.abs(there - points).max() > 1
    np.testing.assert_allclose(body.rest(there, 0.7), points, atol=1e-9)
    np.testing.assert_allclose(body.displacement(there, 0.7, 0.2), body.moved(points, 0.2) - there, atol=1e-9)
    assert (np.abs(body.moved(points, 1.0) - CENTRE) <= body.reach).all()


@bodies
def test_points_that_follow_the_true_fields_have_no_error(name):
    body, grid = get_phantom(name), picture_grid(128)
    shares = np.linspace(0, 1, 7)
    ddf = torch.stack([body_fields(body, grid, b, a)[0] for a, b in pairwise(shares)])
    start = (probe_points(name) - grid.origin) / grid.spacing
    found = track(torch.from_numpy(start).float(), ddf)[-1].double().numpy()
    scores = phantom_errors(name, found * grid.spacing + grid.origin)
    assert scores["track_mm"] < 0.05
    assert max(abs(v) for v in scores.values()) < 0.35, scores  # % of the angle, points of strain: the border's mixing


def test_measures_of_what_is_wrong():
    still = {name: phantom_errors(name, probe_points(name)) for name in PHANTOMS}
    assert still["disc"]["rotation"] == pytest.approx(-100) and still["disc"]["disc_strain"] == pytest.approx(0)
    assert still["block"]["block_depth"] == pytest.approx(100 * BLOCK_SQUEEZE)
    assert still["block"]["block_lateral"] == pytest.approx(-100 * (1 / (1 - BLOCK_SQUEEZE) - 1))
    assert still["ring"]["ring_radial"] < -10 and still["ring"]["ring_circumferential"] > 10
    points = probe_points("disc")
    twice = get_phantom("disc").moved(points, 2.0)
    assert phantom_errors("disc", twice)["rotation"] == pytest.approx(100)
    grown = (get_phantom("disc").moved(points, 1.0) - CENTRE) * 1.03 + CENTRE
    assert phantom_errors("disc", grown)["disc_strain"] == pytest.approx(3)
    assert phantom_errors("disc", grown)["rotation"] == pytest.approx(0, abs=1e-9)


def test_the_disc_turns_from_depth_towards_lateral():
    below = np.array([[CENTRE[0] + 10.0, CENTRE[1]]])
    there = get_phantom("disc").moved(below, 1.0) - CENTRE
    assert np.degrees(np.arctan2(there[0, 1], there[0, 0])) == pytest.approx(DISC_ANGLE)


def test_an_unknown_body_is_one_line():
    with pytest.raises(InputError, match="body 'cube': expected one of disc, block, ring"):
        get_phantom("cube")
