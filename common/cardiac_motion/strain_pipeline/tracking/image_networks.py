"""The image networks of the strain pipeline on a cine: where the left heart is in each frame, and which view it shows.

Both take the square around the imaging sector (``cine.square.FrameSquare``), so neither needs the spacing,
and marks and text beside the sector are blackened first. Østvik et al. 2018, 10.1007/978-3-030-00889-5_35, sections 2.1
and 2.2; the paper leaves temporal consistency to the Kalman filter, here the logits are smoothed over time as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from cardiac_motion.cine.sector import frame_statistics, sector_masks
from cardiac_motion.cine.square import FrameGrid, FrameSquare
from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.threads import map_workers, splits_well
from cardiac_motion.networks.segmentation_unet import SegmentationUNet, fold_normalisation
from cardiac_motion.networks.view_classifier import ViewClassifier
from cardiac_motion.networks.weights import load_weights, read_weights
from cardiac_motion.ventricle.views import VIEWS

FRAMES_FOR_VIEW = 32
VIEW_FRAMES_AT_ONCE = 4
_AT_ONCE = 16  # frames that are cut to their square at a time
TIME_SIGMA = 1.0  # frames
TEMPERATURE = 1.75  # fitted to recorded clips that the network was not trained on (docs/TRAINING.md)
INFERENCE_SIZE = 224  # trained at 256; a smaller square shows the network more of the heart (docs/TRAINING.md)
NEAR_ED, BESIDE = 0.9, 2  # of the range of the cavity's area; frames
CAVITY, WALL = 1, 2  # in ``cardiac_motion.ventricle.labels.LABELS``
_FINER, _MARGIN = 2, 6  # cells of the heart's grid for a pixel of the network; pixels of the network around the heart
_BEYOND = 20.0  # logit of the background outside the square


def load_segmentation(path: str | Path) -> SegmentationUNet:
    """The segmentation network of a file of weights, of the widths that they have, ready to infer.

    Raises:
        InputError: no such file, or weights of another network.
    """
    state = read_weights(path)
    widths = [state[name].shape[0] for name in _list_names("down.{}.0.weight", state)]
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
    cine: Tensor, network: nn.Module, size: int = INFERENCE_SIZE, batch: int = 8, smooth: bool = True, stride: int = 1
) -> Tensor:
    """How far each pixel of each frame belongs to background, LV cavity, myocardium and left atrium.

    Args:
        cine: ``[T, H, W]`` in [0, 1].
        network: ``[B, 1, size, size]`` to logits ``[B, C, size, size]``.
        size: of the network's input, a multiple of 16.
        batch: frames at once.
        smooth: a Gaussian of one frame over the logits' time, and the largest connected piece of each structure alone.
        stride: so manieth frame alone is segmented, and the first and last; logits between are interpolated over time.
            Frames in which the cavity is about as large as it gets (``NEAR_ED``), and those beside them, are segmented
            all the same: end-diastole, from which strain is measured, is as without it.

    Returns:
        Memberships ``[T, C, H, W]`` in [0, 1], their sum over C is 1, on the cine's own pixels.

    Raises:
        ValueError: not of the shape [T, H, W].
    """
    return torch.cat(list(membership_parts(cine, network, size, batch, smooth, stride)))


def membership_parts(
    cine: Tensor, network: nn.Module, size: int = INFERENCE_SIZE, batch: int = 8, smooth: bool = True, stride: int = 1
) -> Iterator[Tensor]:
    """``segment_cine`` in parts of ``batch`` frames, ``[b, C, H, W]``, one at a time in memory; arguments as there."""
    logits, square = _infer_cine(cine, network, size, batch, smooth, stride)
    beyond = [_BEYOND, *[0.0] * (logits.shape[1] - 1)]
    for part in show_bar(logits.split(batch), "memberships", "batch"):
        memberships = square.paste(part, beyond).softmax(1)
        yield keep_largest_pieces(memberships) if smooth else memberships


@dataclass(frozen=True, eq=False)
class HeartMemberships:
    """Memberships on a grid over the part of the frames that holds the heart.

    Attributes:
        parts: ``[b, C, *grid.size]`` in [0, 1], some frames after the other; their sum over C is 1.
        grid: where it lies in the frames.
    """

    parts: Iterable[Tensor]
    grid: FrameGrid

    def mirror(self) -> HeartMemberships:
        """The same of the cine whose left and right are exchanged."""
        return HeartMemberships((part.flip(-1) for part in self.parts), self.grid.mirror())


def segment_heart(
    cine: Tensor, network: nn.Module, size: int = INFERENCE_SIZE, batch: int = 8, smooth: bool = True, stride: int = 1
) -> HeartMemberships:
    """``segment_cine`` on a grid of its own: twice as fine as the network's, of the part that holds the heart.

    What it costs depends on neither the frames' size nor how much of them the heart fills. Arguments as there.
    """
    logits, square = _infer_cine(cine, network, size, batch, smooth, stride)
    heart = torch.stack([(part.max(1).indices > 0).any(0) for part in logits.split(batch)]).any(0)
    if not heart.any():
        heart = ~heart
    (top, bottom), (left, right) = bounding_box(heart[None, None], heart.shape, _MARGIN)
    rows, columns = slice(top, bottom), slice(left, right)

    def infer_part(part: Tensor) -> Tensor:
        fine = functional.interpolate(
            part[:, :, rows, columns], scale_factor=_FINER, mode="bilinear", align_corners=False
        ).softmax(1)
        return keep_largest_pieces(fine) if smooth else fine

    parts = (infer_part(part) for part in logits.split(batch))
    return HeartMemberships(parts, square.grid(rows, columns, _FINER))


def _infer_cine(
    cine: Tensor, network: nn.Module, size: int, batch: int, smooth: bool, stride: int
) -> tuple[Tensor, FrameSquare]:
    """Logits ``[T, C, size, size]`` of a cine, smoothed over time, and where the square lies."""
    frames, square = _prepare(cine, size)
    network.eval()
    logits = _logits(frames, network, batch, stride)
    if smooth and len(logits) > 1:
        # the first and last frames stand for what lies before and after
        logits = torch.from_numpy(ndimage.gaussian_filter1d(logits.numpy(), TIME_SIGMA, axis=0, mode="nearest"))
    return logits, square


def _logits(frames: Tensor, network: nn.Module, batch: int, stride: int) -> Tensor:
    """The logits ``[T, C, size, size]`` of frames ``[T, 1, size, size]``; ``stride`` as in ``segment_cine``."""
    device = next(network.parameters()).device
    count, at_once = len(frames), batch
    if device.type == "cpu":
        at_once = 1  # the layers of one frame fit a processor's cache
        network = fold_normalisation(network) if isinstance(network, SegmentationUNet) else network

    def infer(chosen: list[int]) -> Tensor:
        parts = frames[chosen].split(at_once)

        def infer_part(part: Tensor) -> Tensor:
            found: Tensor = network(part.to(device, memory_format=torch.channels_last))
            return found.float().cpu().contiguous()

        with torch.no_grad():
            found = map_workers(infer_part, parts, splits_well(network))
            return torch.cat([*show_bar(found, "segmentation", "batch", len(parts))])

    if stride < 2 or count <= 2 * stride:
        return infer(list(range(count)))
    first = sorted({*range(0, count, stride), count - 1})
    logits = _interpolate(infer(first), first, count)
    areas = (logits.max(1).indices == CAVITY).sum((1, 2)).float()
    large = areas >= areas.max() - (1 - NEAR_ED) * (areas.max() - areas.min())
    near = functional.max_pool1d(large.float()[None], 2 * BESIDE + 1, 1, BESIDE)[0] > 0
    more = sorted(set(torch.nonzero(near)[:, 0].tolist()) - set(first))
    if more:
        known = dict(zip(first, logits[first], strict=True)) | dict(zip(more, infer(more), strict=True))
        logits = _interpolate(torch.stack([known[t] for t in sorted(known)]), sorted(known), count)
    return logits


def _interpolate(known: Tensor, at: list[int], count: int) -> Tensor:
    """Values of ``count`` frames from those ``known [n, ...]`` of the frames ``at``, linear in time."""
    found = known.new_empty((count, *known.shape[1:]))
    for k, (a, b) in enumerate(pairwise(at)):
        for t in range(a, b):
            found[t] = torch.lerp(known[k], known[k + 1], (t - a) / (b - a))
    found[at[-1]] = known[-1]
    return found


def keep_largest_pieces(memberships: Tensor) -> Tensor:
    """Take each structure's smaller pieces away from it: there the other memberships share what it had.

    The wall may come in two pieces, where a part of it is thin, dark or cut by the sector; a piece of a tenth of its
    largest stays.

    Args:
        memberships: ``[T, C, H, W]``, channel 0 the background.
    """
    kept = memberships.clone()
    winner = memberships.max(1).indices.numpy()
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


@dataclass(frozen=True)
class ViewProbabilities:
    """The output of the view classifier for a cine.

    Attributes:
        by_view: probability of each view, by its name.
        energy: out-of-distribution score, log Σ exp of the logits averaged over the frames (Liu et al. 2020, arXiv
            2010.03759): low for frames unlike those of the training. NaN if a classifier does not give it: the check
            of it then fails.
    """

    by_view: Mapping[str, float]
    energy: float

    @property
    def most_probable(self) -> str:
        """The name of the most probable view."""
        return max(self.by_view, key=lambda name: self.by_view[name])


def classify_view(
    cine: Tensor, network: nn.Module, size: int = 128, temperature: float = TEMPERATURE
) -> ViewProbabilities:
    """Probability of each view of ``VIEWS``, the mean over up to 32 frames of the cine and their mirrors.

    Args:
        cine: ``[T, H, W]`` in [0, 1].
        network: ``[B, 1, size, size]`` to logits ``[B, 8]``.
        size: of the network's input.
        temperature: that logits are divided by (Guo et al. 2017, arXiv 1706.04599).

    Raises:
        ValueError: not of the shape [T, H, W].
    """
    chosen = np.unique(np.linspace(0, len(cine) - 1, FRAMES_FOR_VIEW).round().astype(int))
    frames, _ = _prepare(cine, size, chosen)
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        parts = frames.to(device).split(VIEW_FRAMES_AT_ONCE)
        found = map_workers(
            lambda part: (network(part).float() + network(part.flip(-1)).float()) / 2, parts, splits_well(network)
        )
        logits = torch.cat([*show_bar(found, "view", "batch", len(parts))])
    shares = (logits / temperature).softmax(1).mean(0).tolist()
    return ViewProbabilities(dict(zip(VIEWS, shares, strict=True)), float(logits.logsumexp(1).mean()))


def _prepare(cine: Tensor, size: int, chosen: NDArray[np.int64] | None = None) -> tuple[Tensor, FrameSquare]:
    """The squares ``[n, 1, size, size]`` of a cine's sector in all frames, or the ``chosen`` ones; where they lie."""
    if cine.dim() != 3 or not len(cine):
        raise ValueError(f"expected a cine [T, H, W], got {tuple(cine.shape)}")
    frames = cine.detach().float().cpu().as_subclass(Tensor)
    known = frame_statistics(frames[None])
    echo, sector = sector_masks(frames[None], (0, 16), still=True, statistics=known)
    square = FrameSquare.from_mask(echo, size)
    shown = frames if chosen is None else frames[torch.from_numpy(chosen)]
    return torch.cat([square.take(part * sector) for part in shown.split(_AT_ONCE)]), square


def _list_names(pattern: str, state: dict[str, Tensor]) -> list[str]:
    names = [pattern.format(i) for i in range(len(state))]
    return names[: next((i for i, name in enumerate(names) if name not in state), 0)]
