"""Dense inverse search keeps the contract, and its options."""

import pytest

from common.comparators.dis import DenseInverseSearch
from common.core.errors import InputError
from common.registration.losses import diffusion
from tests.comparators.contract import check_contract
from tests.conftest import moving_cine


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
def test_options_that_cannot_be(options, words):
    with pytest.raises(InputError, match=words):
        DenseInverseSearch(**options)


def test_it_stops_at_the_level_that_is_asked_for():
    """At a quarter of the resolution the field is smoother than at the full one."""
    frames, _ = moving_cine(2, (96, 112))
    rough, fine = (DenseInverseSearch(finest=level, refinement=0)(frames[None]) for level in (2, 0))
    assert float(diffusion(rough)) < 0.5 * float(diffusion(fine))
