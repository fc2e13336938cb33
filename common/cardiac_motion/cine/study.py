"""The cines of a study: a folder of DICOM files or of other cines, or a DICOMDIR (PS3.3 annex F, PS3.10 section 8).

A DICOM file of several frames is a cine; files of one frame each are one together where they belong to a series, are of
one size and follow each other. Whatever else lies there, stills, masks, or the results of an earlier run, is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from natsort import natsorted

from cardiac_motion.cine.dicom import DICOM_SUFFIXES, is_dicom_file, read_header, view_words
from cardiac_motion.cine.dicom_regions import ultrasound_regions
from cardiac_motion.cine.folder import IMAGE_SUFFIXES, MASK_NAME, STACK_SUFFIXES
from cardiac_motion.cine.metaimage import METAIMAGE_SUFFIXES
from cardiac_motion.cine.nifti import NIFTI_SUFFIXES
from cardiac_motion.cine.nrrd import NRRD_SUFFIXES
from cardiac_motion.cine.video import VIDEO_SUFFIXES
from cardiac_motion.core.errors import InputError

OTHER_SUFFIXES = (
    *NIFTI_SUFFIXES, *METAIMAGE_SUFFIXES, *NRRD_SUFFIXES, ".gif", *VIDEO_SUFFIXES, *STACK_SUFFIXES,
)  # fmt: skip
FEWEST_FILES = 8  # of one frame each that make a cine, where other files lie beside them
RESULT = "summary.json"
VIEWS = (
    ("apical_4ch", r"\b(a4c|4ch|ap ?4|apical[ -]?4|apical four|4[ -]chamber|four[ -]chamber)"),
    ("apical_2ch", r"\b(a2c|2ch|ap ?2|apical[ -]?2|apical two|2[ -]chamber|two[ -]chamber)"),
    ("apical_long_axis", r"\b(alax|aplax|a3c|3ch|ap ?3|apical[ -]?3|apical long|apical three|3[ -]chamber)"),
    ("parasternal_long_axis", r"\b(plax|parasternal long)"),
    ("parasternal_short_axis", r"\b(psax|sax|parasternal short|short axis)"),
    ("subcostal", r"\bsubcostal"),
)


@dataclass
class StudyCine:
    """A cine of a study.

    Attributes:
        files: one, or one a frame; a folder of images is one.
        name: of the case, from the place in the study.
        frames: as the header says, None where only reading tells.
        view: as the header says, in its words.
        calibrated: whether the header gives a spacing in mm; None where only reading tells.
        series: number and description of the series.
    """

    files: list[Path]
    name: str
    frames: int | None = None
    view: str | None = None
    calibrated: bool | None = None
    series: str = ""


@dataclass
class _Single:
    """A DICOM file of one frame."""

    path: Path
    size: tuple[Any, ...]
    number: int
    header: Any = field(repr=False)


def is_dicomdir(path: Path) -> bool:
    """Whether a file is the directory of a DICOM file set."""
    return path.is_file() and path.name.upper() == "DICOMDIR"


def cines_of(path: Path) -> list[StudyCine]:
    """All cines of a study folder or of a DICOMDIR, in natural order of their places.

    Raises:
        InputError: there is none.
    """
    if is_dicomdir(path):
        root, listed = path.parent, _read_dicomdir(path)
        dicom, others = [p for p in listed if p.is_file()], list[Path]()
        missing = len(listed) - len(dicom)
    else:
        root, missing = path, 0
        dicom, others = _walk(path)
    found = _dicom_cines(root, dicom) + [StudyCine([p], _name(root, p)) for p in others]
    if not found:
        gone = f", {missing} of its files are missing" if missing else ""
        raise InputError(f"{path}: no cine and no frames in this folder{gone}")
    names = Counter(cine.name for cine in found)
    for cine in found:
        if names[cine.name] > 1:
            cine.name = _name(root, cine.files[0], whole=True)
    return natsorted(found, key=lambda cine: cine.name)


def find_only_cine(path: Path) -> list[Path]:
    """The files of the cine of a folder or DICOMDIR that holds one.

    Raises:
        InputError: it holds none, or several.
    """
    found = cines_of(path)
    if len(found) > 1:
        names = ", ".join(cine.name for cine in found[:4])
        raise InputError(f"{path}: {len(found)} cines ({names}{', …' if len(found) > 4 else ''}); name one of them")
    return found[0].files


def format_listing(cines: Sequence[StudyCine]) -> str:
    """A line a cine for the terminal: name, series, frames, view, calibration."""
    words = {True: "calibrated", False: "not calibrated", None: ""}
    rows = [
        (c.name, c.series, f"{c.frames} frames" if c.frames else "", c.view or "", words[c.calibrated]) for c in cines
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    return "\n".join("  " + "  ".join(f"{w:<{n}}" for w, n in zip(row, widths, strict=True)).rstrip() for row in rows)


def match_view(words: str | None) -> str | None:
    """The project's name of a view that a header names in its own words, or None."""
    return next((name for name, pattern in VIEWS if words and re.search(pattern, words.lower())), None)


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """DICOM files, and other cines: files and folders of images, below a folder."""
    dicom, others, folders = [], [], [root]
    while folders:
        folder = folders.pop()
        if (folder / RESULT).is_file():
            continue
        try:
            entries = natsorted(folder.iterdir(), key=lambda p: p.name.lower())
        except OSError:
            continue
        files = [p for p in entries if p.is_file() and not p.name.startswith(".")]
        folders += [p for p in entries if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]
        pictures = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and not MASK_NAME.search(p.stem)]
        if len(pictures) > 1 and folder != root:
            others.append(folder)
            continue
        for file in files:
            name = file.name.lower()
            stem = re.sub(r"\.(nii\.gz|\w+)$", "", name)
            if name.endswith(DICOM_SUFFIXES) or (("." not in name or name[-1:].isdigit()) and is_dicom_file(file)):
                if name != "dicomdir":
                    dicom.append(file)
            elif name.endswith(OTHER_SUFFIXES) and not MASK_NAME.search(stem):
                others.append(file)
    return dicom, others


def _read_dicomdir(path: Path) -> list[Path]:
    """The files of the image records of a DICOMDIR, in its order; names may be stored in another case."""
    dataset = read_header(path, pixels=False)
    found = []
    try:
        for record in dataset.get("DirectoryRecordSequence") or []:
            parts = record.get("ReferencedFileID")
            if record.get("DirectoryRecordType") in ("IMAGE", "MULTI-FRAME IMAGE") and parts:
                parts = [parts] if isinstance(parts, str) else [str(part) for part in parts]
                if any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts):
                    raise InputError(f"{path}: names a file outside its folder: {'/'.join(parts)}")
                found.append(_find_file(path.parent, parts))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: its records can't be understood ({type(error).__name__})") from error
    if not found:
        raise InputError(f"{path}: this DICOMDIR lists no image")
    return list(dict.fromkeys(found))


def _find_file(folder: Path, parts: Sequence[str]) -> Path:
    for case in (str, str.lower):
        candidate = folder.joinpath(*(case(part) for part in parts))
        if candidate.is_file():
            return candidate
    return folder.joinpath(*parts)


def _dicom_cines(root: Path, files: Iterable[Path]) -> list[StudyCine]:
    cines: list[StudyCine] = []
    singles: dict[tuple[Any, ...], list[_Single]] = {}
    for file in files:
        try:
            header = read_header(file, pixels=False)
            rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
            frames = int(header.get("NumberOfFrames") or 1)
            number = int(header.get("InstanceNumber") or 0)
        except (InputError, TypeError, ValueError):
            cines.append(StudyCine([file], _name(root, file)))  # reading it says what is wrong
            continue
        if not rows or not columns:
            continue
        if frames > 1:
            cines.append(_describe([file], _name(root, file), frames, header))
        else:
            key = (header.get("SeriesInstanceUID"), rows, columns, header.get("SamplesPerPixel"))
            singles.setdefault(key, []).append(_Single(file, (rows, columns), number, header))
    alone = not cines and len(singles) == 1
    for group in singles.values():
        if len(group) >= (2 if alone else FEWEST_FILES):
            group = natsorted(group, key=lambda single: (single.number, single.path.name.lower()))
            first = group[0]
            name = _name(root, first.path.parent) if first.path.parent != root else _series(first.header) or "series"
            cines.append(_describe([single.path for single in group], name, len(group), first.header))
    return cines


def _describe(files: list[Path], name: str, frames: int, header: Any) -> StudyCine:
    try:
        calibrated = any(r["spacing"] for r in ultrasound_regions(header)) or bool(header.get("PixelSpacing"))
        return StudyCine(files, name, frames, view_words(header), calibrated, _series(header))
    except Exception:  # a header that can't be understood is refused when the cine is read
        return StudyCine(files, name, frames)


def _series(header: Any) -> str:
    number, words = header.get("SeriesNumber"), str(header.get("SeriesDescription") or "").strip()
    return " ".join(filter(None, [f"series {number}" if number is not None else "", words[:40]]))


def _name(root: Path, path: Path, whole: bool = False) -> str:
    """A case's name from its place below the study's folder; ``whole`` keeps the suffix."""
    try:
        place = path.relative_to(root)
    except ValueError:
        place = Path(path.name)
    parts = list(place.parts) or [root.name]
    if not whole:
        parts[-1] = re.sub(r"(\.nii\.gz|\.igs\.mh[ad]|\.seq\.nrrd|\.[A-Za-z]\w{1,5})$", "", parts[-1]) or parts[-1]
    return "_".join(parts)
