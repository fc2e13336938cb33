"""ANTs: the same field again, each pair for itself, and a preset that can't be."""

import pytest
import torch

from cardiac_motion.comparators.ants import AntsRegistration
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import texture


def test_ants_gives_the_same_field_again():
    moving = texture((24, 28, 24))
    pair = torch.cat([moving, moving.roll(1, 2)], 1)
    for preset, iterations in (("quick", None), ("syn_cc", (10, 5, 2))):
        method = AntsRegistration(preset, radius=2, iterations=iterations, seed=5)
        assert torch.equal(method(pair), method(pair))


def test_ants_registers_each_pair_of_a_batch_for_itself():
    a, b = texture((40, 40), 1), texture((40, 40), 2)
    batch = torch.cat([torch.cat([a, a.roll(1, 2)], 1), torch.cat([b, b], 1)])
    found = AntsRegistration("syn_cc", radius=2, iterations=(20, 10))(batch)
    inner = found[..., 8:-8, 8:-8]
    assert abs(float(inner[0, 0].mean()) + 1) < 0.2
    assert inner[1].abs().mean() < 0.05


def test_a_preset_that_cannot_be():
    with pytest.raises(InputError, match="ANTs preset must be one of quick, cc, syn_cc; got fast"):
        AntsRegistration("fast")
