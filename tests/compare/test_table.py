"""The table of a comparison: who is the best, by which tests, and what each row says."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, wilcoxon

from cardiac_motion.compare.kinds import UNKNOWN
from cardiac_motion.compare.methods import Method
from cardiac_motion.compare.table import compare_with_best, kind_of, markdown, rows
from tests.compare.results import GOOD, WORSE, flow, method


def test_the_best_is_tested_in_pairs_against_each_other():
    best, p = compare_with_best([method("worse", WORSE), method("good", GOOD), method("same", GOOD)])
    assert best == "good"
    assert p["worse"] == pytest.approx((wilcoxon(GOOD, WORSE).pvalue, mannwhitneyu(GOOD, WORSE).pvalue))
    assert p["same"] == (1.0, 1.0)


def test_only_cases_that_both_finished_are_paired():
    part = method("part", [])
    part.cases = {"c5": {"dice": 0.1}, "other": {"dice": 0.9}}
    _, p = compare_with_best([method("good", GOOD), part])
    assert np.isnan(p["part"][0])
    assert compare_with_best([method("none", [])]) == (None, {})


def test_the_table_says_mean_sd_n_and_what_failed():
    methods = [method("good", GOOD), method("broken", [], {"c0": "no program"})]
    text = markdown(rows(methods), "about", kind_of(methods))
    assert f"{100 * np.mean(GOOD):.2f} ± {100 * np.std(GOOD, ddof=1):.2f}" in text
    assert "| 6 | best | best |" in text
    assert "0, 1 failed: no program" in text
    assert text.count("\n|") == 4


def test_the_smaller_endpoint_error_is_the_better():
    good, worse = flow("good", [0.1, 0.2, 0.15], 0.8, 0.9), flow("worse", [0.2, 0.3, 0.35], 0.9, 0.5)
    assert compare_with_best([worse, good])[0] == "good" and kind_of([good]).metric == "epe_mm"
    table = rows([worse, good])
    assert [row["gls_correlation"] for row in table] == pytest.approx([1, 1])
    assert "| good | 0.150 ± 0.050 | 1.35 ± 0.45 |" in markdown(table, "about", kind_of([good]))
    good.cases["c0"]["gls_error"] = float("nan")
    assert "gls_correlation" not in rows([good])[0], "of two cases"


def test_without_truth_nothing_is_the_best():
    alike = Method("alike", [], Path("alike"), {"c0": {"lncc2": 0.9, "seconds": 1.0}, "c1": {"lncc2": 0.8}})
    less = Method("less", [], Path("less"), {"c0": {"lncc2": 0.5}, "c1": {"lncc2": 0.4, "epe_mm": float("nan")}})
    assert kind_of([alike, less]) is UNKNOWN and compare_with_best([alike, less]) == (None, {})
    table = rows([alike, less, Method("none", [], Path("none"))])
    assert "best" not in [row["p_against_best"] for row in table]
    assert "LNCC²" in markdown(table, "about", UNKNOWN)
