"""Reading a cine loop: which reader takes a file, and what every cine must hold.

A cine is a ``MetaTensor`` of shape ``[1, T, H, W]``, float32 in [0, 1], whose ``meta`` carries

- ``spacing``: (row, column) in mm/px, or None where the file doesn't say. It is never guessed.
- ``frame_times``: T seconds that start at 0, or None.
- ``regions``: the regions of a DICOM ultrasound image, one dict each (see ``ultrasound_regions``).
- ``r_waves``: R wave times in seconds, or None (DICOM only).
- ``colour_flow``: whether a DICOM region, or colour on a part of the echo, says that this is colour Doppler.
- ``source``: the path; ``notes``: sentences about what the file left open or contradicted.

Colour is reduced to its first channel, and 8-bit values are divided by 255 (NMSR section 3; SSMSR section III-A).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from common.cine.dicom import DICOM_SUFFIXES, read_dicom
from common.cine.folder import IMAGE_SUFFIXES, read_folder
from common.cine.loop import Loop, millimetres
from common.cine.metaimage import read_metaimage
from common.cine.nifti import read_nifti
from common.cine.video import VIDEO_SUFFIXES, read_gif, read_video
from common.core.errors import InputError


def read_cine(path: str | os.PathLike[str], spacing: float | Sequence[float] | None = None) -> MetaTensor:
    """Read a cine loop from a file or a folder of images.

    Args:
        path: DICOM ultrasound multi-frame; NIfTI (X, Y, T) or (X, Y, 1, T); MetaImage; AVI, MP4, MOV, MKV, WebM or
            GIF; or a folder of png, jpg, bmp or tif images, taken in natural order (2 before 10).
        spacing: (row, column) in mm/px, or one number for both; takes the place of what the file says.

    Returns:
        ``[1, T, H, W]`` float32 in [0, 1] with the ``meta`` that the module describes.

    Raises:
        InputError: the file is missing, empty, truncated, of an unknown kind, a 3D volume, has fewer than two frames,
            values that aren't finite, blank frames or nothing but identical ones; or ``spacing`` isn't positive.
    """
    path = Path(path)
    given = _checked_spacing(spacing)
    loop = _reader(path)(path)
    _check_frames(path, loop.frames)
    if given is not None:
        if loop.spacing is not None and not np.allclose(given, loop.spacing, rtol=1e-3):
            loop.notes.append(
                f"The spacing given, {millimetres(given)}, replaces the file's {millimetres(loop.spacing)}."
            )
        loop.spacing = given
    meta = {
        "spacing": loop.spacing,
        "frame_times": loop.frame_times,
        "regions": loop.regions,
        "r_waves": loop.r_waves,
        "colour_flow": loop.colour_flow,
        "source": str(path),
        "notes": loop.notes,
    }
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(loop.frames, dtype=np.float32))[None], meta=meta)


def frame_pairs(cine: torch.Tensor) -> torch.Tensor:
    """The pairs of neighbouring frames of a cine ``[1, T, H, W]``, as ``[T - 1, 2, H, W]``.

    Channel 0, moving, is frame t; channel 1, fixed, is frame t + 1.
    """
    frames = cine.as_tensor() if isinstance(cine, MetaTensor) else cine
    return torch.stack([frames[0, :-1], frames[0, 1:]], dim=1)


def _checked_spacing(spacing: float | Sequence[float] | None) -> tuple[float, float] | None:
    if spacing is None:
        return None
    values = np.atleast_1d(np.asarray(spacing, dtype=float))
    if values.size not in (1, 2) or not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise InputError(f"spacing {spacing}: expected one or two positive numbers, (row, column) in mm/px")
    return float(values[0]), float(values[-1])


def _reader(path: Path) -> Callable[[Path], Loop]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        return read_folder
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{path}: the file is empty")
    name = path.name.lower()
    if head[128:132] == b"DICM" or name.endswith(DICOM_SUFFIXES):
        return read_dicom
    if name.endswith((".nii", ".nii.gz")):
        return read_nifti
    if name.endswith((".mha", ".mhd")):
        return read_metaimage
    if name.endswith(".gif"):
        return read_gif
    if name.endswith(VIDEO_SUFFIXES):
        return read_video
    if name.endswith(IMAGE_SUFFIXES):
        raise InputError(f"{path}: a single image; a cine is a folder of at least two images, or a video")
    kinds = "DICOM, .nii, .nii.gz, .mha, .mhd, .gif, " + ", ".join(VIDEO_SUFFIXES)
    raise InputError(f"{path}: not a cine file of a known kind ({kinds}, or a folder of images)")


def _check_frames(path: Path, frames: np.ndarray) -> None:
    if len(frames) < 2:
        raise InputError(f"{path}: only {len(frames)} frame; a cine needs at least two")
    bad = [t for t, frame in enumerate(frames) if not np.isfinite(frame).all()]
    if bad:
        raise InputError(f"{path}: {_frames_named(bad, len(frames))} NaN or infinite values")
    blank = [t for t, frame in enumerate(frames) if frame.min() == frame.max()]
    if blank:
        raise InputError(f"{path}: {_frames_named(blank, len(frames))} one constant value, nothing to track")
    if all(np.array_equal(frames[0], frame) for frame in frames[1:]):
        raise InputError(f"{path}: all {len(frames)} frames are identical, nothing moves")


def _frames_named(indices: list[int], count: int) -> str:
    if len(indices) == count:
        return f"all {count} frames have"
    named = ", ".join(str(t + 1) for t in indices[:5]) + (", …" if len(indices) > 5 else "")
    return f"frame{'s' if len(indices) > 1 else ''} {named} of {count} {'have' if len(indices) > 1 else 'has'}"
