"""Progress bars: each step that may take more than two seconds has one, with its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

BAR_AFTER = 2.0  # seconds that a step takes before its bar is shown

T = TypeVar("T")


def show_bar(items: Iterable[T], name: str, unit: str, total: int | None = None) -> Iterable[T]:
    """``items``, one after the other, with a bar that shows after two seconds and stays.

    Args:
        items: of a known length, or of ``total``.
        name: of the step, before its bar.
        unit: what is counted.
        total: how many items there are, where they don't say it.

    Examples:
        >>> sum(show_bar([1, 2, 3], "adding", "number"))
        6
    """
    return tqdm(items, desc=name, unit=unit, total=total, delay=BAR_AFTER, mininterval=0.5)


@contextmanager
def count_bytes(file: Any, name: str, total: int) -> Iterator[Any]:
    """``file`` for writing, with a bar of the bytes that are written into it.

    Args:
        file: open, binary.
        name: of the step.
        total: bytes that will be written, about.

    Examples:
        >>> import io
        >>> with count_bytes(io.BytesIO(), "writing", 4) as file:
        ...     file.write(b"abcd")
        4
    """
    with tqdm(desc=name, unit="B", unit_scale=True, total=total, delay=BAR_AFTER, mininterval=0.5) as bar:
        yield CallbackIOWrapper(bar.update, file, "write")
