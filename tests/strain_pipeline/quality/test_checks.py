"""The checks on a wall whose motion is known, and on walls that can't be one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures
from cardiac_motion.strain_pipeline.quality.checks import (
    BEAT,
    CASE,
    LIMITS,
    TIMES,
    Gate,
    check,
    crossings,
    remove_times,
    select_failed,
    tracking_checks,
    wall_checks,
)
from cardiac_motion.strain_pipeline.quality.view import decide_view, energy_check, view_check
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.ventricle.views import APICAL
from tests.strain_pipeline.test_pipeline import SHARE, SIZE, heart, labels_at, tracked  # noqa: F401


def sector(top=8, depth=105):
    row, column = np.mgrid[:SIZE, :SIZE]
    return (np.hypot(row - top, column - 60) < depth) & (np.abs(column - 60) < 0.9 * (row - top + 4))


@pytest.fixture
def wall(heart):  # noqa: F811
    labels = np.stack([labels_at(s) for s in SHARE])
    return replace(heart[1], areas=(labels == 1).sum((1, 2)).astype(float))


def names(checks):
    return {c.name for c in select_failed(checks)}


def test_a_ventricle_passes(heart, wall):  # noqa: F811
    case, _ = heart
    found = tracked(case, wall)
    measured = StrainMeasures(min_lncc2=0.0)([found], case.meta, APICAL["apical_4ch"])
    checks = [*wall_checks(wall, sector()), *tracking_checks(found, measured.beats[0], wall, True)]
    assert not select_failed(checks) and {c.name for c in checks} == set(LIMITS)
    assert {c.consequence for c in checks} == {CASE, BEAT, TIMES}
    values = {c.name: c.value for c in checks}
    assert values["change of the cavity's area"] == pytest.approx(1 - 0.8**2, abs=0.03)
    assert values["systole"] == pytest.approx(0.5, abs=0.06) and values["heart rate"] == pytest.approx(60)
    assert values["cavity carried against segmented"] > 0.95 and values["base carried against segmented"] < 0.03


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        (lambda lines: lines * [-1, 1] + [SIZE - 1, 0], "apex towards the probe"),
        (lambda lines: lines[..., ::-1], "apex towards the probe"),
        (lambda lines: 0.3 * lines + [10, 42], "length against the sector's depth"),
        (lambda lines: 0.5 * lines + [55, 30], "apex below the probe"),
        (lambda lines: lines * [1, 2.4] - [0, 84], "shape of the wall"),
        (lambda lines: lines[:, [0, 0, 0]], "thickness of the wall"),
        (lambda lines: np.where(np.arange(len(lines))[:, None, None, None] < 14, np.nan, lines), "frames with a wall"),
    ],
)
def test_what_can_be_no_ventricle_fails(wall, change, fails):
    checks = wall_checks(replace(wall, lines=change(wall.lines)), sector())
    assert fails in names(checks)
    with pytest.raises(
        InputError, match=r"a\.dcm: not measured: .*" + fails + r".*; --ignore_checks True measures all"
    ):
        Gate().stop(checks, "a.dcm")
    Gate(ignore_checks=True).stop(checks, "a.dcm")


def test_a_drawn_wall_is_checked_where_it_was_drawn(wall):
    lying, frame = wall.lines[..., ::-1].copy(), wall.beats[0].ed
    lying[frame] = wall.lines[frame]
    assert "apex towards the probe" in names(wall_checks(replace(wall, lines=lying), sector()))
    checks = wall_checks(replace(wall, lines=lying, drawn=(frame,)), sector())
    assert not names(checks) and [c.name for c in checks if c.passed is None] == ["change of the cavity's area"]


def test_a_cavity_that_does_not_beat_fails(wall):
    assert names(wall_checks(replace(wall, areas=np.full(len(SHARE), 900.0)), sector())) == {
        "change of the cavity's area"
    }


def test_a_track_that_leaves_the_wall_fails(heart, wall):  # noqa: F811
    case, _ = heart
    found = tracked(case, wall)
    (beat,) = StrainMeasures(min_lncc2=0.0)([found], case.meta, APICAL["apical_4ch"]).beats
    off = replace(found, lines=found.lines + np.linspace(0, 40, len(SHARE))[:, None, None, None] * [0, 1])
    assert "cavity carried against segmented" in names(tracking_checks(off, beat, wall, True))
    said = [c for c in tracking_checks(off, beat, wall, True, drawn=True) if not c.passed]
    assert {c.consequence for c in said if c.name.endswith("against segmented")} == {"nothing"}
    numbers = {**beat["numbers"], "drift": -12.0, "heart_rate": 20.0}
    apart = {**beat, "numbers": {**numbers, "tracked_ejection_fraction": 33.0, "ejection_fraction": 53.0}}
    assert "ejection fraction tracked against segmented" in names(tracking_checks(found, apart, wall, True))
    unknown = {**beat, "numbers": {**numbers, "ejection_fraction": None}}
    (one,) = (c for c in tracking_checks(found, unknown, wall, True) if c.name.startswith("ejection"))
    assert one.passed is None
    late = {**beat, "es": 17, "numbers": numbers}
    assert names(tracking_checks(found, late, wall, True)) >= {"drift against GLS", "systole", "heart rate"}
    assert "heart rate" not in names(tracking_checks(found, late, wall, False)), "playback says nothing of hearts"


def test_beats_that_fail_are_left_out_and_the_last_one_stops():
    bad, good = check("systole", 0.9, 0), check("systole", 0.4, 30)
    gate = Gate()
    assert gate.select_beats([bad, good], [0, 30], "a") == [False, True]
    assert gate.warnings([bad, good]) == [f"Check failed, the beat is left out: {bad.describe()}."]
    with pytest.raises(InputError, match=r"a: no beat can be trusted: systole 0\.9 of the beat"):
        gate.select_beats([bad], [0], "a")
    assert Gate(ignore_checks=True).select_beats([bad], [0], "a") == [True]
    assert gate.warnings([check("drift against GLS", 0.14, 0)]) == []
    assert "drifts by 27% of its shortening" in gate.warnings([check("drift against GLS", 0.27, 0)])[0]
    assert gate.warnings([check("base carried against segmented", 0.07, 0)]) == []
    assert "tracked base lies 12% of the length" in gate.warnings([check("base carried against segmented", 0.12, 0)])[0]
    assert check("systole", float("nan")).passed is False
    unknown = check("systole", None)
    assert unknown.passed is None and unknown.status == "not checked" and unknown.row()["passed"] is None
    assert gate.select_beats([unknown], [0], "a") == [True]
    assert gate.warnings([unknown, unknown]) == ["Not checked, because there is no value: systole."]
    assert (
        check("systole", None).describe().startswith("systole unknown")
        and check("systole", 0.9, 0).row()["passed"] is False
    )


def test_an_impossible_heart_rate_takes_times_away(heart, wall):  # noqa: F811
    case, _ = heart
    measured = StrainMeasures(min_lncc2=0.0)([tracked(case, wall)], case.meta, APICAL["apical_4ch"])
    less = remove_times(measured, [check("heart rate", 20.0, 0)])
    assert less.means["heart_rate"] is None is less.means["gls_time_to_peak_ms"] is less.means["gls_systolic_rate"]
    assert less.means["gls"] == measured.means["gls"] and less.beats[0]["segments"][0]["time_to_peak_ms"] is None
    assert remove_times(measured, [check("heart rate", 60.0, 0)]) is measured


def test_view_is_a_check_that_a_user_lifts(heart):  # noqa: F811
    case, _ = heart
    shares = ViewProbabilities({"apical_2ch": 0.3, "other": 0.7}, 0.5)
    with pytest.raises(InputError, match="looks like other"):
        decide_view(case, shares)
    forced = decide_view(case, shares, 0.5, ignore_checks=True)
    assert forced.view.short == "A2C" and not view_check(forced, 0.5).passed
    assert view_check(replace(forced, given=True), 0.5).passed
    assert energy_check(shares).passed is False and energy_check(shares).consequence == CASE


def test_crossings_of_a_line():
    ring = np.linspace(-0.3, np.pi + 0.3, 80)
    eight = np.stack([np.sin(ring), np.sin(2 * ring)], -1)
    assert crossings(eight) == 1 and crossings(np.stack([ring, ring**2], -1)) == 0


def test_the_first_frames_of_other_pictures_do_not_break_the_checks(wall):
    checks = wall_checks(wall, np.ones((SIZE, SIZE), bool))
    assert all(torch.isfinite(torch.tensor(c.value)) for c in checks)


@pytest.mark.parametrize(
    "name, good, bad",
    [  # beats of recorded cines: the study's and the normal cine, and those that no number may come from
        ("drift against GLS", (0.02, 0.03, 0.05, 0.10, 0.13), (0.41, 0.46, 0.49, 0.72, 1.1, 5.9)),
        ("base carried against segmented", (0.01, 0.03, 0.04), (0.17,)),
        ("systole", (0.32, 0.35, 0.39, 0.40), (0.96,)),
        ("ejection fraction tracked against segmented", (6.4, 8.5, 12.5), (16.2, 20.0, 30.0)),
    ],
)
def test_limits_lie_between_good_and_bad_recorded_beats(name, good, bad):
    assert [check(name, value).passed for value in good] == [True] * len(good)
    assert [check(name, value).passed for value in bad] == [False] * len(bad)
