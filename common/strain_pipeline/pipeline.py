"""From an apical cine to strain: the parts that a bundle's evaluator runs before and after the motion.

Østvik et al. 2018 (10.1007/978-3-030-00889-5_35): the view is classified (section 2.1), the wall segmented and its
lines drawn (2.2), motion estimated (2.3; the evaluator's own network and inferer, any that meet the DDF contract),
and both fused point by point in a Kalman filter (2.4). Evain et al. 2022 gives GLS and MAPSE. Each part is a handler
that reads from the case and puts into it, so that a configuration can leave it out or put another in its place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from common.cine.cases import CineCases
from common.cine.scale import file_size
from common.cine.sector import closed, sector_mask
from common.core.errors import InputError
from common.evaluation.contour import read_wall
from common.evaluation.evaluator import CaseEvaluator, CaseEvents
from common.fields.ddf import warp
from common.fields.ncc import local_ncc
from common.fields.points import field_at, step_forward, track
from common.ventricle.beats import Beat, by_tracked_cavity, find_beats
from common.ventricle.contours import wall_contours
from common.ventricle.kalman import smooth_points
from common.ventricle.strain import cavity_areas
from common.ventricle.views import APICAL, apical

Array = NDArray[np.float64]

LINES = ("endocardium", "centreline", "epicardium")
LEAST_CAVITY = 0.004  # of the frame's pixels
JUMP = 0.15  # of the ventricle's length that its base or apex may be away from the frames around
FUSIONS = 2  # the field is read where the tracked points lie, then where the fused ones do


class StudyCases(CineCases):
    """Cines of one examination, or of a datalist, with what the user says of them.

    Args:
        input, datalist, fold, dataset_dir, spacing, frames: as in ``CineCases``; ``input`` may be a list of cines.
        view: apical view to take a cine for, over the classifier's word (``apical_4ch`` or ``A4C``, …).
        ed, es: frames of end-diastole and end-systole.
        contour: file of the wall at end-diastole (``contour_tracking.read_wall``).

    Each of the last four is one for all cines, or a list with one for each, None where nothing is said; an entry of a
    datalist may carry ``assumed_view``, ``ed``, ``es`` and ``contour``.

    Raises:
        InputError: lists of different lengths, two cines of one name, or what ``CineCases`` raises.
    """

    def __init__(
        self,
        input: str | Sequence[str] | None = None,
        datalist: str | None = None,
        fold: str = "test",
        dataset_dir: str = ".",
        spacing: Sequence[float] | float | None = None,
        frames: int = 0,
        view: str | Sequence[str | None] | None = None,
        ed: int | Sequence[int | None] | None = None,
        es: int | Sequence[int | None] | None = None,
        contour: str | Sequence[str | None] | None = None,
    ) -> None:
        super().__init__(input, datalist, fold, dataset_dir, spacing, frames=frames, square=True)
        said: dict[str, Any] = {"view": view, "ed": ed, "es": es, "contour": contour}
        for name, given in said.items():
            values = list(given) if isinstance(given, list | tuple) else [given] * len(self.entries)
            if len(values) != len(self.entries):
                raise InputError(f"--{name} has {len(values)} values for {len(self.entries)} cines")
            for entry, value in zip(self.entries, values, strict=True):
                if value is not None:
                    entry["assumed_view" if name == "view" else name] = value

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A case as ``CineCases`` gives it.

        Raises:
            InputError: colour Doppler.
        """
        case = super().__getitem__(index)
        meta, source = case["cine"].meta, self.entries[index]["image"]
        if meta["colour_flow"]:
            raise InputError(f"{source}: colour Doppler; strain is measured in grey-scale cines")
        return case


@contextmanager
def timed(case: dict[str, Any], part: str) -> Iterator[None]:
    """Add the seconds that the block takes to ``case["parts"][part]``."""
    start = time.perf_counter()
    yield
    parts = case.setdefault("parts", {})
    parts[part] = parts.get(part, 0.0) + time.perf_counter() - start


class ViewCheck:
    """Step 1: the view of a cine; another than an apical one, or an uncertain one, ends the case with the reason.

    Puts ``view`` (``apical.ApicalView``), ``view_probabilities`` and ``view_given`` into the case.

    Args:
        classify: ``cine [T, H, W]`` to a probability a view name.
        threshold: least probability of the view.
    """

    def __init__(self, classify: Callable[[Tensor], dict[str, float]], threshold: float = 0.5) -> None:
        self.classify, self.threshold = classify, threshold

    def attach(self, engine: CaseEvaluator) -> None:
        engine.add_event_handler(CaseEvents.CASE_READ, self)

    def __call__(self, engine: CaseEvaluator) -> None:
        case: dict[str, Any] = engine.state.output
        given = case["entry"].get("assumed_view")
        with timed(case, "view"):
            case["view"] = apical(given) if given else None
            case["view_probabilities"] = found = self.classify(case["cine"].as_tensor()[0])
        case["view_given"] = given is not None
        best = max(found, key=lambda name: found[name])
        if given:
            return
        source = case["entry"]["image"]
        take = "--view apical_4ch (or apical_2ch, apical_long_axis) takes it as one"
        if best not in APICAL:
            raise InputError(
                f"{source}: looks like {best.replace('_', ' ')} ({found[best]:.2f}), not an apical view; {take}"
            )
        if found[best] < self.threshold:
            raise InputError(
                f"{source}: the view is not certain ({best.replace('_', ' ')} {found[best]:.2f}, less than "
                f"{self.threshold:g}); {take}"
            )
        case["view"] = APICAL[best]


class WallSegmentation:
    """Steps 2 and 3: the wall's lines in every frame, end-diastole, end-systole and the beats.

    Puts into the case ``labels [T, H, W]`` (1 cavity, 2 myocardium, 3 left atrium), ``areas [T]`` of the cavity in
    pixels, ``walls [T, 3, P, 2]`` (``LINES``; (row, column) in pixels; NaN where a frame has none),
    ``beats`` and ``warnings``. A contour that the user gives takes the place of the lines at its end-diastole, and only
    that beat is measured.

    Args:
        segment: ``cine [T, H, W]`` to memberships ``[T, 4, H, W]`` of background, cavity, myocardium, left atrium.
        points: along the wall, even.
    """

    def __init__(self, segment: Callable[[Tensor], Tensor], points: int = 120) -> None:
        self.segment, self.points = segment, points

    def attach(self, engine: CaseEvaluator) -> None:
        engine.add_event_handler(CaseEvents.CASE_READ, self)

    def __call__(self, engine: CaseEvaluator) -> None:
        case: dict[str, Any] = engine.state.output
        entry, cine = case["entry"], case["cine"]
        source = entry["image"]
        with timed(case, "segmentation"):
            memberships = self.segment(cine.as_tensor()[0])
        with timed(case, "contours"):
            case["labels"] = memberships.argmax(1).to(torch.uint8)
            case["areas"] = memberships[:, 1].double().sum((1, 2)).numpy()
            case["warnings"] = []
            largest = int((case["labels"] == 1).sum((1, 2)).max())
            if largest < LEAST_CAVITY * case["labels"][0].numel():
                raise InputError(f"{source}: no left ventricle found (a cavity of {largest} pixels at most)")
            case["walls"], reasons = walls_of(case["labels"].numpy(), self.points)
            meta = cine.meta
            beats = find_beats(
                case["areas"], meta["frame_times"], meta["r_waves"], entry.get("ed"), entry.get("es"), source
            )
            if "contour" in entry:
                beats = beats[:1]
                size = file_size(cine, meta)
                thick = float(np.nanmedian(np.linalg.norm(case["walls"][:, 2] - case["walls"][:, 0], axis=-1)))
                case["walls"][beats[0].ed] = read_wall(
                    entry["contour"], beats[0].ed, size, self.points, thick, meta.get("zoom", (1.0, 1.0))
                )
            seen = np.isfinite(case["walls"]).all((1, 2, 3))
            case["beats"] = [beat for beat in beats if seen[beat.ed : beat.es + 1].any()]
            if not case["beats"]:
                raise InputError(f"{source}: no wall in systole, at frame {beats[0].ed}: {reasons[beats[0].ed]}")
            for beat in beats:
                if beat not in case["beats"]:
                    case["warnings"].append(f"The beat from frame {beat.ed} is left out: {reasons[beat.ed]}.")
                elif not seen[beat.ed]:
                    near = nearest(seen, beat)
                    case["warnings"].append(
                        f"The beat from frame {beat.ed}: the wall is not whole at end-diastole and is taken from frame "
                        f"{near} ({reasons[beat.ed]})."
                    )
                if beat.es == beat.end:
                    case["warnings"].append(
                        f"The beat from frame {beat.ed} ends while the cavity still shrinks: the last frame counts as "
                        "end-systole, and strain may be greater than it says."
                    )
                elif not beat.whole:
                    case["warnings"].append(
                        f"The beat from frame {beat.ed} is not whole: its drift is not known, and its peak strain, "
                        "post-systolic index and times to peak are not given."
                    )
        case["contour_given"], case["es_given"] = entry.get("contour"), entry.get("es")


def walls_of(labels: NDArray[np.uint8], points: int) -> tuple[Array, dict[int, str]]:
    """The wall's lines in every frame, and why there are none in some.

    A frame whose base or apex is far from where it is in the frames around it (median of nine) counts as having none:
    where the mitral valve is open, or a wall in the dark, a segmentation may lose a part of it.

    Args:
        labels: ``[T, H, W]``.
        points: of each line.

    Returns:
        ``[T, 3, points, 2]``, NaN where there are none, and the reasons by frame.
    """
    walls, reasons = np.full((len(labels), 3, points, 2), np.nan), {}
    for t, frame in enumerate(labels):
        try:
            walls[t] = wall_contours(joined(frame), points, f"frame {t}")
        except InputError as error:
            reasons[t] = str(error)
    found = np.array([t for t in range(len(labels)) if t not in reasons], dtype=int)
    if len(found):
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


def joined(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A wall that came in pieces, closed over gaps of up to 16 pixels beside the cavity; others as they are.

    Args:
        labels: ``[H, W]``, 1 the cavity, 2 the myocardium.
    """
    for radius in (2, 4, 8):
        wall = labels == 2
        if ndimage.label(wall)[1] < 2:
            return labels
        labels = np.where(closed(wall, radius) & (labels == 0), 2, labels).astype(np.uint8)
    return labels


def nearest(seen: NDArray[np.bool_], beat: Beat) -> int:
    """The frame of a beat's systole nearest to its end-diastole at which the wall is seen."""
    return beat.ed + int(np.argmax(seen[beat.ed : beat.es + 1]))


@dataclass
class TrackedBeat:
    """The wall carried through a beat.

    Attributes:
        beat: its frames.
        lines: ``[n, 3, P, 2]`` from ``beat.ed`` to ``beat.end``: endocardium, centreline, epicardium, pixels.
        nlcc: ``[P]``, likeness of neighbouring frames around the centreline's points after registration, mean over the
            beat, in [0, 1].
        missed: ``[P]`` pixels that the two directions of registration miss each other by, mean over the beat; None
            where the motion registers one way only.
        outside: ``[P]`` bool, where the wall leaves the sector or the picture.
    """

    beat: Beat
    lines: Array
    nlcc: Array
    missed: Array | None
    outside: NDArray[np.bool_]


class WallTracking:
    """Step 5: the wall's points carried through each beat by the fields, fused with the lines of every frame.

    Puts ``tracked`` (a ``TrackedBeat`` a beat) into the case, and moves the beats' end-systole to the smallest cavity
    inside the tracked endocardium where it was not given. A measured place is the point of the frame's own line, a
    measured velocity the mean of the motion from the frame before and to the frame after; its variance grows where the
    registration is poor: ``(velocity_noise² + (missed / 2)²) / nlcc²``. Lengths are parts of the left ventricle's
    length at end-diastole, times are frames.

    Args:
        place_noise: standard deviation of a line's points after end-diastole; None follows the motion alone.
        velocity_noise: standard deviation of a well registered point's motion a frame.
        jerk: root of the spectral density of the process noise.
        radius: of the NLCC window, part of the length.
        smoother: go back through the frames too.
        along: standard deviation of the Gaussian that smooths each line along itself, part of the line; 0 leaves it.
    """

    def __init__(
        self,
        place_noise: float | None = 1.0,
        velocity_noise: float = 0.005,
        jerk: float = 0.02,
        radius: float = 0.06,
        smoother: bool = True,
        along: float = 0.025,
    ) -> None:
        self.along = along
        self.place_noise, self.velocity_noise, self.jerk = place_noise, velocity_noise, jerk
        self.radius, self.smoother = radius, smoother

    def attach(self, engine: CaseEvaluator) -> None:
        engine.add_event_handler(CaseEvents.CASE_DONE, self)

    def __call__(self, engine: CaseEvaluator) -> None:
        case: dict[str, Any] = engine.state.output
        missed = getattr(engine.inferer, "inconsistency", None)
        with timed(case, "tracking"):
            sector = sector_mask(case["cine"], radius=0, still=True).numpy()
            seen = ndimage.distance_transform_edt(np.pad(~sector, 1, constant_values=True))[1:-1, 1:-1]
            case["tracked"] = [self._track(case, beat, missed, seen <= 3) for beat in case["beats"]]
            case["beats"] = [found.beat for found in case["tracked"]]
        case["parts"]["motion"] = case["seconds"] - sum(
            case["parts"].get(part, 0.0) for part in ("view", "segmentation", "contours")
        )

    def _track(self, case: dict[str, Any], beat: Beat, missed: Tensor | None, seen: NDArray[np.bool_]) -> TrackedBeat:
        pairs = slice(beat.ed, beat.end)
        image, ddf = case["image"][pairs], case["pred"][pairs]
        walls = case["walls"][beat.ed : beat.end + 1]
        count, points = len(walls), walls.shape[2]
        first = nearest(np.isfinite(walls).all((1, 2, 3)), Beat(0, beat.es - beat.ed, count - 1, beat.whole))
        endo = walls[first, 0]
        size = float(np.linalg.norm(endo - endo[[0, -1]].mean(0), axis=1).max())
        radius = max(3, round(self.radius * size / 2))
        alike = likeness(image, ddf, radius)
        places = walls.reshape(count, -1, 2)
        path = track(torch.from_numpy(places[first]).float(), ddf, first)
        if first:
            places = np.concatenate([path[:1].double().numpy(), places[1:]])
        given = case.get("contour_given") is not None
        for _ in range(FUSIONS):
            nlcc = at_points(alike, path[1:])
            error = at_points(missed[pairs], path[1:]) if missed is not None else torch.zeros_like(nlcc)
            noise = (self.velocity_noise * size) ** 2 + (error / 2) ** 2
            variance = both_neighbours((noise / nlcc.clamp(0.1, 1) ** 2).double().numpy())
            place = np.full(places.shape, np.inf)
            if self.place_noise is not None and not given:
                place[np.isfinite(places)] = (self.place_noise * size) ** 2
            place[0] = (0.1 * self.velocity_noise * size) ** 2  # the line at end-diastole is what strain is measured of
            found, _ = smooth_points(
                np.nan_to_num(places), velocities(path, ddf).double().numpy(), place, variance[..., None],
                (self.jerk * size) ** 2, smoother=self.smoother,
            )  # fmt: skip
            path = torch.from_numpy(found).float()
        lines = along_lines(found.reshape(count, 3, points, 2), self.along * points)
        centre = slice(points, 2 * points)
        height, width = seen.shape
        at = np.rint(lines).astype(int)
        inside = (at >= 0).all(-1) & (at[..., 0] < height) & (at[..., 1] < width)
        row, column = np.clip(at[..., 0], 0, height - 1), np.clip(at[..., 1], 0, width - 1)
        lit = inside & seen[row, column]
        outside = ~lit[:, 1].all(0) | ~inside.all((0, 1))
        return TrackedBeat(
            beat if case.get("es_given") is not None else by_tracked_cavity(beat, cavity_areas(lines[:, 0])),
            lines,
            nlcc[:, centre].mean(0).double().numpy(),
            None if missed is None else error[:, centre].mean(0).double().numpy(),
            outside,
        )


def along_lines(lines: Array, sigma: float) -> Array:
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
    return ndimage.gaussian_filter1d(padded, sigma, axis=2)[:, :, margin:-margin]


def likeness(image: Tensor, ddf: Tensor, radius: int) -> Tensor:
    """NCC² of each pair's fixed and warped image around each pixel, ``[N, 1, H, W]``; the border repeats the inside."""
    maps = []
    for pair, field in zip(image.split(1), ddf.split(1), strict=True):
        found = local_ncc(pair[:, 1:], warp(pair[:, :1], field), radius)
        maps.append(functional.pad(found, (radius,) * 4, mode="replicate"))
    return torch.cat(maps)


def at_points(maps: Tensor, points: Tensor) -> Tensor:
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


def both_neighbours(pairs: Array) -> Array:
    """Variance ``[T, P]`` of the mean motion at each frame, from that of the pairs ``[T − 1, P]``."""
    return np.concatenate([pairs[:1], (pairs[1:] + pairs[:-1]) / 2, pairs[-1:]])
