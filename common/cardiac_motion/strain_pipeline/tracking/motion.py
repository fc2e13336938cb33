"""Step 5: the wall's points carried through each beat by the fields, fused with the lines of every frame (section 2.4).

A measured place is the point of the frame's own line, a measured velocity the mean of the motion from the frame before
and to the frame after; its variance grows where the registration is poor:
``(velocity_noise² + (missed / 2)²) / lncc2²``. Lengths are parts of the left ventricle's length at end-diastole, times
are frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.core.threads import map_workers
from cardiac_motion.fields.ddf import sample
from cardiac_motion.fields.ncc import local_ncc
from cardiac_motion.fields.points import field_at, step_forward, track
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.registration.wall_motion import regularise_wall
from cardiac_motion.strain_pipeline.tracking.wall import Wall, find_nearest_frame
from cardiac_motion.ventricle.beats import Beat, refine_end_systole
from cardiac_motion.ventricle.kalman import smooth_points
from cardiac_motion.ventricle.strain import cavity_areas

Array = NDArray[np.float64]

SLACK = 12  # pixels that fused points may go beyond the path that the fields alone give
FUSIONS = 2  # the field is read where the tracked points lie, then where the fused ones do


@dataclass(frozen=True)
class Fusion:
    """How lines and motion are weighed.

    Attributes:
        position_sd: standard deviation of a line's points after end-diastole; None follows the motion alone.
        velocity_noise: standard deviation of a well registered point's motion a frame.
        jerk: root of the spectral density of the process noise.
        radius: of the LNCC² window, part of the length.
        smoother: go back through the frames too.
        along: standard deviation of the Gaussian that smooths each line along itself, part of the line; 0 leaves it.
        wall_motion: how the wall moves (``registration.wall_motion``).
    """

    position_sd: float | None = 1.0
    velocity_noise: float = 0.005
    jerk: float = 0.02
    radius: float = 0.06
    smoother: bool = True
    along: float = 0.025
    wall_motion: str = "material"


@dataclass(frozen=True, eq=False)
class TrackedBeat:
    """The wall carried through a beat.

    Attributes:
        beat: its frames.
        lines: ``[n, 3, P, 2]`` from ``beat.ed`` to ``beat.end``: endocardium, mid-wall, epicardium, pixels.
        lncc2: ``[P]``, NCC² of neighbouring frames around the mid-wall's points after registration, mean over the
            beat, in [0, 1].
        fb_error: ``[P]`` pixels that the two directions of registration miss each other by, mean over the beat; None
            where the motion registers one way only.
        outside: ``[P]`` bool, where the wall leaves the sector or the picture.
        deviation: ``[n, 3, P]`` pixels, standard deviation of the points along an axis that the filter tells; None
            where it was not kept.
        line_sd: ``[3, P]`` pixels, standard deviation over the frames of what the segmented lines lie across the
            tracked ones; None where it was not kept.
    """

    beat: Beat
    lines: Array
    lncc2: Array
    fb_error: Array | None
    outside: NDArray[np.bool_]
    deviation: Array | None = None
    line_sd: Array | None = None


def track_wall(
    case: CineCase,
    wall: Wall,
    result: RegistrationResult,
    fusion: Fusion | None = None,
    seen: NDArray[np.bool_] | None = None,
) -> tuple[TrackedBeat, ...]:
    """The wall carried through each of its beats.

    A beat's end-systole moves to the smallest cavity inside the tracked endocardium where it was not given.

    Args:
        case: the cine.
        wall: its lines and beats.
        result: the fields of its pairs.
        fusion: how both are weighed.
        seen: ``widen_sector`` of the cine, where it is known.
    """
    seen = widen_sector(case.cine) if seen is None else seen
    tracked = map_workers(lambda beat: track_beat(case, wall, result, beat, fusion or Fusion(), seen), wall.beats)
    return tuple(tracked)


def widen_sector(cine: Tensor) -> NDArray[np.bool_]:
    """The sector ``[H, W]`` of a cine ``[1, T, H, W]``, three pixels wider: where a wall is seen."""
    sector = sector_mask(cine, radius=0, still=True).numpy()
    off = ndimage.distance_transform_edt(np.pad(~sector, 1, constant_values=True))[1:-1, 1:-1]
    return np.asarray(off <= 3)


def track_beat(
    case: CineCase, wall: Wall, result: RegistrationResult, beat: Beat, fusion: Fusion, seen: NDArray[np.bool_]
) -> TrackedBeat:
    """The wall's points carried through one beat; arguments as in ``track_wall``, ``seen [H, W]`` is the sector."""
    pairs, missed = slice(beat.ed, beat.end), result.inconsistency
    image, ddf = case.image[pairs], result.ddf[pairs]
    walls = wall.lines[beat.ed : beat.end + 1]
    count, points = len(walls), walls.shape[2]
    drawn = [t - beat.ed for t in wall.drawn if beat.ed <= t <= beat.end]
    known = np.asarray(np.isfinite(walls).all((1, 2, 3)))
    first = drawn[0] if drawn else find_nearest_frame(known, Beat(0, beat.es - beat.ed, count - 1, beat.complete))
    endo = walls[first, 0]
    ddf = regularise_wall(fusion.wall_motion, image, ddf, endo, walls[first, 2], first)
    size = float(np.linalg.norm(endo - endo[[0, -1]].mean(0), axis=1).max())
    radius = max(3, round(fusion.radius * size / 2))
    places = walls.reshape(count, -1, 2)
    path = track(torch.from_numpy(places[first]).float(), ddf, first)
    box = box_around(path, radius, image.shape[2:])
    corner = path.new_tensor([edge.start for edge in box])
    alike = ncc_after_warp(image, ddf, radius, box)
    if first:
        places = np.concatenate([path[:1].double().numpy(), places[1:]])
    given = bool(wall.drawn)
    for _ in range(FUSIONS):
        lncc2 = sample_at_points(alike, path[1:] - corner)
        error = sample_at_points(missed[pairs], path[1:]) if missed is not None else torch.zeros_like(lncc2)
        noise = (fusion.velocity_noise * size) ** 2 + (error / 2) ** 2
        variance = variance_of_mean((noise / lncc2.clamp(0.1, 1) ** 2).double().numpy())
        place = np.full(places.shape, np.inf)
        if fusion.position_sd is not None and not given:
            place[np.isfinite(places)] = (fusion.position_sd * size) ** 2
        place[[0, *drawn]] = (0.1 * fusion.velocity_noise * size) ** 2  # the line at ED is what strain is measured of
        found, _, deviation = smooth_points(
            np.nan_to_num(places), velocities(path, ddf).double().numpy(), place, variance[..., None],
            (fusion.jerk * size) ** 2, smoother=fusion.smoother,
        )  # fmt: skip
        path = torch.from_numpy(found).float()
    lines = smooth_lines(found.reshape(count, 3, points, 2), fusion.along * points)
    centre = slice(points, 2 * points)
    height, width = seen.shape
    at = np.rint(lines).astype(int)
    inside = (at >= 0).all(-1) & (at[..., 0] < height) & (at[..., 1] < width)
    row, column = np.clip(at[..., 0], 0, height - 1), np.clip(at[..., 1], 0, width - 1)
    lit = inside & seen[row, column]
    outside = ~lit[:, 1].all(0) | ~inside.all((0, 1))
    return TrackedBeat(
        beat if case.entry.es is not None else refine_end_systole(beat, cavity_areas(lines[:, 0])),
        lines,
        lncc2[:, centre].mean(0).double().numpy(),
        None if missed is None else error[:, centre].mean(0).double().numpy(),
        outside,
        np.sqrt((deviation**2).mean(-1)).reshape(count, 3, points),
        transverse_spread(lines, walls),
    )


def transverse_spread(lines: Array, segmented: Array) -> Array:
    """How far segmented lines lie across tracked ones, standard deviation over the frames: ``[L, P]`` pixels.

    Args:
        lines, segmented: ``[T, L, P, 2]``; NaN where nothing was segmented.
    """
    tangent = np.gradient(lines, axis=2)
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], -1) / np.linalg.norm(tangent, axis=-1, keepdims=True)
    across = ((segmented - lines) * normal).sum(-1)
    known = np.isfinite(across).all((1, 2))
    return across[known].std(0) if known.any() else np.zeros(across.shape[1:])


def smooth_lines(lines: Array, sigma: float) -> Array:
    """Lines smoothed along themselves: what is ragged in a drawn or tracked wall adds length that doesn't shorten.

    The same linear map for every frame, so the strain of an affine motion stays as it is.

    Args:
        lines: ``[T, L, P, 2]``.
        sigma: of the Gaussian, points.
    """
    if not sigma:
        return lines
    margin = min(math.ceil(4 * sigma), lines.shape[2] - 1)
    padded = np.pad(lines, ((0, 0), (0, 0), (margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    return np.asarray(ndimage.gaussian_filter1d(padded, sigma, axis=2)[:, :, margin:-margin])


def box_around(path: Tensor, radius: int, size: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of a picture that hold a path ``[T, P, 2]``, with ``radius`` and ``SLACK`` pixels around it."""
    margin = radius + SLACK
    low, high = (path.amin((0, 1)) - margin).floor().tolist(), (path.amax((0, 1)) + margin).ceil().tolist()
    least = 2 * radius + 1
    edges = [
        (int(min(max(a, 0), n - least)), int(max(min(b + 1, n), least)))
        for a, b, n in zip(low, high, size, strict=True)
    ]
    return slice(*edges[0]), slice(*edges[1])


def ncc_after_warp(image: Tensor, ddf: Tensor, radius: int, box: tuple[slice, slice] | None = None) -> Tensor:
    """NCC² of each pair's fixed and warped image around each pixel, ``[N, 1, *box]``; the border repeats the inside.

    Args:
        image: ``[N, 2, H, W]``, moving and fixed.
        ddf: ``[N, 2, H, W]``.
        radius: of the window, pixels.
        box: rows and columns that are wanted; None is all of the picture.
    """
    rows, columns = box or (slice(0, image.shape[2]), slice(0, image.shape[3]))
    corner = image.new_tensor([rows.start, columns.start])[:, None, None]
    maps = []
    for pair, field in zip(image, ddf, strict=True):
        part = field[:, rows, columns]
        here = torch.meshgrid(*(torch.arange(float(n)) for n in part.shape[1:]), indexing="ij")
        warped = sample(pair[None, :1], (torch.stack(here) + corner + part)[None])
        found = local_ncc(pair[None, 1:, rows, columns], warped, radius)
        maps.append(functional.pad(found, (radius,) * 4, mode="replicate"))
    return torch.cat(maps)


def sample_at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Values ``[N, P]`` of ``maps [N, 1, H, W]`` at ``points [N, P, 2]`` (row, column) in pixels."""
    return torch.stack([field_at(m.expand(2, -1, -1), p)[:, 0] for m, p in zip(maps, points, strict=True)])


def velocities(path: Tensor, ddf: Tensor) -> Tensor:
    """Motion a frame at the points of a path: the mean of that from the frame before and of that to the frame after.

    Args:
        path: ``[T, P, 2]`` in pixels.
        ddf: ``[T − 1, 2, H, W]``, pair t with moving = frame t, fixed = frame t + 1.

    Returns:
        ``[T, P, 2]``; at the ends what the one neighbour says.
    """
    after = torch.stack([step_forward(p, field) - p for p, field in zip(path[:-1], ddf, strict=True)])
    before = torch.stack([-field_at(field, p) for p, field in zip(path[1:], ddf, strict=True)])
    return torch.cat([after[:1], (after[1:] + before[:-1]) / 2, before[-1:]])


def variance_of_mean(pairs: Array) -> Array:
    """Variance ``[T, P]`` of the mean motion at each frame, from that of the pairs ``[T − 1, P]``."""
    return np.concatenate([pairs[:1], (pairs[1:] + pairs[:-1]) / 2, pairs[-1:]])
