"""Every comparator under the one contract: a known shift and a smooth bend come back, in 2D and in 3D."""

import pytest
import torch

from cardiac_motion.comparators.ants import AntsRegistration
from cardiac_motion.comparators.ffd import BSplineRegistration
from cardiac_motion.comparators.greedy import GreedyRegistration
from cardiac_motion.comparators.ilk import IterativeLucasKanade
from cardiac_motion.comparators.tvl1 import TotalVariationFlow
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.random import random_field
from tests.comparators.contract import texture


def greedy():
    pytest.importorskip("picsl_greedy")
    return GreedyRegistration(radius=2, iterations=(40, 30, 20), gradient_sigma=2.0)


METHODS = {
    "ants quick": lambda: AntsRegistration("quick"),
    "ants cc": lambda: AntsRegistration("cc", radius=2, iterations=(30, 20, 3)),
    "ants syn_cc": lambda: AntsRegistration("syn_cc", radius=2, iterations=(40, 30, 10)),
    "greedy": greedy,
    "ilk": lambda: IterativeLucasKanade(radius=4),
    "tvl1": lambda: TotalVariationFlow(attachment=60),
    "b-spline": lambda: BSplineRegistration(steps=60),
}


@pytest.mark.parametrize("size", [(56, 64), (32, 36, 28)])
@pytest.mark.parametrize("name", METHODS)
def test_a_smooth_bend_comes_back(name, size):
    moving = texture(size)
    axes = len(size)
    ddf = random_field(size, 0.8, 14, torch.Generator().manual_seed(2))
    ddf = ddf + torch.tensor([1.0, -0.6, 0.4][:axes]).view(1, axes, *(1,) * axes)
    pair = torch.cat([moving, warp(moving, ddf)], 1)
    found = METHODS[name]()(pair)
    assert found.shape == ddf.shape and found.dtype == torch.float32
    inner = (..., *(slice(6, -6) for _ in size))
    error = (found - ddf)[inner].square().sum(1).sqrt().mean()
    assert error < (0.5 if "quick" in name else 0.35) * ddf[inner].square().sum(1).sqrt().mean()
