"""Which changes of a wall, a beat or the motion track it again, counted; and that what is kept is the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.tracking.motion import Fusion
from cardiac_motion.strain_pipeline.tracking.track_cache import TrackCache, read_tracked, write_tracked
from cardiac_motion.strain_pipeline.tracking.wall import Wall
from cardiac_motion.ventricle.beats import Beat
from tests.strain_pipeline.known import BEAT, SHARE, WALL, cine, strain_case, tracked_beat

APEX = np.array([20.0, 65.0])
SEEN = np.ones((120, 130), bool)


def wall(beat=BEAT, shift=0.0, drawn=()):
    lines = APEX + SHARE[:, None, None, None] * (WALL - APEX) + shift
    return Wall(torch.zeros(6, 120, 130), np.ones(6), lines, (beat,), (), drawn)


def motion(size=0.0):
    return RegistrationResult(torch.full((5, 2, 120, 130), size))


def tracker(folder=None):
    return TrackCache(folder, track=lambda case, wall, result, beat, fusion, seen: tracked_beat(beat))


CASE = strain_case(found=cine()).case


@pytest.mark.parametrize(("change", "again"), [
    ({}, False),
    ({"case": replace(CASE, entry=replace(CASE.entry, es=2)), "wall": wall(Beat(0, 2, 5, True))}, False),  # end-systole
    ({"wall": wall(Beat(1, 3, 5, True))}, True),  # end-diastole
    ({"wall": wall(Beat(0, 3, 4, True))}, True),  # end of the beat
    ({"wall": wall(shift=0.001)}, True),  # a wall that was moved
    ({"wall": wall(drawn=(2,))}, True),
    ({"result": motion(0.25)}, True),  # another method
    ({"fusion": Fusion(jerk=0.03)}, True),
])  # fmt: skip
def test_a_beat_is_tracked_again_only_where_its_tracking_reads_something_else(change, again):
    track = tracker()
    track(CASE, wall(), motion(), Fusion(), SEEN)
    given = {"case": CASE, "wall": wall(), "result": motion(), "fusion": Fusion(), **change}
    track(**given, seen=SEEN)
    assert track.tracked == 1 + again


def test_end_systole_is_that_of_the_user_or_of_the_smallest_cavity():
    track = tracker()
    (found,) = track(CASE, wall(Beat(0, 1, 5, True)), motion(), Fusion(), SEEN)
    assert found.beat == Beat(0, 3, 5, True)  # SHARE is smallest at frame 3
    given = replace(CASE, entry=replace(CASE.entry, es=2))
    (found,) = track(given, wall(Beat(0, 2, 5, True)), motion(), Fusion(), SEEN)
    assert found.beat.es == 2 and track.tracked == 1


def test_what_is_kept_in_a_folder_is_taken_by_another_process_and_is_the_same(tmp_path):
    first, second = tracker(tmp_path), tracker(tmp_path)
    (one,) = first(CASE, wall(), motion(), Fusion(), SEEN)
    (other,) = second(CASE, wall(), motion(), Fusion(), SEEN)
    assert (first.tracked, second.tracked) == (1, 0)
    np.testing.assert_array_equal(one.lines, other.lines)
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(b"damaged")
    third = tracker(tmp_path)
    third(CASE, wall(), motion(), Fusion(), SEEN)
    assert third.tracked == 1


def test_what_another_version_tracked_is_not_taken(tmp_path, monkeypatch):
    tracker(tmp_path)(CASE, wall(), motion(), Fusion(), SEEN)
    monkeypatch.setattr("cardiac_motion.strain_pipeline.tracking.track_cache.code_stamp", lambda: "another")
    track = tracker(tmp_path)
    track(CASE, wall(), motion(), Fusion(), SEEN)
    assert track.tracked == 1


def test_only_the_latest_are_kept(tmp_path):
    track = TrackCache(tmp_path, 2, 3, lambda case, wall, result, beat, fusion, seen: tracked_beat(beat))
    for k in range(5):
        track(CASE, wall(shift=0.1 * k), motion(), Fusion(), SEEN)
    assert len(track.beats) == 2 and len(list(tmp_path.glob("*.npz"))) == 3


def test_a_tracked_beat_comes_back_with_all_its_parts(tmp_path):
    size = (6, 3, 121)
    beat = tracked_beat(fb_error=np.full(121, 0.5), deviation=np.full(size, 0.25), line_sd=np.full(size[1:], 0.125))
    write_tracked(tmp_path / "beat.npz", beat)
    found = read_tracked(tmp_path / "beat.npz")
    assert found.beat == beat.beat
    for name in ("lines", "lncc2", "fb_error", "outside", "deviation", "line_sd"):
        np.testing.assert_array_equal(getattr(found, name), getattr(beat, name))
