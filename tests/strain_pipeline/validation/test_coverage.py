"""Intervals beside truths that are known."""

import json

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, interval
from cardiac_motion.strain_pipeline.validation.coverage import Held, coverage, fit_method_error, main, measure_truth


def heart(points=36):
    angle = np.linspace(0, np.pi, points)
    return np.stack([80 - 80 * np.sin(angle), 60 - 24 * np.cos(angle)], -1)


def test_true_segments_are_those_of_the_stretch_that_shortens():
    """The first wall stands still, the second shortens along the long axis by a fifth."""
    lines = np.stack([heart(361), heart(361)])
    second = np.arange(361) > 180
    lines[1, second, 0] *= 0.8
    found = measure_truth(lines, 1, (1.0, 1.0))
    assert found["segment"][:3] == pytest.approx([0, 0, 0], abs=0.3)
    assert found["segment"][5] == pytest.approx(-19, abs=1.5) and -10 < found["gls"] < -7
    assert found["long_axis_strain"] == pytest.approx(-10, abs=0.5)


def test_normal_errors_are_held_nine_times_in_ten():
    rng = np.random.default_rng(0)
    held = []
    for scenario in ("static", "coupled"):
        for value in -18 + rng.normal(0, METHOD["gls"], 1000):
            held.append(Held("a", scenario, "gls", value, -18.0, interval(value, 0.0, METHOD["gls"])))
    rows = {(row["scenario"], row["number"]): row for row in coverage(held)}
    assert set(rows) == {("static", "gls"), ("coupled", "gls"), ("all", "gls")}
    assert rows["all", "gls"]["held"] / 2000 == pytest.approx(0.9, abs=0.02)
    assert rows["static", "gls"]["rms"] == pytest.approx(METHOD["gls"], rel=0.1) and held[0].own == pytest.approx(0)


def test_a_list_is_read_with_its_results(tmp_path, capsys, bar_names):
    case = tmp_path / "sim" / "one"
    case.mkdir(parents=True)
    lines = np.stack([heart(), 0.8 * heart()])
    (case / "contours.json").write_text(json.dumps({"endocardium": lines.tolist()}), encoding="utf-8")
    (case / "summary.json").write_text(
        json.dumps({"end_systole_frame": 1, "spacing": [1, 1], "scenario": "sliding"}), encoding="utf-8"
    )
    entry = {"case": "one", "image": "one/cine.nii.gz", "contours": "one/contours.json", "summary": "one/summary.json"}
    (tmp_path / "sim" / "list.json").write_text(
        json.dumps({"test": [entry, {**entry, "case": "two"}]}), encoding="utf-8"
    )
    segments = [{"end_systolic": -19.0, "interval": [-25, -13]}] * 5 + [{"end_systolic": None, "interval": None}]
    beat = {"numbers": {"gls": -15.0, "long_axis_strain": None}, "intervals": {"gls": [-17, -13]}, "segments": segments}
    (tmp_path / "out" / "one").mkdir(parents=True)
    (tmp_path / "out" / "one" / "summary.json").write_text(json.dumps({"beats": [beat]}), encoding="utf-8")
    main([str(tmp_path / "out"), "--datalist", str(tmp_path / "sim" / "list.json")])
    said = capsys.readouterr().out
    assert bar_names == ["results"]
    assert "sliding    gls                  0 of   1 (0%)  bias +5.00" in said and "5 of   5 (100%)" in said
    assert len(json.loads((tmp_path / "out" / "coverage.json").read_text(encoding="utf-8"))) == 4
    with pytest.raises(InputError, match="none of the 2 cases was measured"):
        main([str(tmp_path / "sim"), "--datalist", str(tmp_path / "sim" / "list.json")])
    with pytest.raises(InputError, match="no list 'training'"):
        main([str(tmp_path / "out"), "--datalist", str(tmp_path / "sim" / "list.json"), "--fold", "training"])


def test_the_fitted_method_error_is_the_least_that_holds_the_share():
    own = 0.5
    half = 1.645 * np.hypot(own, METHOD["gls"])
    some = [Held("a", "static", "gls", -20.0 + off, -20.0, (-20 + off - half, -20 + off + half)) for off in range(10)]
    error = fit_method_error(some, 0.9)
    assert 1.645 * np.hypot(own, error) == pytest.approx(8.0)  # nine of ten: errors of 0 to 8 points
    assert fit_method_error(some[:1]) == 0
