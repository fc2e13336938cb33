"""Bars have names, and those of short steps are not shown."""

import io

import pytest

from cardiac_motion.core import bars
from cardiac_motion.core.bars import count_bytes, show_bar, show_case_bar, show_step


@pytest.mark.parametrize(("after", "shown"), [(2.0, False), (0.0, True)])
def test_a_bar_is_shown_when_a_step_takes_long(after, shown, monkeypatch, capsys):
    monkeypatch.setattr(bars, "BAR_AFTER", after)
    assert list(show_bar([3, 1], "similarity", "batch")) == [3, 1]
    errors = capsys.readouterr().err
    assert ("similarity: 100%" in errors and "batch" in errors) == shown and bool(errors) == shown


def test_what_does_not_know_its_length_may_be_told(monkeypatch, capsys):
    monkeypatch.setattr(bars, "BAR_AFTER", 0.0)
    assert list(show_bar(iter("abcd"), "reading", "frame", 4)) == list("abcd")
    assert "4/4" in capsys.readouterr().err


def test_bytes_are_counted_and_arrive(monkeypatch, capsys):
    monkeypatch.setattr(bars, "BAR_AFTER", 0.0)
    packed = io.BytesIO()
    with count_bytes(packed, "writing a.nii.gz", 8) as file:
        file.write(b"abc")
        file.write(b"defgh")
    errors = capsys.readouterr().err
    assert packed.getvalue() == b"abcdefgh" and "writing a.nii.gz: 100%" in errors and "8.00/8.00" in errors


def test_a_case_has_one_bar_that_names_its_step(monkeypatch, capsys):
    monkeypatch.setattr(bars, "BAR_AFTER", 0.0)
    places = []
    with show_case_bar("heart", {"wall": 1.0, "motion": 3.0}) as bar:
        for step, items in (("wall", range(2)), ("motion", range(4)), ("motion", range(2)), ("unknown", iter("ab"))):
            with show_step(step):
                for _ in show_bar(items, "a loop", "batch"):
                    places.append(bar.done)
                bar.bar.refresh()
    errors = capsys.readouterr().err
    assert places == sorted(places) and bar.done == pytest.approx(4.0) and bar.bar.n == pytest.approx(4.0)
    assert places[:4] == [0.0, 0.25, 1.0, 1.375], "a loop goes half of the way that its step has left"
    assert "heart, wall: " in errors and "heart, motion: " in errors and "a loop" not in errors and ": :" not in errors
    assert list(show_bar([1], "after", "batch")) == [1]
    assert "after" in capsys.readouterr().err, "the next loop has its own again"


def test_a_hidden_bar_silences_the_loops_in_it(monkeypatch, capsys):
    monkeypatch.setattr(bars, "BAR_AFTER", 0.0)
    with show_case_bar("heart", {}, hidden=True):
        assert list(show_bar([1, 2], "a loop", "batch")) == [1, 2]
    assert capsys.readouterr().err == ""
