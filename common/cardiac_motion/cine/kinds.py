"""Type of a file, by its name or its first bytes, and its number of frames according to the header."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from cardiac_motion.cine.dicom import DICOM_SUFFIXES, is_dicom_file
from cardiac_motion.cine.folder import IMAGE_SUFFIXES
from cardiac_motion.cine.loop import silence
from cardiac_motion.cine.metaimage import METAIMAGE_SUFFIXES, count_metaimage
from cardiac_motion.cine.nifti import NIFTI_SUFFIXES
from cardiac_motion.cine.nrrd import NRRD_SUFFIXES, count_nrrd
from cardiac_motion.cine.tiff import TIFF_SUFFIXES, count_pages
from cardiac_motion.cine.video import VIDEO_SUFFIXES

KINDS: dict[str, tuple[str, ...]] = {
    "nifti": NIFTI_SUFFIXES, "metaimage": METAIMAGE_SUFFIXES, "nrrd": NRRD_SUFFIXES, "gif": (".gif",),
    "video": VIDEO_SUFFIXES, "tiff": TIFF_SUFFIXES, "picture": tuple(IMAGE_SUFFIXES), "dicom": DICOM_SUFFIXES,
}  # fmt: skip
MAGIC = (  # offset, bytes, kind
    (128, b"DICM", "dicom"), (344, b"n+1\0", "nifti"), (4, b"n+2\0\r\n\x1a\n", "nifti"), (0, b"NRRD000", "nrrd"),
    (0, b"ObjectType", "metaimage"), (0, b"NDims", "metaimage"), (0, b"GIF8", "gif"), (4, b"ftyp", "video"),
    (8, b"AVI ", "video"), (0, b"\x1a\x45\xdf\xa3", "video"), (0, bytes.fromhex("3026b2758e66cf11"), "video"),
    (0, b"\0\0\1\xba", "video"), (0, b"\x89PNG\r\n\x1a\n", "picture"), (0, b"\xff\xd8\xff", "picture"),
    (0, b"II*\0", "tiff"), (0, b"MM\0*", "tiff"), (0, b"II+\0", "tiff"),
)  # fmt: skip
NO_CINE = (
    *(".txt", ".csv", ".json", ".xml", ".cfg", ".ini", ".inf", ".log", ".md", ".html", ".htm", ".pdf", ".doc", ".docx"),
    *(".xls", ".xlsx", ".py", ".sh", ".bat", ".exe", ".dll", ".so", ".jar", ".zip", ".tar", ".gz", ".7z", ".db"),
    *(".raw", ".zraw", ".npy", ".npz", ".mat", ".pt", ".pth", ".wav", ".mp3", ".svg", ".css", ".js", ".ico"),
)  # suffixes of files that are not examined


def kind_by_name(path: Path) -> str | None:
    """Return the file type according to the name, a key of ``KINDS``; None if unknown."""
    name = path.name.lower()
    return next((kind for kind, suffixes in KINDS.items() if name.endswith(suffixes)), None)


def find_kind(path: Path) -> str | None:
    """Return the file type, a key of ``KINDS``: DICOM by content, otherwise by name, otherwise by the first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(352)
    except OSError:
        return None
    if head[128:132] == b"DICM":
        return "dicom"
    named = kind_by_name(path)
    if named is not None or path.suffix.lower() in NO_CINE:
        return named
    for offset, magic, kind in MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    return "dicom" if is_dicom_file(path) else None


def count_frames(path: Path, kind: str | None = None) -> int | None:
    """Return the number of frames according to the header: 1 is a still; None if only reading would tell.

    Args:
        path: path of the file; None is returned for a folder.
        kind: type of the file, if known.
    """
    if path.is_dir():
        return None
    counters: dict[str, Callable[[Path], int]] = {
        "nifti": _count_nifti, "metaimage": count_metaimage, "nrrd": count_nrrd, "gif": _count_gif, "tiff": count_pages,
    }  # fmt: skip
    counter = counters.get(kind or find_kind(path) or "")
    try:
        return None if counter is None else counter(path)
    except Exception:  # reading reports what is wrong
        return None


def _count_nifti(path: Path) -> int:
    import nibabel

    with silence("nibabel.global"):
        return math.prod(nibabel.load(path).shape[2:])  # type: ignore[attr-defined]


def _count_gif(path: Path) -> int:
    from PIL import Image

    with silence("PIL"), Image.open(path) as image:
        return int(getattr(image, "n_frames", 1))
