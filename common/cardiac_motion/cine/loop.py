"""The result of a format's reader, and shared parts of the readers: scaling, colour, limits, quiet libraries."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

BLOCK = 4  # pixels: colours are averaged over blocks, because the grey of a palette may be dithered
COLOURED = 0.2  # spread of the channels of a coloured block, as a fraction of the largest value
LIT = 0.4  # fraction of the largest value above which a block is bright
FEW, FAR = 5e-4, 10.0  # maximum fraction of outliers, and their distance in units of the others' range
FEWEST_VALUES = 4000  # minimum number of values for outlier detection


@dataclass
class Loop:
    """Frames ``[T, H, W]`` in [0, 1] as read from a file, and the content of ``meta``.

    Attributes:
        spacing: (row, column) in mm/px.
        aspect: ratio of a pixel's height to its width, if ``spacing`` is unknown.
        frame_time_source: whether ``frame_times`` are those of the acquisition, or those of playback.
        view: description of the view in the file.
        crop: (top, left, bottom, right) of the part of the file's frames that was read; None for all.
    """

    frames: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    spacing: tuple[float, float] | None = None
    aspect: float = 1.0
    frame_times: list[float] | None = None
    frame_time_source: Literal["acquired", "playback"] = "acquired"
    regions: list[dict[str, Any]] = field(default_factory=list)
    r_waves: list[float] | None = None
    colour_flow: bool = False
    view: str | None = None
    crop: tuple[int, int, int, int] | None = None
    notes: list[str] = field(default_factory=list)


class FirstChannel:
    """Extracts the first channel of colour frames, one by one, and counts coloured pixels."""

    def __init__(self) -> None:
        self.pixels = self.coloured = self.lit = self.lit_and_coloured = 0

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the first channel ``[H, W]`` of an integer frame ``[H, W, C]``."""
        high, wide = (min(BLOCK, n) for n in frame.shape[:2])
        blocks = frame[: frame.shape[0] // high * high, : frame.shape[1] // wide * wide, :3]
        rows = np.zeros((len(blocks) // high, *blocks.shape[1:]), dtype=np.uint32)
        for k in range(high):
            rows += blocks[k::high]
        total = np.zeros((len(rows), rows.shape[1] // wide, rows.shape[2]), dtype=np.uint32)
        for k in range(wide):
            total += rows[:, k::wide]
        colour = total / (high * wide * np.iinfo(frame.dtype).max)
        coloured, lit = np.ptp(colour, axis=-1) > COLOURED, colour.max(-1) > LIT
        self.pixels += coloured.size
        self.coloured += int(coloured.sum())
        self.lit += int(lit.sum())
        self.lit_and_coloured += int((coloured & lit).sum())
        return np.ascontiguousarray(frame[..., 0])

    def report(self, loop: Loop) -> None:
        """Note colour that covers more than labels and marks; a tint colours all bright pixels, Doppler only some."""
        share = self.coloured / max(self.pixels, 1)
        if share > 0.03:
            loop.notes.append(
                f"{share:.0%} of the pixels are coloured (Doppler or a tinted image?); the first channel is used."
            )
            loop.colour_flow = self.lit_and_coloured < 0.8 * self.lit


def millimetres(spacing: Sequence[float]) -> str:
    """Format a spacing (row, column) for a note."""
    return f"{spacing[0]:.4g} × {spacing[1]:.4g} mm/px"


def unit_range(values: np.ndarray, notes: list[str], maximum: float | None = None) -> np.ndarray:
    """Scale to [0, 1]: by ``maximum`` if given, bytes and integers in their range by 255, otherwise by min and max.

    A few values far from all others (``value_range``) are clipped to the range of the others.
    """
    if maximum is not None:
        share = _divide(values, maximum)
        return np.clip(share, 0, 1, out=share)
    if values.dtype == np.uint8:
        return _divide(values, 255)
    if values.dtype == bool or values.size == 0:
        return values.astype(np.float32)
    low, high = value_range(values, notes)
    if np.issubdtype(values.dtype, np.integer) and low >= 0 and 1 < high <= 255:
        notes.append(f"Values are whole numbers up to {high:g} in {values.dtype}; divided by 255.")
        share = _divide(values, 255)
        return np.clip(share, 0, 1, out=share)
    if not (np.isfinite(low) and np.isfinite(high)):
        with np.errstate(over="ignore"):
            return values.astype(np.float32)
    if low >= 0 and high <= 1:
        share = values.astype(np.float32)
        return np.clip(share, 0, 1, out=share)
    return _stretch(values, *_stretched_range(values, low, high, notes))


def scale_integers(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Scale integers of more than a byte to [0, 1] by the bits that their values need, whatever the header declares.

    Values up to 255 are divided by 255. Others are scaled from 0 to 2ⁿ − 1, or from −2ⁿ to 2ⁿ − 1 if some are negative,
    with the smallest possible n; if they fill less than half of that range, by their minimum and maximum.
    """
    if values.dtype == np.uint8 or values.dtype == bool or values.size == 0 or values.dtype.kind not in "ui":
        return unit_range(values, notes)
    low, high = value_range(values, notes)
    bits = max(int(high).bit_length(), int(-low - 1).bit_length() if low < 0 else 0)
    bottom, top = (0 if low >= 0 else -(2**bits)), 2**bits - 1
    if low >= 0 and high <= 255:
        if high <= 1:
            return unit_range(np.clip(values, 0, 1), notes)
        notes.append(f"Values are whole numbers up to {high:g} in {values.dtype}; divided by 255.")
        top = 255
    elif high - low < (top - bottom) / 2:
        bottom, top = (int(value) for value in _stretched_range(values, low, high, notes))
    if bottom == 0:
        share = _divide(values, top)
        return np.clip(share, 0, 1, out=share)
    return _stretch(values, bottom, top)


def _stretched_range(values: np.ndarray, low: float, high: float, notes: list[str]) -> tuple[float, float]:
    """Return the values that become 0 and 1: ``low`` and ``high``, unless they are nearly equal.

    Integers within a range of 255 are not stretched beyond steps of 1/255, and other values are not stretched if they
    differ by less than such a step relative to their magnitude, so that a flat image stays flat.
    """
    if np.issubdtype(values.dtype, np.integer) and high - low <= 255:
        notes.append(f"Values range from {low:g} to {high:g}; {low:g} becomes 0, and {low + 255:g} becomes 1.")
        return low, low + 255
    size = max(abs(low), abs(high))
    if high / 2 - low / 2 < size / 510 and high > low:
        return low, low + size
    notes.append(f"Values range from {low:g} to {high:g}; scaled to [0, 1] by their minimum and maximum.")
    return low, high


def value_range(values: np.ndarray, notes: list[str]) -> tuple[float, float]:
    """Return the smallest and the largest value, excluding a few far outliers.

    Values are outliers if the whole range is ``FAR`` times the range of all but a fraction ``FEW`` of a sample.

    Args:
        values: numbers; frames first if there are several axes.
        notes: list to which clipped values are reported.

    Returns:
        Minimum and maximum; NaN or infinite if one of the values is.
    """
    low, high = float(values.min()), float(values.max())
    if values.size < FEWEST_VALUES or not (np.isfinite(low) and np.isfinite(high)):
        return low, high
    frames = values[:: max(1, len(values) // 16)] if values.ndim > 2 else values
    sample = frames.reshape(-1)[:: max(1, frames.size // 2_000_000)].astype(np.float64)
    inner, outer = (float(v) for v in np.quantile(sample, (FEW, 1 - FEW)))
    if outer > inner and high / FAR - low / FAR > outer - inner:
        within = values[(values >= inner - FAR * (outer - inner)) & (values <= outer + FAR * (outer - inner))]
        cut = values.size - within.size
        if 0 < cut <= FEW * values.size:
            notes.append(f"{cut} of the values are far outside of the others ({low:g} to {high:g}); they are clipped.")
            return float(within.min()), float(within.max())
    return low, high


def format_error(error: BaseException) -> str:
    """Return an exception's message on one line of at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "…"


@contextmanager
def silence(library: str) -> Iterator[None]:
    """Suppress a library's warnings and logged tracebacks; errors are reported in one line instead."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map ``low`` to ``high`` onto [0, 1], frame by frame; halved, because their difference may overflow."""
    scaled = np.empty(values.shape, np.float32)
    width = max(high / 2 - low / 2, np.finfo(float).tiny)
    for source, target in zip(values, scaled, strict=True) if values.ndim > 1 else [(values, scaled)]:
        target[...] = np.clip((source.astype(np.float64) / 2 - low / 2) / width, 0, 1)
    return scaled


def _divide(values: np.ndarray, by: float) -> np.ndarray:
    """Divide in single precision without a second copy: a cine of 500 frames of 1024 × 768 has 1.6 GB."""
    share = values.astype(np.float32)
    share /= np.float32(by)
    return share
