"""What a format's reader hands on, and what the readers share: the scale of values, colour, and quiet libraries."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Loop:
    """What a format's reader found: frames ``[T, H, W]`` in [0, 1], and what ``meta`` will carry."""

    frames: np.ndarray
    spacing: tuple[float, float] | None = None
    frame_times: list[float] | None = None
    regions: list[dict[str, Any]] = field(default_factory=list)
    r_waves: list[float] | None = None
    colour_flow: bool = False
    notes: list[str] = field(default_factory=list)


def millimetres(spacing: Sequence[float]) -> str:
    return f"{spacing[0]:.4g} × {spacing[1]:.4g} mm/px"


def unit_range(values: np.ndarray, notes: list[str], maximum: float | None = None) -> np.ndarray:
    """Scale to [0, 1]: by ``maximum`` where known, bytes by 255, integers that fit a byte too, else by min and max."""
    if maximum is not None:
        return np.clip(values.astype(np.float32) / maximum, 0, 1)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / 255
    if values.dtype == bool or values.size == 0:
        return values.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if np.issubdtype(values.dtype, np.integer) and low >= 0 and 1 < high <= 255:
        notes.append(f"Values are whole numbers up to {high:g} in {values.dtype}: divided by 255.")
        return values.astype(np.float32) / 255
    if not (np.isfinite(low) and np.isfinite(high)) or (low >= 0 and high <= 1):
        return values.astype(np.float32)
    notes.append(f"Values run from {low:g} to {high:g}: scaled to [0, 1] by their minimum and maximum.")
    return ((values.astype(np.float64) - low) / max(high - low, np.finfo(float).tiny)).astype(np.float32)


def first_channel(values: np.ndarray, loop: Loop) -> np.ndarray:
    """``[T, H, W, C]`` to its first channel, noting colour that covers more than labels and marks do.

    A tint colours all that is bright, Doppler a part of it.
    """
    colour = values[:: max(len(values) // 8, 1), ..., :3].astype(np.int32) / np.iinfo(values.dtype).max
    coloured = np.ptp(colour, axis=-1) > 0.2
    share = coloured.mean()
    if share > 0.03:
        loop.notes.append(
            f"{share:.0%} of the pixels are coloured (a Doppler or tinted image?): the first channel is used."
        )
        loop.colour_flow = bool(coloured[colour.max(-1) > 0.4].mean() < 0.8)
    return values[..., 0]


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "…"


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Hold back a library's warnings and logged tracebacks: what is wrong ends in one line of ours."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
