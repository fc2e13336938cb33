"""Read cine loops: choose the reader for a file, and validate the cine.

A cine is a ``MetaTensor`` of shape ``[1, T, H, W]``, float32 in [0, 1], whose ``meta`` contains

- ``spacing``: (row, column) in mm/px, or None if the file gives none. It is never guessed.
- ``aspect``: ratio of a pixel's height to its width; 1 if the file gives none (``cine.scale.pixel_steps``).
- ``frame_times``: T times in seconds, starting at 0, or None.
- ``frame_time_source``: "acquired", or "playback" for the times at which a file is to be displayed.
- ``regions``: the regions of a DICOM ultrasound image, one dict each (see ``ultrasound_regions``).
- ``crop``: (top, left, bottom, right) of the part of the file's frames that was read, or None for all.
- ``r_waves``: R wave times in seconds, or None (DICOM only).
- ``colour_flow``: whether a DICOM region, or colour in a part of the image, indicates colour Doppler.
- ``view``: the file's description of the view, or None.
- ``source``: the path; ``notes``: sentences about missing or inconsistent metadata.

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
from cardiac_motion.cine.scale import discard_impossible
from cardiac_motion.cine.study import find_only_cine, is_dicomdir
from cardiac_motion.cine.tiff import TIFF_SUFFIXES, read_tiff
from cardiac_motion.cine.video import VIDEO_SUFFIXES, read_video
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import load_nifti

CINE_SUFFIXES = (
    *NIFTI_SUFFIXES, *METAIMAGE_SUFFIXES, *NRRD_SUFFIXES, ".gif", *VIDEO_SUFFIXES, *DICOM_SUFFIXES, *TIFF_SUFFIXES,
)  # fmt: skip
BLACK = 0.06  # a cine with a smaller 99.9th percentile is nearly black
FLAT = 4 / 255  # fraction of the range: with a smaller difference of values there is nothing to track

Source = str | os.PathLike[str]


def read_cine(path: Source | Sequence[Source], spacing: float | Sequence[float] | None = None) -> MetaTensor:
    """Read a cine loop from a file, from a folder of images, or from single-frame DICOM files.

    Args:
        path: DICOM; NIfTI (X, Y, T) or (X, Y, 1, T); MetaImage; NRRD; a video (``VIDEO_SUFFIXES``) or GIF; a multi-page
            TIFF; a folder of png, jpg, bmp or tif images, in natural order (2 before 10); a folder or DICOMDIR that
            contains one cine; or a list of DICOM files, one per frame, in order.
        spacing: (row, column) in mm/px, or one number for both; overrides the file's.

    Returns:
        ``[1, T, H, W]`` float32 in [0, 1] with the ``meta`` described in the module's docstring.

    Raises:
        InputError: the file is missing, empty, truncated, of unknown type, or a 3D volume; the cine has fewer than two
            frames, non-finite values, blank frames, or only identical frames; or ``spacing`` is not positive.

    Examples:
        >>> import tempfile
        >>> from cardiac_motion.cine.write import write_cine
        >>> meta = {"spacing": (0.5, 0.4), "frame_times": [0.0, 0.02, 0.04]}
        >>> stored = MetaTensor(torch.rand(1, 3, 32, 40), meta=meta)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cine(f"{folder}/a4c.nii.gz", stored)
        ...     cine = read_cine(f"{folder}/a4c.nii.gz")
        >>> torch.equal(cine, stored), [round(x, 3) for x in (*cine.meta["spacing"], *cine.meta["frame_times"])]
        (True, [0.5, 0.4, 0.0, 0.02, 0.04])
    """
    given = _check_spacing(spacing)
    if isinstance(path, str | os.PathLike) and not str(path).strip():
        raise InputError("the path of the cine is empty; give a file or a folder")
    files = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(file) for file in path]
    if not files:
        raise InputError("the list of files is empty; give at least one")
    source = files[0]
    with np.errstate(all="ignore"):  # non-finite values are detected below
        loop = read_dicom(source, files) if len(files) > 1 else _reader(source)(source)
        _check_frames(source, loop.frames)
        discard_impossible(loop)
    if given is not None:
        if loop.spacing is not None and not np.allclose(given, loop.spacing, rtol=1e-3):
            previous = millimetres(loop.spacing)
            loop.notes.append(f"The given spacing, {millimetres(given)}, replaces the file's {previous}.")
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
    sample = frames[:: max(1, len(frames) // 16)]
    lowest, dark, bright, highest = (float(v) for v in np.quantile(sample, (1e-4, 1e-3, 0.999, 1 - 1e-4)))
    if highest - lowest < FLAT:
        raise InputError(
            f"{source}: the cine is flat: its values span only {highest - lowest:.2%} of the range, nothing to track"
        )
    if bright < BLACK:
        loop.notes.append(f"The cine is nearly black: no pixel is brighter than {frames.max():.0%} of the range.")
    elif bright - dark < BLACK:
        loop.notes.append(f"The cine is nearly flat: its values span only {bright - dark:.1%} of the range.")
    return MetaTensor(torch.from_numpy(frames)[None], meta=meta)


def frame_pairs(cine: torch.Tensor) -> torch.Tensor:
    """Return the pairs of neighbouring frames of a cine ``[1, T, H, W]``, as ``[T - 1, 2, H, W]``.

    Channel 0, moving, is frame t; channel 1, fixed, is frame t + 1. The result is a view of the cine, not a copy,
    and must not be written to.

    Examples:
        >>> cine = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
        >>> frame_pairs(cine)[:, :, 0, 0].tolist() == [[cine[0, 0], cine[0, 1]], [cine[0, 1], cine[0, 2]]]
        True
    """
    frames = cine.as_tensor() if isinstance(cine, MetaTensor) else cine
    return frames[0].unfold(0, 2, 1).movedim(-1, 1)


def read_two_frames(first: str | Path, last: str | Path, spacing: Sequence[float] | float | None = None) -> MetaTensor:
    """Read a cine ``[1, 2, H, W]`` of two stored frames, NIfTI (X, Y) of one size and scale, bytes or unit range.

    Raises:
        InputError: a file cannot be read or is not one frame, or the frames differ in size.

    Examples:
        >>> import tempfile, nibabel
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("ed", "es"):
        ...         frame = np.random.default_rng(0).random((40, 32), np.float32)
        ...         nibabel.save(nibabel.Nifti1Image(frame, np.diag([0.4, 0.5, 1, 1])), f"{folder}/{name}.nii")
        ...     cine = read_two_frames(f"{folder}/ed.nii", f"{folder}/es.nii")
        >>> tuple(cine.shape), [round(step, 3) for step in cine.meta["spacing"]]
        ((1, 2, 32, 40), [0.5, 0.4])
    """
    frames, steps = [], []
    for path in (first, last):
        try:
            stored, values = load_nifti(path)
            values = np.squeeze(values.astype(np.float32)).T
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{path}: cannot be read as a frame ({error})") from error
        if values.ndim != 2 or not np.isfinite(values).all():
            raise InputError(f"{path}: expected one frame (X, Y) of finite values, got shape {values.shape[::-1]}")
        frames.append(torch.from_numpy(values / (255 if values.max() > 1 else 1)))
        steps.append(tuple(float(step) for step in stored.header.get_zooms()[1::-1]))
    if frames[0].shape != frames[1].shape:
        raise InputError(
            f"{last}: shape {tuple(frames[1].shape)} differs from the end-diastolic frame's, {tuple(frames[0].shape)}"
        )
    pixel = (spacing,) * 2 if isinstance(spacing, int | float) else tuple(spacing or steps[0])
    notes = ["Two frames, end-diastole and end-systole, registered directly."]
    meta: dict[str, Any] = {
        "spacing": pixel,
        "aspect": pixel[0] / pixel[1],
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
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
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
        raise InputError(f"{path}: a single image; expected a video, or a folder of at least two images")
    kinds = ", ".join(dict.fromkeys(CINE_SUFFIXES))
    raise InputError(f"{path}: not a cine file of a known type (DICOM, {kinds}, or a folder of images)")


def _read_directory(path: Path) -> Loop:
    """Read a folder or a DICOMDIR that contains exactly one cine: files, or the images of a folder."""
    files = find_only_cine(path)
    if files[0].is_dir():
        return read_folder(files[0])
    return read_dicom(files[0], files) if len(files) > 1 else _reader(files[0])(files[0])


def _check_frames(path: Path, frames: np.ndarray) -> None:
    if len(frames) < 2:
        raise InputError(f"{path}: contains only {len(frames)} frame; a cine needs at least two")
    bad = [t for t, frame in enumerate(frames) if not np.isfinite(frame).all()]
    if bad:
        raise InputError(f"{path}: {_frames_named(bad, len(frames))} NaN or infinite values")
    blank = [t for t, frame in enumerate(frames) if frame.min() == frame.max()]
    if blank:
        raise InputError(f"{path}: {_frames_named(blank, len(frames))} a single constant value, nothing to track")
    if all(np.array_equal(frames[0], frame) for frame in frames[1:]):
        raise InputError(f"{path}: all {len(frames)} frames are identical; there is no motion")


def _frames_named(indices: list[int], count: int) -> str:
    if len(indices) == count:
        return f"all {count} frames have"
    named = ", ".join(str(t + 1) for t in indices[:5]) + (", …" if len(indices) > 5 else "")
    return f"frame{'s' if len(indices) > 1 else ''} {named} of {count} {'have' if len(indices) > 1 else 'has'}"
