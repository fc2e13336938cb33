"""Numbers of a strain curve whose every rate and peak is known."""

import numpy as np
import pytest

from cardiac_motion.strain_pipeline.measures.measures import StrainMeasures, timing
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.ventricle.beats import Beat
from cardiac_motion.ventricle.views import APICAL

ES, END, STEP = 10, 30, 0.02
SECONDS = STEP * np.arange(END + 1)
# −15 % in 10 frames, on to −18 % in 2, back to −3 % in 6, then to −1.2 % in 12: 75, 75, 125 and 7.5 % a second
CURVE = np.interp(np.arange(END + 1), [0, 10, 12, 18, 30], [0.0, -15.0, -18.0, -3.0, -1.2])


def test_timing_of_a_curve_that_goes_on_after_end_systole():
    found = timing(CURVE, ES, END, True, SECONDS)
    assert found["end_systolic"] == pytest.approx(-15)
    assert found["peak_systolic"] == pytest.approx(-15), "what comes after end-systole is not systolic"
    assert found["peak"] == pytest.approx(-18)
    assert found["post_systolic_index"] == pytest.approx(100 * 3 / 18)
    assert found["time_to_peak_ms"] == pytest.approx(240)
    assert found["systolic_rate"] == pytest.approx(-0.75), "1/s: a fraction of length a second"
    assert found["early_diastolic_rate"] == pytest.approx(+1.25), "lengthening is positive"


def test_a_peak_before_end_systole_is_the_systolic_one():
    early = np.interp(np.arange(END + 1), [0, 5, 10, 30], [0.0, -20.0, -12.0, 0.0])
    found = timing(early, ES, END, True, SECONDS)
    assert found["peak_systolic"] == found["peak"] == pytest.approx(-20)
    assert found["end_systolic"] == pytest.approx(-12) and found["time_to_peak_ms"] == pytest.approx(100)


def test_a_fast_lengthening_in_systole_is_not_early_diastolic():
    bounce = np.interp(np.arange(END + 1), [0, 4, 6, 10, 30], [0.0, -12.0, -4.0, -15.0, 0.0])
    found = timing(bounce, ES, END, True, SECONDS)
    assert found["early_diastolic_rate"] == pytest.approx(0.375)
    later = np.interp(np.arange(END + 1), [0, 10, 25, 27, 30], [0.0, -10.0, -4.0, -12.0, 0.0])
    assert timing(later, ES, END, True, SECONDS)["systolic_rate"] == pytest.approx(-0.5)


def test_what_a_beat_that_is_cut_off_does_not_tell():
    found = timing(CURVE, ES, END, False, SECONDS, "gls_")
    known = {name for name, value in found.items() if value is not None}
    assert known == {"gls_end_systolic", "gls_peak_systolic", "gls_systolic_rate"}
    assert set(timing(None, ES, END, True, SECONDS).values()) == {None}
    assert timing(CURVE, ES, END, True, None)["time_to_peak_ms"] is None


@pytest.mark.parametrize(("drift_correction", "expected"), [(True, -0.15 - 0.3 * 0.06), (False, -0.15)])
def test_drift_of_a_whole_line(drift_correction, expected):
    """A straight line whose length is 1, 0.85 at end-systole (frame 3 of 10) and 1.06 at the end."""
    share = np.interp(np.arange(11), [0, 3, 10], [1.0, 0.85, 1.06])
    line = np.stack([np.linspace(0, 50, 61), np.zeros(61)], -1)
    lines = np.stack([np.stack([s * line] * 3) for s in share])
    beat = TrackedBeat(Beat(0, 3, 10, True), lines, np.ones(61), None, np.zeros(61, bool))
    measures = StrainMeasures(drift_correction=drift_correction)
    numbers = measures.measure(beat, None, None, APICAL["apical_4ch"].segments())["numbers"]
    assert numbers["gls"] == pytest.approx(100 * expected)
    assert numbers["gls_uncompensated"] == pytest.approx(-15) and numbers["drift"] == pytest.approx(6)


def test_the_mid_wall_excludes_the_segments_that_the_user_excludes():
    """One wall shortens by a fifth, the other not at all: without the first, nothing is left to shorten."""
    still, points = np.linspace(0, 60, 61), 121
    left = np.stack([still[::-1], np.zeros(61)], -1)
    lines = []
    for share in (1.0, 0.8, 1.0):
        apex = 30 * np.linspace(0, 1, 61)[1:]
        right = np.stack([apex * share, np.zeros(60)], -1) + [0.0, 0.0]
        line = np.concatenate([left, right])
        lines.append(np.stack([line + [0, k] for k in (0.0, 5.0, 10.0)]))
    beat = TrackedBeat(Beat(0, 1, 2, True), np.stack(lines), np.ones(points), None, np.zeros(points, bool))
    names = APICAL["apical_4ch"].segments()
    gls = [
        StrainMeasures("mid-wall", exclude_segments=off).measure(beat, None, None, names)["numbers"]
        for off in ([], names[4:])
    ]
    assert gls[0]["gls_mid_wall"] == pytest.approx(gls[0]["gls"]) and gls[1]["gls_mid_wall"] == pytest.approx(
        gls[1]["gls"]
    )
    assert gls[1]["gls_mid_wall"] > gls[0]["gls_mid_wall"] + 1
