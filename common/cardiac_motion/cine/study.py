"""The cines of a study: a folder of DICOM files or of other cines, or a DICOMDIR (PS3.3 annex F, PS3.10 section 8).

A DICOM file of several frames is a cine; files of one frame each are one together where they belong to a series, are of
one size and follow each other. A folder of pictures is a cine where no other cine lies in it: scanners put a thumbnail
beside each cine. Whatever else lies there, stills, masks, or the results of an earlier run, is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from cardiac_motion.cine.dicom import read_header, time_of, view_words
from cardiac_motion.cine.dicom_header import Header
from cardiac_motion.cine.dicom_regions import ultrasound_regions
from cardiac_motion.cine.folder import MASK_NAME, list_pictures, read_folder
from cardiac_motion.cine.kinds import count_frames, find_kind
from cardiac_motion.cine.tiff import TIFF_SUFFIXES, count_pages, read_ends
from cardiac_motion.core.datalist import printable_name
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import summary_of

FEWEST_FILES = 8  # of one frame each that make a cine, where other files lie beside them
LONGEST_GAP = 2.0  # s between the acquisition of files that follow each other
ALIKE = 0.8  # least correlation of neighbouring pictures that are a cine among other cines
DAY = 86400.0  # s
CLOCKS = ("AcquisitionDateTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime")
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3"  # ultrasound multi-frame, the retired one and the present one


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
    number: int | None
    header: Header = field(repr=False)


@dataclass
class _Folder:
    """What lies in one folder: DICOM files, other cines, and pictures (or stacks that go on with each other)."""

    place: Path
    dicom: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)


def is_dicomdir(path: Path) -> bool:
    """Whether a file is the directory of a DICOM file set."""
    return path.is_file() and path.name.upper() == "DICOMDIR"


def cines_of(path: Path) -> list[StudyCine]:
    """All cines of a study folder or of a DICOMDIR, in natural order of their places.

    Raises:
        InputError: there is none.
    """
    pictures: list[Path] = []
    if is_dicomdir(path):
        root, listed = path.parent, _read_dicomdir(path)
        dicom, others = [p for p in listed if p.is_file()], list[Path]()
        missing = len(listed) - len(dicom)
    else:
        root, missing = path, 0
        folders = _walk(path)
        dicom, others = ([p for folder in folders for p in getattr(folder, kind)] for kind in ("dicom", "others"))
        pictures = _picture_cines(folders)
    found = _dicom_cines(root, dicom) + [StudyCine([p], _name(root, p), count_frames(p)) for p in [*others, *pictures]]
    if not found:
        gone = f", {missing} of its files are missing" if missing else ""
        stills = (
            f", {len(dicom)} DICOM files of single frames that don't follow each other" if dicom and not gone else ""
        )
        if not gone and not stills and any(list_pictures(path)[0]):
            raise InputError(f"{path}: only 1 frame in this folder; a cine needs at least two")
        raise InputError(f"{path}: no cine and no frames in this folder{gone}{stills}")
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


def _walk(root: Path) -> list[_Folder]:
    """What lies in a folder and in all below it, but for hidden ones and results of this program."""
    found, folders = [], [root]
    while folders:
        place = folders.pop()
        if "method" in (summary_of(place) or {}):
            continue
        try:
            entries = natsorted(place.iterdir(), key=lambda p: p.name.lower())
        except OSError:
            continue
        folders += [p for p in entries if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]
        found.append(_look_into(place, [p for p in entries if p.is_file() and not p.name.startswith(".")]))
    return found


def _look_into(place: Path, files: Sequence[Path]) -> _Folder:
    found = _Folder(place)
    stacks: list[Path] = []
    for file in files:
        kind, stem = find_kind(file), re.sub(r"\.(nii\.gz|\w+)$", "", file.name.lower())
        if kind == "dicom":
            if file.name.upper() != "DICOMDIR":
                found.dicom.append(file)
        elif kind == "tiff" and not MASK_NAME.search(stem):
            (stacks if count_pages(file) > 1 else found.pictures).append(file)
        elif kind == "picture" or (kind == "tiff" and file.suffix.lower() in TIFF_SUFFIXES):
            found.pictures.append(file)
        elif kind is not None and not MASK_NAME.search(stem) and count_frames(file, kind) != 1:
            found.others.append(file)
    if len(stacks) > 1 and not found.others and _go_on(stacks):
        found.pictures = natsorted([*found.pictures, *stacks], key=lambda p: p.name.lower())
    else:
        found.others += stacks
    return found


def _go_on(stacks: Sequence[Path]) -> bool:
    """Whether stacks are the parts of one cine: numbered in turn, and the step to the next like those within."""
    numbers = [re.findall(r"\d+", stack.stem) for stack in stacks]
    stems = {re.sub(r"\d+$", "", stack.stem) for stack in stacks}
    if len(stems) > 1 or not all(numbers) or {int(b[-1]) - int(a[-1]) for a, b in pairwise(numbers)} != {1}:
        return False
    try:
        ends = [read_ends(stack) for stack in stacks]
    except InputError:
        return False
    if len({(end.shape[1:], end.dtype) for pair in ends for end in pair}) > 1:
        return False

    def step(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a.astype(np.float64) - b).mean())

    within = max(step(end[0], end[-1]) for pair in ends for end in pair)
    return all(step(last[-1], first[0]) <= 2 * within for (_, last), (first, _) in pairwise(ends))


def _picture_cines(folders: Sequence[_Folder]) -> list[Path]:
    """The folders whose pictures are a cine: no other cine, and no DICOM file, lies in them or below.

    Among other cines there they have to be numbered in turn, not named as those are, and alike.
    """
    cines = [folder.place for folder in folders if folder.dicom or folder.others]
    stems = {path.stem for folder in folders for path in (*folder.dicom, *folder.others)}
    found: list[Path] = []
    for folder in sorted(folders, key=lambda f: -len(f.place.parts)):
        pictures = [p for p in folder.pictures if not MASK_NAME.search(p.stem)]
        if not pictures and not cines:  # nothing but masks: they are what is meant
            pictures = folder.pictures
        pages = (
            len(pictures) if len(pictures) > 1 else sum(count_pages(p) for p in pictures if p.suffix in TIFF_SUFFIXES)
        )
        below = [place for place in (*cines, *found) if place == folder.place or folder.place in place.parents]
        if pages < 2 or below or (cines and not _is_sequence(folder.place, pictures, stems)):
            continue
        found.append(folder.place)
    return natsorted(found, key=str)


def _is_sequence(place: Path, pictures: Sequence[Path], stems: set[str]) -> bool:
    numbers = [re.findall(r"\d+", picture.stem) for picture in pictures]
    if any(picture.stem in stems for picture in pictures) or not all(numbers):
        return False
    if {int(b[-1]) - int(a[-1]) for a, b in pairwise(numbers)} != {1}:
        return False
    if len(pictures) >= FEWEST_FILES:
        return True
    try:
        frames = read_folder(place).frames.reshape(len(pictures), -1)
    except (InputError, ValueError):
        return False
    with np.errstate(invalid="ignore", divide="ignore"):
        return bool(np.median([np.corrcoef(a, b)[0, 1] for a, b in pairwise(frames)]) > ALIKE)


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
            header = Header(read_header(file, pixels=False))
        except InputError:
            cines.append(StudyCine([file], _name(root, file)))  # reading it says what is wrong
            continue
        size = tuple(header.whole(keyword) for keyword in ("Rows", "Columns"))
        if not all(size):
            continue
        frames = _count_stored(file, header)
        if frames is None or frames > 1:
            cines.append(_describe([file], _name(root, file), frames, header))
        else:
            turned = tuple(round(v, 3) for v in header.numbers("ImageOrientationPatient") or ())
            texts = (header.text("SeriesInstanceUID"), header.text("SOPClassUID"))
            key = (*texts, *size, header.whole("SamplesPerPixel"), turned)
            singles.setdefault(key, []).append(_Single(file, header.whole("InstanceNumber"), header))
    runs = [run for group in singles.values() for run in _follow(group)]
    alone = not cines and len(runs) == 1
    for run in runs:
        if len(run) >= (2 if alone else FEWEST_FILES):
            first = run[0]
            name = _name(root, first.path.parent) if first.path.parent != root else _series(first.header) or "series"
            cines.append(_describe([single.path for single in run], name, len(run), first.header))
    return cines


def _count_stored(file: Path, header: Header) -> int | None:
    """Frames of a DICOM file as its header says, or else as its size does; None where only decoding tells."""
    frames = header.whole("NumberOfFrames")
    if frames is not None and frames > 0:
        return frames
    rows, columns, samples = (header.whole(k) or 1 for k in ("Rows", "Columns", "SamplesPerPixel"))
    if header.dataset.file_meta.TransferSyntaxUID.is_compressed:
        return None if header.text("SOPClassUID").startswith(MULTI_FRAME + ".") and frames is None else 1
    frame_bytes = rows * columns * samples * max(header.whole("BitsAllocated") or 8, 8) // 8
    return max(file.stat().st_size // max(frame_bytes, 1), 1)


def _follow(group: Sequence[_Single]) -> list[list[_Single]]:
    """The runs of files that follow each other: by their numbers, and by their times where they have some."""
    group = natsorted(group, key=lambda single: (single.number or 0, single.path.name.lower()))
    steps = [b.number - a.number for a, b in pairwise(group) if a.number is not None and b.number is not None]
    usual = Counter(step for step in steps if step > 0).most_common(1)
    stride = usual[0][0] if usual else 0
    times = _clock(group)
    runs = [[group[0]]]
    for index, (before, single) in enumerate(pairwise(group)):
        if times is not None:
            near = abs(times[index + 1] - times[index]) % DAY <= LONGEST_GAP
            near = near or DAY - abs(times[index + 1] - times[index]) % DAY <= LONGEST_GAP
        else:
            near = before.number is None or single.number is None or single.number - before.number <= stride
        if near:
            runs[-1].append(single)
        else:
            runs.append([single])
    return runs


def _clock(group: Sequence[_Single]) -> list[float] | None:
    """The times of files that tell whether they follow each other; None where they have none that differ."""
    for keyword in ("TriggerTime", *CLOCKS):
        stated = [time_of(single.header, keyword) for single in group]
        times = [time for time in stated if time is not None]
        rising = keyword != "TriggerTime" or bool((np.diff(times) > 0).all())
        if len(times) == len(group) and len(set(times)) > 1 and rising:
            return times
    return None


def _describe(files: list[Path], name: str, frames: int | None, header: Header) -> StudyCine:
    regions = ultrasound_regions(header.dataset)
    calibrated = any(r["spacing"] for r in regions) or bool(header.numbers("PixelSpacing", 2))
    return StudyCine(files, name, frames, view_words(header.dataset), calibrated, _series(header))


def _series(header: Header) -> str:
    number, words = header.whole("SeriesNumber"), header.text("SeriesDescription")
    return " ".join(filter(None, [f"series {number}" if number is not None else "", words[:40]]))


def _name(root: Path, path: Path, whole: bool = False) -> str:
    """A case's name from its place below the study's folder; ``whole`` keeps the suffix."""
    try:
        place = path.relative_to(root)
    except ValueError:
        place = Path(path.name)
    parts = list(place.parts) or [root.name]
    if not whole:
        parts[-1] = (
            re.sub(r"(\.nii\.gz|\.igs\.mh[ad]|\.seq\.nrrd|\.ome\.tiff?|\.[A-Za-z]\w{1,5})$", "", parts[-1]) or parts[-1]
        )
    return printable_name("_".join(parts))
