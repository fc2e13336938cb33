"""Values of a DICOM header, read one by one: an invalid value is ignored, with a note that names it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag

from cardiac_motion.cine.loop import silence

MAX_SHOWN = 40  # characters of a value in a note


class Header:
    """Values of a pydicom dataset by keyword.

    Args:
        dataset: pydicom dataset.
        notes: list to which one sentence is appended for each invalid value.
    """

    def __init__(self, dataset: Any, notes: list[str] | None = None) -> None:
        self.dataset, self.notes = dataset, [] if notes is None else notes

    def numbers(self, keyword: str, count: int | None = None) -> list[float] | None:
        """Return the finite numbers of a tag; None if it is missing, empty or invalid.

        Args:
            keyword: keyword of the tag.
            count: expected number of values; None is any.
        """
        value = self._value(keyword)
        if value is None:
            return None
        try:
            items = [value] if isinstance(value, str | int | float) else list(value)
            numbers = [float(item) for item in items]
        except (TypeError, ValueError, OverflowError):
            self._note_invalid(keyword, value)
            return None
        if not numbers:
            return None
        if not np.isfinite(numbers).all() or (count is not None and len(numbers) != count):
            self._note_invalid(keyword, value)
            return None
        return numbers

    def number(self, keyword: str) -> float | None:
        """Return the number of a single-valued tag; None if missing or invalid."""
        values = self.numbers(keyword, 1)
        return None if values is None else values[0]

    def positive(self, keyword: str) -> float | None:
        """Return the number of a tag if it is positive; values of 0 or less mean unknown."""
        value = self.number(keyword)
        return value if value is not None and value > 0 else None

    def whole(self, keyword: str) -> int | None:
        """Return the integer of a tag; None if missing or not an integer."""
        value = self.number(keyword)
        if value is None:
            return None
        if value != int(value):
            self._note_invalid(keyword, value)
            return None
        return int(value)

    def text(self, keyword: str) -> str:
        """Return the text of a tag with single spaces; empty if missing."""
        value = self._value(keyword)
        return "" if value is None else " ".join(str(value).split())

    def items(self, keyword: str) -> list[Header]:
        """Return the items of a sequence; empty if it is missing or not a sequence."""
        value = self._value(keyword)
        if value is None:
            return []
        try:
            items = [item for item in value if hasattr(item, "file_meta") or hasattr(item, "elements")]
        except TypeError:
            items = []
        if not items and not isinstance(value, list) and len(value):
            self._note_invalid(keyword, value)
        return [Header(item, self.notes) for item in items]

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.dataset

    def _value(self, keyword: str) -> Any:
        """Return pydicom's value of a tag; None if it is missing, empty or unreadable."""
        if keyword not in self.dataset:
            return None
        try:
            with silence("pydicom"):
                value = self.dataset[keyword].value
        except Exception:  # pydicom's converters raise various errors for invalid bytes
            self._note_invalid(keyword, self._raw(keyword))
            return None
        return None if value is None or (isinstance(value, str | bytes) and not value.strip()) else value

    def _raw(self, keyword: str) -> Any:
        raw = self.dataset.get_item(Tag(tag_for_keyword(keyword) or 0))
        value = getattr(raw, "value", b"")
        return value.decode("latin-1") if isinstance(value, bytes) else value

    def _note_invalid(self, keyword: str, value: Any) -> None:
        note = f"{describe_tag(keyword)} is invalid ({shorten(value)}); it is ignored."
        if note not in self.notes:
            self.notes.append(note)


def describe_tag(keyword: str) -> str:
    """Return keyword and number of a tag, such as ``FrameTime (0018,1063)``."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    return f"{keyword} ({tag.group:04X},{tag.element:04X})"


def shorten(value: Any) -> str:
    """Format a value for a note: printable, on one line, truncated if long."""
    parts = [value] if isinstance(value, str | int | float) else list(_parts(value))
    words = "\\".join(str(part) for part in parts)
    words = "".join(letter if letter.isprintable() else "?" for letter in " ".join(words.split()))
    return f"{words[:MAX_SHOWN]}…" if len(words) > MAX_SHOWN else words


def _parts(value: Any) -> Iterator[Any]:
    try:
        yield from value
    except TypeError:
        yield value
