"""What the strain pipeline leaves of a cine: files, report, film, DICOM."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from common.cine.case import CineCase
from common.cine.scale import on_file_grid
from common.core.memory import peak_memory
from common.evaluation.writer import case_folder
from common.strain_pipeline import html as report
from common.strain_pipeline.case import StrainCase, lines_by_frame, mean_segments, study_view, with_seconds
from common.strain_pipeline.checks import Check
from common.strain_pipeline.dicom_sr import is_dicom, write_sr
from common.strain_pipeline.html import SEGMENT_COLOURS, number
from common.strain_pipeline.measures import SEGMENTS, BeatStrain, Measured
from common.ventricle.contours import LINES
from common.ventricle.strain import segment_bounds

Array = NDArray[np.float64]


CAPTION = 26  # pixels below a frame of the film
TIMED = ("ms", "1/s", "beats/min")
DOUBT = " (by the playback rate)"
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
    ("gls_centreline", "GLS of the centreline", "%", 1),
    ("gls_uncompensated", "GLS before drift compensation", "%", 1),
    ("drift", "Drift at the end of the beat", "%", 1),
    ("mechanical_dispersion_ms", "Mechanical dispersion", "ms", 0),
    ("mapse", "MAPSE, of the long axis", "%", 1),
    ("mapse_mm", "MAPSE", "mm", 1),
    ("end_diastolic_volume_ml", "End-diastolic volume (discs, one plane)", "ml", 0),
    ("end_systolic_volume_ml", "End-systolic volume (discs, one plane)", "ml", 0),
    ("ejection_fraction", "Ejection fraction (discs, one plane)", "%", 0),
    ("heart_rate", "Heart rate", "beats/min", 0),
)


def write_strain_case(
    study: StrainCase, weights: Mapping[str, str], figures: bool = True, options: Mapping[str, Any] | None = None
) -> StrainCase:
    """The folder of a cine: ``summary.json``, ``strain.csv``, ``contours.json``, ``report.html``, ``film.mp4``.

    A structured report, ``sr.dcm``, is there where the cine is a DICOM file.

    Args:
        study: what is known of it.
        weights: name of a network to what its weights are and what they were trained on.
        figures: write report and film.
        options: that it was measured with.

    Returns:
        the same with the report's sections, its text, and the seconds of all parts among its metrics.
    """
    case, measured, source = study.case, study.measured, study.case.entry.image
    with case_folder(study.folder, case.entry, "strain_pipeline") as (beside, summary):
        write_curves(beside / "strain.csv", study)
        lines = lines_by_frame(study.tracked, 1)
        contours: dict[str, list[Any]] = {"frames": sorted(lines)}
        for k, name in enumerate(LINES):
            contours[name] = [np.round(on_file_grid(lines[t][k], case.cine.meta), 2).tolist() for t in sorted(lines)]
        (beside / "contours.json").write_text(json.dumps(contours))
        if figures:
            start = time.perf_counter()
            study = replace(study, sections=tuple(case_sections(study)))
            heading = f"{study.view.view.title} · {Path(source).name}"
            html = report.page(
                "Left ventricular strain", heading, [*study.sections, about(weights, options)], study.banner
            )
            (beside / "report.html").write_text(html)
            write_film(beside / "film.mp4", study)
            study = replace(study, seconds={**study.seconds, "report": time.perf_counter() - start})
        if is_dicom(source):
            write_sr(beside / "sr.dcm", [study_view(study)])
        study = replace(with_seconds(study), text=text_of(study))
        summary |= {
            "caution": report.CAUTION,
            "source": source,
            "view": study.view.view.name,
            "view_given": study.view.given,
            "view_probabilities": study.view.probabilities,
            "frames": case.cine.shape[1],
            "size": case.file_size,
            "spacing": case.meta.spacing,
            "zoom": case.cine.meta.get("zoom"),
            "frame_times": case.meta.frame_times,
            "times_are": case.meta.times_are,
            "times_doubted": measured.times_doubted,
            "notes": case.meta.notes,
            "warnings": study.warnings,
            "forced": study.forced,
            "checks": [check.row() for check in study.checks],
            "contour": case.entry.contour,
            "line": measured.line,
            "means": measured.means,
            "intervals": measured.intervals,
            "beats": measured.beats,
            "weights": weights,
            "version": version(),
            "options": dict(options or {}),
            "metrics": study.scores.metrics,
            "peak_memory_bytes": peak_memory(),
        }
    return study


def write_curves(path: Path, study: StrainCase) -> None:
    """``strain.csv``: a row a frame of each beat, strains in %."""
    times, beats, areas = study.case.meta.frame_times, study.measured.beats, study.wall.areas
    names = list(dict.fromkeys(name for beat in beats for name in beat["curves"]))
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["beat", "frame", "seconds", *(f"{name} (%)" for name in names), "cavity area (px)"])
        for number_of, beat in enumerate(beats, 1):
            for k, t in enumerate(range(beat["ed"], beat["end"] + 1)):
                values = [round(beat["curves"][name][k], 4) if name in beat["curves"] else "" for name in names]
                seconds = "" if times is None else round(times[t], 4)
                writer.writerow([number_of, t, seconds, *values, round(float(areas[t]), 1)])


def drawn_lines(lines: Array, measured: str = "centreline") -> tuple[list[Array], list[str]]:
    """Polylines to draw of ``lines [3, P, 2]`` and colours: the ``measured`` one by segments, the others plain."""
    which = LINES.index(measured)
    bounds = segment_bounds(lines.shape[1], SEGMENTS)
    parts = [lines[which, a : b + 1] for a, b in pairwise(bounds)]
    return [*(lines[k] for k in range(len(LINES)) if k != which), *parts], [*OUTLINE, *SEGMENT_COLOURS]


def grey_values(case: CineCase) -> NDArray[np.uint8]:
    """The cine's frames ``[T, H, W]`` as grey values, brightened where it is dark."""
    frames = case.cine.as_tensor()[0].numpy()
    return np.round(255 * np.clip(frames / max(0.3, 0.9 * float(frames.max())), 0, 1)).astype(np.uint8)


def marks_of(beats: Sequence[BeatStrain]) -> dict[int, str]:
    """What is said of end-diastolic and end-systolic frames."""
    marks: dict[int, str] = {}
    for beat in beats:
        marks[beat["ed"]], marks[beat["es"]] = "end-diastole", "end-systole"
    return marks


def write_film(path: Path, study: StrainCase, rate: float = 12.5) -> None:
    """The beats with the wall's lines and segments drawn over them, as MP4 at ``rate`` frames a second.

    What is said of a frame stands below it.
    """
    frames, lines = grey_values(study.case), lines_by_frame(study.tracked, 1)
    marks = marks_of(study.measured.beats)
    zoom = max(1, round(640 / frames.shape[2]))
    drawn = []
    for t in sorted(lines):
        picture = cv2.cvtColor(cv2.resize(frames[t], None, fx=zoom, fy=zoom), cv2.COLOR_GRAY2RGB)
        for line, colour in zip(*drawn_lines(lines[t], study.measured.line), strict=True):
            points = ((line[:, ::-1] + 0.5) * zoom * 16).round().astype(np.int32)
            ink = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
            cv2.polylines(picture, [np.ascontiguousarray(points)], False, ink, 2, cv2.LINE_AA, 4)
        text = f"frame {t}" + (f", {marks[t]}" if t in marks else "")
        picture = np.pad(picture, ((0, CAPTION), (0, 0), (0, 0)))
        corner = (8, picture.shape[0] - 8)
        cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA)
        drawn.append(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
    iio.imwrite(path, drawn, fps=rate, codec="libx264", macro_block_size=2)


def case_sections(study: StrainCase) -> list[str]:
    """The sections of one cine: warnings, the cine with its GLS and curves, segments, numbers."""
    view, measured, times = study.view.view, study.measured, study.case.meta.frame_times
    beats = measured.beats
    lines = {t: drawn_lines(found, measured.line)[0] for t, found in lines_by_frame(study.tracked).items()}
    step = 1000 * (times[-1] - times[0]) / (len(times) - 1) if times else 60.0
    grey, colours = grey_values(study.case), [*OUTLINE, *SEGMENT_COLOURS]
    marks, first = marks_of(beats), beats[0]
    ends = {t: lines_at(study, t) for t in (first["ed"], first["es"])}
    cine = report.player(grey, lines, colours, marks, step)
    cine += report.stills(grey, ends, colours, {t: marks[t] for t in ends})
    caption = f"GLS, end-systolic, {measured.line}" + (f", mean of {len(beats)} beats" if len(beats) > 1 else "")
    caption += report.within(measured.intervals.get("gls"))
    frames = ", ".join(f"ED {b['ed']}, ES {b['es']}{'' if b['whole'] else ' (not whole)'}" for b in beats)
    facts = f'<p class="muted">{view.title}. Frames: {frames}.</p>'
    big = report.figure_of(measured.means["gls"], "%", caption)
    rows = mean_segments(beats)
    eye = report.bullseye({row["name"]: row["end_systolic"] for row in rows})
    table = segment_table(rows, measured.line)
    return [
        *([report.section("Warnings", report.bullets(study.warnings), kind="warnings")] if study.warnings else []),
        report.section(
            f"{view.short} · {Path(study.case.entry.image).name}",
            report.columns(cine, big + facts + "".join(plot_of(beat, times) for beat in beats)),
        ),
        report.section(
            f"{view.short} · segments", table, f'<div style="max-width:420px;margin:12px auto 0">{eye}</div>'
        ),
        report.section(f"{view.short} · numbers", number_table(measured)),
        report.section(f"{view.short} · notes and checks", report.bullets(notes_of(study)), check_table(study.checks)),
    ]


def lines_at(study: StrainCase, frame: int) -> list[Array]:
    """What is drawn at a frame of a beat."""
    return drawn_lines(lines_by_frame(study.tracked)[frame], study.measured.line)[0]


def check_table(checks: Sequence[Check]) -> str:
    """A row a check: value, limits, whether it is passed, and what it would cost."""
    rows = []
    for c in checks:
        limits = [f"{word} {value:g}" for word, value in (("from", c.least), ("to", c.greatest)) if value is not None]
        of = "" if c.beat is None else f", beat from frame {c.beat}"
        value = "–" if c.value is None else f"{c.value:.3g}"
        rows.append([c.name + of, value, c.unit, " ".join(limits), "passed" if c.passed else "FAILED", c.costs])
    return report.table(["Check", "value", "unit", "limits", "", "costs, if failed"], rows)


def notes_of(study: StrainCase) -> list[str]:
    """What else a reader of the numbers may want to know."""
    said = list(study.case.meta.notes)
    found = sorted(study.view.probabilities.items(), key=lambda pair: -pair[1])[:2]
    words = ", ".join(f"{name.replace('_', ' ')} {share:.2f}" for name, share in found)
    said.append(f"View {'given by the user; the classifier says' if study.view.given else 'found'}: {words}.")
    if study.case.meta.spacing is None:
        said.append("The pixels' spacing is unknown: nothing is given in mm or ml.")
    if study.case.entry.contour:
        said.append(f"The contour at end-diastole is the user's, {study.case.entry.contour}.")
    return said


def plot_of(beat: BeatStrain, times: Sequence[float] | None) -> str:
    """GLS and the segments' curves of a beat, with the marks of end-systole."""
    frames = np.arange(beat["ed"], beat["end"] + 1)
    along = frames if times is None else 1000 * (np.asarray(times)[frames] - times[beat["ed"]])
    colours = dict(zip((s["name"] for s in beat["segments"]), SEGMENT_COLOURS, strict=True))
    kept = {s["name"] for s in beat["segments"] if not s["rejected"]}
    shown = {name: curve for name, curve in beat["curves"].items() if name in kept or name == "gls"}
    series = {name: (along.tolist(), curve) for name, curve in shown.items()}
    if not series:
        return ""
    marks = {"ES": float(along[beat["es"] - beat["ed"]])}
    label = "frame" if times is None else "ms after end-diastole"
    inks = [colours.get(name, "#1c2430") for name in series]
    gls = "GLS" if (value := beat["numbers"]["gls"]) is None else f"GLS {number(value)} %"
    names = [{"gls": gls, "gls_centreline": "GLS of the centreline", "mapse": "MAPSE"}.get(n, n) for n in series]
    return report.curves(series, label, "strain, %", inks, marks) + report.legend(names, inks)


def segment_table(rows: Sequence[dict[str, Any]], line: str) -> str:
    """A row a segment."""
    keys = (
        ("end_systolic", "ES, %", 1), ("peak_systolic", "peak-systolic, %", 1), ("peak", "peak, %", 1),
        ("post_systolic_index", "post-systolic index, %", 0), ("time_to_peak_ms", "to peak, ms", 0),
        ("systolic_rate", "systolic rate, 1/s", 2), ("nlcc", "NLCC", 2), ("missed_px", "directions apart, px", 2),
    )  # fmt: skip
    body = [
        [
            row["name"] + (" (left out)" if row["rejected"] else ""),
            *(number(row[key], d) for key, _, d in keys),
            report.within(row.get("interval")).removeprefix(", 90 % interval "),
        ]
        for row in rows
    ]
    out = [k for k, row in enumerate(rows) if row["rejected"]]
    head = [f"Segment, {line}", *(label for _, label, _ in keys), "ES, 90 % interval"]
    return report.table(head, body, SEGMENT_COLOURS, out)


def number_table(measured: Measured) -> str:
    """A row a number, a column a beat, their mean and its 90 % interval; those of a doubted frame time are marked."""
    beats, means, doubted = measured.beats, measured.means, measured.times_doubted
    several = beats if len(beats) > 1 else []
    body = [
        [
            f"{label}, {unit}{DOUBT if doubted and unit in TIMED else ''}",
            number(means[key], digits),
            report.within(measured.intervals.get(key), digits).removeprefix(", 90 % interval "),
            *(number(b["numbers"][key], digits) for b in several),
        ]
        for key, label, unit, digits in NUMBERS
    ]
    head = ["", "mean" if several else "value", "90 % interval", *(f"beat {k + 1}" for k in range(len(several)))]
    return report.table(head, body)


def about(weights: Mapping[str, str], options: Mapping[str, Any] | None = None) -> str:
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


def text_of(study: StrainCase) -> str:
    """A few lines for the terminal."""
    means, measured = study.measured.means, study.measured
    lines = [
        f"{study.case.name}: {study.view.view.title}, {len(measured.beats)} beat(s)",
        f"  GLS {number(means['gls'])} % ({measured.line}), centreline {number(means['gls_centreline'])} %, "
        f"MAPSE {number(means['mapse'])} %, drift {number(means['drift'])} %, "
        f"EF {number(means['ejection_fraction'])} %",
        *(f"  warning: {text}" for text in study.warnings),
        f"  {report.CAUTION}",
    ]
    return "\n".join(lines)
