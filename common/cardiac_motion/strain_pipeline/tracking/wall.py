"""Steps 2 and 3: the wall's lines in every frame, end-diastole, end-systole and the beats (section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.cine.square import FrameGrid
from cardiac_motion.cine.wall_files import read_drawn_walls, read_wall
from cardiac_motion.core.arrays import close_mask
from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.strain_pipeline.tracking.image_networks import HeartMemberships
from cardiac_motion.ventricle.beats import Beat, find_beats
from cardiac_motion.ventricle.contours import wall_contours

Array = NDArray[np.float64]
Memberships = Tensor | Iterable[Tensor] | HeartMemberships

LEAST_CAVITY = 0.004  # of the frame's pixels
JUMP = 0.15  # of the ventricle's length that its base or apex may be away from the frames around


@dataclass(frozen=True, eq=False)
class Wall:
    """The wall of a cine as it is segmented or drawn.

    Attributes:
        labels: ``[T, H, W]``, 1 cavity, 2 myocardium, 3 left atrium.
        areas: ``[T]`` of the cavity in pixels.
        lines: ``[T, 3, P, 2]`` (``contours.LAYERS``; (row, column) in pixels; NaN where a frame has none).
        beats: that can be measured.
        warnings: what the reader of the numbers must know.
        drawn: frames whose lines the user drew.
    """

    labels: Tensor
    areas: Array
    lines: Array
    beats: tuple[Beat, ...]
    warnings: tuple[str, ...]
    drawn: tuple[int, ...] = ()
    grid: FrameGrid | None = None

    def frame_labels(self, frames: slice = slice(None)) -> Tensor:
        """The labels of some frames on the frames' own pixels, ``[n, H, W]``."""
        labels = self.labels[frames]
        return labels if self.grid is None else self.grid.paste_labels(labels)


@dataclass(frozen=True, eq=False)
class Segmented:
    """What a segmentation says of a wall, before anything is said of beats.

    Attributes:
        labels, areas, lines, grid: as in ``Wall``.
        reasons: why frames have no lines.
    """

    labels: Tensor
    areas: Array
    lines: Array
    reasons: Mapping[int, str]
    grid: FrameGrid | None = None


def extract_lines(
    memberships: Memberships, points: int = 120, source: str = "cine", required: bool = True
) -> Segmented:
    """The lines of a segmented cine.

    Args:
        memberships: ``[T, 4, H, W]`` of background, cavity, myocardium, left atrium; or in parts of some frames, one
            after the other, of which one alone is in memory; or such parts on a grid.
        points: along the wall.
        source: what an error calls the cine.
        required: whether there must be a left ventricle; else its lines are NaN where there is none.

    Raises:
        InputError: no left ventricle, where it is required.
    """
    parts, grid = parts_of(memberships)
    found = [(part.max(1).indices.to(torch.uint8), part[:, 1].double().sum((1, 2))) for part in parts]
    labels, areas = torch.cat([part for part, _ in found]), torch.cat([part for _, part in found]).numpy()
    cell = 1.0 if grid is None else grid.step**2
    largest = int(cell * int((labels == 1).sum((1, 2)).max()))
    if required and largest < LEAST_CAVITY * (labels[0].numel() if grid is None else math.prod(grid.shape)):
        raise InputError(f"{source}: no left ventricle found (a cavity of {largest} pixels at most)")
    lines, reasons = walls_of(labels.numpy(), points)
    return Segmented(labels, cell * areas, lines if grid is None else grid.to_frame(lines), reasons, grid)


def parts_of(memberships: Memberships) -> tuple[Iterable[Tensor], FrameGrid | None]:
    """Parts of some frames each, one after the other, and the grid that they lie on; None of the frames' own pixels."""
    if isinstance(memberships, HeartMemberships):
        return memberships.parts, memberships.grid
    return [memberships] if isinstance(memberships, Tensor) else memberships, None


def wall_in(case: CineCase, segmented: Segmented, drawn: Mapping[int, Array] | None = None) -> Wall:
    """The wall and the beats of a cine.

    A contour that the user gives takes the place of the lines at its end-diastole, or at the frames that it was drawn
    in (``contour.read_drawn_walls``), and only that beat is measured.

    Args:
        case: the cine; its entry may name ``ed``, ``es`` and ``contour``.
        segmented: the segmented wall.
        drawn: frame to the lines ``[3, P, 2]`` that the user drew in it, pixels; they take the place of a contour's.

    Raises:
        InputError: no wall in any systole, or a contour that can't be used.
    """
    entry, meta, source = case.entry, case.meta, case.entry.image
    labels, areas, lines, reasons = segmented.labels, segmented.areas, segmented.lines.copy(), segmented.reasons
    points = lines.shape[2]
    drawn = dict(drawn or {})
    beats = find_beats(areas, meta.frame_times, meta.r_waves, entry.ed, entry.es, source)
    if drawn:
        beats = beats[:1]
    elif entry.contour is not None:
        beats = beats[:1]
        drawn = read_drawn_walls(entry.contour, case.file_size, points, meta.zoom)
        if not drawn:
            thick = float(np.nanmedian(np.linalg.norm(lines[:, 2] - lines[:, 0], axis=-1)))
            drawn = {beats[0].ed: read_wall(entry.contour, beats[0].ed, case.file_size, points, thick, meta.zoom)}
    inside = [t for t in drawn if beats[0].ed <= t <= beats[0].end]
    if drawn and not inside:
        raise InputError(
            f"{entry.contour or source}: drawn at frame {min(drawn)}, the beat is from {beats[0].ed} to {beats[0].end}"
        )
    for t in inside:
        lines[t] = drawn[t]
    seen = np.asarray(np.isfinite(lines).all((1, 2, 3)))
    kept = tuple(beat for beat in beats if drawn or seen[beat.ed : beat.es + 1].any())
    if not kept:
        raise InputError(f"{source}: no wall in systole, at frame {beats[0].ed}: {reasons[beats[0].ed]}")
    warnings = []
    for beat in beats:
        if beat not in kept:
            warnings.append(f"The beat from frame {beat.ed} is left out: {reasons[beat.ed]}.")
        elif not seen[beat.ed] and not drawn:
            near = find_nearest_frame(seen, beat)
            warnings.append(
                f"The beat from frame {beat.ed}: the wall is not whole at end-diastole and is taken from frame "
                f"{near} ({reasons[beat.ed]})."
            )
        if beat.es == beat.end:
            warnings.append(
                f"The cine ends before end-systole of the beat from frame {beat.ed}: its last frame is used as "
                "end-systole, and the magnitude of GLS may be underestimated."
            )
        elif not beat.complete:
            warnings.append(
                f"The beat from frame {beat.ed} is not whole: its drift is not known, and its peak strain, "
                "post-systolic index and times to peak are not given."
            )
    return Wall(labels, areas, lines, kept, tuple(warnings), tuple(sorted(drawn)), segmented.grid)


def walls_of(labels: NDArray[np.uint8], points: int, steady: bool = True) -> tuple[Array, dict[int, str]]:
    """The wall's lines in every frame, and why there are none in some.

    A frame whose base or apex is far from where it is in the frames around it (median of nine) counts as having none:
    where the mitral valve is open, or a wall in the dark, a segmentation may lose a part of it.

    Args:
        labels: ``[T, H, W]``.
        points: of each line.
        steady: compare a frame with those around it.

    Returns:
        ``[T, 3, points, 2]``, NaN where there are none, and the reasons by frame.
    """
    walls, reasons = np.full((len(labels), 3, points, 2), np.nan), {}
    for t, frame in enumerate(show_bar(labels, "contours", "frame")):
        try:
            walls[t] = wall_contours(join_pieces(frame), points, f"frame {t}")
        except InputError as error:
            reasons[t] = str(error)
    found = np.array([t for t in range(len(labels)) if t not in reasons], dtype=int)
    if steady and len(found):
        marks = walls[found, 0][:, [0, points // 2, -1]]
        around = ndimage.median_filter(marks, (9, 1, 1), mode="nearest")
        size = float(np.median(np.linalg.norm(marks[:, 1] - marks[:, [0, 2]].mean(1), axis=-1)))
        off = np.linalg.norm(marks - around, axis=-1).max(1) / size
        for t, far in zip(found, off, strict=True):
            if far > JUMP:
                reasons[int(t)] = (
                    f"frame {t}: base or apex {far:.0%} of the ventricle's length from the frames around it"
                )
                walls[t] = np.nan
    return walls, reasons


def join_pieces(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A wall that came in pieces, closed over gaps of up to 16 pixels beside the cavity; others as they are.

    Args:
        labels: ``[H, W]``, 1 the cavity, 2 the myocardium.
    """
    for radius in (2, 4, 8):
        wall = labels == 2
        if ndimage.label(wall)[1] < 2:
            return labels
        labels = np.where(close_mask(wall, radius) & (labels == 0), 2, labels).astype(np.uint8)
    return labels


def find_nearest_frame(seen: NDArray[np.bool_], beat: Beat) -> int:
    """The frame of a beat's systole nearest to its end-diastole at which the wall is seen."""
    return beat.ed + int(np.argmax(seen[beat.ed : beat.es + 1]))
