"""ConvexAdam: which way its field points, along which axis, and what it refuses."""

import sys

import pytest
import torch

from cardiac_motion.comparators.convexadam import ConvexAdam
from cardiac_motion.core.errors import InputError
from tests.comparators.contract import check_known_displacement


def test_a_known_displacement_of_each_axis_comes_back():
    pytest.importorskip("convexAdam")
    check_known_displacement(ConvexAdam(), (34, 40, 29))


def test_nothing_moves_in_constant_images_and_another_shape_is_refused():
    pytest.importorskip("convexAdam")
    method = ConvexAdam(steps=2)
    assert not method(torch.zeros(1, 2, 24, 24, 24)).any()
    with pytest.raises(ValueError, match=r"expected \[B, 2, D, H, W\]"):
        method(torch.zeros(1, 2, 24, 24))


@pytest.mark.parametrize(
    "options", [{"grid": 0}, {"search": 0}, {"fine_grid": 0}, {"steps": 0}, {"regularisation_weight": 0}]
)
def test_invalid_options_are_rejected(options):
    with pytest.raises(InputError, match="must be at least 1, regularisation_weight positive"):
        ConvexAdam(**options)


def test_convexadam_that_is_not_installed_is_reported_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "convexAdam", None)
    monkeypatch.delitem(sys.modules, "convexAdam.convex_adam_MIND", raising=False)
    with pytest.raises(InputError, match=r"needs convexAdam, which is not .*cardiac-motion-bundles\[convexadam\]"):
        ConvexAdam()
