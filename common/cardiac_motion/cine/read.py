"""Reading a cine loop: which reader takes a file, and what every cine must hold.

A cine is a ``MetaTensor`` of shape ``[1, T, H, W]``, float32 in [0, 1], whose ``meta`` carries

- ``spacing``: (row, column) in mm/px, or None where the file doesn't say. It is never guessed.
- ``aspect``: a pixel's height over its width; 1 where the file says nothing (``cine.scale.pixel_steps``).
- ``frame_times``: T seconds that start at 0, or None.
- ``frame_time_source``: "acquired", or "playback" where the times are those at which a file is shown.
- ``regions``: the regions of a DICOM ultrasound image, one dict each (see ``ultrasound_regions``).
- ``crop``: (top, left, bottom, right) of what was kept of the file's frames, or None where all was.
- ``r_waves``: R wave times in seconds, or None (DICOM only).
- ``colour_flow``: whether a DICOM region, or colour on a part of the echo, says that this is colour Doppler.
- ``view``: what the file says of the view, in its words, or None.
- ``source``: the path; ``notes``: sentences about what the file left open or contradicted.

Colour is reduced to its first channel, and 8-bit values are divided by 255 (NMSR section 3; SSMSR section III-A).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.dicom import DICOM_SUFFIXES, read_dicom
from cardiac_motion.cine.folder import read_folder
from cardiac_motion.cine.gif import read_gif
from cardiac_motion.cine.kinds import find_kind
from cardiac_motion.cine.loop import Loop, millimetres
from cardiac_motion.cine.metaimage import METAIMAGE_SUFFIXES, read_metaimage
from cardiac_motion.cine.nifti import NIFTI_SUFFIXES, read_nifti
from cardiac_motion.cine.nrrd import NRRD_SUFFIXES, read_nrrd
from cardiac_motion.cine.scale import keep_possible
from cardiac_motion.cine.study import find_only_cine, is_dicomdir
from cardiac_motion.cine.tiff import TIFF_SUFFIXES, read_tiff
from cardiac_motion.cine.video import VIDEO_SUFFIXES, read_video
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import load_nifti

CINE_SUFFIXES = (
    *NIFTI_SUFFIXES, *METAIMAGE_SUFFIXES, *NRRD_SUFFIXES, ".gif", *VIDEO_SUFFIXES, *DICOM_SUFFIXES, *TIFF_SUFFIXES,
)  # fmt: skip
BLACK = 0.06  # the 99.9th percentile of a cine that hardly shows anything
FLAT = 4 / 255  # of the range: a picture whose values differ by less shows nothing

Source = str | os.PathLike[str]


def read_cine(path: Source | Sequence[Source], spacing: float | Sequence[float] | None = None) -> MetaTensor:
    """Read a cine loop from a file, from a folder of images, or from files of one DICOM frame each.

    Args:
        path: DICOM; NIfTI (X, Y, T) or (X, Y, 1, T); MetaImage; NRRD; a video (``VIDEO_SUFFIXES``) or GIF; a TIFF of
            several pages; a folder of png, jpg, bmp or tif images, taken in natural order (2 before 10); a folder or a
            DICOMDIR that holds one cine; or a list of DICOM files, one a frame, in their order.
        spacing: (row, column) in mm/px, or one number for both; takes the place of what the file says.

    Returns:
        ``[1, T, H, W]`` float32 in [0, 1] with the ``meta`` that the module describes.

    Raises:
        InputError: the file is missing, empty, truncated, of an unknown kind, a 3D volume, has fewer than two frames,
            values that aren't finite, blank frames or nothing but identical ones; or ``spacing`` isn't positive.
    """
    given = _check_spacing(spacing)
    if isinstance(path, str | os.PathLike) and not str(path).strip():
        raise InputError("the name of the cine is empty; give a file or a folder")
    files = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(file) for file in path]
    if not files:
        raise InputError("a cine of no files")
    source = files[0]
    with np.errstate(all="ignore"):  # what isn't finite is found out below
        loop = read_dicom(source, files) if len(files) > 1 else _reader(source)(source)
        _check_frames(source, loop.frames)
        keep_possible(loop)
    if given is not None:
        if loop.spacing is not None and not np.allclose(given, loop.spacing, rtol=1e-3):
            stated = millimetres(loop.spacing)
            loop.notes.append(f"The spacing given, {millimetres(given)}, replaces the file's {stated}.")
        loop.spacing, loop.aspect = given, given[0] / given[1]
    meta = {
        "spacing": loop.spacing,
        "aspect": loop.aspect,
        "frame_times": loop.frame_times,
        "frame_time_source": loop.frame_time_source,
        "regions": loop.regions,
        "crop": loop.crop,
        "r_waves": loop.r_waves,
        "colour_flow": loop.colour_flow,
        "view": loop.view,
        "source": str(source),
        "notes": loop.notes,
    }
    frames = np.ascontiguousarray(loop.frames, dtype=np.float32)
    shown = frames[:: max(1, len(frames) // 16)]
    least, dark, bright, most = (float(v) for v in np.quantile(shown, (1e-4, 1e-3, 0.999, 1 - 1e-4)))
    if most - least < FLAT:
        raise InputError(
            f"{source}: a flat picture: its values differ by {most - least:.2%} of the range alone, nothing to track"
        )
    if bright < BLACK:
        loop.notes.append(f"The cine is nearly black: no pixel is brighter than {frames.max():.0%} of the range.")
    elif bright - dark < BLACK:
        loop.notes.append(f"The cine is nearly flat: its values differ by {bright - dark:.1%} of the range alone.")
    return MetaTensor(torch.from_numpy(frames)[None], meta=meta)


def frame_pairs(cine: torch.Tensor) -> torch.Tensor:
    """The pairs of neighbouring frames of a cine ``[1, T, H, W]``, as ``[T - 1, 2, H, W]``.

    Channel 0, moving, is frame t; channel 1, fixed, is frame t + 1. It is a view of the cine: nothing is copied, and
    nobody writes to it.
    """
    frames = cine.as_tensor() if isinstance(cine, MetaTensor) else cine
    return frames[0].unfold(0, 2, 1).movedim(-1, 1)


def read_two_frames(first: str | Path, last: str | Path, spacing: Sequence[float] | float | None = None) -> MetaTensor:
    """A cine ``[1, 2, H, W]`` of two stored frames, NIfTI (X, Y) of one size and scale, bytes or unit range.

    Raises:
        InputError: a file can't be read, isn't one frame, or they differ in size.
    """
    frames, steps = [], []
    for path in (first, last):
        try:
            stored, values = load_nifti(path)
            values = np.squeeze(values.astype(np.float32)).T
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{path}: no readable frame ({error})") from error
        if values.ndim != 2 or not np.isfinite(values).all():
            raise InputError(f"{path}: expected one frame (X, Y) of finite values, this is {values.shape[::-1]}")
        frames.append(torch.from_numpy(values / (255 if values.max() > 1 else 1)))
        steps.append(tuple(float(step) for step in stored.header.get_zooms()[1::-1]))
    if frames[0].shape != frames[1].shape:
        raise InputError(f"{last}: {tuple(frames[1].shape)}, the frame at end-diastole is {tuple(frames[0].shape)}")
    own = (spacing,) * 2 if isinstance(spacing, int | float) else tuple(spacing or steps[0])
    notes = ["Two frames, end-diastole and end-systole, registered directly."]
    meta: dict[str, Any] = {
        "spacing": own,
        "aspect": own[0] / own[1],
        "frame_times": None,
        "frame_time_source": "acquired",
    }
    meta |= {"regions": [], "r_waves": None, "colour_flow": False, "source": str(first), "notes": notes}
    return MetaTensor(torch.stack(frames)[None], meta=meta)


def _check_spacing(spacing: float | Sequence[float] | None) -> tuple[float, float] | None:
    if spacing is None:
        return None
    try:
        values = np.atleast_1d(np.asarray(spacing, dtype=float))
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.size not in (1, 2) or not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise InputError(f"spacing {spacing}: expected one or two positive numbers, (row, column) in mm/px")
    return float(values[0]), float(values[-1])


def _reader(path: Path) -> Callable[[Path], Loop]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir() or is_dicomdir(path):
        return _read_directory
    if not path.is_file():
        raise InputError(f"{path}: neither a file nor a folder")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    if empty:
        raise InputError(f"{path}: the file is empty")
    readers: dict[str, Callable[[Path], Loop]] = {
        "dicom": read_dicom, "nifti": read_nifti, "metaimage": read_metaimage, "nrrd": read_nrrd, "gif": read_gif,
        "video": read_video, "tiff": read_tiff,
    }  # fmt: skip
    kind = find_kind(path)
    if kind in readers:
        return readers[kind]
    if kind == "picture":
        raise InputError(f"{path}: a single image; a cine is a folder of at least two images, or a video")
    kinds = ", ".join(dict.fromkeys(CINE_SUFFIXES))
    raise InputError(f"{path}: not a cine file of a known kind (DICOM, {kinds}, or a folder of images)")


def _read_directory(path: Path) -> Loop:
    """The cine of a folder or a DICOMDIR that holds exactly one: files, or the pictures of a folder."""
    files = find_only_cine(path)
    if files[0].is_dir():
        return read_folder(files[0])
    return read_dicom(files[0], files) if len(files) > 1 else _reader(files[0])(files[0])


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
