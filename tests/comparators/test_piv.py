"""Particle image velocimetry keeps the contract, and says in one line what can't be, or that it is not installed."""

import sys

import pytest

from cardiac_motion.comparators.piv import ParticleImageVelocimetry
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import check_contract


def test_contract_at_any_size():
    pytest.importorskip("openpiv")
    check_contract(ParticleImageVelocimetry())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"windows": (16, 32)}, "falling"),
        ({"windows": (16, 4)}, "at least 8"),
        ({"windows": ()}, "falling"),
        ({"overlap": 95}, "overlap 95"),
        ({"overlap": -1}, "overlap -1"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(InputError, match=words):
        ParticleImageVelocimetry(**options)


def test_openpiv_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "openpiv", None)
    monkeypatch.setitem(sys.modules, "openpiv.windef", None)
    with pytest.raises(InputError, match="needs openpiv, which is not"):
        ParticleImageVelocimetry()
