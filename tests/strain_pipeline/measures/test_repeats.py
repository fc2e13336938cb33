"""The numbers that repeats give."""

import numpy as np
import pytest

from cardiac_motion.strain_pipeline.measures.repeats import RepeatsResult, SimulatedRepeat


def result(errors, true=None, found=-18.0):
    true = [found] * len(errors) if true is None else true
    pairs = zip(true, errors, strict=True)
    return RepeatsResult(found, [SimulatedRepeat(t, None if e is None else t + e, 0.8) for t, e in pairs],
                      "coupled", 0.2, 0.7)  # fmt: skip


def test_the_mean_error_is_taken_away():
    found = result([2.0, 1.0, 3.0, None])
    assert found.bias == pytest.approx(2) and found.corrected == pytest.approx(-20) and found.slope == 0
    low, high = found.interval
    assert low < -20 < high and high - low == pytest.approx(2 * 1.645 * np.sqrt(4 / 3 + 2.8**2))
    assert found.row()["gls_corrected"] == found.corrected and "2.0 points too little" in found.describe()


@pytest.mark.parametrize(
    ("truth", "found", "errors"),
    [(-17.24, -15.25, [0.51, 1.41, 0.91]), (-11.24, -9.08, [0.48, 1.04, 0.57]), (-23.08, -20.15, [1.66, 1.63, 2.12])],
)
def test_the_interval_holds_what_repeats_cannot_know(truth, found, errors):
    """Three simulated patients: their repeats are alike, and all are less far off than they are."""
    low, high = result(errors, found=found).interval
    assert low < truth < high


def test_an_error_that_grows_with_the_strain_is_solved_for():
    """A method that finds four fifths: −16 of −20."""
    true = [-16.0, -19.0, -13.0, -16.0, -19.0, -13.0]
    found = result([-0.2 * t for t in true], true, found=-16.0)
    assert found.slope == pytest.approx(-0.2) and found.corrected == pytest.approx(-20)


def test_of_nothing_there_is_nothing():
    found = result([None])
    assert found.bias is None is found.corrected is found.interval and "none could be measured" in found.describe()
    assert result([1.0, 2.0]).interval is None
