import math

import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.haemodynamics.velocity import carry_halfway, velocity_of
from tests.haemodynamics.flows import grid


def turned(angle, size=61):
    """The exact pull-back field of a rigid turn, counter-clockwise on the picture, by ``angle`` a frame."""
    y, x = grid(size, 1.0)
    cos, sin = math.cos(angle), math.sin(angle)
    # counter-clockwise with rows downwards: (y, x) goes to (cos y − sin x, sin y + cos x); the way back turns by −angle
    return torch.stack([cos * y + sin * x - y, -sin * y + cos * x - x])[None].float()


def test_a_turn_gives_its_velocity_half_way_to_second_order():
    angle, seconds = 0.3, 0.01
    y, x = grid(61, 1.0)
    inner = torch.hypot(y, x) < 22
    found = velocity_of(turned(angle), torch.ones(2, 61, 61), (0.5, 0.5), (0.0, seconds)).values[0]
    truth = torch.stack([-x, y]) * (0.5e-3 * angle / seconds)
    error = (found - truth).norm(dim=0)[inner].max() / truth.norm(dim=0)[inner].max()
    assert error < angle**2 / 12 * 1.02  # the chord against the arc
    # the way of one frame left where it ends would be off by half the angle
    left = -turned(angle)[0] * 0.5e-3 / seconds
    assert (left - truth).norm(dim=0)[inner].max() / truth.norm(dim=0)[inner].max() > 0.14


def test_half_way_of_a_shift():
    assert carry_halfway(torch.full((1, 2, 8, 8), 3.0)).unique().tolist() == [-3.0]


def test_units_and_the_pool():
    pool = torch.ones(3, 8, 8, dtype=torch.bool)
    pool[1, 2] = False
    found = velocity_of(torch.full((2, 2, 8, 8), -2.0), pool, None, (0, 1, 2), aspect=1.5)
    assert (found.unit, found.steps, found.per_second) == ("px/frame", (1.5, 1.0), 1.0)
    assert found.values.unique().tolist() == [2.0] and not found.mask[:, 2].any()
    known = velocity_of(torch.full((2, 2, 8, 8), -2.0), pool, (0.5, 0.25), (0.0, 0.01, 0.03))
    assert known.physical and known.times.tolist() == pytest.approx([0.005, 0.02])
    assert known.values[:, :, 0, 0].flatten().tolist() == pytest.approx([0.1, 0.05, 0.05, 0.025])


@pytest.mark.parametrize("times", [(0.0, 0.0), (0.0, 0.1, 0.2)])
def test_times_that_do_not_rise_by_one_a_frame(times):
    with pytest.raises(InputError, match="frame times"):
        velocity_of(torch.zeros(1, 2, 8, 8), torch.ones(2, 8, 8), (1, 1), times)
