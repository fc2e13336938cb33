"""FireANTs: which way its field points, along which axis, that it is quiet, and what it refuses."""

import logging
import sys

import pytest
import torch

from cardiac_motion.comparators.fireants import FireAnts
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import check_contract, check_known_displacement


def test_contract_at_any_size():
    pytest.importorskip("fireants")
    check_contract(FireAnts(iterations=(2, 1, 1)))


@pytest.mark.parametrize("size", [(48, 56), (34, 40, 29)])
def test_a_known_displacement_of_each_axis_comes_back(size):
    pytest.importorskip("fireants")
    check_known_displacement(FireAnts(iterations=(60, 40, 10)), size)


def test_it_prints_nothing_and_leaves_the_log_alone(capfd):
    pytest.importorskip("fireants")
    for name in [name for name in sys.modules if name.partition(".")[0] == "fireants"]:
        del sys.modules[name]
    before = list(logging.getLogger().handlers), logging.getLogger().level, logging.root.manager.disable
    FireAnts(scales=(1,), iterations=(1,))(torch.rand(1, 2, 32, 32))
    assert capfd.readouterr() == ("", "")
    assert before == (list(logging.getLogger().handlers), logging.getLogger().level, logging.root.manager.disable)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"scales": ()}, "scales must decrease"),
        ({"scales": (1, 2, 4)}, "scales must decrease"),
        ({"iterations": (5,)}, "one iteration count each"),
        ({"iterations": (5, 5, 0)}, "at least 1"),
        ({"window": 0}, "at least 1"),
        ({"learning_rate": 0}, "positive"),
        ({"gradient_sigma": -1}, "at least 0"),
        ({"total": -1}, "at least 0"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        FireAnts(**options)


def test_fireants_that_is_not_installed_is_reported_in_one_line(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "fireants"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fireants", None)
    with pytest.raises(InputError, match=r"needs fireants, which is not .*cardiac-motion-bundles\[fireants\]"):
        FireAnts()
