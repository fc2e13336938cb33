"""Arrays from files, never larger than the file and this machine can hold: a header may claim anything."""

from __future__ import annotations

import math
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


def check_size(path: str | Path, sizes: Sequence[int], stored: float, most: float) -> None:
    """Refuse, before anything is allocated, what a header claims but its file can't hold, or this machine can't.

    Args:
        path: of the file.
        sizes: along each axis, (T, H, W) say.
        stored: bytes of the pixels in the file.
        most: pixels that a stored byte may hold at most.

    Raises:
        InputError: a size is not positive, or there are too many pixels.
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


def load_nifti(path: str | Path) -> tuple[Any, np.ndarray]:
    """An image as nibabel loads it, and its values.

    Raises:
        InputError: colours or complex values, or a header that claims more than the file can hold.
        Exception: what nibabel raises of a file that is missing or damaged.
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
    values = np.asarray(image.dataobj)
    if values.dtype.names or np.iscomplexobj(values):
        kind = "colours" if values.dtype.names else "complex values"
        raise InputError(f"{path}: holds {kind}, expected one grey value or label a voxel")
    return image, values


def save_nifti(image: Any, path: str | Path, name: str) -> None:
    """Write nibabel's ``image``, packed if ``path`` ends so, with a bar of the bytes that is called ``name``."""
    with Opener(str(path), "wb") as packed, count_bytes(packed, name, image.dataobj.nbytes) as file:
        image.to_stream(file)
