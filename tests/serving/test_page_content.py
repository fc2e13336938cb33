"""What a page is sent of a known heart: its numbers, its wall, and no number where a check fails."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cardiac_motion.serving import corrections as C
from cardiac_motion.serving import workbench as W
from cardiac_motion.serving.page_content import STEP, make_comparison_row, page_content
from cardiac_motion.strain_pipeline.quality.checks import check
from cardiac_motion.strain_pipeline.strain_case import lines_by_frame
from tests.serving.known_case import case, heart, kept_folder, request  # noqa: F401


def test_what_a_page_is_sent_can_be_json(case):  # noqa: F811
    content = page_content(C.measure_with_edits(case, "dis", {}), "dis")
    json.dumps(content, allow_nan=False)
    assert content["layer"] == "endocardium" and {c["state"] for c in content["checks"]} <= {
        "passed",
        "failed",
        "not checked",
    }


def test_a_failed_check_withholds_every_number_until_it_is_ignored(case, monkeypatch):  # noqa: F811
    failed = check("apex towards the probe", 50)
    monkeypatch.setattr(C, "blocking_checks", lambda checks: [failed])
    found = W.correct(request(case))
    result = found["result"]
    assert result["blocked"] == ["The contour may not be the left ventricle: its apex points 50° off the beam."]
    assert result["means"] == {} and result["bullseye"] == "" and "curves" not in result["beats"][0]
    assert found["row"]["gls"] is None and found["row"]["ejection_fraction"] is None
    assert result["lines"]  # the wall can be seen, and corrected
    text = json.dumps({**found, "result": {**result, "lines": {}}})
    study = C.measure_with_edits(case, "dis", {}).study
    assert f"{study.measured.means['gls']:.4f}"[:7] not in text
    shown = W.correct(request(case, edits={"ignore_checks": True}))
    assert shown["row"]["gls"] is not None and shown["result"]["blocked"] == []


def test_the_numbers_and_the_wall_are_those_that_were_measured(case):  # noqa: F811
    corrected = C.measure_with_edits(case, "dis", {})
    content, study = page_content(corrected, "dis"), corrected.study
    assert content["means"]["gls"] == pytest.approx(-20, abs=0.8) == study.measured.means["gls"]
    assert (content["method"], content["view"], content["drawn"]) == ("dis", "apical_4ch", [])
    assert content["spacing"] == [0.8, 0.8] and content["times"] == list(study.case.meta.frame_times)
    whole = lines_by_frame(study.tracked, 1)
    assert set(content["lines"]) == {str(t) for t in whole}
    for t, lines in whole.items():
        ends = np.concatenate([lines[:, :-1:STEP], lines[:, -1:]], 1)  # the last point is sent in any case
        np.testing.assert_allclose(content["lines"][str(t)], ends, atol=0.051)
    assert "<svg" in content["bullseye"] and len(content["segments"]) == len(content["colours"]) == 6


def test_what_is_ignored_is_said_and_its_numbers_are_given(case, monkeypatch):  # noqa: F811
    measure = C.measure_cached

    def fail(*words, **values):
        study = measure(*words, **values)
        return replace(study, checks=[*study.checks, check("apex towards the probe", 50)], forced=True)

    monkeypatch.setattr(C, "measure_cached", fail)
    content = page_content(C.measure_with_edits(case, "dis", {"ignore_checks": True}), "dis")
    assert content["ignored"] == ["The contour may not be the left ventricle: its apex points 50° off the beam."]
    assert content["checks"][-1]["state"] == "failed" and content["checks"][-1]["words"] == content["ignored"][0]
    assert content["blocked"] == [] and content["means"]["gls"] < -15


def test_a_row_has_the_numbers_of_its_result_and_counts_what_is_excluded(case):  # noqa: F811
    content = page_content(C.measure_with_edits(case, "dis", {"exclude_segments": ["apical inferoseptal"]}), "dis")
    row = make_comparison_row(content)
    assert row["gls"] == content["means"]["gls"] and row["similarity"] == content["similarity"]
    assert row["seconds"] == 1.5 and row["view"] == "apical_4ch" and row["excluded"] == 1
    none = make_comparison_row({**content, "means": {}, "blocked": ["why"]})
    assert none["gls"] is None and none["drift"] is None and none["ejection_fraction"] is None
    assert none["blocked"] == ["why"]
