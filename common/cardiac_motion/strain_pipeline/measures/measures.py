"""What is measured of a tracked wall: strain of the ventricle and of its segments, timing, volumes, and their quality.

Definitions are those of ``ventricle.strain``; strains are in % here, times in ms after end-diastole. A number
that the cine does not carry (mm without spacing, times without frame times, drift of a beat that is cut off) is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.cine.cine_case import CineCase, CineMeta
from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.cine_truth import CineTruth
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.evaluation.truth import read_json
from cardiac_motion.strain_pipeline.measures.beat_strain import (
    BeatStrain,
    Numbers,
    times_doubted,
    timing,
    timing_warnings,
)
from cardiac_motion.strain_pipeline.measures.cavity import CavityChange, measure_cavity
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, Interval, interval, interval_of_mean, intervals
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.ventricle import strain
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.views import ApicalView

Array = NDArray[np.float64]
SEGMENTS = 6
SWITCHED_OFF = "switched off by the user"


@dataclass(frozen=True)
class Measured:
    """What is measured of a cine.

    Attributes:
        layer: whose strain is the GLS and the segments'.
        beats: each beat.
        means: of the beats' numbers.
        times_doubted: whether times rest on a file's playback alone.
        warnings: what is left out, and what is doubted.
    """

    layer: str
    beats: tuple[BeatStrain, ...]
    means: Numbers
    times_doubted: bool
    warnings: tuple[str, ...]

    @property
    def intervals(self) -> dict[str, Interval]:
        """The 90 % intervals of the means."""
        return {name: found for name in METHOD if (found := self._interval(name)) is not None}

    def _interval(self, name: str) -> Interval | None:
        known = [beat["intervals"][name] for beat in self.beats if name in beat["intervals"]]
        values = [v for beat in self.beats if (v := beat["numbers"].get(name)) is not None]
        if not known:
            return None
        return interval_of_mean(known, float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, METHOD[name])

    @property
    def scores(self) -> Scores:
        """The means as metrics, and how many beats and rejected segments there are."""
        metrics = {key: math.nan if value is None else value for key, value in self.means.items()}
        rejected = sum(bool(segment["rejected"]) for beat in self.beats for segment in beat["segments"])
        return Scores({**metrics, "beats": len(self.beats), "rejected_segments": rejected})


class StrainMeasures:
    """Step 6: strain of each beat of a tracked wall, and the means over the beats.

    GLS is the strain of the whole line, without the segments that are rejected; with more than ``max_rejected`` of
    those it is None.

    Args:
        layer: whose strain is the GLS and the segments': ``endocardium``, ``mid-wall`` (the paper's), ``epicardium``.
        drift_correction: take an even drift away from the curves of whole beats; the raw drift is reported all the
            same.
        min_lncc2: of a segment that is kept.
        max_fb_error: part of the ventricle's length that the two directions of a segment's motion miss each other by, a
            frame, at most.
        max_outside: part of a segment that may leave the sector.
        max_rejected: segments.
        mirrored: the picture's left and right are exchanged, as some laboratories show the four-chamber view.
        exclude_segments: segments that the user leaves out, by name.
    """

    def __init__(
        self,
        layer: str = "endocardium",
        drift_correction: bool = True,
        min_lncc2: float = 0.3,
        max_fb_error: float = 0.01,
        max_outside: float = 0.34,
        max_rejected: int = 2,
        mirrored: bool = False,
        exclude_segments: Sequence[str] | None = None,
    ) -> None:
        if layer not in LAYERS:
            raise InputError(f"layer {layer!r}: expected one of {', '.join(LAYERS)}")
        self.layer, self.drift_correction, self.mirrored = layer, drift_correction, mirrored
        self.exclude_segments = (
            [exclude_segments] if isinstance(exclude_segments, str) else list(exclude_segments or ())
        )
        self.min_lncc2, self.max_fb_error = min_lncc2, max_fb_error
        self.max_outside, self.max_rejected = max_outside, max_rejected

    def __call__(
        self, tracked: Sequence[TrackedBeat], meta: CineMeta, view: ApicalView, segmented: Array | None = None
    ) -> Measured:
        """Measure a cine.

        Args:
            tracked: the wall in each beat.
            meta: spacing and times of the cine.
            view: whose segments they are.
            segmented: endocardium of each frame of the cine, ``[T, P, 2]`` pixels, NaN where a frame has none; None
                gives no volumes and no ejection fraction.

        Raises:
            InputError: a segment of ``exclude_segments`` is none of the view.
        """
        names, times = view.segments(self.mirrored), meta.frame_times
        unknown = [name for name in self.exclude_segments if name not in names]
        if unknown:
            raise InputError(f"--exclude_segments {unknown[0]!r}: {view.title} has {', '.join(names)}")
        beats = tuple(self.measure(wall, meta.spacing, times, names, meta.steps, segmented) for wall in tracked)
        doubted = times_doubted(beats, meta.frame_time_source)
        warnings = timing_warnings(beats, times, doubted)
        for beat in beats:
            out = [f"{s['name']} ({s['rejected']})" for s in beat["segments"] if s["rejected"]]
            if out:
                warnings.append(f"Beat from frame {beat['ed']}: left out are {', '.join(out)}.")
            if beat["numbers"]["gls"] is None:
                warnings.append(
                    f"Beat from frame {beat['ed']}: no GLS, more than {self.max_rejected} segments are left out."
                )
        means = {key: mean([beat["numbers"][key] for beat in beats]) for key in beats[0]["numbers"]}
        return Measured(self.layer, beats, means, doubted, tuple(warnings))

    def gls(self, tracked: TrackedBeat, steps: Sequence[float]) -> float | None:
        """The end-systolic GLS of a beat, %; None where too many segments are left out.

        Args:
            tracked: the tracked wall.
            steps: (row, column) size of a pixel in any unit.
        """
        return self.measure(tracked, None, None, [str(k) for k in range(SEGMENTS)], steps)["numbers"]["gls"]

    def measure(
        self,
        tracked: TrackedBeat,
        spacing: Sequence[float] | None,
        times: Sequence[float] | None,
        names: Sequence[str],
        steps: Sequence[float] | None = None,
        segmented: Array | None = None,
    ) -> BeatStrain:
        """Everything of one beat.

        Args:
            tracked: the tracked wall.
            spacing: mm a pixel (row, column), or None.
            times: of all frames of the cine, s, or None.
            names: of the six segments.
            steps: size of a pixel (row, column) in any unit, where the spacing is unknown; None takes it as square.
            segmented: as in ``__call__``.
        """
        wall = _Wall.of(tracked, times, spacing, steps)
        beat = tracked.beat
        cavity = None if segmented is None else measure_cavity(segmented[beat.ed : beat.end + 1], wall.steps)
        rejected = self._reject_segments(tracked, wall.lines[self.layer][0], names)
        raw = self._strains(wall, names, rejected)
        corrected = self.drift_correction and beat.complete
        curves = {n: 100 * (strain.remove_drift(c, 0, wall.end) if corrected else c) for n, c in raw.items()}
        segments = self._measure_segments(wall, names, rejected, curves)
        numbers = {
            **_measure_gls(wall, raw.get("gls"), curves.get("gls")),
            "gls_mid_wall": float(curves["gls_mid_wall"][wall.es]) if "gls_mid_wall" in curves else None,
            "long_axis_strain": float(curves["long_axis_strain"][: wall.es + 1].min()),
            **_measure_size(wall, spacing, cavity),
            "heart_rate": wall.heart_rate,
            "mechanical_dispersion_ms": _dispersion(segments),
        }
        layer = LAYERS.index(self.layer)
        whole, parts = intervals(tracked, numbers, segments, layer, wall.steps, corrected)
        if cavity is not None:
            error = METHOD["ejection_fraction"]
            whole["ejection_fraction"] = interval(cavity.ejection_fraction, cavity.deviation, error)
        return {
            "ed": beat.ed,
            "es": beat.es,
            "end": beat.end,
            "complete_beat": beat.complete,
            "compensated": corrected,
            "numbers": numbers,
            "segments": [{**row, "interval": part} for row, part in zip(segments, parts, strict=True)],
            "curves": {name: curve.tolist() for name, curve in curves.items()},
            "intervals": whole,
        }

    def _strains(self, wall: _Wall, names: Sequence[str], rejected: Sequence[str | None]) -> dict[str, Array]:
        """Strain curves of the beat as tracked, fractions; no GLS where too many segments are rejected."""
        lengths = strain.segment_lengths(wall.lines[self.layer], wall.steps, SEGMENTS)
        kept = [k for k, reason in enumerate(rejected) if not reason]
        gls = {}
        if SEGMENTS - len(kept) <= self.max_rejected:
            middle = strain.segment_lengths(wall.lines["mid-wall"], wall.steps, SEGMENTS)
            gls = {
                "gls": strain.lagrangian(lengths[kept].sum(0)),
                "gls_mid_wall": strain.lagrangian(middle[kept].sum(0)),
            }
        return {
            **gls,
            "long_axis_strain": strain.long_axis_strain(wall.lines["endocardium"], wall.steps),
            **{name: strain.lagrangian(row) for name, row in zip(names, lengths, strict=True)},
        }

    def _measure_segments(
        self, wall: _Wall, names: Sequence[str], rejected: Sequence[str | None], curves: Mapping[str, Array]
    ) -> list[dict[str, Any]]:
        """A row a segment: why it is rejected, its timing, and the quality of its motion."""
        return [
            {
                "name": name,
                "rejected": why,
                **timing(None if why else curves[name], wall.es, wall.end, wall.complete, wall.seconds),
                **self._quality(wall.tracked, k),
            }
            for k, (name, why) in enumerate(zip(names, rejected, strict=True))
        ]

    def _quality(self, tracked: TrackedBeat, k: int) -> Numbers:
        part = self._part(tracked, k)
        missed = None if tracked.fb_error is None else float(tracked.fb_error[part].mean())
        return {"lncc2": float(tracked.lncc2[part].mean()), "fb_error_px": missed}

    @staticmethod
    def _part(tracked: TrackedBeat, k: int) -> slice:
        first, last = strain.segment_bounds(len(tracked.lncc2), SEGMENTS)[[k, k + 1]]
        return slice(int(first), int(last) + 1)

    def _reject_segments(self, tracked: TrackedBeat, line: Array, names: Sequence[str]) -> list[str | None]:
        """Why each segment is rejected, or None; ``line [P, 2]`` is the measured layer's at end-diastole."""
        size = float(np.linalg.norm(line - line[[0, -1]].mean(0), axis=1).max())
        reasons: list[str | None] = []
        for k, name in enumerate(names):
            quality, outside = self._quality(tracked, k), float(tracked.outside[self._part(tracked, k)].mean())
            lncc2, missed = quality["lncc2"], quality["fb_error_px"]
            assert lncc2 is not None
            if name in self.exclude_segments:
                reasons.append(SWITCHED_OFF)
            elif outside > self.max_outside:
                reasons.append(f"{outside:.0%} of it outside the sector")
            elif lncc2 < self.min_lncc2:
                reasons.append(f"frames unlike after registration, LNCC² {lncc2:.2f}")
            elif missed is not None and missed > self.max_fb_error * size:
                reasons.append(f"forward and backward motion {missed:.2f} px apart")
            else:
                reasons.append(None)
        return reasons


@dataclass(frozen=True, eq=False)
class _Wall:
    """A tracked beat, with what of the cine belongs to it.

    Attributes:
        tracked: the tracked wall.
        lines: of each layer, ``[n, P, 2]`` pixels.
        steps: (row, column) size of a pixel, mm or any unit.
        seconds: of the frames after end-diastole, or None.
    """

    tracked: TrackedBeat
    lines: Mapping[str, Array]
    steps: Sequence[float]
    seconds: Array | None

    @classmethod
    def of(
        cls,
        tracked: TrackedBeat,
        times: Sequence[float] | None,
        spacing: Sequence[float] | None,
        steps: Sequence[float] | None,
    ) -> _Wall:
        """Of a beat and its cine; without spacing and size of a pixel, pixels are square."""
        beat = tracked.beat
        seconds = None if times is None else np.asarray(times[beat.ed : beat.end + 1]) - times[beat.ed]
        lines = dict(zip(LAYERS, tracked.lines.transpose(1, 0, 2, 3), strict=True))
        return cls(tracked, lines, spacing or steps or (1.0, 1.0), seconds)

    @property
    def es(self) -> int:
        """End-systole, frames from end-diastole."""
        return self.tracked.beat.es - self.tracked.beat.ed

    @property
    def end(self) -> int:
        """The last frame, from end-diastole."""
        return self.tracked.beat.end - self.tracked.beat.ed

    @property
    def complete(self) -> bool:
        """Whether the beat goes to the next end-diastole."""
        return self.tracked.beat.complete

    @property
    def heart_rate(self) -> float | None:
        """Beats/min of a complete beat whose times are known."""
        return 60 / float(self.seconds[-1]) if self.seconds is not None and self.complete else None


def _measure_gls(wall: _Wall, raw: Array | None, curve: Array | None) -> Numbers:
    """GLS, its timing, and its drift, of the curve as tracked (a fraction) and of the one that is reported (%)."""
    found = timing(curve, wall.es, wall.end, wall.complete, wall.seconds, "gls_")
    drift = 100 * strain.drift(raw, 0, wall.end) if raw is not None and wall.complete else None
    return {
        "gls": found.pop("gls_end_systolic"),
        **found,
        "gls_uncompensated": None if raw is None else 100 * float(raw[wall.es]),
        "drift": drift,
    }


def _measure_size(wall: _Wall, spacing: Sequence[float] | None, cavity: CavityChange | None) -> Numbers:
    """MAPSE in mm of the tracked endocardium, volumes in ml of the segmented cavity, and the ejection fraction of both.

    What has a unit is None without spacing; a ratio needs none.
    """
    endo = wall.lines["endocardium"]
    ends = [strain.disc_volume(endo[t], wall.steps) for t in (0, wall.es)]
    in_ml = cavity if spacing is not None else None
    return {
        "mapse_mm": None if spacing is None else float(strain.mapse_mm(endo, spacing)[: wall.es + 1].max()),
        "end_diastolic_volume_ml": None if in_ml is None else in_ml.end_diastolic,
        "end_systolic_volume_ml": None if in_ml is None else in_ml.end_systolic,
        "ejection_fraction": None if cavity is None else cavity.ejection_fraction,
        "tracked_ejection_fraction": strain.ejection_fraction(*ends),
    }


def _dispersion(segments: Sequence[Mapping[str, Any]]) -> float | None:
    """Mechanical dispersion of the segments that are kept, ms; None where fewer than two have a peak."""
    spread = strain.mechanical_dispersion([s["time_to_peak_ms"] for s in segments if s["time_to_peak_ms"] is not None])
    return None if math.isnan(spread) else spread


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is known; None where nothing is."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def strain_truth_scores(case: CineCase, measured: Measured) -> Scores:
    """Errors against the truth of a simulated case (``cardiac_motion.evaluation.truth`` says what its entry holds).

    The metrics are ``gls_true`` and ``gls_error`` (end-systolic strain of the first beat's endocardium, found less
    true, in points of %), ``ed_error`` and ``es_error`` (frames); none of a case without truth.

    Raises:
        InputError: the truth can't be read.
    """
    path = case.entry.read_as(CineTruth).summary
    if path is None:
        return Scores()
    truth = read_json(Path(path))
    try:
        es, curve = int(truth["end_systole_frame"]), truth["strain"]["global"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no readable truth ({error})") from error
    beat = measured.beats[0]
    found = beat["numbers"]["gls"]
    return Scores(
        {
            "gls_true": 100 * curve[es],
            "gls_error": math.nan if found is None else found - 100 * curve[es],
            "ed_error": beat["ed"],
            "es_error": beat["es"] - es,
        }
    )
