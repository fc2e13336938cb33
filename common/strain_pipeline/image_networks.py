"""The image networks of the strain pipeline on a cine: where the left heart is in each frame, and which view it shows.

Both take the square around the imaging sector (``common.cine.square.FrameSquare``), so neither needs the spacing,
and marks and text beside the sector are blackened first. Østvik et al. 2018, 10.1007/978-3-030-00889-5_35, sections 2.1
and 2.2; the paper leaves temporal consistency to the Kalman filter, here the logits are smoothed over time as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from common.cine.sector import sector_mask
from common.cine.square import FrameSquare
from common.core.bars import with_bar
from common.core.errors import InputError
from common.networks.segmentation_unet import SegmentationUNet
from common.networks.view_classifier import ViewClassifier
from common.networks.weights import load_weights, read_weights
from common.ventricle.views import VIEWS

FRAMES_FOR_VIEW = 32
TIME_SIGMA = 1.0  # frames
INFERENCE_SIZE = 224  # trained at 256; a smaller square shows the network more of the heart (docs/TRAINING.md)
WALL = 2  # in ``common.ventricle.labels.LABELS``
_BEYOND = 20.0  # logit of the background outside the square


def load_segmentation(path: str | Path) -> SegmentationUNet:
    """The segmentation network of a file of weights, of the widths that they have, ready to infer.

    Raises:
        InputError: no such file, or weights of another network.
    """
    state = read_weights(path)
    widths = [state[name].shape[0] for name in _numbered("down.{}.0.weight", state)]
    classes = state.get("out.weight", torch.empty(0)).shape[0]
    if len(widths) < 2 or classes < 2:
        raise InputError(f"{path}: these are not weights of a SegmentationUNet")
    return load_weights(SegmentationUNet(widths, classes), path).eval()  # type: ignore[return-value]


def load_view_classifier(path: str | Path) -> ViewClassifier:
    """The view classifier of a file of weights, of the width that they have, ready to infer.

    Raises:
        InputError: no such file, or weights of another network.
    """
    first = read_weights(path).get("features.0.0.weight", torch.empty(0))
    if first.dim() != 4:
        raise InputError(f"{path}: these are not weights of a ViewClassifier")
    return load_weights(ViewClassifier(len(VIEWS), first.shape[0]), path).eval()  # type: ignore[return-value]


def segment_cine(
    cine: Tensor, network: nn.Module, size: int = INFERENCE_SIZE, batch: int = 8, smooth: bool = True
) -> Tensor:
    """How far each pixel of each frame belongs to background, LV cavity, myocardium and left atrium.

    Args:
        cine: ``[T, H, W]`` in [0, 1].
        network: ``[B, 1, size, size]`` to logits ``[B, C, size, size]``.
        size: of the network's input, a multiple of 16.
        batch: frames at once.
        smooth: a Gaussian of one frame over the logits' time, and the largest connected piece of each structure alone.

    Returns:
        Memberships ``[T, C, H, W]`` in [0, 1], their sum over C is 1, on the cine's own pixels.

    Raises:
        ValueError: not of the shape [T, H, W].
    """
    frames, square = _prepared(cine, size)
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        parts = with_bar(frames.split(batch), "segmentation", "batch")
        logits = torch.cat([network(part.to(device)).float().cpu() for part in parts])
    if smooth and len(logits) > 1:
        # the first and last frames stand for what lies before and after
        logits = torch.from_numpy(ndimage.gaussian_filter1d(logits.numpy(), TIME_SIGMA, axis=0, mode="nearest"))
    beyond = [_BEYOND, *[0.0] * (logits.shape[1] - 1)]
    memberships = torch.cat([square.put(part, beyond).softmax(1) for part in logits.split(batch)])
    return largest_pieces(memberships) if smooth else memberships


def largest_pieces(memberships: Tensor) -> Tensor:
    """Take each structure's smaller pieces away from it: there the other memberships share what it had.

    The wall may come in two pieces, where a part of it is thin, dark or cut by the sector; a piece of a tenth of its
    largest stays.

    Args:
        memberships: ``[T, C, H, W]``, channel 0 the background.
    """
    kept = memberships.clone()
    winner = memberships.argmax(1).numpy()
    for frame, labels in zip(kept, winner, strict=True):
        for value in range(1, len(frame)):
            pieces, count = ndimage.label(labels == value)
            if count > 1:
                sizes = np.bincount(pieces.ravel())
                sizes[0] = 0
                least = sizes.max() * (0.1 if value == WALL else 1)
                small = torch.from_numpy((pieces > 0) & (sizes[pieces] < least))
                frame[value, small] = 0
        frame[0] += (frame.sum(0) <= 1e-6).float()
    return kept / kept.sum(1, keepdim=True)


def classify_view(cine: Tensor, network: nn.Module, size: int = 128) -> dict[str, float]:
    """Probability of each view of ``VIEWS``, the mean over up to 32 frames of the cine.

    Args:
        cine: ``[T, H, W]`` in [0, 1].
        network: ``[B, 1, size, size]`` to logits ``[B, 8]``.
        size: of the network's input.

    Raises:
        ValueError: not of the shape [T, H, W].
    """
    chosen = np.unique(np.linspace(0, len(cine) - 1, FRAMES_FOR_VIEW).round().astype(int))
    frames, _ = _prepared(cine, size)
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        shares = network(frames[chosen].to(device)).float().softmax(1).mean(0)
    return dict(zip(VIEWS, shares.tolist(), strict=True))


def _prepared(cine: Tensor, size: int) -> tuple[Tensor, FrameSquare]:
    """The squares ``[T, 1, size, size]`` of a cine's sector, and where they lie."""
    if cine.dim() != 3 or not len(cine):
        raise ValueError(f"expected a cine [T, H, W], got {tuple(cine.shape)}")
    frames = cine.detach().float().cpu()
    frames = frames.as_tensor() if hasattr(frames, "as_tensor") else frames
    square = FrameSquare.around(sector_mask(frames[None], 0, still=True), size)
    return square.take(frames * sector_mask(frames[None], still=True)), square


def _numbered(pattern: str, state: dict[str, Tensor]) -> list[str]:
    names = [pattern.format(i) for i in range(len(state))]
    return names[: next((i for i, name in enumerate(names) if name not in state), 0)]
