"""Intervals of numbers of a wall whose motion is known, and of errors whose size is known."""

from dataclasses import replace

import numpy as np
import pytest

from cardiac_motion.strain_pipeline.measures.intervals import (
    METHOD,
    QUANTILE,
    SHARE,
    interval,
    interval_of_mean,
    intervals,
    sample_lines,
)
from cardiac_motion.strain_pipeline.tracking.motion import transverse_spread
from tests.strain_pipeline.test_pipeline import beat_with

ROWS = [{"name": str(k), "rejected": None, "end_systolic": -20.0} for k in range(6)]
NUMBERS = {"gls": -20.0, "long_axis_strain": -20.0}


def beat(deviation=0.0, off=0.0):
    found = beat_with()
    shape = found.lines.shape[:3]
    grows = np.linspace(0, 1, shape[0])[:, None, None]
    return replace(found, deviation=deviation * grows * np.ones(shape), line_sd=np.full(shape[1:], off))


def test_without_errors_the_frames_and_the_method_are_left():
    whole, parts = intervals(beat(), NUMBERS, ROWS, 0, (1.0, 1.0), True)
    half = (whole["gls"][1] - whole["gls"][0]) / 2
    assert QUANTILE * METHOD["gls"] <= half < QUANTILE * METHOD["gls"] + 0.4
    assert np.mean(whole["gls"]) == pytest.approx(-20) and len(parts) == 6 and None not in parts


def test_a_less_certain_track_widens_all():
    narrow, _ = intervals(beat(), NUMBERS, ROWS, 0, (1.0, 1.0), True)
    wide, parts = intervals(beat(deviation=4.0), NUMBERS, ROWS, 0, (1.0, 1.0), True)
    assert all(wide[name][1] > narrow[name][1] for name in narrow)
    assert parts[0][1] - parts[0][0] > 2 * QUANTILE * METHOD["segment"]


def test_sampled_lines_have_the_errors_they_are_given():
    lines = sample_lines(beat(deviation=2.0), 0, [0, 20], 400)
    spread = (lines - beat().lines[[0, 20], 0]).std(0)
    assert np.abs(spread[0]).max() < 1e-9 and spread[1].mean() == pytest.approx(SHARE * 2.0, rel=0.1)
    steps = np.diff(lines[:, 1] - beat().lines[20, 0], axis=1).std()
    assert steps < 0.3, "neighbours err alike"


def test_what_is_not_known_has_no_interval():
    assert intervals(beat_with(), NUMBERS, ROWS, 0, (1.0, 1.0), True) == ({}, [None] * 6)
    rows = [{**row, "rejected": "dark", "end_systolic": None} for row in ROWS]
    whole, parts = intervals(beat(), {**NUMBERS, "gls": None}, rows, 0, (1.0, 1.0), False)
    assert set(whole) == {"long_axis_strain"} and parts == [None] * 6


def test_the_mean_of_beats_is_more_certain_but_not_than_the_method():
    one = interval(-20.0, 3.0, 2.0)
    four = interval_of_mean([one] * 4, 0.0, 2.0)
    assert four[1] + 20 == pytest.approx(QUANTILE * np.hypot(1.5, 2.0)) and interval_of_mean(
        [one], 0.0, 2.0
    ) == pytest.approx(one)


def test_spread_of_segmented_lines_across_the_tracked_ones():
    lines = beat_with().lines
    tangent = np.gradient(lines, axis=2)
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], -1) / np.linalg.norm(tangent, axis=-1, keepdims=True)
    signs = (-1.0) ** np.arange(len(lines))[:, None, None, None]
    found = transverse_spread(lines[:20], (lines + 1.5 * signs * normal)[:20])
    np.testing.assert_allclose(found, 1.5)
    assert not transverse_spread(lines, np.full_like(lines, np.nan)).any()
