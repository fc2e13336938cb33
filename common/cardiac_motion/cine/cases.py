"""Data sets of cine cases: the input of one bundle run, one cine at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom import examples
from torch.utils.data import Dataset

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.cine.study import StudyCine, format_listing, is_dicomdir, list_cines
from cardiac_motion.cine.transforms import cine_transforms
from cardiac_motion.core.datalist import case_name, check_one_source, complete_entries, read_datalist
from cardiac_motion.core.errors import InputError, unwrap_errors


def demo_cine() -> str:
    """Return the path of the apical four-chamber cine (DICOM, 30 frames) that ships with pydicom.

    Examples:
        >>> Path(demo_cine()).is_file()
        True
    """
    return str(examples.get_path("ybr_color"))


class CineCases(Dataset[CineCase]):
    """Data set of cines as cases: all frame pairs of each, with the mask in which to register.

    Args:
        input: a file, a folder of images, a study folder or a DICOMDIR (all of its cines are used), or a list of these;
            with neither ``input`` nor ``datalist``, the cine that ships with pydicom.
        datalist, fold, dataset_dir: list of cines, its fold, and the folder of its paths (``read_datalist``). An entry
            may set ``spacing``, and ``ed``, ``es``, ``ed_mask``, ``es_mask`` or ``blood_mask`` for blood. If it has
            ``es_image``, its ``image`` is one frame at end-diastole, and the cine consists of these two frames.
        spacing: (row, column) in mm/px; overrides the files'.
        ed_mask, es_mask, ed, es: LV cavity masks (image or NIfTI, X × Y) and their frames: blood is tracked, with the
            myocardium masked out (NMSR section 3).
        blood_mask: alternatively, a label map (X, Y, T) of all frames in which 1 is blood.
        transform: maps an entry to its case; None is ``transforms.cine_transforms()``.
        data: entries in the datalist's format (``image``, …), instead of ``input`` and ``datalist``.

    Examples:
        >>> import tempfile, torch
        >>> from cardiac_motion.cine.write import write_cine
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cine(f"{folder}/a4c.nii.gz", torch.rand(1, 3, 32, 40))
        ...     case = CineCases(f"{folder}/a4c.nii.gz", spacing=0.5)[0]
        >>> case.name, tuple(case.image.shape), tuple(case.cine.shape), case.meta.spacing
        ('a4c', (2, 2, 32, 40), (1, 3, 32, 40), (0.5, 0.5))
    """

    def __init__(
        self,
        input: str | Sequence[str] | None = None,
        datalist: str | None = None,
        fold: str = "test",
        dataset_dir: str = ".",
        spacing: Sequence[float] | float | None = None,
        ed_mask: str | None = None,
        es_mask: str | None = None,
        ed: int | None = None,
        es: int | None = None,
        blood_mask: str | None = None,
        transform: Callable[[dict[str, Any]], CineCase] | None = None,
        data: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        given = {
            "spacing": spacing,
            "ed_mask": ed_mask,
            "es_mask": es_mask,
            "ed": ed,
            "es": es,
            "blood_mask": blood_mask,
        }
        check_one_source(input, datalist, data)
        if data is not None:
            entries = complete_entries(data, dataset_dir)
        elif datalist is not None:
            entries = read_datalist(datalist, fold, dataset_dir)
        else:
            paths = [input] if isinstance(input, str) else list([demo_cine()] if input is None else input)
            if not paths:
                raise InputError("the input is an empty list; give at least one file or folder")
            entries = [entry for path in paths for entry in cine_entries(path)]
        self.entries = [{**{k: v for k, v in given.items() if v is not None}, **entry} for entry in entries]
        self.transform = transform or cine_transforms()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> CineCase:
        """Return one case: ``image [N, 2, H, W]``, ``mask [1 or N, 1, H, W]`` bool, ``cine [1, T, H, W]``.

        Raises:
            InputError: the cine or a mask cannot be used.
        """
        with unwrap_errors():
            return self.transform(self.entries[index])


def cine_entries(path: str | Path) -> list[dict[str, Any]]:
    """Return an entry for each cine of a path: a file or a folder of images is one; those of a study are listed.

    Raises:
        InputError: the study contains no cine.

    Examples:
        >>> cine_entries("a4c.avi")
        [{'image': 'a4c.avi', 'case': 'a4c'}]
    """
    source = Path(path)
    if not str(path).strip():
        raise InputError("the input is empty; give a file or a folder")
    if not (source.is_dir() or is_dicomdir(source)):
        return [{"image": str(path), "case": case_name(path)}]
    cines = list_cines(source)
    if [cine.files for cine in cines] == [[source]]:
        return [{"image": str(path), "case": case_name(path)}]
    print(f"{path}: {len(cines)} cine{'s' if len(cines) > 1 else ''}\n{format_listing(cines)}")
    return [_entry(cine) for cine in cines]


def _entry(cine: StudyCine) -> dict[str, Any]:
    entry: dict[str, Any] = {"image": str(cine.files[0]), "case": cine.name}
    return entry if len(cine.files) == 1 else {**entry, "files": [str(file) for file in cine.files]}
