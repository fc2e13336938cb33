"""Numbers of a strain curve whose every rate and peak is known, and what times are worth."""

import numpy as np
import pytest

from cardiac_motion.strain_pipeline.measures.beat_strain import times_doubted, timing, timing_warnings

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


def beats_of(*rates, systole=15):
    return [{"ed": 0, "es": systole, "numbers": {"heart_rate": rate}} for rate in rates]


@pytest.mark.parametrize(
    ("frame_time_source", "rates", "doubted"),
    [
        ("acquired", (None,), False), ("acquired", (400.0,), False), ("playback", (None,), True),
        ("playback", (70.0,), True), ("playback", (70.0, 72.0), False), ("playback", (70.0, None), True),
        ("playback", (20.0, 21.0), True), (None, (70.0,), False),
    ],
)  # fmt: skip
def test_times_of_playback_are_doubted_without_two_possible_beats(frame_time_source, rates, doubted):
    assert times_doubted(beats_of(*rates), frame_time_source) is doubted


@pytest.mark.parametrize(
    ("beats", "times", "doubted", "words"),
    [
        (beats_of(70.0), np.arange(50) / 50, False, []),
        (beats_of(70.0), np.arange(50) / 50, True, ["file's playback"]),
        (beats_of(28.0), np.arange(50) / 50, False, ["28 beats/min is hardly possible"]),
        (beats_of(250.0), np.arange(50) / 50, False, ["250 beats/min is hardly possible"]),
        (beats_of(70.0, systole=8), np.arange(50) / 50, False, ["only 9 frames in systole"]),
        (beats_of(70.0, systole=9), np.arange(50) / 50, False, []),
        (beats_of(70.0), np.arange(50) / 25, False, ["25 frames/s are few"]),
        (beats_of(None), None, False, []),
    ],
)
def test_what_a_reader_of_times_must_know(beats, times, doubted, words):
    said = timing_warnings(beats, times, doubted)
    assert len(said) == len(words) and all(word in text for word, text in zip(words, said, strict=True))
