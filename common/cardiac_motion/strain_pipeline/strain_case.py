"""A cine whose strain is measured: everything that its report tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.evaluation.case_evaluator import Report
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.strain_pipeline.measures.beat_strain import BeatStrain, Numbers
from cardiac_motion.strain_pipeline.measures.cavity import measure_cavity
from cardiac_motion.strain_pipeline.measures.followup import Change, Earlier, changes
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, Interval, interval_of_mean
from cardiac_motion.strain_pipeline.measures.measures import SWITCHED_OFF, Measured, mean
from cardiac_motion.strain_pipeline.measures.repeats import RepeatsResult
from cardiac_motion.strain_pipeline.quality.checks import Check, select_failed
from cardiac_motion.strain_pipeline.quality.view import CineView
from cardiac_motion.strain_pipeline.tracking.motion import TrackedBeat
from cardiac_motion.strain_pipeline.tracking.wall import Wall
from cardiac_motion.ventricle.views import ApicalView

Array = NDArray[np.float64]
SHOWN = 3  # every so manieth point of a line is drawn


@dataclass(frozen=True, eq=False)
class StrainCase(Report):
    """What is known of a cine at the end of the strain pipeline.

    Attributes:
        view, wall, tracked, measured: of each step.
        seconds: by part: ``view``, ``segmentation``, ``contours``, ``motion``, ``tracking``, ``strain``, ``report``.
        checks: that were made.
        forced: whether it is measured whatever they say.
        changes: since an earlier study of the patient, where one was given that has this view.
        earlier: that study.
        repeats: result of its simulated repeats, where any were made.
        options: that it was measured with.
        sections: of its report as HTML, for one of several views.
        text: for the terminal.
        title: what reports call the cine; empty is the name of its file.
        manual: what was changed by hand and by whom, a sentence each; where it is empty, the options tell it.
        source_sha256: of the file; empty where it was not computed.
    """

    KEYS: ClassVar[Mapping[str, str]] = {**Report.KEYS, "cine": "case.cine"}

    case: CineCase
    view: CineView
    wall: Wall
    tracked: tuple[TrackedBeat, ...]
    measured: Measured
    seconds: Mapping[str, float]
    checks: tuple[Check, ...] = ()
    forced: bool = False
    changes: tuple[Change, ...] = ()
    earlier: Earlier | None = None
    repeats: RepeatsResult | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sections: tuple[str, ...] = ()
    text: str = ""
    title: str = ""
    manual: tuple[str, ...] = ()
    source_sha256: str = ""

    @property
    def called(self) -> str:
        """What reports call the cine."""
        return self.title or Path(self.case.entry.image).name

    @property
    def by_hand(self) -> tuple[str, ...]:
        """What was not measured automatically, a sentence each."""
        if self.manual:
            return self.manual
        entry, measured, said = self.case.entry, self.measured, []
        beat = measured.beats[0]
        if self.view.given:
            said.append(f"View set to {self.view.view.short} by the user.")
        if entry.ed is not None:
            said.append(f"End-diastole set by the user: frame {entry.ed}.")
        if entry.es is not None:
            said.append(f"End-systole set by the user: frame {entry.es}.")
        if self.wall.drawn:
            frames = ", ".join(str(t) for t in self.wall.drawn)
            said.append(f"Wall drawn by the user at frame{'s' if len(self.wall.drawn) > 1 else ''} {frames}.")
        excluded = [row["name"] for row in beat["segments"] if row["rejected"] == SWITCHED_OFF]
        if excluded:
            said.append(f"Segments excluded by the user: {', '.join(excluded)}.")
        if entry.spacing is not None:
            said.append("The spacing is the user's.")
        if entry.frame_rate is not None:
            said.append(f"The frame rate is the user's: {entry.frame_rate:g} frames/s.")
        return tuple(said)

    @property
    def banner(self) -> str:
        """What every page of a case must say that was measured though it failed a check; else nothing."""
        out = select_failed(self.checks) if self.forced else []
        count = f"{len(out)} check{'s' if len(out) > 1 else ''}"
        return f"Not to be relied on: measured by force though it fails {count}." if out else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the numbers must know."""
        return (*self.wall.warnings, *self.measured.warnings)

    def lines(self) -> str:
        """View, GLS and what warns."""
        return "\n".join([self.text, *(f"  note: {note}" for note in self.case.meta.notes)])


@dataclass(frozen=True, eq=False)
class StudyView:
    """What a report of several views keeps of one.

    Attributes:
        source: file of the cine.
        title: what reports call the cine.
        view: its view.
        layer: whose strain it is.
        means, segments: of the beats.
        sections: HTML of its own report.
        endo: endocardium of each beat at end-diastole and end-systole, ``[2, P, 2]`` in pixels; None where the cavity
            is not segmented.
        spacing: (row, column) in mm/px, or None.
        banner: what its page must say (``StrainCase.banner``).
        steps: (row, column) size of a pixel in any unit.
        gls_interval: 90 %, of the mean of the beats.
        warnings: what the reader of the numbers must know.
        manual: what was not measured automatically, a sentence each.
    """

    source: str
    view: ApicalView
    layer: str
    means: Numbers
    segments: Sequence[Mapping[str, Any]]
    sections: Sequence[str]
    endo: Sequence[Array | None]
    spacing: Sequence[float] | None
    banner: str = ""
    steps: Sequence[float] = (1.0, 1.0)
    gls_interval: Interval | None = None
    title: str = ""
    warnings: Sequence[str] = ()
    manual: Sequence[str] = ()


def study_view(study: StrainCase) -> StudyView:
    """What a report of several views keeps of a cine."""
    return StudyView(
        source=study.case.entry.image,
        view=study.view.view,
        layer=study.measured.layer,
        means=study.measured.means,
        segments=mean_segments(study.measured.beats),
        sections=study.sections,
        endo=[endocardium_at_ends(study, found) for found in study.tracked],
        spacing=study.case.meta.spacing,
        banner=study.banner,
        steps=study.case.meta.steps,
        gls_interval=study.measured.intervals.get("gls"),
        title=study.called,
        warnings=study.warnings,
        manual=study.by_hand,
    )


def endocardium_at_ends(study: StrainCase, tracked: TrackedBeat) -> Array | None:
    """The segmented endocardium ``[2, P, 2]`` at end-diastole and end-systole of a beat, whose volumes are reported."""
    beat = tracked.beat
    cavity = measure_cavity(study.wall.lines[beat.ed : beat.end + 1, 0], study.case.meta.steps)
    return None if cavity is None else cavity.endocardium


def add_changes(study: StrainCase, earlier: Mapping[str, Earlier]) -> StrainCase:
    """The case with what has changed since an earlier study, view name to what it measured.

    Raises:
        InputError: the earlier strain is another line's.
    """
    before = earlier.get(study.view.view.name)
    if before is None:
        return study
    measured = study.measured
    found = changes(before, measured.means, measured.intervals, mean_segments(measured.beats), measured.layer)
    return replace(study, changes=tuple(found), earlier=before)


def add_seconds(study: StrainCase) -> StrainCase:
    """The case with what its parts took among its metrics."""
    took = {f"seconds_{part}": seconds for part, seconds in study.seconds.items()}
    return replace(study, scores=study.scores | Scores({**took, "seconds": sum(study.seconds.values())}))


def mean_segments(beats: Sequence[BeatStrain]) -> list[dict[str, Any]]:
    """Rows of the segments with the means over the beats in which they were kept; rejected where they never were."""
    rows = []
    for of_beats in zip(*(beat["segments"] for beat in beats), strict=True):
        keys = [key for key in of_beats[0] if key not in ("name", "rejected", "interval")]
        reasons = [row["rejected"] for row in of_beats]
        rejected = reasons[0] if all(reasons) else None
        row = {"name": of_beats[0]["name"], "rejected": rejected, **{k: mean([r[k] for r in of_beats]) for k in keys}}
        known = [found for r in of_beats if (found := r.get("interval"))]
        row["interval"] = interval_of_mean(known, 0.0, METHOD["segment"]) if known else None
        rows.append(row)
    return rows


def lines_by_frame(tracked: Sequence[TrackedBeat], every: int = SHOWN) -> dict[int, Array]:
    """Frame to the wall's lines ``[3, P, 2]`` in pixels, of all beats."""
    found = {}
    for beat in tracked:
        keep = np.unique([*range(0, beat.lines.shape[2], every), beat.lines.shape[2] - 1])
        for k, lines in enumerate(beat.lines[:, :, keep]):
            found[beat.beat.ed + k] = lines
    return found
