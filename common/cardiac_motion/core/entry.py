"""Entries of case lists, and the cases that a data set reads from them.

What goes from one step to the next are frozen values with typed fields. They are mappings too, of the keys that MONAI's
and ignite's handlers take (``image``, ``pred``, ``label``, …), so that such handlers attach to an evaluator; what is
None has no key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from cardiac_motion.core.errors import InputError

E = TypeVar("E", bound="Entry")
NUMBERS = {int: Integral, float: Real}
WORDS = {int: "a whole number", float: "a number", str: "text"}


class Keyed(Mapping[str, Any]):
    """Base of values that are also mappings: ``KEYS`` maps each key to an attribute."""

    KEYS: ClassVar[Mapping[str, str]] = {}

    def __getitem__(self, key: str) -> Any:
        value = attrgetter(self.KEYS[key])(self)
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter([key for key, name in self.KEYS.items() if attrgetter(name)(self) is not None])

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class Entry:
    """Entry of a case list: name, input and the list's further information.

    A package that knows more of its cases types their keys in a subclass (``CineEntry``, ``VolumeEntry``,
    ``CineTruth``); ``read_as`` reads one kind from another. Paths are whole or start where the program runs.

    Attributes:
        case: name of the folder of its results.
        image: file or folder.
        further: what the list says that this kind does not type.
    """

    case: str
    image: str
    further: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build an entry from a datalist's dictionary.

        Raises:
            InputError: a value isn't of its key's type; the line names the input and the key.
        """
        hints = {name: hint for name, hint in get_type_hints(cls).items() if name != "further"}
        for key, value in values.items():
            if key in hints and not _fits(value, hints[key]):
                raise InputError(f"{values['image']}: {key} is {value!r}, expected {_describe(hints[key])}")
        own = {key: value for key, value in values.items() if key in hints}
        return cls(**own, further={key: value for key, value in values.items() if key not in hints})

    def to_dict(self) -> dict[str, Any]:
        """Return the dictionary that ``from_dict`` reads, without unset keys."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "further"}
        return {**{key: value for key, value in own.items() if value is not None}, **self.further}

    def read_as(self, kind: type[E]) -> E:
        """Convert the entry to another entry class.

        Raises:
            InputError: as ``from_dict``.

        Examples:
            >>> Entry("a", "a.nii").read_as(Entry)
            Entry(case='a', image='a.nii', further={})
        """
        return kind.from_dict(self.to_dict())


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, numbers by what they are and not by their class."""
    parts = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if get_origin(hint) is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_fits(v, parts[0]) for v in value)
    if hint in NUMBERS:
        return isinstance(value, NUMBERS[hint]) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    """A type in words."""
    parts = sorted((p for p in get_args(hint) if p is not NoneType), key=lambda p: bool(get_args(p)))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_describe, parts))
    return f"a list, each {_describe(parts[0])}" if get_origin(hint) is Sequence else WORDS[hint]


@dataclass(frozen=True, eq=False)
class Case(Keyed):
    """Case read from an entry by a data set.

    Attributes:
        entry: where it came from.
        image: moving and fixed pairs ``[N, 2, *S]`` of a cine; one volume ``[1, 1, *S]``; unit range.
        mask: ``[1 or N, 1, *S]`` bool, where to register; None is everywhere.
    """

    KEYS: ClassVar[Mapping[str, str]] = {"case": "name", "image": "image", "mask": "mask", "entry": "entry"}

    entry: Entry
    image: Tensor
    mask: Tensor | None

    @property
    def name(self) -> str:
        """Case name; also the name of its result folder."""
        return self.entry.case
