"""Checks in the words of a sonographer: what is wrong, and what may be the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cardiac_motion.strain_pipeline.quality.checks import BASE, BEAT, CASE, DRIFT, Check, select_failed

WORDS: Mapping[str, Callable[[float], str]] = {
    "view": lambda v: f"The view is not certain (probability {v:.2f}).",
    "like what was trained on": lambda v: "The pictures are unlike those that the program has learned from.",
    "frames with a wall": lambda v: f"The whole wall was found in {v:.0%} of the beat's frames only.",
    "shape of the wall": lambda v: "The contour does not have the shape of a left ventricle.",
    "apex towards the probe": lambda v: (
        f"The contour may not be the left ventricle: its apex points {v:.0f}° off the beam."
    ),
    "length against the sector's depth": lambda v: (
        f"The contour is {v:.0%} of the sector's depth long, which a left ventricle hardly is."
    ),
    "apex below the probe": lambda v: f"The contour's apex lies {v:.0%} of the depth below the probe.",
    "thickness of the wall": lambda v: f"The wall is {v:.0%} of the ventricle's length thick, which a wall hardly is.",
    "change of the cavity's area": lambda v: f"The cavity's area changes by {v:.0%}, which is hardly a beat.",
    "crossings of the lines": lambda v: "The tracked wall crosses itself.",
    "shape of the tracked wall": lambda v: "The tracked wall loses the shape of a left ventricle.",
    DRIFT: lambda v: f"The tracked wall does not come back: it drifts by {v:.0%} of its shortening.",
    "cavity carried against segmented": lambda v: (
        f"Tracked and segmented cavity differ at end-systole (overlap, Dice, {v:.2f})."
    ),
    BASE: lambda v: f"At end-systole the tracked base lies {v:.0%} of the ventricle's length from the segmented one.",
    "systole": lambda v: f"Systole takes {v:.0%} of the beat: end-diastole or end-systole may be wrong.",
    "frames in systole": lambda v: f"Systole has {v:.0f} frames only.",
    "heart rate": lambda v: f"A heart rate of {v:.0f} beats/min is hardly possible: check the frame times.",
}


def say_check(check: Check) -> str:
    """A check that fails as a sentence.

    Examples:
        >>> from cardiac_motion.strain_pipeline.quality.checks import check
        >>> say_check(check("apex towards the probe", 50))
        'The contour may not be the left ventricle: its apex points 50° off the beam.'
    """
    words = WORDS.get(check.name)
    return f"{check.describe()}." if words is None or check.value is None else words(check.value)


def blocking_checks(checks: Sequence[Check]) -> list[Check]:
    """The failed checks for which the strain of a cine is not given: of the case, or of every beat."""
    failed = select_failed(checks, CASE)
    of_beats = select_failed(checks, BEAT)
    beats = {check.beat for check in checks if check.beat is not None}
    if beats and beats == {check.beat for check in of_beats}:
        failed = [*failed, *of_beats]
    return failed
