"""What is measured of one beat, and what its times are worth: peaks, rates, heart rate.

Strains are in %, times in ms after end-diastole. What a beat does not carry (times without frame times, what comes
after systole of a beat that is cut off) is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.strain_pipeline.measures.intervals import Interval
from cardiac_motion.ventricle import strain

Array = NDArray[np.float64]
Numbers = dict[str, float | None]

SLOWEST_HEART, FASTEST_HEART = 35.0, 200.0  # beats/min
FEWEST_SYSTOLIC = 10  # frames from end-diastole to end-systole
SLOWEST_CINE = 30.0  # frames/s


class BeatStrain(TypedDict):
    """Measurements of a beat.

    Its frames, ``numbers``, ``segments`` (one row each, with its ``interval``), ``curves`` (% from ``ed`` on) and the
    90 % ``intervals`` of some numbers.
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
