"""Content of the page for a measured cine: results only if every check passes or the user ignores the failed ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cardiac_motion.core.tables import finite
from cardiac_motion.serving.corrections import Corrected
from cardiac_motion.serving.settings import METHODS
from cardiac_motion.strain_pipeline.quality.check_words import blocking_checks, say_check
from cardiac_motion.strain_pipeline.quality.checks import select_failed
from cardiac_motion.strain_pipeline.report.bullseye import bullseye
from cardiac_motion.strain_pipeline.report.html import SEGMENT_COLOURS
from cardiac_motion.strain_pipeline.strain_case import lines_by_frame, mean_segments

STEP = 3  # every third point of a line is sent

MARKS = ("ed", "es", "end", "complete_beat")


def page_content(corrected: Corrected, method: str) -> dict[str, Any]:
    """Return the content of the page for a measured cine; lines in pixels of the displayed frames.

    If a check failed, its message is included instead of strain, curves and volumes.
    """
    study, measured = corrected.study, corrected.study.measured
    beats, blocked = measured.beats, bool(corrected.blocked)
    segments = mean_segments(beats)
    values = {row["name"]: row["end_systolic"] for row in segments}
    failed = select_failed(study.checks)
    given = {
        "beats": [{key: beat[key] for key in MARKS} for beat in beats],  # type: ignore[literal-required]
        "segments": [{"name": row["name"], "rejected": row["rejected"]} for row in segments],
        "means": {}, "intervals": {}, "bullseye": "", "warnings": [],
    } if blocked else {
        "beats": list(beats), "segments": segments, "means": measured.means, "intervals": measured.intervals,
        "bullseye": bullseye(values), "warnings": list(study.warnings),
    }  # fmt: skip
    content: dict[str, Any] = finite({
        **given,
        "method": method,
        "title": METHODS[method],
        "view": study.view.view.name,
        "view_given": study.view.given,
        "colours": SEGMENT_COLOURS,
        "layer": measured.layer,
        "blocked": [say_check(check) for check in corrected.blocked],
        "ignored": [say_check(check) for check in blocking_checks(study.checks) or failed] if study.forced else [],
        "checks": [
            {"name": check.name, "state": check.status.lower(), "beat": check.beat,
             "words": say_check(check) if check in failed else check.describe()} for check in study.checks
        ],
        "drawn": list(study.wall.drawn),
        "similarity": float(np.mean([row["lncc2"] for row in segments])),
        "seconds": study.seconds.get("motion"),
        "spacing": study.case.meta.spacing,
        "times": study.case.meta.frame_times,
    })  # fmt: skip
    lines = lines_by_frame(study.tracked, STEP)  # finite, and most of the numbers
    return {**content, "lines": {str(t): np.round(found, 1).tolist() for t, found in lines.items()}}


def make_comparison_row(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a measured method's row of the comparison; without results if a check failed."""
    means = result["means"]
    excluded = sum(bool(segment["rejected"]) for segment in result["segments"])
    return {
        "title": result["title"], "gls": means.get("gls"), "drift": means.get("drift"),
        "ejection_fraction": means.get("ejection_fraction"), "seconds": result["seconds"],
        "similarity": result["similarity"], "excluded": excluded, "view": result["view"],
        "blocked": result["blocked"],
    }  # fmt: skip
