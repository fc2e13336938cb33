"""Figures and movies for visual inspection of fields (NMSR figures 2 and 3, SSMSR figures 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from torch import Tensor

from cardiac_motion.cine.movie import write_movie
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.plots import cv2, plt

LONGEST_MOVIE = 500  # frames


def arrows(
    frame: Tensor,
    fields: Sequence[Tensor],
    titles: Sequence[str],
    mask: Tensor,
    path: str | Path,
    count: int = 26,
    aspect: float = 1.0,
) -> None:
    """Draw motion arrows over a frame, one panel per field, with a common scale.

    Args:
        frame: the moving frame ``[H, W]`` in [0, 1].
        fields: pull-back fields ``[2, H, W]`` in pixels; arrows show tissue motion, −ddf.
        titles: title of each panel.
        mask: ``[H, W]``; arrows are drawn inside.
        path: path of the PNG.
        count: number of arrows along the longer side.
        aspect: ratio of a pixel's height to its width; lengths are in pixel widths.
    """
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in mask.nonzero().unbind(1))
    frame, inside = frame[box], mask[box]
    tall, wide = frame.shape[0] * aspect, frame.shape[1]
    step = max(1.0, max(tall, wide) // count)
    down = max(1, round(step / aspect))
    across = max(1, round(step))
    rows, columns = np.mgrid[down // 2 : frame.shape[0] : down, across // 2 : frame.shape[1] : across]
    visible = inside.numpy()[rows, columns].astype(bool)
    rows, columns = rows[visible], columns[visible]
    motions = [-field[:, box[0], box[1]].numpy()[:, rows, columns] for field in fields]
    lengths = [np.hypot(aspect * m[0], m[1]) for m in motions]
    longest = max(np.percentile(length, 98) for length in lengths) or 1.0
    height = 3.4 * tall / wide
    figure, axes = plt.subplots(1, len(fields), figsize=(3.4 * len(fields), height + 0.3), squeeze=False)
    for axis, motion, length, title in zip(axes[0], motions, lengths, titles, strict=True):
        axis.imshow(frame, cmap="gray", vmin=0, vmax=max(0.4, float(frame.max()) * 0.8), aspect=aspect)
        axis.quiver(
            columns, rows, motion[1], motion[0], length, cmap="autumn", angles="xy", scale_units="xy",
            scale=longest / (1.8 * step), width=0.006, clim=(0, longest),
        )  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.text(0.5, 0.01, f"longest arrows: {longest:.2f} pixels per frame", ha="center", fontsize=8)
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.06, top=1 - 0.28 / (height + 0.3), wspace=0.02)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_known_motion(pairs: Sequence[dict[str, Tensor]], estimated: Sequence[Tensor], path: str | Path) -> None:
    """Draw pairs with known motion, one row each: fixed frame, true and estimated motion, and error.

    Args:
        pairs: pairs with ``image [2, H, W]``, ``field [2, H, W]`` in pixels and ``mask [1, H, W]``.
        estimated: estimated fields, ``[2, H, W]`` in pixels.
        path: path of the PNG.
    """
    figure, axes = plt.subplots(len(pairs), 4, figsize=(12, 3 * len(pairs)), squeeze=False)
    for row, pair, ddf in zip(axes, pairs, estimated, strict=True):
        inside = pair["mask"][0] > 0.5
        most = max(float(pair["field"].norm(dim=0)[inside].max()) if inside.any() else 0.0, 1e-3)
        error = (ddf - pair["field"]).norm(dim=0)
        mean = float(error[inside].mean()) if inside.any() else float("nan")
        row[0].imshow(pair["image"][1], cmap="gray", vmin=0, vmax=1)
        row[0].set_title("fixed")
        for axis, values, title in (
            (row[1], pair["field"].norm(dim=0), f"true motion, up to {most:.2f} px"),
            (row[2], ddf.norm(dim=0), "estimated motion"),
            (row[3], error, f"error, mean {mean:.2f} px"),
        ):
            axis.imshow(np.where(inside, values, np.nan), cmap="viridis", vmin=0, vmax=most)
            axis.set_title(title)
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, format="png", dpi=80)
    plt.close(figure)


def draw_warped(moving: Tensor, warped: Tensor, fixed: Tensor, path: str | Path, aspect: float = 1.0) -> None:
    """Draw moving, warped and fixed frame ``[H, W]`` in [0, 1], and the differences before and after registration.

    ``aspect`` is the ratio of a pixel's height to its width.
    """
    before, after = fixed - moving, fixed - warped
    reach = max(0.02, float(before.abs().quantile(0.999)))
    panels = [
        (moving, "moving (frame t)", None), (warped, "warped", None), (fixed, "fixed (frame t+1)", None),
        (before, f"fixed − moving, rms {before.square().mean().sqrt():.4f}", reach),
        (after, f"fixed − warped, rms {after.square().mean().sqrt():.4f}", reach),
    ]  # fmt: skip
    height = 2.8 * aspect * moving.shape[0] / moving.shape[1]
    figure, axes = plt.subplots(1, 5, figsize=(14, height + 0.3))
    for axis, (values, title, limit) in zip(axes, panels, strict=True):
        low, high, colours = (
            (0, max(0.4, float(fixed.max()) * 0.8), "gray") if limit is None else (-limit, limit, "RdBu")
        )
        axis.imshow(values, cmap=colours, vmin=low, vmax=high, aspect=aspect)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.subplots_adjust(left=0.003, right=0.997, bottom=0, top=1 - 0.28 / (height + 0.3), wspace=0.02)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_movie(
    cine: Tensor,
    points: Tensor,
    path: str | Path,
    still: str | Path | None = None,
    trail: int = 8,
    rate: float = 12.5,
    aspect: float = 1.0,
) -> None:
    """Write a movie of points tracked through a cine, each with its recent path.

    Args:
        cine: ``[T, H, W]`` in [0, 1].
        points: ``[T, P, 2]`` (row, column; pixels).
        path: path of the ``.mp4`` or ``.gif``.
        still: path of a PNG of the last frame; None writes none.
        trail: number of frames for which a path stays visible.
        rate: frames per second of the movie.
        aspect: ratio of a pixel's height to its width; the movie's pixels are square.
    """
    across = max(1, round(640 / cine.shape[2]))
    zoom = (across * aspect, float(across))
    stride = -(-len(cine) // LONGEST_MOVIE)
    frames = show_bar(range(0, len(cine), stride), "movie", "frame")
    drawn = (draw_frame(cine, points, t, trail, zoom) for t in frames)
    if str(path).endswith(".gif"):
        iio.imwrite(path, list(drawn), duration=1000 / rate, loop=0)
    else:
        write_movie(path, drawn, rate)
    if still is not None:
        iio.imwrite(still, draw_frame(cine, points, len(cine) - 1, trail, zoom))


def draw_frame(cine: Tensor, points: Tensor, t: int, trail: int, zoom: tuple[float, float]) -> np.ndarray:
    """Draw one frame of ``draw_movie``, enlarged by ``zoom`` (row, column): ``[H·zoom, W·zoom, 3]`` uint8."""
    gray = (cine[t].numpy() / max(0.3, float(cine.max()) * 0.8)).clip(0, 1) * 255
    picture = cv2.cvtColor(cv2.resize(gray.astype(np.uint8), None, fx=zoom[1], fy=zoom[0]), cv2.COLOR_GRAY2RGB)
    paths = ((points[max(0, t - trail) : t + 1].numpy() + 0.5) * np.array(zoom) * 16).round().astype(np.int32)
    for path in paths[..., ::-1].swapaxes(0, 1):
        cv2.polylines(picture, [np.ascontiguousarray(path)], False, (255, 190, 60), 1, cv2.LINE_AA, 4)
        cv2.circle(picture, path[-1].tolist(), 24, (70, 230, 120), -1, cv2.LINE_AA, 4)
    even = (picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2)
    return np.asarray(picture[: even[0], : even[1]])


def draw_slices(image: Tensor, labels: Tensor, truth: Tensor | None, path: str | Path, count: int = 5) -> None:
    """Draw outlines of a segmentation, and of the ground truth (dashed), over slices across a volume's second axis.

    Args:
        image: ``[X, Y, Z]`` in [0, 1].
        labels, truth: label maps ``[X, Y, Z]``.
        path: path of the PNG.
        count: number of slices, spread over the segmented region.
    """
    labelled = (labels if truth is None else labels + truth).amax((0, 2)).nonzero().flatten()
    first, last = (int(labelled[0]), int(labelled[-1])) if len(labelled) else (0, image.shape[1] - 1)
    slices = np.linspace(first, last, count + 2).round().astype(int)[1:-1]
    figure, axes = plt.subplots(1, count, figsize=(2.6 * count, 2.9), squeeze=False)
    for axis, y in zip(axes[0], slices, strict=True):
        axis.imshow(image[:, y].T, cmap="gray", origin="lower", vmin=0, vmax=float(image.quantile(0.999)))
        for drawn, style in ((labels, "solid"), (truth, "dashed")):
            for value, colour in ((1, "tab:orange"), (2, "tab:cyan")):
                if drawn is not None and (drawn[:, y] == value).any():
                    axis.contour(drawn[:, y].T == value, [0.5], colors=[colour], linestyles=[style], linewidths=1.2)
        axis.set_title(f"slice {y}", fontsize=9)
        axis.axis("off")
    legend = "orange: head (1), blue: body (2); solid: propagated" + ("" if truth is None else ", dashed: ground truth")
    figure.text(0.5, 0.01, legend, ha="center", fontsize=8)
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.07, top=0.92, wspace=0.02)
    figure.savefig(path, dpi=110)
    plt.close(figure)
