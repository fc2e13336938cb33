"""Bars have names, and those of short steps are not shown."""

import pytest

from common.core import bars
from common.core.bars import show_bar


@pytest.mark.parametrize(("after", "shown"), [(2.0, False), (0.0, True)])
def test_a_bar_is_shown_when_a_step_takes_long(after, shown, monkeypatch, capsys):
    monkeypatch.setattr(bars, "BAR_AFTER", after)
    assert list(show_bar([3, 1], "similarity", "batch")) == [3, 1]
    errors = capsys.readouterr().err
    assert ("similarity: 100%" in errors and "batch" in errors) == shown and bool(errors) == shown
