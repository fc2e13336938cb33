"""Greedy: shape of the field, invalid options, missing package."""

import sys

import pytest

from cardiac_motion.comparators.greedy import GreedyRegistration
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import check_contract


def test_contract_at_any_size():
    pytest.importorskip("picsl_greedy")
    check_contract(GreedyRegistration())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"metric": "MI"}, "one of NCC, WNCC, SSD, NMI; got MI"),
        ({"iterations": ()}, "radius must be at least 1"),
        ({"iterations": (10, -1)}, "at least 0"),
        ({"radius": 0}, "radius must be at least 1"),
        ({"gradient_sigma": -1}, "at least 0"),
        ({"total": -1}, "at least 0"),
        ({"step": -1}, "at least 0"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        GreedyRegistration(**options)


def test_greedy_that_is_not_installed_is_reported_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "picsl_greedy", None)
    with pytest.raises(InputError, match=r"needs picsl_greedy, which is not .*cardiac-motion-bundles\[greedy\]"):
        GreedyRegistration()
