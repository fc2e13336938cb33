"""Particle image velocimetry: shape of the field, invalid options, missing package."""

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
        ({"windows": (16, 32)}, "decreasing"),
        ({"windows": (16, 4)}, "at least 8"),
        ({"windows": ()}, "decreasing"),
        ({"overlap": 95}, "overlap 95"),
        ({"overlap": -1}, "overlap -1"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        ParticleImageVelocimetry(**options)


def test_openpiv_that_is_not_installed_is_reported_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "openpiv", None)
    monkeypatch.setitem(sys.modules, "openpiv.windef", None)
    with pytest.raises(InputError, match="needs openpiv, which is not"):
        ParticleImageVelocimetry()
