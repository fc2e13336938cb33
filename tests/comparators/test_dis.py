"""Dense inverse search keeps the contract, and its options."""

import pytest
import torch

from cardiac_motion.comparators.dis import DenseInverseSearch
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import identity_grid
from tests.comparators.contract import check_contract
from tests.conftest import moving_cine, rotation


def test_contract_at_any_size():
    check_contract(DenseInverseSearch())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"speed": "slow"}, "one of ultrafast, fast, medium; got slow"),
        ({"finest": -1}, "at least 0; got -1, None"),
        ({"refinement": -1}, "at least 0; got None, -1"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        DenseInverseSearch(**options)


def test_it_stops_at_the_level_that_is_asked_for():
    """Stopped at an eighth of the resolution it is further from a known rotation than at the full one."""
    size, (frames, angle) = (96, 112), moving_cine(2, (96, 112))
    points = identity_grid(size, frames)[0].permute(1, 2, 0)
    truth = (rotation(points, -angle, size) - points).permute(2, 0, 1)
    disc = (points - torch.tensor([47.5, 55.5])).norm(dim=-1) < 36
    rough, fine = (
        (DenseInverseSearch(finest=level, refinement=0)(frames[None])[0] - truth).norm(dim=0)[disc].mean()
        for level in (3, 0)
    )
    assert fine < rough < truth.norm(dim=0)[disc].mean()
