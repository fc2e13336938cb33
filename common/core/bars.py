"""Progress bars: each step that may take more than two seconds has one, with its name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

BAR_AFTER = 2.0  # seconds that a step takes before its bar is shown

T = TypeVar("T")


def show_bar(items: Iterable[T], name: str, unit: str) -> Iterable[T]:
    """``items``, one after the other, with a bar that shows after two seconds and stays.

    Args:
        items: of a known length.
        name: of the step, before its bar.
        unit: what is counted.

    Examples:
        >>> sum(show_bar([1, 2, 3], "adding", "number"))
        6
    """
    return tqdm(items, desc=name, unit=unit, delay=BAR_AFTER, mininterval=0.5)
