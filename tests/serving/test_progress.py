"""How far a job is said to be, by what its steps have cost."""

import time

import pytest

from cardiac_motion.serving import progress as P

STEPS = {"wall": "finding the wall", "strain": "strain"}


@pytest.fixture
def told(monkeypatch):
    """What was reported: words, share, seconds left."""
    found = []
    monkeypatch.setattr(P, "report_progress", lambda folder, *words: found.append(words))
    return found


def test_a_share_is_one_of_the_time_that_all_steps_are_expected_to_take(told, tmp_path):
    progress = P.Progress(tmp_path, STEPS, 10, {"wall": 0.3, "strain": 0.1})
    with progress.step("wall"):
        progress.report("wall", 1.0)
    with progress.step("strain"):
        pass
    assert told == [
        ("finding the wall", 0.0, pytest.approx(4.0)),
        ("finding the wall", pytest.approx(0.25), pytest.approx(3.0)),
        ("strain", pytest.approx(0.75), pytest.approx(1.0)),
    ]


def test_of_a_late_step_no_time_is_said_and_its_share_is_never_whole(told, tmp_path):
    progress = P.Progress(tmp_path, {"strain": "strain"}, 10, {"strain": 0.1})
    progress.report("strain", 1.01)
    progress.report("strain", 1000.0)
    assert told == [("strain", pytest.approx(P.LATE), None)] * 2


def test_a_step_is_reported_while_it_lasts_and_measured_by_frame(told, tmp_path, monkeypatch):
    monkeypatch.setattr(P, "TICK", 0.01)
    progress = P.Progress(tmp_path, STEPS, 4)
    with progress.step("wall"):
        time.sleep(0.2)
    count = len(told)
    assert count > 3 and [share for _, share, _ in told] == sorted(share for _, share, _ in told)
    assert 0.05 <= progress.measured["wall"] < 1 and set(progress.measured) == {"wall"}
    time.sleep(0.05)
    assert len(told) == count, "nothing is reported of a step that has ended"


def test_a_step_that_fails_is_neither_reported_further_nor_measured(told, tmp_path, monkeypatch):
    monkeypatch.setattr(P, "TICK", 0.01)
    progress = P.Progress(tmp_path, STEPS, 4)
    with pytest.raises(ValueError, match="no wall"), progress.step("wall"):
        raise ValueError("no wall")
    count = len(told)
    time.sleep(0.05)
    assert len(told) == count and progress.measured == {} and progress.done == 0


def test_costs_of_this_machine_come_before_those_that_are_expected_of_any(tmp_path):
    progress = P.Progress(tmp_path, {**STEPS, "another": "another"}, 0, {"wall": 7.0})
    assert progress.expected == {"wall": 7.0, "strain": P.COSTS["strain"], "another": 1.0}  # of one frame at least


def test_costs_follow_the_machine_and_keep_what_was_not_measured():
    costs = {"wall": 8.0, "view": 2.0}
    for _ in range(12):
        costs = P.merge_costs(costs, {"wall": 1.0, "strain": 0.5})
    assert costs["wall"] == pytest.approx(1.0, abs=0.01) and costs["view"] == 2.0 and costs["strain"] == 0.5
