"""Pictures without a heart, as negative examples for a classifier: natural images, text, noise and shapes.

The natural images are those that scikit-image ships. Half of all pictures are masked by a sector, as on a scanner;
noise is white, or smooth like speckle and tissue.
"""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cardiac_motion.core.plots import cv2

SIZE = 160  # pixels a side
_FORMS = ("natural", "noise", "text", "shapes")


def natural_pictures() -> list[tuple[str, NDArray[np.uint8]]]:
    """Return name and grey values ``[H, W]`` of the images that scikit-image ships, at least 64 pixels wide."""
    pictures = []
    for path in sorted(Path(skimage.data.__file__).parent.iterdir()):
        if path.suffix in (".png", ".jpg"):
            values = np.asarray(iio.imread(path))
            grey = values[..., :3].mean(-1) if values.ndim == 3 else values
            if grey.ndim == 2 and min(grey.shape) >= 64 and np.ptp(grey) > 0:
                scaled = (grey - grey.min()) / np.ptp(grey)
                pictures.append((path.stem, np.round(255 * scaled).astype(np.uint8)))
    return pictures


def negative_pictures(count: int, seed: int) -> list[tuple[str, Tensor]]:
    """Return names and pictures ``[160, 160]`` (uint8): a quarter each natural, noise, text and shapes.

    Args:
        count: number of pictures.
        seed: random seed.
    """
    natural = natural_pictures() if count else []
    pictures = []
    for k in range(count):
        rng = np.random.default_rng((seed, k))
        form = _FORMS[k % len(_FORMS)]
        if form == "natural":
            name, image = _cut(*natural[(k // len(_FORMS)) % len(natural)], rng)
        else:
            name, image = f"{form}_{k}", {"noise": _noise, "text": _text, "shapes": _shapes}[form](rng)
        if rng.random() < 0.5:
            image = np.where(_sector(rng), image, 0).astype(np.uint8)
        image[SIZE // 2, SIZE // 2] = max(int(image[SIZE // 2, SIZE // 2]), 40)  # none is blank
        pictures.append((name, torch.from_numpy(np.ascontiguousarray(image))))
    return pictures


def _cut(name: str, picture: NDArray[np.uint8], rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    side = int(min(picture.shape) * rng.uniform(0.4, 1.0))
    top, left = (int(rng.integers(0, n - side + 1)) for n in picture.shape)
    part = cv2.resize(picture[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return name, np.rot90(part, int(rng.integers(4))).astype(np.uint8)


def _noise(rng: np.random.Generator) -> NDArray[np.uint8]:
    sigma = float(rng.choice([0.0, 0.7, 1.5, 4.0, 12.0, 25.0]))
    values = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), sigma) if sigma else rng.random((SIZE,) * 2)
    values = (values - values.min()) / np.ptp(values)
    return np.asarray(np.round(255 * values ** rng.uniform(0.5, 3)), dtype=np.uint8)


def _text(rng: np.random.Generator) -> NDArray[np.uint8]:
    image = np.full((SIZE, SIZE), int(rng.integers(0, 40)), np.uint8)
    for row in range(12, SIZE, int(rng.integers(10, 30))):
        words = "".join(chr(c) for c in rng.integers(48, 123, int(rng.integers(3, 24))))
        origin = (int(rng.integers(0, 60)), row)
        cv2.putText(image, words, origin, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 0.9), int(rng.integers(120, 256)))
    return image


def _shapes(rng: np.random.Generator) -> NDArray[np.uint8]:
    image = np.round(_noise(rng) * rng.uniform(0.2, 0.6)).astype(np.uint8)
    for _ in range(int(rng.integers(1, 7))):
        middle = [int(v) for v in rng.integers(10, SIZE - 10, 2)]
        axes = [int(v) for v in rng.integers(4, 60, 2)]
        grey, thick = int(rng.integers(0, 256)), int(rng.choice([-1, 2, 5]))
        cv2.ellipse(image, middle, axes, float(rng.uniform(0, 180)), 0, 360, grey, thick)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)))


def _sector(rng: np.random.Generator) -> NDArray[np.bool_]:
    row, column = np.mgrid[:SIZE, :SIZE]
    away, across = row + rng.uniform(0, 20), column - SIZE / 2
    half, depth = np.radians(rng.uniform(30, 50)), rng.uniform(0.8, 1.1) * SIZE
    return np.asarray((np.abs(np.arctan2(across, away)) < half) & (np.hypot(across, away) < depth))
