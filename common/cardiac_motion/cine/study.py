"""The cines of a study: a folder of DICOM or other cine files, or a DICOMDIR (PS3.3 annex F, PS3.10 section 8).

A multi-frame DICOM file is a cine; single-frame files form one if they belong to a series, have the same size and are
consecutive. A folder of images is a cine if it contains no other cine, because scanners store a thumbnail next to each
cine. Everything else, such as stills, masks and results of earlier runs, is skipped.
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

from cardiac_motion.cine.dicom import describe_view, read_header, time_of
from cardiac_motion.cine.dicom_header import Header
from cardiac_motion.cine.dicom_regions import ultrasound_regions
from cardiac_motion.cine.folder import MASK_NAME, list_pictures, read_folder
from cardiac_motion.cine.kinds import count_frames, find_kind
from cardiac_motion.cine.tiff import TIFF_SUFFIXES, count_pages, read_ends
from cardiac_motion.core.datalist import printable_name
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import summary_of

FEWEST_FILES = 8  # minimum number of single-frame files that make a cine if there are other files
LONGEST_GAP = 2.0  # s between the acquisition of consecutive files
MIN_CORRELATION = 0.8  # minimum correlation of neighbouring images that are a cine among other cines
DAY = 86400.0  # s
CLOCKS = ("AcquisitionDateTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime")
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3"  # ultrasound multi-frame, both the retired and the current one


@dataclass
class StudyCine:
    """A cine of a study.

    Attributes:
        files: one file, one file per frame, or a folder of images.
        name: name of the case, derived from the location in the study.
        frames: number of frames according to the header; None if only reading would tell.
        view: description of the view in the header.
        calibrated: whether the header gives a spacing in mm; None if only reading would tell.
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
    """A single-frame DICOM file."""

    path: Path
    number: int | None
    header: Header = field(repr=False)


@dataclass
class _Folder:
    """Content of one folder: DICOM files, other cines, and images (or stacks that continue each other)."""

    path: Path
    dicom: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)


def is_dicomdir(path: Path) -> bool:
    """Return whether a file is the directory of a DICOM file set."""
    return path.is_file() and path.name.upper() == "DICOMDIR"


def list_cines(path: Path) -> list[StudyCine]:
    """Return all cines of a study folder or of a DICOMDIR, in natural order of their locations.

    Raises:
        InputError: there are none.

    Examples:
        >>> import tempfile, torch
        >>> from cardiac_motion.cine.write import write_cine
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a10.nii.gz", "a2.nii.gz"):
        ...         write_cine(f"{folder}/{name}", torch.rand(1, 3, 32, 40))
        ...     [(cine.name, cine.frames) for cine in list_cines(Path(folder))]
        [('a2', 3), ('a10', 3)]
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
    cines = _dicom_cines(root, dicom) + [StudyCine([p], _name(root, p), count_frames(p)) for p in [*others, *pictures]]
    if not cines:
        gone = f", {missing} of its files are missing" if missing else ""
        stills = f", {len(dicom)} single-frame DICOM files that are not consecutive" if dicom and not gone else ""
        if not gone and not stills and any(list_pictures(path)[0]):
            raise InputError(f"{path}: only 1 frame in this folder; a cine needs at least two")
        raise InputError(f"{path}: no cine and no frames in this folder{gone}{stills}")
    names = Counter(cine.name for cine in cines)
    for cine in cines:
        if names[cine.name] > 1:
            cine.name = _name(root, cine.files[0], whole=True)
    return natsorted(cines, key=lambda cine: cine.name)


def find_only_cine(path: Path) -> list[Path]:
    """Return the files of the only cine of a folder or DICOMDIR.

    Raises:
        InputError: there is none, or more than one.
    """
    cines = list_cines(path)
    if len(cines) > 1:
        names = ", ".join(cine.name for cine in cines[:4])
        raise InputError(f"{path}: {len(cines)} cines ({names}{', …' if len(cines) > 4 else ''}); give one of them")
    return cines[0].files


def format_listing(cines: Sequence[StudyCine]) -> str:
    """Format one line per cine for the terminal: name, series, frames, view, calibration."""
    words = {True: "calibrated", False: "not calibrated", None: ""}
    rows = [
        (c.name, c.series, f"{c.frames} frames" if c.frames else "", c.view or "", words[c.calibrated]) for c in cines
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    return "\n".join("  " + "  ".join(f"{w:<{n}}" for w, n in zip(row, widths, strict=True)).rstrip() for row in rows)


def _walk(root: Path) -> list[_Folder]:
    """Return the content of a folder and its subfolders, without hidden ones and results of this program."""
    contents, folders = [], [root]
    while folders:
        folder = folders.pop()
        if "method" in (summary_of(folder) or {}):
            continue
        try:
            entries = natsorted(folder.iterdir(), key=lambda p: p.name.lower())
        except OSError:
            continue
        folders += [p for p in entries if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]
        contents.append(_look_into(folder, [p for p in entries if p.is_file() and not p.name.startswith(".")]))
    return contents


def _look_into(path: Path, files: Sequence[Path]) -> _Folder:
    folder = _Folder(path)
    stacks: list[Path] = []
    for file in files:
        kind, stem = find_kind(file), re.sub(r"\.(nii\.gz|\w+)$", "", file.name.lower())
        if kind == "dicom":
            if file.name.upper() != "DICOMDIR":
                folder.dicom.append(file)
        elif kind == "tiff" and not MASK_NAME.search(stem):
            (stacks if count_pages(file) > 1 else folder.pictures).append(file)
        elif kind == "picture" or (kind == "tiff" and file.suffix.lower() in TIFF_SUFFIXES):
            folder.pictures.append(file)
        elif kind is not None and not MASK_NAME.search(stem) and count_frames(file, kind) != 1:
            folder.others.append(file)
    if len(stacks) > 1 and not folder.others and _are_parts(stacks):
        folder.pictures = natsorted([*folder.pictures, *stacks], key=lambda p: p.name.lower())
    else:
        folder.others += stacks
    return folder


def _are_parts(stacks: Sequence[Path]) -> bool:
    """Return whether stacks are parts of one cine: consecutively numbered, and changing no more between than within."""
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
    """Return the folders whose images are a cine: neither they nor their subfolders contain another cine.

    If the study has other cines, images must be numbered consecutively, named differently from those, and similar.
    """
    cines = [folder.path for folder in folders if folder.dicom or folder.others]
    stems = {path.stem for folder in folders for path in (*folder.dicom, *folder.others)}
    chosen: list[Path] = []
    for folder in sorted(folders, key=lambda f: -len(f.path.parts)):
        pictures = [p for p in folder.pictures if not MASK_NAME.search(p.stem)]
        if not pictures and not cines:  # a folder that only contains masks is read as such
            pictures = folder.pictures
        pages = (
            len(pictures) if len(pictures) > 1 else sum(count_pages(p) for p in pictures if p.suffix in TIFF_SUFFIXES)
        )
        below = [path for path in (*cines, *chosen) if path == folder.path or folder.path in path.parents]
        if pages < 2 or below or (cines and not _is_sequence(folder.path, pictures, stems)):
            continue
        chosen.append(folder.path)
    return natsorted(chosen, key=str)


def _is_sequence(folder: Path, pictures: Sequence[Path], stems: set[str]) -> bool:
    numbers = [re.findall(r"\d+", picture.stem) for picture in pictures]
    if any(picture.stem in stems for picture in pictures) or not all(numbers):
        return False
    if {int(b[-1]) - int(a[-1]) for a, b in pairwise(numbers)} != {1}:
        return False
    if len(pictures) >= FEWEST_FILES:
        return True
    try:
        frames = read_folder(folder).frames.reshape(len(pictures), -1)
    except (InputError, ValueError):
        return False
    with np.errstate(invalid="ignore", divide="ignore"):
        return bool(np.median([np.corrcoef(a, b)[0, 1] for a, b in pairwise(frames)]) > MIN_CORRELATION)


def _read_dicomdir(path: Path) -> list[Path]:
    """Return the files of the image records of a DICOMDIR, in order; names may be stored in another case."""
    dataset = read_header(path, pixels=False)
    files = []
    try:
        for record in dataset.get("DirectoryRecordSequence") or []:
            parts = record.get("ReferencedFileID")
            if record.get("DirectoryRecordType") in ("IMAGE", "MULTI-FRAME IMAGE") and parts:
                parts = [parts] if isinstance(parts, str) else [str(part) for part in parts]
                if any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts):
                    raise InputError(f"{path}: refers to a file outside its folder: {'/'.join(parts)}")
                files.append(_find_file(path.parent, parts))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: its records cannot be interpreted ({type(error).__name__})") from error
    if not files:
        raise InputError(f"{path}: this DICOMDIR lists no image")
    return list(dict.fromkeys(files))


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
            cines.append(StudyCine([file], _name(root, file)))  # reading reports what is wrong
            continue
        size = tuple(header.whole(keyword) for keyword in ("Rows", "Columns"))
        if not all(size):
            continue
        frames = _count_stored(file, header)
        if frames is None or frames > 1:
            cines.append(_describe([file], _name(root, file), frames, header))
        else:
            orientation = tuple(round(v, 3) for v in header.numbers("ImageOrientationPatient") or ())
            texts = (header.text("SeriesInstanceUID"), header.text("SOPClassUID"))
            key = (*texts, *size, header.whole("SamplesPerPixel"), orientation)
            singles.setdefault(key, []).append(_Single(file, header.whole("InstanceNumber"), header))
    runs = [run for group in singles.values() for run in _split_runs(group)]
    alone = not cines and len(runs) == 1
    for run in runs:
        if len(run) >= (2 if alone else FEWEST_FILES):
            first = run[0]
            name = _name(root, first.path.parent) if first.path.parent != root else _series(first.header) or "series"
            cines.append(_describe([single.path for single in run], name, len(run), first.header))
    return cines


def _count_stored(file: Path, header: Header) -> int | None:
    """Return the number of frames according to the header, or else to the file size; None if only decoding tells."""
    frames = header.whole("NumberOfFrames")
    if frames is not None and frames > 0:
        return frames
    rows, columns, samples = (header.whole(k) or 1 for k in ("Rows", "Columns", "SamplesPerPixel"))
    if header.dataset.file_meta.TransferSyntaxUID.is_compressed:
        return None if header.text("SOPClassUID").startswith(MULTI_FRAME + ".") and frames is None else 1
    frame_bytes = rows * columns * samples * max(header.whole("BitsAllocated") or 8, 8) // 8
    return max(file.stat().st_size // max(frame_bytes, 1), 1)


def _split_runs(group: Sequence[_Single]) -> list[list[_Single]]:
    """Split files into runs of consecutive ones, by acquisition times if available, otherwise by numbers."""
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
    """Return times that tell which files are consecutive; None if there are none that differ."""
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
    return StudyCine(files, name, frames, describe_view(header.dataset), calibrated, _series(header))


def _series(header: Header) -> str:
    number, words = header.whole("SeriesNumber"), header.text("SeriesDescription")
    return " ".join(filter(None, [f"series {number}" if number is not None else "", words[:40]]))


def _name(root: Path, path: Path, whole: bool = False) -> str:
    """Return a case's name from its path below the study's folder; ``whole`` keeps the suffix."""
    try:
        relative = path.relative_to(root)
    except ValueError:
        relative = Path(path.name)
    parts = list(relative.parts) or [root.name]
    if not whole:
        parts[-1] = (
            re.sub(r"(\.nii\.gz|\.igs\.mh[ad]|\.seq\.nrrd|\.ome\.tiff?|\.[A-Za-z]\w{1,5})$", "", parts[-1]) or parts[-1]
        )
    return printable_name("_".join(parts))
