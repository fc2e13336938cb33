"""Total-variation flow keeps the contract, and its options."""

import pytest

from cardiac_motion.comparators.tvl1 import TotalVariationFlow
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import check_contract


def test_contract_at_any_size():
    check_contract(TotalVariationFlow())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"attachment": 0}, "positive"),
        ({"tightness": 0}, "positive"),
        ({"tolerance": 0}, "positive"),
        ({"warps": 0}, "at least 1"),
        ({"iterations": 0}, "at least 1"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        TotalVariationFlow(**options)
