"""Bars have names, and those of short steps are not shown."""

import io

import pytest

from cardiac_motion.core import bars
from cardiac_motion.core.bars import count_bytes, show_bar


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
