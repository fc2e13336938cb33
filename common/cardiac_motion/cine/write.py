"""Write a cine as NIfTI, MP4 or GIF."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.movie import encode_movie
from cardiac_motion.cine.nifti import PLAYBACK, TIME_SERIES_INTENT
from cardiac_motion.cine.scale import aspect_of, pixel_steps
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.stored import save_nifti
from cardiac_motion.core.whole_files import write_whole

WRITTEN_SUFFIXES = (".nii.gz", ".nii", ".mp4", ".gif")


def write_cine(path: str | os.PathLike[str], cine: torch.Tensor) -> None:
    """Write a cine, first under a temporary name, then moved into place, so that no incomplete file is left.

    Args:
        path: ``.nii.gz`` or ``.nii``: shape (X, Y, T), float32, zooms (dx, dy, dt) in mm and s if known, intent 2001
            (time series), lossless; ``.mp4``: H.264, 8 bits, lossy, 25 frames/s if times are unknown; ``.gif``: 8 bits,
            times to 10 ms, repeated frames merged. Each stores the aspect of non-square pixels.
        cine: ``[1, T, H, W]`` in [0, 1]; ``meta`` is used if it is a ``MetaTensor``.

    Raises:
        InputError: the suffix is none of these, the shape is not a cine's, or the file cannot be written.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cine(f"{folder}/a4c.mp4", torch.rand(1, 3, 32, 40))
        ...     [path.name for path in Path(folder).iterdir()]
        ['a4c.mp4']
    """
    path = Path(path)
    suffix = next((s for s in WRITTEN_SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise InputError(f"{path}: unknown suffix; a cine is written as one of {', '.join(WRITTEN_SUFFIXES)}")
    if cine.ndim != 4 or cine.shape[0] != 1:
        raise InputError(f"{path}: expected a cine of shape [1, T, H, W], got {list(cine.shape)}")
    meta = cine.meta if isinstance(cine, MetaTensor) else {}
    frames = cine.detach().cpu().numpy()[0].astype(np.float32)
    writer = {".mp4": _write_mp4, ".gif": _write_gif}.get(suffix, _write_nifti)
    with write_whole(path) as beside:
        writer(str(beside), frames, meta)


def _write_nifti(path: str, frames: np.ndarray, meta: Mapping[str, Any]) -> None:
    import nibabel as nib

    (row, column), times = pixel_steps(meta), meta.get("frame_times")
    step = (times[-1] - times[0]) / (len(times) - 1) if times and len(times) > 1 else 1.0
    image = nib.Nifti1Image(frames.transpose(2, 1, 0), np.diag([column, row, step, 1.0]))
    image.header.set_zooms((column, row, step))
    image.header.set_xyzt_units("mm" if meta.get("spacing") else "unknown", "sec" if times else "unknown")
    image.header.set_intent(TIME_SERIES_INTENT, allow_unknown=True)
    image.header["descrip"] = b"cine (X, Y, T)" + (PLAYBACK if meta.get("frame_time_source") == "playback" else b"")
    if times and not np.allclose(np.diff(times), step, atol=1e-6):
        content = json.dumps({"frame_times": times}).encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", content))
    save_nifti(image, path, "writing a cine")


def _write_mp4(path: str, frames: np.ndarray, meta: Mapping[str, Any]) -> None:
    times = meta.get("frame_times")
    rate = (len(times) - 1) / (times[-1] - times[0]) if times and times[-1] > times[0] else 25.0
    Path(path).write_bytes(encode_movie((_bytes(frame) for frame in frames), rate, crf=12, aspect=aspect_of(meta)))


def _write_gif(path: str, frames: np.ndarray, meta: Mapping[str, Any]) -> None:
    from PIL import Image

    times = meta.get("frame_times")
    images = [Image.fromarray(frame) for frame in _bytes(frames)]
    steps = np.diff(times) if times and len(times) > 1 else np.full(max(len(frames) - 1, 1), 0.04)
    durations = [max(10, round(float(step) * 100) * 10) for step in [*steps, steps[-1]]][: len(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)
    ratio = round(64 / aspect_of(meta)) - 15  # GIF89a, section 18
    if ratio != 49 and 1 <= ratio <= 255:
        with open(path, "r+b") as file:
            file.seek(12)
            file.write(bytes([ratio]))


def _bytes(frames: np.ndarray) -> np.ndarray:
    return np.round(np.clip(frames, 0, 1) * 255).astype(np.uint8)
