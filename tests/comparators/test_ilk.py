"""Iterative Lucas-Kanade flow keeps the contract, and its options."""

import pytest

from cardiac_motion.comparators.ilk import IterativeLucasKanade
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import check_contract


def test_contract_at_any_size():
    check_contract(IterativeLucasKanade())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"warps": 0}, "at least 1; got 7, 0"),
        ({"radius": 0}, "at least 1; got 0, 10"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        IterativeLucasKanade(**options)
