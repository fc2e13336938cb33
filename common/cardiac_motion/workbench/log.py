"""The log of a case: steps that are only ever added, undo and redo among them, so that it tells how a result came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Edits = dict[str, Any]


def history(log: Sequence[Mapping[str, Any]]) -> tuple[list[Edits], list[Edits]]:
    """The edits that are done, and those that were undone."""
    done: list[Edits] = []
    undone: list[Edits] = []
    for entry in log:
        if entry["what"] == "undo" and done:
            undone.append(done.pop())
        elif entry["what"] == "redo" and undone:
            done.append(undone.pop())
        else:
            done, undone = [*done, entry["edits"]], []
    return done, undone


def state_of(log: Sequence[Mapping[str, Any]]) -> Edits:
    """The edits that hold now."""
    done = history(log)[0]
    return dict(done[-1]) if done else {}


def apply_turn(log: Sequence[Mapping[str, Any]], what: str) -> Edits | None:
    """The edits that hold after an ``undo`` or a ``redo``; None where there is nothing to undo or redo."""
    done, undone = history(log)
    if what == "undo" and done:
        return dict(done[-2]) if len(done) > 1 else {}
    if what == "redo" and undone:
        return dict(undone[-1])
    return None
