"""Figures and movies of a flow: arrows and stream lines per scale (NMSR figures 1 and 3), vorticity, particles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from cardiac_motion.cine.movie import write_movie
from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.core.plots import plt
from cardiac_motion.evaluation.figures import draw_frame
from cardiac_motion.haemodynamics.velocity import Velocity
from cardiac_motion.haemodynamics.vortices import Vortex

_MARGIN = 6  # pixels shown around the blood pool
_COLOURS = {1: "#ff6b57", -1: "#4fa3ff"}  # counter-clockwise, clockwise


def flow_by_scale(
    frame: Tensor, velocities: Sequence[Velocity], titles: Sequence[str], pair: int, path: str | Path
) -> None:
    """Draw arrows (top row) and stream lines coloured by speed (bottom row) over a frame, one column per scale.

    Args:
        frame: ``[H, W]`` in [0, 1].
        velocities: velocities of the scales, coarse to fine.
        titles: title of each scale.
        pair: index of the frame pair to draw.
        path: path of the PNG.
    """
    mask = velocities[-1].mask[pair]
    rows, columns, extent = _window(mask)
    aspect = velocities[-1].steps[0] / velocities[-1].steps[1]
    fields = [np.where(mask, v.values[pair].numpy(), np.nan)[:, rows, columns] for v in velocities]
    fastest = float(np.nanquantile(np.hypot(*fields[-1]), 0.99)) or 1.0
    height = 3.3 * aspect * (rows.stop - rows.start) / (columns.stop - columns.start)
    figure, axes = plt.subplots(2, len(fields), figsize=(3.3 * len(fields) + 0.9, 2 * height + 0.6), squeeze=False)
    step = max(2, round(max(mask[rows, columns].shape) / 26))
    y, x = np.mgrid[rows.start : rows.stop, columns.start : columns.stop].astype(float)
    drawn: Any = None
    for column, (field, title) in enumerate(zip(fields, titles, strict=True)):
        speed = np.hypot(*field)
        for axis in axes[:, column]:
            axis.imshow(frame[rows, columns], cmap="gray", vmin=0, vmax=1.4, extent=extent, aspect=aspect)
            axis.set_axis_off()
        axes[0, column].set_title(title, fontsize=10)
        part = (slice(step // 2, None, step),) * 2
        drawn = axes[0, column].quiver(
            x[part], y[part], field[1][part], field[0][part], speed[part], cmap="plasma", clim=(0, fastest),
            angles="xy", scale_units="xy", scale=fastest / (1.9 * step), width=0.007,
        )  # fmt: skip
        if np.nanmax(speed) > 0:
            # streamplot expects rising coordinates: rows rise here, and the limits set below flip the axis
            axes[1, column].streamplot(
                x[0], y[:, 0], field[1], field[0], color=np.nan_to_num(speed), cmap="plasma",
                norm=plt.Normalize(0, fastest), density=1.5, linewidth=0.9, arrowsize=0.8, broken_streamlines=True,
            )  # fmt: skip
        axes[1, column].set_xlim(extent[0], extent[1])
        axes[1, column].set_ylim(extent[2], extent[3])
    width = 3.3 * len(fields) + 0.9
    top = 1 - 0.3 / (2 * height + 0.6)
    figure.subplots_adjust(left=0.005, right=1 - 1.0 / width, bottom=0.005, top=top, hspace=0.02, wspace=0.02)
    bar = figure.add_axes((1 - 0.9 / width, 0.15, 0.012, 0.7))
    figure.colorbar(drawn, cax=bar, label=f"speed, {velocities[-1].unit}")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def vorticity_pictures(
    frames: Tensor, vorticity: Tensor, vortices: Sequence[Sequence[Vortex]], unit: str, path: str | Path, count: int = 4
) -> None:
    """Draw the vorticity of some pairs with their vortices, each marked at its centre with its circulation.

    Args:
        frames: ``[N, H, W]``, one per pair.
        vorticity: ``[N, H, W]``, NaN outside the pool.
        vortices: vortices of each pair.
        unit: unit of the vorticity.
        path: path of the PNG.
        count: maximum number of pairs, evenly spaced.
    """
    chosen = np.unique(np.linspace(0, len(vorticity) - 1, min(count, len(vorticity))).round().astype(int))
    known = ~vorticity[chosen].isnan()
    rows, columns, extent = _window(known.any(0))
    reach = float(vorticity[chosen][known].abs().quantile(0.99)) or 1.0
    height = 3.3 * (rows.stop - rows.start) / (columns.stop - columns.start)
    figure, axes = plt.subplots(1, len(chosen), figsize=(3.3 * len(chosen) + 0.9, height + 0.4), squeeze=False)
    drawn: Any = None
    for axis, pair in zip(axes[0], chosen, strict=True):
        axis.imshow(frames[pair][rows, columns], cmap="gray", vmin=0, vmax=1.2, extent=extent)
        drawn = axis.imshow(vorticity[pair][rows, columns], cmap="RdBu_r", vmin=-reach, vmax=reach, extent=extent)
        for vortex in vortices[pair]:
            centre = (vortex.centre[1], vortex.centre[0])
            axis.add_patch(
                plt.Circle(centre, radius=0.02 * (extent[1] - extent[0]), color=_COLOURS[vortex.turn], ec="white")
            )
            axis.annotate(
                f"{vortex.circulation:.0f}",
                centre,
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=8,
                color="black",
            )
        axis.set_title(f"pair {pair}", fontsize=10)
        axis.set_axis_off()
    width = 3.3 * len(chosen) + 0.9
    figure.subplots_adjust(left=0.005, right=1 - 1.0 / width, bottom=0.01, top=0.92, wspace=0.03)
    figure.colorbar(drawn, cax=figure.add_axes((1 - 0.9 / width, 0.15, 0.012, 0.7)), label=f"vorticity, {unit}")
    figure.savefig(path, dpi=90)
    plt.close(figure)


CURVES = (("mean_speed", "peak_speed"), ("ccw_circulation", "cw_circulation"), ("ccw_depth", "cw_depth"))


def flow_curves(rows: Sequence[Mapping[str, Any]], unit: Mapping[str, str], path: str | Path) -> None:
    """Plot speeds, and circulation and depth of the strongest vortex of either sense, over time, on one axis each.

    Args:
        rows: rows of ``flow.csv``; None leaves a gap.
        unit: units of its columns.
        path: path of the PNG.
    """
    figure, axes = plt.subplots(1, len(CURVES), figsize=(3.3 * len(CURVES), 2.4), layout="constrained")
    across = [row["time"] for row in rows]
    for axis, keys in zip(axes, CURVES, strict=True):
        for key in keys:
            values = [float("nan") if row[key] is None else row[key] for row in rows]
            colour = _COLOURS.get({"ccw": 1, "cw": -1}.get(key.split("_")[0], 0))
            axis.plot(across, values, marker=".", color=colour, label=key.replace("_", " "))
        axis.set_xlabel(f"time, {unit['time']}")
        axis.set_ylabel(unit[keys[0]])
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def particle_movie(
    cine: Tensor,
    paths: Tensor,
    blood_mask: Tensor,
    path: str | Path,
    still: str | Path,
    trail: int = 5,
    rate: float = 8.0,
) -> None:
    """Write a movie of particles and their recent paths, cropped to the blood pool.

    Args:
        cine: ``[T, H, W]`` in [0, 1].
        paths: pathlines ``[T, P, 2]`` (row, column; pixels), NaN where a particle is absent.
        blood_mask: ``[T, H, W]`` bool.
        path: path of the ``.mp4``.
        still: path of a PNG of the middle frame.
        trail: number of frames for which a path stays visible.
        rate: frames per second.
    """
    rows, columns, _ = _window(blood_mask.any(0))
    cine, paths = cine[:, rows, columns], paths - torch.tensor([float(rows.start), float(columns.start)])
    zoom = float(max(1, round(560 / max(cine.shape[1:]))))
    drawn = []
    for t in range(len(cine)):
        first = max(0, t - trail)
        recent = paths[first : t + 1, ~paths[t, :, 0].isnan()].clone()
        for k in range(len(recent) - 2, -1, -1):  # particles seeded within the trail have no earlier positions
            recent[k] = torch.where(recent[k].isnan(), recent[k + 1], recent[k])
        drawn.append(draw_frame(cine[first : t + 1], recent, t - first, trail, (zoom, zoom)))
    iio.imwrite(still, drawn[len(drawn) // 2])
    write_movie(path, drawn, rate)


def _window(mask: Tensor) -> tuple[slice, slice, tuple[float, float, float, float]]:
    """Return the rows and columns around a mask, and their extent for ``imshow``."""
    box = bounding_box(mask[None, None], mask.shape, _MARGIN)
    rows, columns = (slice(*edges) for edges in box)
    return rows, columns, (columns.start - 0.5, columns.stop - 0.5, rows.stop - 0.5, rows.start - 0.5)
