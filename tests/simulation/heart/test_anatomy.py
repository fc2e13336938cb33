"""Parametric ventricles whose sizes are given, and a heart of every view."""

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.anatomy import left_ventricle, view
from cardiac_motion.ventricle.views import VIEWS


@pytest.mark.parametrize(("length", "width", "thickness", "apex", "cut"), [(85, 46, 9, 7, 0.35), (70, 40, 12, 5, 0.0)])
def test_a_ventricle_has_the_sizes_it_was_given(length, width, thickness, apex, cut):
    endo, epi = left_ventricle(length, width, thickness, apex, cut)
    assert endo.shape == epi.shape == (200, 2)
    base = endo[[0, -1]].mean(0)
    tip = endo[np.argmin(endo[:, 0])]
    assert np.linalg.norm(base - tip) == pytest.approx(length, abs=0.05) and tip[0] == pytest.approx(apex, abs=0.05)
    assert np.ptp(endo[:, 1]) == pytest.approx(width, abs=0.05)
    assert np.ptp(epi[:, 1]) == pytest.approx(width + 2 * thickness, abs=0.05)
    assert epi[:, 0].min() == pytest.approx(0, abs=0.05) and endo[0, 1] < 0 < endo[-1, 1]
    assert endo[0, 0] == pytest.approx(epi[0, 0]), "both are cut by one base"


BAD = [{"length": 20}, {"width": 10}, {"thickness": 1}, {"apex": 0}, {"cut": 0.9}, {"cut": -1}]


@pytest.mark.parametrize("bad", BAD)
def test_sizes_that_make_no_ventricle(bad):
    with pytest.raises(InputError, match="implausible"):
        left_ventricle(**bad)


@pytest.mark.parametrize("name", VIEWS)
def test_a_heart_of_every_view_has_a_wall_inside_the_sector(name):
    heart = view(name, seed=3)
    depth = np.linalg.norm(heart.mesh.nodes, axis=1)
    assert heart.view == name and depth.max() < heart.depth and heart.brightness.shape == heart.grid.shape
    assert np.array_equal(view(name, seed=3).brightness, heart.brightness)
    assert not np.array_equal(view(name, seed=4).brightness[:50, :50], heart.brightness[:50, :50])
