"""Walls as a person draws them: handles, and three clicks on pictures whose wall is known."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import polygon2mask

from cardiac_motion.core.errors import InputError
from cardiac_motion.serving.drawing import move_wall, offset_wall, place_wall
from cardiac_motion.ventricle.shape import read_shape_prior

SIZE, LENGTH, BASE = (240, 240), 150.0, np.array([190.0, 120.0])


def test_handles_move_the_line_by_a_spline_and_leave_the_rest():
    lines = np.stack([np.stack([np.linspace(0, 100, 61), np.full(61, x)], 1) for x in (0.0, 5.0, 10.0)])
    handles = {"at": [0, 0.5, 1], "moved": [[0, 0], [0, 4], [0, 0]]}
    inner = move_wall(lines, handles)
    assert inner[0, 30, 1] == pytest.approx(4) and inner[2, 30, 1] == pytest.approx(14)
    np.testing.assert_allclose(inner[:, [0, -1]], lines[:, [0, -1]])
    outer = move_wall(lines, {**handles, "border": "epicardium"})
    np.testing.assert_allclose(outer[:, 30, 1], [0, 7, 14])
    for wrong in ({"at": [0, 1]}, {"at": [0, 0.5, 0.5]}, {"moved": [[0, 0]]}):
        with pytest.raises(InputError, match="handles must be 3 to 15"):
            move_wall(lines, {**handles, **wrong})


def heart(component, deviations):
    """A picture with speckle, and its wall."""
    prior, rng = read_shape_prior(), np.random.default_rng(0)
    shape = prior.mean + deviations * prior.components[component]
    wall = offset_wall(BASE + LENGTH * shape, 120, 15.0)
    cavity, whole = (polygon2mask(SIZE, line) for line in wall[[0, 2]])
    picture = np.where(cavity, 0.08, np.where(whole, 0.55, 0.25)) * rng.rayleigh(0.8, SIZE)
    return ndimage.gaussian_filter(picture, 1.2), wall, [wall[0, 0], wall[0, -1], BASE + LENGTH * shape[10]]


def distance(found, wall):
    return np.linalg.norm(found[0][:, None] - wall[0][None], axis=-1).min(1).mean()


@pytest.mark.parametrize("component", [0, 1, 2])
@pytest.mark.parametrize("deviations", [-1.5, 1.5])
def test_three_clicks_find_the_wall_in_the_picture(component, deviations):
    picture, wall, clicks = heart(component, deviations)
    assert distance(place_wall(clicks, picture, 120), wall) < 1.5  # pixels of 150
    prior_alone = distance(place_wall(clicks, np.zeros(SIZE), 120), wall)
    assert prior_alone > 2 * distance(place_wall(clicks, picture, 120), wall)
    swapped = place_wall([clicks[1], clicks[0], clicks[2]], picture, 120)
    np.testing.assert_allclose(swapped, place_wall(clicks, picture, 120))


def test_a_placed_wall_passes_its_clicks_and_its_lines_do_not_cross():
    picture, _, clicks = heart(0, 1.0)
    found = place_wall(clicks, picture, 120, thickness=12.0)
    np.testing.assert_allclose(found[0][[0, -1]], clicks[:2], atol=1e-6)
    assert np.linalg.norm(found[0] - clicks[2], axis=1).min() < 2
    across = np.linalg.norm(found[2] - found[0], axis=1)
    np.testing.assert_allclose(across, 12, atol=1e-6)


@pytest.mark.parametrize("clicks", [
    [[190, 90], [190, 150]], [[190, 90], [190, 150], [np.nan, 120]], [[190, 90], [190, 91], [40, 120]],
    [[190, 10], [190, 230], [150, 120]], [[190, 90], [190, 150], [185, 120]], [[190, 90], [190, 150], [-4, 120]],
])  # fmt: skip
def test_clicks_that_are_no_ventricle_are_refused(clicks):
    with pytest.raises(InputError):
        place_wall(clicks, np.zeros(SIZE), 120)
