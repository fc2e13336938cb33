"""What is measured of a tracked wall: strain of the ventricle and of its segments, timing, volumes, and their quality.

Definitions are those of ``ventricle.strain``; strains are in % here, times in ms after end-diastole. A number
that the cine does not carry (mm without spacing, times without frame times, drift of a beat that is cut off) is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.cine.cine_case import CineCase, CineMeta
from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.cine_truth import CineTruth
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.evaluation.truth import read_json
from cardiac_motion.strain_pipeline.measures.cavity import CavityChange, measure_cavity
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, Interval, interval, interval_of_mean, intervals
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.ventricle import strain
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.views import ApicalView

Array = NDArray[np.float64]
Numbers = dict[str, float | None]

SEGMENTS = 6
SWITCHED_OFF = "switched off by the user"
SLOWEST_HEART, FASTEST_HEART = 35.0, 200.0  # beats/min
FEWEST_SYSTOLIC = 10  # frames from end-diastole to end-systole
SLOWEST_CINE = 30.0  # frames/s


class BeatStrain(TypedDict):
    """What is measured of a beat: frames, ``numbers``, ``segments`` (a row each), ``curves`` (% from ``ed`` on) and the
    90 % ``intervals`` of some numbers; a segment's row has its ``interval``.
    """

    ed: int
    es: int
    end: int
    complete_beat: bool
    compensated: bool
    numbers: Numbers
    segments: list[dict[str, Any]]
    curves: dict[str, list[float]]
    intervals: dict[str, Interval]


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
        steps = spacing or steps
        cavity = (
            None
            if segmented is None
            else measure_cavity(segmented[tracked.beat.ed : tracked.beat.end + 1], steps or (1.0, 1.0))
        )
        beat = tracked.beat
        es, end = beat.es - beat.ed, beat.end - beat.ed
        seconds = None if times is None else np.asarray(times[beat.ed : beat.end + 1]) - times[beat.ed]
        lines = dict(zip(LAYERS, tracked.lines.transpose(1, 0, 2, 3), strict=True))
        main, endo = lines[self.layer], lines["endocardium"]
        lengths = strain.segment_lengths(main, steps, SEGMENTS)
        rejected = self._reject_segments(tracked, main[0])
        rejected = [
            SWITCHED_OFF if name in self.exclude_segments else why for name, why in zip(names, rejected, strict=True)
        ]
        kept = [k for k, reason in enumerate(rejected) if not reason]
        enough = SEGMENTS - len(kept) <= self.max_rejected
        middle = strain.segment_lengths(lines["mid-wall"], steps, SEGMENTS)
        raw = {
            "gls": strain.lagrangian(lengths[kept].sum(0)) if enough else None,
            "gls_mid_wall": strain.lagrangian(middle[kept].sum(0)) if enough else None,
            "long_axis_strain": strain.long_axis_strain(endo, steps),
            **{name: strain.lagrangian(row) for name, row in zip(names, lengths, strict=True)},
        }
        corrected = self.drift_correction and beat.complete
        curves = {
            name: 100 * (strain.remove_drift(curve, 0, end) if corrected else curve)
            for name, curve in raw.items()
            if curve is not None
        }
        numbers = {"gls": None, **timing(curves.get("gls"), es, end, beat.complete, seconds, "gls_")}
        numbers["gls"] = numbers.pop("gls_end_systolic")
        numbers["gls_uncompensated"] = None if raw["gls"] is None else 100 * float(raw["gls"][es])
        numbers["drift"] = 100 * strain.drift(raw["gls"], 0, end) if beat.complete and raw["gls"] is not None else None
        numbers["gls_mid_wall"] = float(curves["gls_mid_wall"][es]) if enough else None
        numbers["long_axis_strain"] = float(curves["long_axis_strain"][: es + 1].min())
        numbers |= measure_in_mm(endo, spacing, es, cavity)
        numbers["ejection_fraction"] = None if cavity is None else cavity.ejection_fraction  # a ratio: any unit will do
        ends = [strain.disc_volume(endo[t], steps or (1.0, 1.0)) for t in (0, es)]
        numbers["tracked_ejection_fraction"] = strain.ejection_fraction(*ends)
        numbers["heart_rate"] = 60 / float(seconds[-1]) if seconds is not None and beat.complete else None
        segments: list[dict[str, Any]] = []
        for k, name in enumerate(names):
            row = timing(None if rejected[k] else curves[name], es, end, beat.complete, seconds)
            segments.append({"name": name, "rejected": rejected[k], **row, **self._quality(tracked, k)})
        main_line = LAYERS.index(self.layer)
        whole, parts = intervals(tracked, numbers, segments, main_line, steps or (1.0, 1.0), corrected)
        for segment, part in zip(segments, parts, strict=True):
            segment["interval"] = part
        if cavity is not None:
            error = METHOD["ejection_fraction"]
            whole["ejection_fraction"] = interval(cavity.ejection_fraction, cavity.deviation, error)
        peaks = [s["time_to_peak_ms"] for s in segments if s["time_to_peak_ms"] is not None]
        spread = strain.mechanical_dispersion(peaks)
        numbers["mechanical_dispersion_ms"] = None if math.isnan(spread) else spread
        return {
            "ed": beat.ed,
            "es": beat.es,
            "end": beat.end,
            "complete_beat": beat.complete,
            "compensated": corrected,
            "numbers": numbers,
            "segments": segments,
            "curves": {name: curve.tolist() for name, curve in curves.items()},
            "intervals": whole,
        }

    def _quality(self, tracked: TrackedBeat, k: int) -> Numbers:
        part = self._part(tracked, k)
        missed = None if tracked.missed is None else float(tracked.missed[part].mean())
        return {"lncc2": float(tracked.lncc2[part].mean()), "fb_error_px": missed}

    @staticmethod
    def _part(tracked: TrackedBeat, k: int) -> slice:
        first, last = strain.segment_bounds(len(tracked.lncc2), SEGMENTS)[[k, k + 1]]
        return slice(int(first), int(last) + 1)

    def _reject_segments(self, tracked: TrackedBeat, line: Array) -> list[str | None]:
        """Why each segment is left out, or None."""
        size = float(np.linalg.norm(line - line[[0, -1]].mean(0), axis=1).max())
        reasons: list[str | None] = []
        for k in range(SEGMENTS):
            quality, outside = self._quality(tracked, k), float(tracked.outside[self._part(tracked, k)].mean())
            lncc2, missed = quality["lncc2"], quality["fb_error_px"]
            assert lncc2 is not None
            if outside > self.max_outside:
                reasons.append(f"{outside:.0%} of it outside the sector")
            elif lncc2 < self.min_lncc2:
                reasons.append(f"frames unlike after registration, LNCC² {lncc2:.2f}")
            elif missed is not None and missed > self.max_fb_error * size:
                reasons.append(f"forward and backward motion {missed:.2f} px apart")
            else:
                reasons.append(None)
        return reasons


def times_doubted(beats: Sequence[BeatStrain], frame_time_source: str | None) -> bool:
    """Whether times rest on a file's playback alone, without two whole beats of a possible heart rate.

    Args:
        beats: as ``StrainMeasures.measure`` gives them.
        frame_time_source: as a cine's ``meta`` says.
    """
    rates = [rate for beat in beats if (rate := beat["numbers"]["heart_rate"]) is not None]
    return frame_time_source == "playback" and not (len(rates) > 1 and all(is_possible(rate) for rate in rates))


def is_possible(heart_rate: float) -> bool:
    """Whether a heart beats so often a minute."""
    return SLOWEST_HEART <= heart_rate <= FASTEST_HEART


def timing_warnings(beats: Sequence[BeatStrain], times: Sequence[float] | None, doubted: bool) -> list[str]:
    """What a reader of rates, times and peaks must know of the frames' times.

    Args:
        beats: as ``StrainMeasures.measure`` gives them.
        times: of the cine's frames, s, or None.
        doubted: as ``times_doubted`` says.
    """
    said = []
    if doubted:
        said.append(
            "The frame times are those of the file's playback: heart rate, times to peak and strain rates are right "
            "only if it plays as fast as it was acquired."
        )
    for beat in beats:
        rate, frames = beat["numbers"]["heart_rate"], beat["es"] - beat["ed"] + 1
        if rate is not None and not is_possible(rate):
            said.append(
                f"The beat from frame {beat['ed']}: a heart rate of {rate:.0f} beats/min is hardly possible; either "
                "the frame times or the beat are wrong."
            )
        if frames < FEWEST_SYSTOLIC:
            said.append(
                f"The beat from frame {beat['ed']}: only {frames} frames in systole; a peak may lie between two."
            )
    if times is not None and len(times) > 1:
        speed = (len(times) - 1) / (times[-1] - times[0])
        if speed < SLOWEST_CINE:
            said.append(f"{speed:.0f} frames/s are few: peaks may be missed, and rates are too small.")
    return said


def timing(curve: Array | None, es: int, end: int, complete: bool, seconds: Array | None, prefix: str = "") -> Numbers:
    """End-systolic, peak-systolic and peak strain, post-systolic index, time to peak and strain rates of a curve in %.

    Args:
        curve: of one beat, %; None gives None everywhere.
        es, end: frames from end-diastole.
        complete: whether the beat goes to its end; what comes after systole is None otherwise.
        seconds: of the frames from end-diastole, or None.
        prefix: of the names.
    """
    names = (
        "end_systolic", "peak_systolic", "peak", "post_systolic_index", "time_to_peak_ms", "systolic_rate",
        "early_diastolic_rate",
    )  # fmt: skip
    found: Numbers = dict.fromkeys(names)
    if curve is not None:
        found["end_systolic"] = float(curve[es])
        found["peak_systolic"] = strain.peak_systolic(curve, 0, es)
        rate = None if seconds is None else strain.strain_rate(curve / 100, seconds.tolist())
        if rate is not None:
            found["systolic_rate"] = float(rate[: es + 1].min())
        if complete:
            lowest, frame = strain.peak(curve, 0, end)
            index = strain.post_systolic_index(float(curve[es]), lowest)
            found["peak"] = lowest
            found["post_systolic_index"] = None if math.isnan(index) else index
            if seconds is not None and rate is not None:
                found["time_to_peak_ms"] = 1000 * float(seconds[frame])
                found["early_diastolic_rate"] = float(rate[es:].max())
    return {prefix + name: value for name, value in found.items()}


def measure_in_mm(endo: Array, spacing: Sequence[float] | None, es: int, cavity: CavityChange | None) -> Numbers:
    """MAPSE in mm of a tracked endocardium ``[n, P, 2]``, volumes in ml of a segmented cavity; None without spacing."""
    found: Numbers = dict.fromkeys(("mapse_mm", "end_diastolic_volume_ml", "end_systolic_volume_ml"))
    if spacing is not None:
        found["mapse_mm"] = float(strain.mapse_mm(endo, spacing)[: es + 1].max())
        if cavity is not None:
            found["end_diastolic_volume_ml"] = cavity.end_diastolic
            found["end_systolic_volume_ml"] = cavity.end_systolic
    return found


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
