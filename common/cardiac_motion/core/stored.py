"""Arrays read from files, with size checks against the file and the available memory before allocation."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import psutil
from nibabel.openers import Opener

from cardiac_motion.core.bars import count_bytes
from cardiac_motion.core.errors import InputError

BYTES_PER_PIXEL = 4  # float32
NEARLY_WHOLE = 1e-3  # labels that went through an interpolation or a float file
DEFLATED = 1040  # bytes that a byte of gzip or zlib may unfold to
PACKED = (".gz", ".mgz", ".bz2", ".zst")  # suffixes of files with a checksum at the end
CHUNK, LONGEST_REST = 1 << 20, 1 << 26  # bytes: of a step; of headers, extensions and what follows the pixels


def check_size(path: str | Path, sizes: Sequence[int], stored: float, most: float) -> None:
    """Refuse, before anything is allocated, what a header claims but its file can't hold, or this machine can't.

    Args:
        path: of the file.
        sizes: along each axis, (T, H, W) say.
        stored: bytes of the pixels in the file.
        most: pixels that a stored byte may hold at most.

    Raises:
        InputError: a size is not positive, or there are too many pixels.

    Examples:
        >>> check_size("a.nii", (0, 100), 1000, 8)
        Traceback (most recent call last):
        cardiac_motion.core.errors.InputError: a.nii: the header claims 0 × 100 pixels
    """
    named = " × ".join(str(n) for n in sizes)
    if min(sizes) < 1:
        raise InputError(f"{path}: the header claims {named} pixels")
    pixels = math.prod(int(n) for n in sizes)
    if pixels > most * stored:
        raise InputError(
            f"{path}: truncated, or a damaged header: {named} pixels claimed, {stored:.0f} bytes are there"
        )
    needed, free = BYTES_PER_PIXEL * pixels, psutil.virtual_memory().available
    if needed > free:
        raise InputError(f"{path}: {named} pixels need {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free")


def check_packed(path: str | Path, needed: int) -> None:
    """Read a packed file (gzip, bzip2, …, by its suffix as nibabel takes it) to its end, where its checksum is.

    Who reads as many bytes as the header asks for stops short of it, and takes damaged pixels for true ones.

    Args:
        path: of the file; one that isn't packed is left alone.
        needed: bytes that its header asks for; many more than these are refused.

    Raises:
        InputError: it is damaged, cut off, or much longer than its header says.

    Examples:
        >>> check_packed("a.nii", 1000)  # not packed: left alone
    """
    if not str(path).lower().endswith(PACKED):
        return
    held = 0
    try:
        with Opener(str(path), "rb") as file:
            while chunk := file.read(CHUNK):
                held += len(chunk)
                if held > needed + LONGEST_REST:
                    raise InputError(f"{path}: holds {held} bytes and more, its header asks for {needed}")
    except InputError:
        raise
    except Exception as error:  # of whichever library unpacks
        raise InputError(
            f"{path}: damaged or truncated, its checksum is wrong ({' '.join(str(error).split())})"
        ) from error


def unpack(data: bytes, needed: int, wbits: int = zlib.MAX_WBITS) -> bytes:
    """``needed`` bytes of a zlib stream (gzip: ``wbits`` 31), which is read to its end, where its checksum is.

    Raises:
        ValueError: the stream is cut off, or holds more.
        zlib.error: it is damaged.

    Examples:
        >>> unpack(zlib.compress(b"values"), 6)
        b'values'
    """
    stream = zlib.decompressobj(wbits)
    found = stream.decompress(data, needed + 1)
    while not stream.eof and stream.unconsumed_tail and len(found) <= needed:
        found += stream.decompress(stream.unconsumed_tail, needed + 1 - len(found))
    if len(found) > needed:
        raise ValueError(f"it unfolds to more than the {needed} bytes that the header asks for")
    if not stream.eof:
        raise ValueError("the packed pixels end early")
    return found


def load_nifti(path: str | Path) -> tuple[Any, np.ndarray]:
    """Load a NIfTI image with nibabel; return the image and its values.

    Raises:
        InputError: colours or complex values, or a header that claims more than the file can hold.
        Exception: what nibabel raises of a file that is missing or damaged.

    Examples:
        >>> import nibabel, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_nifti(nibabel.Nifti1Image(np.ones((3, 4, 5)), np.eye(4)), f"{folder}/a.nii.gz", "a")
        ...     load_nifti(f"{folder}/a.nii.gz")[1].shape
        (3, 4, 5)
    """
    image: Any = nibabel.load(path)
    if isinstance(image, nibabel.Nifti1Image) and len(image.shape):
        plain = str(path).lower().endswith(".nii")
        check_size(
            path,
            image.shape,
            Path(path).stat().st_size * (1 if plain else DEFLATED),
            1 / image.get_data_dtype().itemsize,
        )
    check_packed(path, math.prod(image.shape) * image.get_data_dtype().itemsize)
    values = np.asarray(image.dataobj)
    if values.dtype.names or np.iscomplexobj(values):
        kind = "colours" if values.dtype.names else "complex values"
        raise InputError(f"{path}: holds {kind}, expected one grey value or label a voxel")
    return image, values


def save_nifti(image: Any, path: str | Path, name: str) -> None:
    """Write nibabel's ``image``, packed if ``path`` ends so, with a bar of the bytes that is called ``name``.

    Examples:
        >>> import nibabel, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_nifti(nibabel.Nifti1Image(np.ones((3, 4, 5)), np.eye(4)), f"{folder}/a.nii", "a")
        ...     nibabel.load(f"{folder}/a.nii").shape
        (3, 4, 5)
    """
    with Opener(str(path), "wb") as packed, count_bytes(packed, name, image.dataobj.nbytes) as file:
        image.to_stream(file)
