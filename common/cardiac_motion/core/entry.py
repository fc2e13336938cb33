"""A case as it begins its way: the entry of a list that names it, and what a data set reads of it.

What goes from one step to the next are frozen values with typed fields. They are mappings too, of the keys that MONAI's
and ignite's handlers take (``image``, ``pred``, ``label``, …), so that such handlers attach to an evaluator; what is
None has no key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar

from torch import Tensor


class Keyed(Mapping[str, Any]):
    """A value that is a mapping too: ``KEYS`` says which attribute a key stands for."""

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
    """A case of a list: its name, its files and what is said of it; paths are whole or start where the program runs.

    Attributes:
        case: name of the folder of its results.
        image: file or folder.
        files: of a cine, one a frame, where ``image`` is the first of several.
        label: of a volume.
        atlas: name of the one atlas that is to be registered to a volume, where it isn't chosen.
        es_image: frame at end-systole, where ``image`` is the one at end-diastole.
        ed_label, es_label: labels of these two.
        spacing: (row, column) in mm/px, over what the files say.
        frame_rate: frames/s, over what the file says.
        ed, es: frames of end-diastole and end-systole.
        ed_mask, es_mask: cavity at those.
        contour: of the endocardium or the wall, as the user draws it.
        assumed_view: apical view that the user says it is.
        blood_mask: label map of the blood in every frame, (X, Y, T), 1 is blood.
        ddf, mask, contours, summary, body, velocity: truth of a simulated cine.
        phantom: number of a synthetic volume.
    """

    case: str
    image: str
    files: Sequence[str] | None = None
    label: str | None = None
    atlas: str | None = None
    es_image: str | None = None
    ed_label: str | None = None
    es_label: str | None = None
    spacing: Sequence[float] | float | None = None
    frame_rate: float | None = None
    ed: int | None = None
    es: int | None = None
    ed_mask: str | None = None
    es_mask: str | None = None
    contour: str | None = None
    assumed_view: str | None = None
    blood_mask: str | None = None
    ddf: str | None = None
    mask: str | None = None
    contours: str | None = None
    summary: str | None = None
    body: str | None = None
    velocity: str | None = None
    phantom: int | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Entry:
        """The entry of a datalist; keys that mean nothing here are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})


@dataclass(frozen=True, eq=False)
class Case(Keyed):
    """What a data set reads of an entry.

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
        """Of the case and of the folder of its results."""
        return self.entry.case
