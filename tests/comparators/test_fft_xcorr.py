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
        ({"windows": (8, 16)}, "decreasing"),
        ({"windows": (16, 16)}, "decreasing"),
        ({"windows": (8, 2)}, "at least 4"),
        ({"windows": ()}, "decreasing"),
        ({"overlap": 100}, "overlap 100"),
        ({"overlap": -1}, "overlap -1"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        FFTXCorr(**options)
