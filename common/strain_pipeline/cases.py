"""The cines that strain is measured in, with what the user says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.cine.case import CineCase
from common.cine.cases import CineCases
from common.cine.dicom import COLOUR_FLOW
from common.core.errors import InputError


class StudyCases(CineCases):
    """Cines of one examination, or of a datalist, with what the user says of them.

    Args:
        input, datalist, fold, dataset_dir, spacing, frames: as in ``CineCases``; ``input`` may be a list of cines.
        view: apical view to take a cine for, over the classifier's word (``apical_4ch`` or ``A4C``, …).
        ed, es: frames of end-diastole and end-systole.
        contour: file of the wall at end-diastole (``contour.read_wall``).

    Each of the last four is one for all cines, or a list with one for each, None where nothing is said; an entry of a
    datalist may carry ``assumed_view``, ``ed``, ``es`` and ``contour``.

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
        frames: int = 0,
        view: str | Sequence[str | None] | None = None,
        ed: int | Sequence[int | None] | None = None,
        es: int | Sequence[int | None] | None = None,
        contour: str | Sequence[str | None] | None = None,
    ) -> None:
        super().__init__(input, datalist, fold, dataset_dir, spacing, frames=frames)
        said: dict[str, Any] = {"view": view, "ed": ed, "es": es, "contour": contour}
        for name, given in said.items():
            values = list(given) if isinstance(given, list | tuple) else [given] * len(self.entries)
            if len(values) != len(self.entries):
                raise InputError(f"--{name} has {len(values)} values for {len(self.entries)} cines")
            for entry, value in zip(self.entries, values, strict=True):
                if value is not None:
                    entry["assumed_view" if name == "view" else name] = value

    def __getitem__(self, index: int) -> CineCase:
        """A case as ``CineCases`` gives it.

        Raises:
            InputError: colour Doppler, or two images side by side.
        """
        case = super().__getitem__(index)
        meta, source = case.meta, case.entry.image
        if meta.colour_flow:
            raise InputError(f"{source}: colour Doppler; strain is measured in grey-scale cines")
        regions = [r for r in meta.regions if r["spatial_format"] == 1 and r["data_type"] != COLOUR_FLOW]
        if len(regions) > 1 and any(beside(a, b) for a in regions for b in regions):
            raise InputError(f"{source}: {len(regions)} images side by side in each frame; crop to one of them")
        return case


def beside(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two ultrasound regions (``cine.ultrasound_regions``) share no pixel."""
    if None in (*(a[k] for k in ("x0", "y0", "x1", "y1")), *(b[k] for k in ("x0", "y0", "x1", "y1"))):
        return False
    return a["x1"] < b["x0"] or b["x1"] < a["x0"] or a["y1"] < b["y0"] or b["y1"] < a["y0"]
