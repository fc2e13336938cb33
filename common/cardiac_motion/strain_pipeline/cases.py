"""The cines that strain is measured in, with what the user says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.cine.transforms import cine_transforms
from cardiac_motion.core.errors import InputError


@runtime_checkable
class OneStudy(Protocol):
    """A data set that says whether its cines are those of one study."""

    study: bool


class StudyCases(CineCases):
    """Cines of one examination, or of a datalist, with what the user says of them.

    Args:
        input, datalist, fold, dataset_dir, spacing: as in ``CineCases``; ``input`` may be a list of cines.
        view: apical view to take a cine for, over the classifier's word (``apical_4ch`` or ``A4C``, …).
        ed, es: frames of end-diastole and end-systole.
        frame_rate: frames/s, over what the files say: of pictures, and of videos that play slower than acquired.
        contour: file of the wall at end-diastole (``wall_files.read_wall``).
        transform: from an entry to its case; None is that of cines in grey, brought to square pixels.
        data: as in ``CineCases``.

    Each of the last five is one for all cines, or a list with one for each, None where nothing is said; an entry of a
    datalist may carry ``assumed_view``, ``ed``, ``es``, ``frame_rate`` and ``contour``.

    Attributes:
        study: whether the cines are those of one study: a list, or a folder of several.

    Raises:
        InputError: lists of different lengths, two cines of one name, or what ``CineCases`` raises.
    """

    def __init__(
        self,
        input: str | Sequence[str] | None = None,
        datalist: str | None = None,
        fold: str = "test",
        dataset_dir: str = ".",
        spacing: Sequence[float] | float | None = None,
        view: str | Sequence[str | None] | None = None,
        ed: int | Sequence[int | None] | None = None,
        es: int | Sequence[int | None] | None = None,
        contour: str | Sequence[str | None] | None = None,
        frame_rate: float | Sequence[float | None] | None = None,
        transform: Callable[[dict[str, Any]], CineCase] | None = None,
        data: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        transform = transform or cine_transforms(square=True, grey=True, still=True)
        super().__init__(input, datalist, fold, dataset_dir, spacing, transform=transform, data=data)
        self.study = not datalist and data is None and (isinstance(input, list | tuple) or len(self.entries) > 1)
        said: dict[str, Any] = {"view": view, "ed": ed, "es": es, "contour": contour, "frame_rate": frame_rate}
        for name, given in said.items():
            values = list(given) if isinstance(given, list | tuple) else [given] * len(self.entries)
            if len(values) != len(self.entries):
                raise InputError(f"--{name} has {len(values)} values for {len(self.entries)} cines")
            for entry, value in zip(self.entries, values, strict=True):
                if value is not None:
                    entry["assumed_view" if name == "view" else name] = value
