"""Farnebäck's method keeps the contract, and its options."""

import pytest

from cardiac_motion.comparators.farneback import Farneback
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import check_contract


def test_contract_at_any_size():
    check_contract(Farneback())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"levels": 0}, "at least 1"),
        ({"neighbourhood": 4}, "odd"),
        ({"neighbourhood": 1}, "at least 3"),
        ({"sigma": 0}, "positive"),
        ({"window": 0}, "at least 1"),
        ({"iterations": 0}, "at least 1"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        Farneback(**options)
