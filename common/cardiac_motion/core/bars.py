"""Progress bars for steps that may take more than two seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

BAR_AFTER = 2.0  # seconds that a step takes before its bar is shown

T = TypeVar("T")


def show_bar(items: Iterable[T], name: str, unit: str, total: int | None = None) -> Iterable[T]:
    """Iterate over ``items`` with a progress bar that appears after two seconds and stays.

    Args:
        items: of a known length, or of ``total``.
        name: of the step, before its bar.
        unit: what is counted.
        total: how many items there are, where they don't say it.

    Examples:
        >>> sum(show_bar([1, 2, 3], "adding", "number"))
        6
    """
    case = _CASE.get()
    if case is not None:
        return case.follow(items, total)
    return tqdm(items, desc=name, unit=unit, total=total, delay=BAR_AFTER, mininterval=0.5)


class CaseBar:
    """One bar for all steps of a case, with the step's name; loops inside of a step move it on.

    Args:
        name: of the case.
        shares: of the time that the steps take, by name, in their order; others have none.
        hidden: nothing is shown.
    """

    def __init__(self, name: str, shares: Mapping[str, float], hidden: bool = False) -> None:
        self.name, self.shares = name, dict(shares)
        self.done, self.end = 0.0, 0.0
        shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
        settings: dict[str, Any] = {"delay": BAR_AFTER, "mininterval": 0.5, "bar_format": shape, "disable": hidden}
        self.bar = tqdm(desc=name, total=sum(shares.values()), **settings)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show a step until it ends."""
        share = self.shares.pop(name, 0.0)
        self.end = self.done + share
        self.bar.set_description_str(f"{self.name}, {name}", refresh=False)
        yield
        self._move_to(self.end)

    def follow(self, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        """``items``, one after the other; as a step may hold several loops, each goes half of the way that is left."""
        count = total if total is not None else len(items) if isinstance(items, Sized) else 0
        start, way = self.done, (self.end - self.done) / 2
        for k, item in enumerate(items, 1):
            yield item
            self._move_to(start + way * min(1.0, k / count) if count else start)

    def _move_to(self, place: float) -> None:
        self.bar.update(max(0.0, place - self.done))
        self.done = max(place, self.done)


_CASE: ContextVar[CaseBar | None] = ContextVar("case bar", default=None)


@contextmanager
def show_case_bar(name: str, shares: Mapping[str, float], hidden: bool = False) -> Iterator[CaseBar]:
    """Until the block ends one bar takes the place of those of the loops in it (``CaseBar``).

    Examples:
        >>> with show_case_bar("heart", {"wall": 1.0, "motion": 3.0}) as bar:
        ...     with show_step("wall"):
        ...         found = sum(show_bar([1, 2, 3], "adding", "number"))
        ...     with show_step("motion"):
        ...         pass
        >>> found, bar.done
        (6, 4.0)
    """
    bar = CaseBar(name, shares, hidden)
    token = _CASE.set(bar)
    try:
        yield bar
    finally:
        _CASE.reset(token)
        bar.bar.close()


@contextmanager
def show_step(name: str) -> Iterator[None]:
    """Name a step of the case whose bar is shown, if one is, until the block ends."""
    case = _CASE.get()
    with nullcontext() if case is None else case.step(name):
        yield


@contextmanager
def count_bytes(file: Any, name: str, total: int) -> Iterator[Any]:
    """Wrap a writable ``file`` in a progress bar of the bytes written.

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
