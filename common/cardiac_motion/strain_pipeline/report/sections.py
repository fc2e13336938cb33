"""The sections of a cine's report: warnings, the cine and its curves, changes, repeats, segments, numbers, checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import convex_hull_image

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.strain_pipeline.measures.beat_strain import BeatStrain
from cardiac_motion.strain_pipeline.measures.followup import NAMES, smallest_detectable_change
from cardiac_motion.strain_pipeline.measures.measures import SEGMENTS, Measured
from cardiac_motion.strain_pipeline.quality.check_words import say_check
from cardiac_motion.strain_pipeline.quality.checks import Check
from cardiac_motion.strain_pipeline.report import html as report
from cardiac_motion.strain_pipeline.report.bullseye import bullseye
from cardiac_motion.strain_pipeline.report.dicom_sr import study_date
from cardiac_motion.strain_pipeline.report.html import SEGMENT_COLOURS, number
from cardiac_motion.strain_pipeline.strain_case import StrainCase, lines_by_frame, mean_segments
from cardiac_motion.strain_pipeline.tracking.motion import widen_sector
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.strain import segment_bounds

Array = NDArray[np.float64]

TIMED = ("ms", "1/s", "beats/min")
DOUBT = " (by the playback rate)"
GOOD = 0.5  # NCC² of registered frames around a segment from which on its tracking counts as good
OUTLINE = ("#ffffff", "#9fd0ff")  # the two lines that aren't measured
REFERENCE = (
    "A GLS of about −20 % is to be expected in healthy adults; it depends on machine and software (Lang et al. 2015)."
)


NUMBERS = (
    ("gls", "GLS, end-systolic", "%", 1),
    ("gls_peak_systolic", "GLS, peak-systolic", "%", 1),
    ("gls_peak", "GLS, peak", "%", 1),
    ("gls_post_systolic_index", "Post-systolic index", "%", 0),
    ("gls_time_to_peak_ms", "Time to peak", "ms", 0),
    ("gls_systolic_rate", "Strain rate, systolic", "1/s", 2),
    ("gls_early_diastolic_rate", "Strain rate, early diastolic", "1/s", 2),
    ("gls_mid_wall", "GLS of the mid-wall", "%", 1),
    ("gls_uncompensated", "GLS before drift compensation", "%", 1),
    ("drift", "Drift at the end of the beat", "%", 1),
    ("mechanical_dispersion_ms", "Mechanical dispersion", "ms", 0),
    ("long_axis_strain", "Long-axis strain", "%", 1),
    ("mapse_mm", "MAPSE", "mm", 1),
    ("end_diastolic_volume_ml", "End-diastolic volume (discs, one plane)", "ml", 0),
    ("end_systolic_volume_ml", "End-systolic volume (discs, one plane)", "ml", 0),
    ("ejection_fraction", "Ejection fraction (discs, one plane)", "%", 0),
    ("tracked_ejection_fraction", "the same of the tracked endocardium", "%", 0),
    ("heart_rate", "Heart rate", "beats/min", 0),
)


def colour_lines(lines: Array, measured: str = "mid-wall") -> tuple[list[Array], list[str]]:
    """Polylines to draw of ``lines [3, P, 2]`` and colours: the ``measured`` one by segments, the others plain."""
    which = LAYERS.index(measured)
    bounds = segment_bounds(lines.shape[1], SEGMENTS)
    parts = [lines[which, a : b + 1] for a, b in pairwise(bounds)]
    return [*(lines[k] for k in range(len(LAYERS)) if k != which), *parts], [*OUTLINE, *SEGMENT_COLOURS]


def grey_values(case: CineCase, covered: bool = False) -> NDArray[np.uint8]:
    """The cine's frames ``[T, H, W]`` as grey values, brightened where it is dark.

    Args:
        case: the cine.
        covered: black around the sector, where machines write names and dates.
    """
    frames = case.cine.as_tensor()[0].numpy()
    grey = np.round(255 * np.clip(frames / max(0.3, 0.9 * float(frames.max())), 0, 1)).astype(np.uint8)
    if covered:
        grey[:, ~convex_hull_image(widen_sector(case.cine))] = 0
    return grey


def marks_of(beats: Sequence[BeatStrain]) -> dict[int, str]:
    """Names of the end-diastolic and end-systolic frames; of several beats with the beat's number."""
    marks: dict[int, str] = {}
    for k, beat in enumerate(beats, 1):
        number_of = f" {k}" if len(beats) > 1 else ""
        marks[beat["ed"]], marks[beat["es"]] = f"end-diastole{number_of}", f"end-systole{number_of}"
    return marks


def case_sections(study: StrainCase, grey: NDArray[np.uint8]) -> list[str]:
    """The sections of one cine: an overview of one printed page, then an appendix.

    Args:
        study: what is known of it.
        grey: its grey values ``[T, H, W]``.
    """
    view, measured, times = study.view.view, study.measured, study.case.meta.frame_times
    beats = measured.beats
    lines = {t: colour_lines(found, measured.layer)[0] for t, found in lines_by_frame(study.tracked).items()}
    step = 1000 * (times[-1] - times[0]) / (len(times) - 1) if times else 60.0
    marks = marks_of(beats)
    player = report.player(grey, lines, [*OUTLINE, *SEGMENT_COLOURS], marks, step)
    plots = [plot_of(beat, times, f"beat {k + 1}" if len(beats) > 1 else "") for k, beat in enumerate(beats)]
    rows = mean_segments(beats)
    return [
        overview(study, grey, rows, plots[0]),
        report.section(f"{view.short} · cine", player, report.columns(*plots) if len(beats) > 1 else "", kind="screen"),
        *change_sections(study),
        *repeat_sections(study),
        report.section(f"{view.short} · segments", segment_table(rows, measured.layer), kind="appendix"),
        report.section(f"{view.short} · numbers", number_table(measured)),
        report.section(
            f"{view.short} · notes and checks", report.bullets(list_notes(study)), check_table(study.checks)
        ),
    ]


def overview(study: StrainCase, grey: NDArray[np.uint8], rows: Sequence[dict[str, Any]], plot: str) -> str:
    """The first page of a cine: GLS, what was changed by hand, checks, stills, bull's-eye, curves, tracking quality.

    Args:
        study: what is known of it.
        grey: its grey values ``[T, H, W]``.
        rows: of the segments (``strain_case.mean_segments``).
        plot: of the first beat.
    """
    view, measured, beats = study.view.view, study.measured, study.measured.beats
    caption = f"GLS, end-systolic, {measured.layer}" + (f", mean of {len(beats)} beats" if len(beats) > 1 else "")
    caption += f"{report.format_interval(measured.intervals.get('gls'))}. {REFERENCE}"
    big = report.figure_of(measured.means["gls"], "%", caption)
    first, marks = beats[0], marks_of(beats)
    ends = {t: lines_at(study, t) for t in (first["ed"], first["es"])}
    stills = report.stills(grey, ends, [*OUTLINE, *SEGMENT_COLOURS], {t: marks[t] for t in ends})
    eye = bullseye({row["name"]: row["end_systolic"] for row in rows}, scale=True)
    by_hand = study.by_hand
    changed = report.bullets(by_hand) if by_hand else "<p>Nothing: measured automatically.</p>"
    checked = report.bullets(say_checks(study.checks))
    return report.section(
        f"{view.short} · {study.called}",
        report.columns(big + report.bullets(list_facts(study)), stills),
        report.columns(eye + tracking_quality(rows), plot),
        report.columns(f"<h3>Changed by hand</h3>{changed}", f"<h3>Checks</h3>{checked}"),
        f"<h3>{view.short} · warnings</h3>{report.bullets(study.warnings)}" if study.warnings else "",
        kind="overview",
    )


def say_checks(checks: Sequence[Check]) -> list[str]:
    """What came of the checks, in words: what fails, what was not checked, how many pass."""
    failed = [say_check(check) for check in checks if check.passed is False]
    unknown = list(dict.fromkeys(check.name for check in checks if check.passed is None))
    passed = sum(check.passed is True for check in checks)
    said = [f"Failed: {words}" for words in failed]
    if unknown:
        said.append(f"Not checked, since the cine does not tell the value: {', '.join(unknown)}.")
    return [*said, f"{passed} of {len(checks)} checks passed."]


def tracking_quality(rows: Sequence[Mapping[str, Any]]) -> str:
    """How well the segments were tracked, as one line."""
    grades: dict[str, list[str]] = {}
    for row in rows:
        grades.setdefault(grade_of(row), []).append(row["name"])
    said = "; ".join(
        f"{grade} in all segments" if len(names) == len(rows) else f"{grade}: {', '.join(names)}"
        for grade, names in grades.items()
    )
    return f'<p class="muted">Tracking quality: {said}.</p>'


def list_facts(study: StrainCase) -> list[str]:
    """Date, view, frames of the beats, frame rate, heart rate, and what was done to the curves."""
    beats, times, numbers = study.measured.beats, study.case.meta.frame_times, study.measured.means
    frames = ", ".join(f"ED {b['ed']}, ES {b['es']}{'' if b['complete_beat'] else ' (not whole)'}" for b in beats)
    systole = (
        "End-systole was set by hand." if study.case.entry.es is not None
        else "End-systole is the smallest cavity, a surrogate of aortic-valve closure."
    )  # fmt: skip
    said = [f"{study.view.view.title}. Frames: {frames}. {systole}"]
    if (date := study_date(study.case.entry.image)) is not None:
        said.insert(0, f"Acquired {date}.")
    if times:
        rate = (len(times) - 1) / (times[-1] - times[0])
        of = " (by the playback rate)" if study.measured.times_doubted else ""
        heart = f", heart rate {number(numbers['heart_rate'], 0)} beats/min" if numbers["heart_rate"] else ""
        said.append(f"{number(rate, 0)} frames/s{heart}{of}.")
    else:
        said.append("Frame rate and heart rate are not known.")
    ends = [beat["numbers"]["drift"] for beat in beats if beat["numbers"]["drift"] is not None]
    each = " and ".join(number(drift) for drift in ends)
    if not ends:
        said.append("Drift is not known: curves are as they were tracked.")
    elif any(beat["compensated"] for beat in beats):
        said.append(f"Linear drift correction: {each} percentage points at the end of the beat{'s' * (len(ends) > 1)}.")
    else:
        said.append(f"Curves are not corrected for drift: {each} points at the end of the beat{'s' * (len(ends) > 1)}.")
    if (least := detectable_changes(study.measured).get("gls")) is not None:
        said.append(f"Smallest detectable change of GLS: {number(least)} points (90 %).")
    return said


def lines_at(study: StrainCase, frame: int) -> list[Array]:
    """What is drawn at a frame of a beat."""
    return colour_lines(lines_by_frame(study.tracked)[frame], study.measured.layer)[0]


def detectable_changes(measured: Measured) -> dict[str, float]:
    """Name of a number to the smallest change, points of %, that two such measurements tell from none."""
    return {name: smallest_detectable_change(interval, name) for name, interval in measured.intervals.items()}


def change_sections(study: StrainCase) -> list[str]:
    """What has changed since the earlier study, if one was given that has this view."""
    if study.earlier is None:
        return []
    rows = []
    for change in study.changes:
        said = {None: "unknown", True: "more than measuring twice would show", False: "within the error of measuring"}
        named = NAMES.get(change.name, change.name)
        within = report.format_interval(change.interval).removeprefix(", 90 % interval ")
        rows.append([named, number(change.before), number(change.now), number(change.value), within,
                     said[change.beyond]])  # fmt: skip
    notes = [f"Earlier: {study.earlier.source}, {study.earlier.path}."]
    motion = study.earlier.motion
    if study.earlier.forced:
        notes.append("The earlier study was measured by force: its numbers are not to be relied on.")
    if motion is not None and (now := study.options.get("motion")) is not None and motion != now:
        notes.append(f"The earlier study's motion is that of {motion}, this one's of {now}: methods differ too.")
    head = ["", "before, %", "now, %", "change, points", "90 % interval", ""]
    heading = f"{study.view.view.short} · change since the earlier study"
    return [report.section(heading, report.table(head, rows), report.bullets(notes))]


def repeat_sections(study: StrainCase) -> list[str]:
    """What the patient's repeats say of the first beat's GLS, if any were made."""
    result = study.repeats
    if result is None:
        return []
    rows = [[f"repeat {k}", number(t.true), number(t.measured), number(t.measured and t.measured - t.true)]
            for k, t in enumerate(result.repeats, 1)]  # fmt: skip
    caption = (
        f"GLS corrected for it, first beat (plain {number(result.gls)} %){report.format_interval(result.interval)}"
    )
    notes = [
        f"Simulated again from its own frame, wall and frame rate, {result.describe()}.",
        f"Around the wall: {result.surroundings}. Registered frames' NCC² {number(result.lncc2, 2)} in the patient, "
        f"{number(float(np.mean([t.lncc2 for t in result.repeats])), 2)} in the repeats.",
        "Simulated repeats do not know how far the segmented wall is off, nor what the simulator doesn't draw.",
    ]
    table = report.table(["", "true GLS, %", "measured, %", "off, points"], rows)
    big = report.figure_of(result.corrected, "%", caption)
    return [report.section(f"{study.view.view.short} · repeats", big, table, report.bullets(notes))]


def check_table(checks: Sequence[Check]) -> str:
    """A row a check: value, limits, whether it is passed, and the consequence of failure."""
    rows = []
    for c in checks:
        limits = [f"{word} {value:g}" for word, value in (("from", c.minimum), ("to", c.maximum)) if value is not None]
        of = "" if c.beat is None else f", beat from frame {c.beat}"
        value = "–" if c.value is None else f"{c.value:.3g}"
        rows.append([c.name + of, value, c.unit, " ".join(limits), c.status, c.consequence])
    return report.table(["Check", "value", "unit", "limits", "", "consequence of failure"], rows)


def list_notes(study: StrainCase) -> list[str]:
    """What else a reader of the numbers may want to know."""
    said = list(study.case.meta.notes)
    found = sorted(study.view.probabilities.by_view.items(), key=lambda pair: -pair[1])[:2]
    words = ", ".join(f"{name.replace('_', ' ')} {share:.2f}" for name, share in found)
    said.append(f"View {'given by the user; the classifier says' if study.view.given else 'found'}: {words}.")
    if study.case.meta.spacing is None:
        said.append("The pixels' spacing is unknown: nothing is given in mm or ml.")
    if study.source_sha256:
        said.append(f"SHA-256 of the file: {study.source_sha256}.")
    return said


def plot_of(beat: BeatStrain, times: Sequence[float] | None, name: str = "") -> str:
    """GLS and the segments' curves of a beat, with the marks of end-diastole and end-systole.

    Args:
        beat: as measured.
        times: of the cine's frames, s, or None.
        name: of the beat, above the plot, where there are several.
    """
    frames = np.arange(beat["ed"], beat["end"] + 1)
    along = frames if times is None else 1000 * (np.asarray(times)[frames] - times[beat["ed"]])
    colours = dict(zip((s["name"] for s in beat["segments"]), SEGMENT_COLOURS, strict=True))
    kept = {s["name"] for s in beat["segments"] if not s["rejected"]}
    shown = {name: curve for name, curve in beat["curves"].items() if name in kept or name == "gls"}
    series = {name: (along.tolist(), curve) for name, curve in shown.items()}
    if not series:
        return ""
    marks = {"ED": float(along[0]), "ES": float(along[beat["es"] - beat["ed"]])}
    label = "frame" if times is None else "ms after end-diastole"
    inks = [colours.get(name, "#1c2430") for name in series]
    gls = "GLS" if (value := beat["numbers"]["gls"]) is None else f"GLS {number(value)} %"
    names = [
        {"gls": gls, "gls_mid_wall": "GLS of the mid-wall", "long_axis_strain": "Long-axis strain"}.get(n, n)
        for n in series
    ]
    plot = report.curves(series, label, "strain, %", inks, marks, frames=(beat["ed"], beat["end"]), name=name)
    heading = f"<h3>{name[0].upper()}{name[1:]}</h3>" if name else ""
    return heading + plot + report.legend(names, inks)


def segment_table(rows: Sequence[dict[str, Any]], layer: str) -> str:
    """A row a segment."""
    keys = (
        ("end_systolic", "ES, %", 1), ("peak_systolic", "peak-systolic, %", 1), ("peak", "peak, %", 1),
        ("post_systolic_index", "post-systolic index, %", 0), ("time_to_peak_ms", "to peak, ms", 0),
        ("systolic_rate", "systolic rate, 1/s", 2), ("lncc2", "LNCC²", 2), ("fb_error_px", "directions apart, px", 2),
    )  # fmt: skip
    body = [
        [
            row["name"] + (" (left out)" if row["rejected"] else ""),
            grade_of(row),
            *(number(row[key], d) for key, _, d in keys),
            report.format_interval(row.get("interval")).removeprefix(", 90 % interval "),
        ]
        for row in rows
    ]
    out = [k for k, row in enumerate(rows) if row["rejected"]]
    head = [f"Segment, {layer}", "tracking", *(label for _, label, _ in keys), "ES, 90 % interval"]
    return report.table(head, body, SEGMENT_COLOURS, out)


def grade_of(row: Mapping[str, Any]) -> str:
    """How well a segment was tracked: ``good``, ``fair`` or ``left out``.

    Examples:
        >>> grade_of({"rejected": None, "lncc2": 0.7}), grade_of({"rejected": None, "lncc2": 0.4})
        ('good', 'fair')
    """
    if row["rejected"]:
        return "left out"
    return "good" if row["lncc2"] is not None and row["lncc2"] >= GOOD else "fair"


def number_table(measured: Measured) -> str:
    """A row a number, a column a beat, their mean and its 90 % interval; those of a doubted frame time are marked."""
    beats, means, doubted = measured.beats, measured.means, measured.times_doubted
    several = beats if len(beats) > 1 else []
    body = [
        [
            f"{label}, {unit}{DOUBT if doubted and unit in TIMED else ''}",
            number(means[key], digits),
            report.format_interval(measured.intervals.get(key), digits).removeprefix(", 90 % interval "),
            *(number(b["numbers"][key], digits) for b in several),
        ]
        for key, label, unit, digits in NUMBERS
    ]
    head = ["", "mean" if several else "value", "90 % interval", *(f"beat {k + 1}" for k in range(len(several)))]
    return report.table(head, body)


def provenance(weights: Mapping[str, str], options: Mapping[str, Any] | None = None) -> str:
    """What measured, its version and options, what it was trained on, and what to compare with."""
    said = [f"Cardiac Motion Bundles {version()}", *(f"{name}: {text}" for name, text in weights.items())]
    if options:
        words = ", ".join(f"{name} {value}" for name, value in options.items() if value is not None)
        said.append(f"Options: {words}.")
    return report.section("How this was measured", report.bullets([*said, REFERENCE, report.CAUTION]))


def version() -> str:
    """Of this software, as it is installed."""
    try:
        return metadata.version("cardiac-motion-bundles")
    except metadata.PackageNotFoundError:
        return "not installed"
