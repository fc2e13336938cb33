"""The log of a case: steps that are only ever added, undo and redo among them, so that it tells how a result came.

An entry has ``when``, ``who``, ``what`` (in words), ``method``, the ``edits`` that hold after it, and, of a change,
``field`` (what was changed) with its value ``before`` and ``after``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Edits = dict[str, Any]
Entry = Mapping[str, Any]


def history(log: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The steps that hold, and those that were undone, the next to redo last."""
    done: list[Entry] = []
    undone: list[Entry] = []
    for entry in log:
        if entry["what"] == "undo" and done:
            undone.append(done.pop())
        elif entry["what"] == "redo" and undone:
            done.append(undone.pop())
        else:
            done, undone = [*done, entry], []
    return done, undone


def state_of(log: Sequence[Entry]) -> Edits:
    """The edits that hold now."""
    done = history(log)[0]
    return dict(done[-1]["edits"]) if done else {}


def apply_turn(log: Sequence[Entry], what: str) -> Edits | None:
    """The edits that hold after an ``undo`` or a ``redo``; None where there is nothing to undo or redo."""
    done, undone = history(log)
    if what == "undo" and done:
        return dict(done[-2]["edits"]) if len(done) > 1 else {}
    if what == "redo" and undone:
        return dict(undone[-1]["edits"])
    return None


def describe_changes(log: Sequence[Entry]) -> list[str]:
    """What was changed by hand and holds now, a sentence a field: from the first value to the last, and by whom.

    Examples:
        >>> log = [{"what": "ES 19 → 21", "field": "es", "before": 19, "after": 21, "who": "Ada", "edits": {"es": 21}},
        ...        {"what": "ES 21 → 22", "field": "es", "before": 21, "after": 22, "who": "Ada", "edits": {"es": 22}}]
        >>> describe_changes(log)
        ['End-systole moved from frame 19 to 22, by Ada.']
    """
    done = history(log)[0]
    reset = max((k for k, entry in enumerate(done) if entry.get("field") == "reset"), default=-1)
    fields: dict[str, list[Entry]] = {}
    for entry in done[reset + 1 :]:
        fields.setdefault(str(entry.get("field", entry["what"])), []).append(entry)
    edits = state_of(log)
    return [
        f"{words}, by {_names(steps)}." for field, steps in fields.items() if (words := _words(field, steps, edits))
    ]


def _words(field: str, steps: Sequence[Entry], edits: Edits) -> str:
    before, after = steps[0].get("before"), steps[-1].get("after")
    if field in ("ed", "es"):
        name = "End-diastole" if field == "ed" else "End-systole"
        return "" if before == after else f"{name} moved from frame {before} to {after}"
    if field in ("wall", "clicks"):
        frames = sorted({int(entry["after"]) for entry in steps} & {int(t) for t in edits.get("drawn") or {}})
        verb = "moved" if field == "wall" else "placed by three clicks"
        return f"Wall {verb} at frame{'s' if len(frames) > 1 else ''} {', '.join(map(str, frames))}" if frames else ""
    if field == "exclude_segments":
        names = ", ".join(edits.get("exclude_segments") or [])
        return f"Segments excluded: {names}" if names else ""
    if field == "ignore_checks":
        return "Failed checks ignored" if edits.get("ignore_checks") else ""
    if field in ("view", "layer"):
        return "" if before == after else f"{field.title()} changed from {_plain(before)} to {_plain(after)}"
    return str(steps[-1]["what"])[:1].upper() + str(steps[-1]["what"])[1:]


def _plain(value: Any) -> str:
    return str(value).replace("apical_", "").replace("_", " ")


def _names(steps: Sequence[Entry]) -> str:
    names = dict.fromkeys(str(entry.get("who") or "somebody who gave no name") for entry in steps)
    return " and ".join(names)
