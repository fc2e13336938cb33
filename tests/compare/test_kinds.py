"""What is compared: one kind of cases each, known by its metric of truth."""

import pytest

from cardiac_motion.compare.kinds import KINDS, UNKNOWN, kind_named

CASES = {
    "velocity_error": {"velocity_error": 0.1, "lncc2": 0.9},
    "track_mm": {"track_mm": 0.4, "epe_mm": 0.05},
    "epe_mm": {"epe_mm": 0.05, "mean_contour_distance_mm": 1.0},
    "mean_contour_distance_mm": {"mean_contour_distance_mm": 1.0, "dice_cavity": 0.9},
    "dice": {"dice": 0.8, "dice_head": 0.8},
}


@pytest.mark.parametrize("metric", CASES)
def test_a_table_is_of_the_first_kind_whose_truth_it_has(metric):
    assert kind_named([{"method": "none", "n": 0}, {"method": "m", "n": 1, **CASES[metric]}]).metric == metric


def test_likeness_is_no_truth():
    assert kind_named([{"method": "m", "lncc2": 0.9, "mse": 0.1}]) is UNKNOWN and UNKNOWN.metric is None


def test_overlap_alone_is_better_where_it_is_larger():
    assert {kind.metric for kind in KINDS if kind.larger} == {"dice"} and {k.metric for k in KINDS} == set(CASES)


@pytest.mark.parametrize("kind", [*KINDS, UNKNOWN], ids=lambda kind: str(kind.metric))
def test_what_a_kind_shows_has_a_column_with_its_unit(kind):
    assert set(kind.boxes) <= set(kind.columns) and (kind.metric is None or kind.metric in kind.columns)
    for metric, (heading, factor, _) in kind.columns.items():
        assert (factor == 100) == ("%" in heading and metric != "rotation"), f"{metric}: from fraction to %"
        assert ("mm" in heading) == metric.endswith(("_mm", "hd95")), metric
