"""Scatterers: how many, where, how strong, and how two sets are blended."""

import math

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.sequence import Settings, draw
from cardiac_motion.simulation.ultrasound.scatterers import Scatterers, _sample

SMALL = Settings(artefact=0.0, probes=("reference",), scatterers=20_000, shape=(64, 64))


@pytest.fixture(scope="module")
def heart():
    return view("apical_4ch", 0)


@pytest.fixture(scope="module")
def motion(heart):
    return draw(heart, 3, SMALL)[0].motion


def test_so_many_a_square_millimetre_of_the_sector(heart, motion):
    made = Scatterers(heart, motion, 20_000, 1)
    sector = math.radians(heart.width) / 2 * heart.depth**2  # half the angle times the square of the depth, mm²
    assert made.density == pytest.approx(20_000 / sector)
    places, amplitudes = made.frames([0.0])
    assert places.shape == (1, len(made), 2) and amplitudes.shape == (1, len(made))
    inside = (places[0].norm(dim=1) < heart.depth) & (
        torch.atan2(places[0, :, 1], places[0, :, 0]).abs() < math.radians(heart.width) / 2
    )
    if not made.static:
        assert int(inside.sum()) == pytest.approx(20_000, rel=0.1)
    assert float(places[0].norm(dim=1).max()) < heart.depth + 3.01, "and a margin of 3 mm beyond it"


def test_still_tissue_is_uniform_in_the_sector(heart, motion):
    made = Scatterers(heart, motion, 40_000, 1)
    places = made._scatter_uniform(torch.Generator().manual_seed(0))
    distance, angle = places.norm(dim=1), torch.atan2(places[:, 1], places[:, 0])
    reach = heart.depth + 3
    assert float(distance.mean()) == pytest.approx(2 / 3 * reach, rel=0.01)
    assert abs(float(angle.mean())) < 0.02
    assert float((distance < reach / 2).float().mean()) == pytest.approx(0.25, abs=0.01)


def test_the_seed_decides(heart, motion):
    one, same, other = (Scatterers(heart, motion, 5000, seed).frames([0.0, 0.1]) for seed in (1, 1, 2))
    assert torch.equal(one[0], same[0]) and torch.equal(one[1], same[1])
    assert one[0].shape != other[0].shape or not torch.equal(one[0], other[0])


def test_no_scatterers_are_refused(heart, motion):
    for count in (0, -5):
        with pytest.raises(InputError, match=f"count {count} must be positive"):
            Scatterers(heart, motion, count)


def test_the_squares_of_both_weights_add_up_to_one(heart, motion, monkeypatch):
    """At one place, seen once as the wall's and once as the ground's."""
    from cardiac_motion.simulation.heart.scenarios import Scenario

    made = Scatterers(heart, motion, 5000, 1, Scenario(motion, "wall", "static"))
    wall, ground = len(made._triangle), len(made._places)
    assert made.static and wall > 0 and ground > 0
    inner = motion.contours(np.zeros(1))[0][0]
    spots = torch.as_tensor(np.concatenate([inner + shift for shift in (-2.0, 0.0, 0.3, 2.0)])).float()
    count = min(len(spots), wall, ground)
    places = torch.zeros(1, len(made), 2)
    places[0, :count] = places[0, wall : wall + count] = spots[:count]
    weight = made._blend(places, np.zeros(1))[0]
    torch.testing.assert_close(
        weight[:count].square() + weight[wall : wall + count].square(), torch.ones(count), atol=1e-5, rtol=0
    )
    assert float(weight[:count].max()) > 0.9 and float(weight[:count].min()) < 0.1


def test_values_between_pixels_and_beyond_the_edge():
    image = torch.tensor([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]])[None, None]
    grid = ImageGrid((2, 3), (2.0, 4.0), (100.0, -8.0))  # mm a pixel, and where the first one is
    places = torch.tensor([[[100.0, -8.0], [102.0, 0.0], [101.0, -6.0], [90.0, -20.0], [102.0, 50.0]]])
    torch.testing.assert_close(_sample(image, grid, places), torch.tensor([[0.0, 12.0, 5.5, 0.0, 12.0]]))
