"""Values of a DICOM header, each on its own: one that can't be understood is lost alone, with a note that names it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag

from cardiac_motion.cine.loop import silence

SHOWN = 40  # characters of a value in a note


class Header:
    """The values of a pydicom dataset by keyword.

    Args:
        dataset: of pydicom.
        notes: a sentence for each value that can't be used goes here, once.
    """

    def __init__(self, dataset: Any, notes: list[str] | None = None) -> None:
        self.dataset, self.notes = dataset, [] if notes is None else notes

    def numbers(self, keyword: str, count: int | None = None) -> list[float] | None:
        """The finite numbers of a tag; None where it is missing, empty, or can't be understood.

        Args:
            keyword: of the tag.
            count: how many numbers it should hold; None is any.
        """
        value = self._value(keyword)
        if value is None:
            return None
        try:
            items = [value] if isinstance(value, str | int | float) else list(value)
            found = [float(item) for item in items]
        except (TypeError, ValueError, OverflowError):
            self._lose(keyword, value)
            return None
        if not found:
            return None
        if not np.isfinite(found).all() or (count is not None and len(found) != count):
            self._lose(keyword, value)
            return None
        return found

    def number(self, keyword: str) -> float | None:
        """The number of a tag that holds one."""
        found = self.numbers(keyword, 1)
        return None if found is None else found[0]

    def positive(self, keyword: str) -> float | None:
        """The number of a tag, where it is above 0; 0 and less mean that it is unknown."""
        found = self.number(keyword)
        return found if found is not None and found > 0 else None

    def whole(self, keyword: str) -> int | None:
        """The whole number of a tag."""
        found = self.number(keyword)
        if found is None:
            return None
        if found != int(found):
            self._lose(keyword, found)
            return None
        return int(found)

    def text(self, keyword: str) -> str:
        """The words of a tag with single spaces; empty where it is missing."""
        value = self._value(keyword)
        return "" if value is None else " ".join(str(value).split())

    def items(self, keyword: str) -> list[Header]:
        """The items of a sequence; none where it is missing or no sequence."""
        value = self._value(keyword)
        if value is None:
            return []
        try:
            found = [item for item in value if hasattr(item, "file_meta") or hasattr(item, "elements")]
        except TypeError:
            found = []
        if not found and not isinstance(value, list) and len(value):
            self._lose(keyword, value)
        return [Header(item, self.notes) for item in found]

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.dataset

    def _value(self, keyword: str) -> Any:
        """What pydicom makes of a tag; None where it is missing, empty, or can't be read."""
        if keyword not in self.dataset:
            return None
        try:
            with silence("pydicom"):
                value = self.dataset[keyword].value
        except Exception:  # whatever pydicom's converters raise of bytes that are no value
            self._lose(keyword, self._raw(keyword))
            return None
        return None if value is None or (isinstance(value, str | bytes) and not value.strip()) else value

    def _raw(self, keyword: str) -> Any:
        raw = self.dataset.get_item(Tag(tag_for_keyword(keyword) or 0))
        value = getattr(raw, "value", b"")
        return value.decode("latin-1") if isinstance(value, bytes) else value

    def _lose(self, keyword: str, value: Any) -> None:
        note = f"{describe_tag(keyword)} can't be understood ({shorten(value)}): it isn't used."
        if note not in self.notes:
            self.notes.append(note)


def describe_tag(keyword: str) -> str:
    """``FrameTime (0018,1063)``."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    return f"{keyword} ({tag.group:04X},{tag.element:04X})"


def shorten(value: Any) -> str:
    """A value as a note shows it: printable, in one line, cut off where it is long."""
    parts = [value] if isinstance(value, str | int | float) else list(_parts(value))
    words = "\\".join(str(part) for part in parts)
    words = "".join(letter if letter.isprintable() else "?" for letter in " ".join(words.split()))
    return f"{words[:SHOWN]}…" if len(words) > SHOWN else words


def _parts(value: Any) -> Iterator[Any]:
    try:
        yield from value
    except TypeError:
        yield value
