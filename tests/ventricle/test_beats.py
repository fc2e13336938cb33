"""Beats found in areas of a known course."""

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.contraction import systole, time_course
from cardiac_motion.ventricle.beats import Beat, find_beats, refine_end_systole

RATE = 60.0
STEP = 0.02
FRAMES = round(60 / RATE / STEP)  # a beat


def areas(first=0, last=FRAMES, noise=0.0):
    """Area of a cavity that ejects 45 %, over frames of a beat of 50 frames, and their times."""
    times = np.arange(first, last + 1) * STEP
    area = 1000 * (1 - 0.45 * time_course(times, RATE))
    area *= 1 + np.random.default_rng(0).normal(0, noise, len(area))
    return area, list(times - times[0])


def near(found, ed, es, end):
    return abs(found.ed - ed) <= 1 and abs(found.es - es) <= 1 and abs(found.end - end) <= 2


ES = round(systole(RATE)[1] / STEP)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_beat_from_one_end_diastole_to_the_next(noise):
    (beat,) = find_beats(*areas(noise=noise))
    assert near(beat, 0, ES, FRAMES) and beat.complete


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_beats_one_by_one_wherever_the_cine_begins(noise):
    found = find_beats(*areas(20, 28 + 3 * FRAMES, noise))
    assert len(found) == 3
    for k, beat in enumerate(found[:2]):
        assert near(beat, FRAMES * (k + 1) - 20, FRAMES * (k + 1) - 20 + ES, FRAMES * (k + 2) - 20) and beat.complete
    assert not found[2].complete and near(found[2], 3 * FRAMES - 20, 3 * FRAMES - 20 + ES, 8 + 3 * FRAMES)


def test_times_may_be_unknown():
    (beat,) = find_beats(areas()[0])
    assert near(beat, 0, ES, FRAMES)


def test_r_waves_are_end_diastole():
    found = find_beats(*areas(0, 2 * FRAMES), r_waves=[-0.9, 0.06, 1.06, 9.0])
    assert [b.ed for b in found] == [3, 53]
    assert found[0].end == 53


def test_a_cine_that_ends_just_before_end_systole():
    assert find_beats(*areas(0, ES - 1)) == [Beat(0, ES - 1, ES - 1, False)]


@pytest.mark.parametrize(("back", "whole"), [(0.0, False), (0.25, False), (0.45, False), (0.8, True), (1.0, True)])
def test_a_beat_is_whole_when_most_of_what_was_ejected_has_come_back(back, whole):
    """A cavity of 100 that ejects 40, stays so, and fills to ``back`` of what it ejected in the last frames."""
    area = np.r_[np.full(10, 100.0), np.linspace(100, 60, 20), np.full(10, 60.0), np.linspace(60, 60 + 40 * back, 10)]
    area = np.r_[area, np.full(10, area[-1])]
    (beat,) = find_beats(area, list(np.arange(len(area)) * STEP))
    assert beat.ed <= 10 and 29 <= beat.es <= 49 and beat.end == 59
    assert beat.complete is whole


def test_what_is_given_is_taken():
    area, times = areas(0, 2 * FRAMES)
    assert find_beats(area, times, ed=2, es=15) == [Beat(2, 15, FRAMES, True)]
    (beat,) = find_beats(area, times, ed=FRAMES)
    assert beat.ed == FRAMES and abs(beat.es - FRAMES - ES) <= 1
    (beat,) = find_beats(area, times, es=FRAMES + ES)
    assert abs(beat.ed - FRAMES) <= 1


@pytest.mark.parametrize(
    ("part", "given", "words"),
    [
        ((ES, FRAMES), {}, "no complete systole"),
        ((0, ES - 9), {}, "no complete systole"),
        ((0, FRAMES), {"ed": 20, "es": 20}, "end-systole must follow end-diastole"),
        ((0, FRAMES), {"ed": 30, "es": 10}, "end-systole must follow end-diastole"),
        ((0, FRAMES), {"ed": 90}, "ED at frame 90 is outside the cine, frames 0 to 50"),
        ((0, FRAMES), {"es": -1}, "ES at frame -1"),
        ((ES, FRAMES), {"es": 2}, "no end-diastole before the given ES"),
    ],
)
def test_what_holds_no_beat(part, given, words):
    with pytest.raises(InputError, match=words):
        find_beats(*areas(*part), **given)


def test_a_cavity_that_does_not_change():
    with pytest.raises(InputError, match="too little for a beat"):
        find_beats(1000 + np.random.default_rng(0).normal(0, 5, 40))


def test_end_systole_by_the_tracked_cavity():
    areas = 100 - 30 * np.sin(np.linspace(0, np.pi, 21)) - np.linspace(0, 20, 21)
    assert refine_end_systole(Beat(5, 12, 25, complete=True), areas) == Beat(5, 15, 25, True)
    assert refine_end_systole(Beat(5, 12, 25, complete=False), areas).es > 15, "a beat cut off keeps its drift"
    cut = Beat(5, 25, 25, complete=False)
    assert refine_end_systole(cut, areas) == cut


def test_an_even_drift_of_a_whole_beat_is_taken_from_its_first_to_its_last_frame():
    """A parabola with its least at frame 6 of 12, and 3 a frame beside: undisturbed by it, and by what lies outside."""
    frames = np.arange(13)
    parabola = (frames - 6) ** 2
    assert refine_end_systole(Beat(4, 9, 16, True), parabola + 3 * frames).es == 10
    assert refine_end_systole(Beat(4, 9, 16, True), parabola - 3 * frames).es == 10
    assert refine_end_systole(Beat(4, 9, 16, False), parabola - 3 * frames).es == 4 + 7  # 2 (t − 6) = 3: 7.5, the first
    late = [10, 9, 8, 7, 6, 5, 1, 9]  # the frame before the last
    assert refine_end_systole(Beat(0, 3, 7, False), late).es == 6
    assert refine_end_systole(Beat(0, 3, 7, False), [10, 2, 3, 9, 9, 9, 9, 1]).es == 1, "nor ED nor the end"


def test_end_systole_on_an_end_diastole_belongs_to_the_beat_before():
    area, times = areas(0, 2 * FRAMES)
    (beat,) = find_beats(area, times, es=FRAMES)
    assert beat.ed == 0 and beat.es == FRAMES
    area, times = areas(0, 3 * FRAMES)
    (beat,) = find_beats(area, times, es=2 * FRAMES + ES)
    assert abs(beat.ed - 2 * FRAMES) <= 1, "the last end-diastole before it, not the second"
    with pytest.raises(InputError, match=r"^a\.dcm: no end-systole after the given ED, frame 70; give --es as well"):
        find_beats(area[:72], times[:72], ed=70, name="a.dcm")


def coarse(*areas):
    """Areas and their times a fifth of a second apart: so coarse that no neighbour smooths them."""
    return list(map(float, areas)), [0.2 * t for t in range(len(areas))]


@pytest.mark.parametrize(
    ("course", "beats"),
    [
        # ejects 40 and fills, then 24 (more than half of the range), then 16 (less than half: no beat)
        ((100, 80, 60, 80, 100, 88, 76, 88, 100), [Beat(0, 2, 4, True), Beat(4, 6, 8, True)]),
        ((100, 80, 60, 80, 100, 92, 84, 92, 100), [Beat(0, 2, 4, True)]),
        # two frames from end-diastole to the next are the least
        ((100, 60, 100, 60, 100), [Beat(0, 1, 2, True), Beat(2, 3, 4, True)]),
        # the cine ends when 26 of 40 have come back, or 27: 65 %
        ((100, 80, 60, 70, 85.9), [Beat(0, 2, 4, False)]),
        ((100, 80, 60, 70, 86.1), [Beat(0, 2, 4, True)]),
    ],
)
def test_beats_of_a_course_that_is_known_frame_by_frame(course, beats):
    assert find_beats(*coarse(*course)) == beats


@pytest.mark.parametrize(
    ("end", "found"),
    [
        ((71, 68), True),  # 32 of 40 ejected, and 3 a frame at last: end-systole is near
        ((70, 64, 61), True),
        ((76, 74), False),  # as slow, but 26 of 40 is less than seven tenths
        ((70, 60), False),  # all of it, but 10 a frame at last, where 15 was the most
    ],
)
def test_a_last_beat_that_ends_near_end_systole(end, found):
    """A whole beat of 40 first, then one that the cine cuts off; which falls fastest by 15 a frame."""
    course = (100, 80, 62, 60, 75, 95, 100, 95, 80, *end)
    beats = find_beats(*coarse(*course))
    assert beats[0] == Beat(0, 3, 6, True)
    assert beats[1:] == ([Beat(6, 8 + len(end), 8 + len(end), False)] if found else [])


def test_small_bumps_are_no_end_diastole_and_plateaus_have_a_middle():
    # a bump of 12 in the filling is less than 35 % of 40
    assert find_beats(*coarse(100, 80, 60, 82, 70, 80, 100, 80, 60, 80, 100)) == [
        Beat(0, 2, 6, True), Beat(6, 8, 10, True)
    ]  # fmt: skip
    # three frames as large as each other (within 1.5 % of 40): the middle one; at the cine's end, the last
    (first, second) = find_beats(*coarse(100, 60, 80, 99.6, 100, 99.6, 80, 60, 80, 100, 99.7))
    assert first == Beat(0, 1, 4, True) and second == Beat(4, 7, 10, True)


def test_a_first_frame_little_below_the_largest_area_is_end_diastole():
    """Cines are cut at R waves: 97 of 100 (less than a tenth of 40 below) begins the beat, 94 does not."""
    assert find_beats(*coarse(97, 98, 100, 80, 60, 80, 100))[0] == Beat(0, 4, 6, True)
    assert find_beats(*coarse(94, 97, 100, 80, 60, 80, 100))[0] == Beat(2, 4, 6, True)


def test_least_change_and_given_frames():
    flat = (100, 99, 97.5, 99, 100)
    with pytest.raises(InputError) as caught:
        find_beats(*coarse(*flat), name="a.dcm")
    assert (
        str(caught.value)
        == "a.dcm: the cavity's area changes by only 2%, too little for a beat; give the frames with --ed and --es"
    )
    assert find_beats(*coarse(*flat), ed=0, es=2) == [Beat(0, 2, 4, True)]
    assert find_beats(*coarse(100, 98, 96, 98, 100)) == [Beat(0, 2, 4, True)]
    for given, words in (({"ed": 5}, "ED at frame 5"), ({"es": -1}, "ES at frame -1")):
        with pytest.raises(InputError) as caught:
            find_beats(*coarse(100, 80, 60, 80, 100), name="b.dcm", **given)
        assert str(caught.value) == f"b.dcm: {words} is outside the cine, frames 0 to 4"
