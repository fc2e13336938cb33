"""Block matching keeps the contract, and its options."""

import pytest

from cardiac_motion.comparators.fft_xcorr import FFTXCorr
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import check_contract


def test_contract_at_any_size():
    check_contract(FFTXCorr())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"windows": (8, 16)}, "falling"),
        ({"windows": (16, 16)}, "falling"),
        ({"windows": (8, 2)}, "at least 4"),
        ({"windows": ()}, "falling"),
        ({"overlap": 100}, "overlap 100"),
        ({"overlap": -1}, "overlap -1"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(InputError, match=words):
        FFTXCorr(**options)
