"""Effects between scanner and file: persistence, filters, grey curves, codecs, overlays.

A simulated frame is cleaner than stored ones. Each function maps frames [T, H, W] in [0, 1] to as many frames and does
not change the motion. ``RecordingChain`` applies a random chain of them. Functions that cover parts of the image also
return the mask of the visible pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor
from torch.nn import functional

from cardiac_motion.cine.movie import decode_movie, encode_movie
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.plots import cv2

_WORDS = ("MI 1.2", "TIS 0.8", "FR 50Hz", "16cm", "2D", "58%", "C 50", "P Low", "HGen", "JPEG", "65 bpm", "Zoom")


def persistence(frames: Tensor, share: float) -> Tensor:
    """Blend each frame with the previously displayed one: ``y_t = (1 − share) x_t + share y_(t−1)``.

    Raises:
        InputError: ``share`` is outside [0, 1).
    """
    if not 0 <= share < 1:
        raise InputError(f"persistence {share} must be in [0, 1)")
    displayed = [frames[0]]
    for frame in frames[1:]:
        displayed.append((1 - share) * frame + share * displayed[-1])
    return torch.stack(displayed)


def smooth_speckle(frames: Tensor, sigma: float, edges: float = 0.0) -> Tensor:
    """Smooth speckle by a Gaussian of ``sigma`` pixels; with ``edges`` (in grey values), by a bilateral filter."""
    if edges:
        size = 2 * math.ceil(2 * sigma) + 1
        return _map_frames(frames, lambda x: cv2.bilateralFilter(x, size, edges, sigma))
    return _map_frames(frames, lambda x: cv2.GaussianBlur(x, (0, 0), sigma))


def grey_curve(frames: Tensor, heights: tuple[float, ...]) -> Tensor:
    """Map grey values by a monotone curve from (0, 0) to (1, 1) through evenly spaced ``heights``."""
    curve = PchipInterpolator(np.linspace(0, 1, len(heights) + 2), [0.0, *heights, 1.0])
    return torch.from_numpy(curve(frames.clamp(0, 1).numpy()).astype(np.float32))


def jpeg(frames: Tensor, quality: int) -> Tensor:
    """Compress frames by JPEG of ``quality`` 1 to 100."""
    return _map_frames(
        frames, lambda x: _unit(np.asarray(cv2.imdecode(_jpeg(_bytes(x), quality), cv2.IMREAD_GRAYSCALE)))
    )


def h264(frames: Tensor, crf: int, rate: float = 30.0) -> Tensor:
    """Compress frames by H.264 with constant rate factor ``crf`` (about 18 to 35), with predicted frames."""
    movie = encode_movie((_bytes(frame) for frame in frames.numpy()), rate, crf)
    return torch.from_numpy(_unit(decode_movie(movie)))


def resample_frames(frames: Tensor, factor: float) -> Tensor:
    """Resize frames by ``factor`` and back to their size, both by bilinear interpolation."""
    size = [max(8, round(n * factor)) for n in frames.shape[1:]]
    other = functional.interpolate(frames[:, None], size, mode="bilinear", align_corners=False, antialias=factor < 1)
    back = functional.interpolate(other, frames.shape[1:], mode="bilinear", align_corners=False, antialias=factor > 1)
    return back[:, 0]


def overlay_marks(frames: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw text, a depth scale and an ECG with a moving marker over frames; return them and the visible [H, W] bool."""
    height, width = frames.shape[1:]
    layer = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 8))):
        place = (int(rng.integers(0, max(1, width - 30))), int(rng.integers(8, height)))
        size = float(rng.uniform(0.25, 0.5)) * height / 256
        cv2.putText(layer, str(rng.choice(_WORDS)), place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1, cv2.LINE_AA)
    side = int(rng.integers(0, width - 5))
    for row in range(10, height, max(4, height // 16)):
        cv2.line(layer, (side, row), (side + 4, row), 255, 1)
    layers, free = np.stack([layer] * len(frames)), np.ones((height, width), dtype=bool)
    if rng.random() < 0.6:
        trace = _ecg(height, width, rng)
        free[max(0, int(trace[:, 1].min()) - 6) : int(trace[:, 1].max()) + 7] = False
        for number, picture in enumerate(layers):
            cv2.polylines(picture, [trace], False, 255, 1, cv2.LINE_AA)
            mark = trace[min(width - 1, int((number + 1) / len(layers) * (width - 1)))]
            cv2.circle(picture, (int(mark[0]), int(mark[1])), 3, 255, -1)
    free &= cv2.dilate(layer, np.ones((7, 7), np.uint8)) == 0
    share = torch.from_numpy(_unit(layers))
    return frames * (1 - share) + float(rng.uniform(0.6, 1.0)) * share, torch.from_numpy(free)


def _ecg(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return an ECG trace at the lower edge, [W, 2] (column, row) int32: P, QRS and T waves of a few beats."""
    along = np.linspace(0, 1, width)
    beat = (along * rng.uniform(1, 4)) % 1
    waves = ((0.2, 0.03, 0.15), (0.35, 0.01, 1.0), (0.65, 0.05, 0.3))
    wave = sum(high * np.exp(-0.5 * ((beat - middle) / wide) ** 2) for middle, wide, high in waves)
    level = rng.uniform(0.85, 0.97) * height - wave * rng.uniform(0.03, 0.08) * height
    return np.stack([along * (width - 1), level], 1).round().astype(np.int32)


def cut(frames: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Crop the sector: black up to a quarter at one or two sides; return the frames and the remaining [H, W] bool."""
    height, width = frames.shape[1:]
    visible = torch.zeros(height, width, dtype=torch.bool)
    edges = [0, height, 0, width]
    for side in rng.choice(4, int(rng.integers(1, 3)), replace=False):
        amount = int(rng.uniform(0.03, 0.25) * (height if side < 2 else width))
        edges[side] += -amount if side % 2 else amount
    visible[edges[0] : edges[1], edges[2] : edges[3]] = True
    return frames * visible, visible


def _map_frames(frames: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack([change(np.ascontiguousarray(x)) for x in frames.numpy()]))


def _bytes(picture: np.ndarray) -> np.ndarray:
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def _unit(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255


def _jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


@dataclass(frozen=True)
class RecordingChain:
    """Random chain of recording effects, each with its probability.

    Attributes:
        persist: probability of persistence, up to 0.5.
        filter: probability of a speckle filter.
        grey: probability of a grey curve.
        resample: probability of resizing and back, by 0.55 to 1.8.
        overlay: probability of text and an ECG.
        cut: probability of a cropped sector.
        jpeg: probability of JPEG of quality 25 to 95.
        h264: probability of H.264 at a rate factor of 18 to 34, instead of JPEG.
    """

    persist: float = 0.25
    filter: float = 0.3
    grey: float = 0.4
    resample: float = 0.3
    overlay: float = 0.2
    cut: float = 0.1
    jpeg: float = 0.25
    h264: float = 0.15

    def __call__(self, frames: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return frames [T, H, W] after recording, and the mask [H, W] bool of unobstructed pixels.

        With persistence, the first frames have fewer predecessors than in a longer cine.
        """
        free = torch.ones(frames.shape[1:], dtype=torch.bool)
        frames = frames.float().cpu()
        if rng.random() < self.persist:
            frames = persistence(frames, float(rng.uniform(0.1, 0.5)))
        if rng.random() < self.filter:
            edges = float(rng.uniform(0.1, 0.4)) if rng.random() < 0.5 else 0.0
            frames = smooth_speckle(frames, float(rng.uniform(0.4, 1.4)), edges)
        if rng.random() < self.grey:
            heights = np.sort(np.clip(np.array([0.25, 0.5, 0.75]) + rng.normal(0, 0.1, 3), 0.02, 0.98))
            frames = grey_curve(frames, tuple(float(h) for h in heights))
        if rng.random() < self.resample:
            frames = resample_frames(frames, math.exp(rng.uniform(math.log(0.55), math.log(1.8))))
        if rng.random() < self.cut:
            frames, visible = cut(frames, rng)
            free = free & visible
        if rng.random() < self.overlay:
            frames, visible = overlay_marks(frames, rng)
            free = free & visible
        if rng.random() < self.h264:
            frames = h264(frames, int(rng.integers(18, 35)))
        elif rng.random() < self.jpeg:
            frames = jpeg(frames, int(rng.integers(25, 96)))
        return frames.clamp(0, 1), free
