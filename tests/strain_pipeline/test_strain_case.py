"""What is kept of a measured cine, on a wall whose strain follows from a drawing."""

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.measures.followup import Earlier
from cardiac_motion.strain_pipeline.quality.checks import check
from cardiac_motion.strain_pipeline.strain_case import (
    add_changes,
    add_seconds,
    lines_by_frame,
    mean_segments,
    study_view,
)
from cardiac_motion.ventricle.beats import Beat
from tests.strain_pipeline.known import APEX, POINTS, WALL, strain_case, tracked_beat


def test_the_drawing_shortens_by_a_fifth():
    measured = strain_case().measured
    assert measured.means["gls"] == pytest.approx(-20) and measured.means["gls_mid_wall"] == pytest.approx(-20)
    assert measured.means["long_axis_strain"] == pytest.approx(-20) and measured.means["mapse_mm"] == pytest.approx(
        0.2 * 80 / 2
    )
    assert measured.means["tracked_ejection_fraction"] == pytest.approx(100 * (1 - 0.8**3))
    assert measured.means["heart_rate"] == pytest.approx(120)


def test_what_a_report_of_several_views_keeps():
    kept = study_view(strain_case())
    assert kept.source == "a/known.nii.gz" and kept.view.name == "apical_4ch" and kept.layer == "endocardium"
    assert kept.spacing == (0.5, 0.5) and kept.steps == (0.5, 0.5) and kept.banner == ""
    (endo,) = kept.endo
    np.testing.assert_allclose(endo, [WALL[0], APEX + 0.8 * (WALL[0] - APEX)])
    assert [row["end_systolic"] for row in kept.segments] == pytest.approx([-20] * 6)


def beat(*rows):
    keys = {"rejected": None, "end_systolic": None, "peak": None, "interval": None}
    return {"segments": [{**keys, **row} for row in rows]}


def test_segments_are_means_of_the_beats_that_kept_them():
    first = beat(
        {"name": "a", "end_systolic": -20.0, "peak": -22.0, "interval": (-30.0, -10.0)},
        {"name": "b", "rejected": "outside"},
        {"name": "c", "rejected": "unlike"},
    )
    second = beat(
        {"name": "a", "end_systolic": -10.0, "interval": (-20.0, 0.0)},
        {"name": "b", "end_systolic": -12.0, "peak": -14.0},
        {"name": "c", "rejected": "outside"},
    )
    a, b, c = mean_segments([first, second])
    assert (a["name"], a["rejected"], a["end_systolic"], a["peak"]) == ("a", None, -15.0, -22.0)
    assert sum(a["interval"]) / 2 == pytest.approx(-15) and a["interval"][1] - a["interval"][0] > 20
    assert (b["rejected"], b["end_systolic"], b["peak"], b["interval"]) == (None, -12.0, -14.0, None)
    assert (c["rejected"], c["end_systolic"]) == ("unlike", None)


def test_lines_keep_both_ends_of_every_beat():
    later = tracked_beat(Beat(5, 6, 7, False), [1.0, 0.9, 0.95])
    found = lines_by_frame([tracked_beat(), later], 50)
    assert sorted(found) == list(range(8)) and found[3].shape == (3, 4, 2)
    np.testing.assert_allclose(found[3], APEX + 0.8 * (WALL[:, [0, 50, 100, POINTS - 1]] - APEX))
    np.testing.assert_allclose(found[6][:, -1], APEX + 0.9 * (WALL[:, -1] - APEX))
    assert lines_by_frame([later], 1)[7].shape == (3, POINTS, 2)


def test_seconds_are_metrics_and_their_sum():
    metrics = add_seconds(strain_case()).scores.metrics
    assert metrics["seconds_view"] == 1.0 and metrics["seconds_motion"] == 2.5 and metrics["seconds"] == 3.5
    assert metrics["gls"] == pytest.approx(-20)


@pytest.mark.parametrize(
    "values, forced, words",
    [
        ([0.4], True, ""),
        ([0.7], False, ""),
        ([0.7], True, "it fails 1 check."),
        ([0.7, 0.1, 0.4], True, "it fails 2 checks."),
    ],
)
def test_every_page_says_that_it_was_forced(values, forced, words):
    banner = strain_case(checks=tuple(check("systole", v) for v in values), forced=forced).banner
    assert banner.endswith(words) and bool(banner) == bool(words)


def test_what_the_terminal_says():
    study = strain_case(text="known: 1 beat")
    assert study.warnings[0] == "said" and any("frames in systole" in text for text in study.warnings)
    assert study.lines() == "known: 1 beat"
    study.case.cine.meta["notes"] = ["The file ends early."]
    assert study.lines() == "known: 1 beat\n  note: The file ends early."


def test_changes_are_those_of_the_same_view_and_line():
    names = [row["name"] for row in strain_case().measured.beats[0]["segments"]]
    before = Earlier(
        "o/summary.json", "o.dcm", "endocardium", None, False, {"gls": -15.0}, {}, {names[2]: (-5.0, None)}
    )
    assert add_changes(strain_case(), {"apical_2ch": before}).earlier is None
    study = add_changes(strain_case(), {"apical_4ch": before})
    assert study.earlier is before and [c.name for c in study.changes] == ["gls", names[2]]
    assert [c.value for c in study.changes] == pytest.approx([-5.0, -15.0])
    other = Earlier("o/summary.json", "o.dcm", "epicardium", None, False, {"gls": -15.0}, {}, {})
    with pytest.raises(InputError, match="strain of the epicardium, this is of the endocardium"):
        add_changes(strain_case(), {"apical_4ch": other})
