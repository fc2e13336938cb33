"""Case lists in the JSON format of the Medical Segmentation Decathlon, and case names derived from file names."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.core.errors import InputError

NEAR = 0.8  # how alike a mistyped key is to a known one

SUFFIXES = (
    *(".nii.gz", ".nii", ".igs.mha", ".igs.mhd", ".mha", ".mhd", ".seq.nrrd", ".nrrd", ".nhdr"),
    *(".dcm", ".dicom", ".ima", ".gif", ".ome.tif", ".ome.tiff", ".tif", ".tiff"),
    *(".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".ts"),
)  # of the files that a case is read from
# keys of an entry that mean something to some package: CineEntry, VolumeEntry and CineTruth type them
KEYS = (
    *("case", "image", "files", "spacing", "frame_rate", "ed", "es", "contour", "assumed_view", "blood_mask"),
    *("ed_mask", "es_mask", "es_image", "ed_label", "es_label", "label", "atlas", "phantom"),
    *("ddf", "mask", "contours", "summary", "body", "velocity"),
)
# those that name a file
PATHS = ("image", "label", "mask", "blood_mask", "ddf", "velocity", "contour", "contours", "summary")
PATH_ENDINGS = ("_image", "_label", "_mask")  # and how others end that do


def printable_name(name: str) -> str:
    """Return a name that can be written anywhere: bytes that are not UTF-8 become U+FFFD.

    Examples:
        >>> printable_name("a4c")
        'a4c'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def case_name(path: str | Path) -> str:
    """Return the file name without its format suffix: ``a/b.nii.gz`` gives ``b``.

    Examples:
        >>> case_name("study/a4c.nii.gz"), case_name("a.b.dcm")
        ('a4c', 'a.b')
    """
    name = printable_name(Path(path).name)
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_path(key: str) -> bool:
    """Whether a key of an entry names a file.

    Examples:
        >>> is_path("es_mask"), is_path("spacing")
        (True, False)
    """
    return key in PATHS or key.endswith(PATH_ENDINGS)


def resolve_entry(entry: Mapping[str, Any], dataset_dir: str | Path) -> dict[str, Any]:
    """Return the entry with its relative paths resolved against a folder; absolute paths stay.

    Args:
        entry: of a datalist. Paths are ``image``, ``label``, ``mask``, ``ddf``, ``contour``, ``contours``, ``summary``
            and what ends in ``_image``, ``_label`` or ``_mask``.
        dataset_dir: that relative paths start from.

    Examples:
        >>> resolve_entry({"image": "a4c.dcm", "label": "/labels/a4c.nii", "ed": 3}, "study")
        {'image': 'study/a4c.dcm', 'label': '/labels/a4c.nii', 'ed': 3}
    """
    return {
        key: str(Path(dataset_dir) / value) if isinstance(value, str) and is_path(key) else value
        for key, value in entry.items()
    }


def read_datalist(path: str | Path, fold: str, dataset_dir: str | Path = ".") -> list[dict[str, Any]]:
    """Read one fold of a datalist in the Decathlon's JSON format.

    Args:
        path: of the datalist: ``{"training": [{"image": …}, …], "validation": […], "test": […]}``.
        fold: which of its lists.
        dataset_dir: folder that relative paths start from.

    Returns:
        The entries, each with a ``case`` (the image's name where none is given) and its paths as ``resolve_entry``
        joins them.

    Raises:
        InputError: no such file or fold, or not of this format, or two cases of one name.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "list.json"
        ...     _ = path.write_text('{"test": ["a4c.dcm", {"image": "b.dcm", "case": "b1"}]}', encoding="utf-8")
        ...     [entry["case"] for entry in read_datalist(path, "test")]
        ['a4c', 'b1']
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))  # Windows' editors put a mark before it
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON datalist ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get(fold), list):
        folds = [k for k, v in content.items() if isinstance(v, list)] if isinstance(content, dict) else []
        raise InputError(f"{path}: has no list '{fold}' (it has: {', '.join(folds) or 'none'})")
    items = [{"image": item} if isinstance(item, str) else item for item in content[fold]]
    try:
        return complete_entries(items, dataset_dir)
    except InputError as error:
        raise InputError(f"{path}: list '{fold}': {error}") from error


def complete_entries(data: Sequence[Mapping[str, Any]], dataset_dir: str | Path = ".") -> list[dict[str, Any]]:
    """Complete the entries of a datalist, or entries given directly: ``case`` and resolved paths.

    Raises:
        InputError: no entry, one without an ``image`` or with a mistyped key, or two cases of one name.

    Examples:
        >>> complete_entries([{"image": "a4c.dcm"}], "study")
        [{'case': 'a4c', 'image': 'study/a4c.dcm'}]
    """
    if isinstance(data, str | Mapping) or not data:
        raise InputError("expected a list of entries, each with an 'image'; it has none")
    for entry in data:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("image"), str):
            raise InputError(f"expected a list of entries, each with an 'image'; one is {entry}")
        check_keys(entry)
    names = [entry["case"] for entry in data if "case" in entry]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"names a case twice: {', '.join(twice[:3])}")
    return [{"case": case_name(entry["image"]), **resolve_entry(entry, dataset_dir)} for entry in data]


def check_keys(entry: Mapping[str, Any]) -> None:
    """Refuse keys of an entry that look like mistyped known keys; unrelated keys are ignored.

    Raises:
        InputError: a key is nearly one of ``KEYS``; the line names that.

    Examples:
        >>> check_keys({"image": "a.dcm", "patient": 3})
        >>> check_keys({"image": "a.dcm", "spacings": 0.3})
        Traceback (most recent call last):
            ...
        cardiac_motion.core.errors.InputError: the entry a.dcm has a key spacings; did you mean spacing?
    """
    for key in entry:
        near = difflib.get_close_matches(str(key).lower().replace("-", "_"), KEYS, 1, NEAR)
        if key not in KEYS and near:
            raise InputError(f"the entry {entry.get('image')} has a key {key}; did you mean {near[0]}?")


def check_one_source(input: object, datalist: object, data: object) -> None:
    """Check that cases come from one source at most.

    Raises:
        InputError: two of an input, a datalist and entries are given.

    Examples:
        >>> check_one_source("a4c.dcm", None, None)
    """
    given = [name for name, value in (("an input", input), ("a datalist", datalist), ("data", data)) if value]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} are given ({input or datalist}): one of them")
