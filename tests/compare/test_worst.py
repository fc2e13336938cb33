"""What a method is worth is what it is in its worst scenario."""

import pytest

from cardiac_motion.compare.kinds import KINDS, UNKNOWN
from cardiac_motion.compare.worst import find_worst, list_worst, write_worst

FLOW = next(kind for kind in KINDS if kind.metric == "epe_mm")
TABLES = {
    "static": [
        {"method": "learned", "n": 3, "epe_mm": 0.05, "gls_error": -0.5, "lncc2": 0.9},
        {"method": "plain", "n": 3, "epe_mm": 0.09, "gls_error": 9.0, "lncc2": 0.95},
        {"method": "new", "n": 0},
    ],
    "coupled": [
        {"method": "learned", "n": 2, "epe_mm": 0.14, "gls_error": -3.0, "lncc2": 0.8},
        {"method": "plain", "n": 3, "epe_mm": 0.06, "gls_error": 1.5, "lncc2": 0.97},
        {"method": "new", "n": 3, "epe_mm": 0.01, "gls_error": 0.1, "lncc2": 0.9},
    ],
}


def test_the_worst_is_the_largest_error_the_furthest_bias_and_the_least_score():
    assert find_worst({"a": 0.1, "b": 0.3}, "epe_mm") == ("b", 0.3)
    assert find_worst({"a": 2.0, "b": -3.0}, "gls_error") == ("b", -3.0)
    assert find_worst({"a": 0.9, "b": 0.8}, "dice_atrium") == ("b", 0.8) == find_worst({"a": 0.9, "b": 0.8}, "lncc2")
    assert (
        find_worst({"a": float("nan"), "b": 1.0}, "epe_mm") == ("b", 1.0)
        and find_worst({"a": float("nan")}, "epe_mm") is None
    )


def test_a_line_a_method_the_best_in_its_worst_scenario_first():
    rows = list_worst(TABLES, {"static": FLOW, "coupled": FLOW})
    assert [row["method"] for row in rows] == ["plain", "learned", "new"], "who was not run everywhere comes last"
    plain, learned, new = rows
    assert (plain["epe_mm"], plain["epe_mm_fold"]) == (0.09, "static")
    assert (learned["epe_mm"], learned["gls_error"], learned["n"]) == (0.14, -3.0, 2)
    assert new["missing"] == "static"


def test_the_table_names_the_scenario(tmp_path):
    text = write_worst(TABLES, {"static": FLOW, "coupled": FLOW}, tmp_path, "two scenarios.")
    assert "| learned | 0.140 (coupled) | -3.00 (coupled) |" in text and "not run on static" in text
    assert (tmp_path / "worst.md").read_text(encoding="utf-8") == text and (tmp_path / "worst.csv").is_file()
    empty = list_worst({"real": [{"method": "m", "n": 1, "lncc2": 0.5}]}, {"real": UNKNOWN})
    assert empty[0]["lncc2"] == pytest.approx(0.5)
