"""No motion is no motion, of every shape of the contract."""

import torch

from cardiac_motion.comparators.identity import NoMotion
from tests.comparators.contract import check_contract


def test_nothing_moves():
    check_contract(NoMotion())
    assert torch.equal(NoMotion()(torch.rand(2, 2, 9, 8, 7)), torch.zeros(2, 3, 9, 8, 7))
