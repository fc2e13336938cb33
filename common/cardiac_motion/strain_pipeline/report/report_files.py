"""What the strain pipeline leaves of a cine: files, report, movie, DICOM."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardiac_motion.cine.movie import write_movie
from cardiac_motion.cine.scale import to_file_grid
from cardiac_motion.core.memory import peak_memory
from cardiac_motion.core.plots import cv2
from cardiac_motion.evaluation.writer import case_folder
from cardiac_motion.strain_pipeline.cache import time_block
from cardiac_motion.strain_pipeline.report import html as report
from cardiac_motion.strain_pipeline.report.dicom_sr import is_dicom, write_sr
from cardiac_motion.strain_pipeline.report.html import number
from cardiac_motion.strain_pipeline.report.sections import (
    case_sections,
    colour_lines,
    detectable_changes,
    grey_values,
    marks_of,
    provenance,
    version,
)
from cardiac_motion.strain_pipeline.strain_case import StrainCase, add_seconds, lines_by_frame, study_view
from cardiac_motion.ventricle.contours import LAYERS

CAPTION = 26  # pixels below a frame of the movie


def write_strain_case(
    study: StrainCase, weights: Mapping[str, str], save_figures: bool = True, options: Mapping[str, Any] | None = None
) -> StrainCase:
    """The folder of a cine: ``summary.json``, ``strain.csv``, ``contours.json``, ``report.html``, ``movie.mp4``.

    A structured report, ``sr.dcm``, is there where the cine is a DICOM file.

    Args:
        study: what is known of it.
        weights: name of a network to what its weights are and what they were trained on.
        save_figures: write report and movie.
        options: that it was measured with.

    Returns:
        the same with the report's sections, its text, and the seconds of all parts among its metrics.
    """
    case, measured, source = study.case, study.measured, study.case.entry.image
    with case_folder(study.folder, case.entry, "strain_pipeline") as (beside, summary):
        write_curves(beside / "strain.csv", study)
        lines = lines_by_frame(study.tracked, 1)
        contours: dict[str, list[Any]] = {"frames": sorted(lines)}
        for k, name in enumerate(LAYERS):
            contours[name] = [np.round(to_file_grid(lines[t][k], case.cine.meta), 2).tolist() for t in sorted(lines)]
        (beside / "contours.json").write_text(json.dumps(contours), encoding="utf-8")
        if save_figures:
            seconds = dict(study.seconds)
            with time_block(seconds, "report"):
                study = replace(study, options=dict(options or {}))
                grey = grey_values(case, covered=True)
                study = replace(study, sections=tuple(case_sections(study, grey)))
                heading = f"{study.view.view.title} · {study.called}"
                html = report.page(
                    "Left ventricular strain", heading, [*study.sections, provenance(weights, options)], study.banner
                )
                (beside / "report.html").write_text(html, encoding="utf-8")
                write_wall_movie(beside / "movie.mp4", study, grey)
            study = replace(study, seconds=seconds)
        if is_dicom(source):
            write_sr(beside / "sr.dcm", [study_view(study)])
        study = replace(add_seconds(study), text=text_of(study))
        summary |= {
            "caution": report.CAUTION,
            "source": study.title or source,
            "view": study.view.view.name,
            "view_given": study.view.given,
            "view_probabilities": study.view.probabilities.by_view,
            "frames": case.cine.shape[1],
            "size": case.file_size,
            "spacing": case.meta.spacing,
            "zoom": case.cine.meta.get("zoom"),
            "frame_times": case.meta.frame_times,
            "frame_time_source": case.meta.frame_time_source,
            "times_doubted": measured.times_doubted,
            "notes": case.meta.notes,
            "warnings": study.warnings,
            "forced": study.forced,
            "checks": [check.row() for check in study.checks],
            "contour": case.entry.contour and Path(case.entry.contour).name,
            "drawn": list(study.wall.drawn),
            "changed_by_hand": list(study.by_hand),
            "source_sha256": study.source_sha256 or None,
            "layer": measured.layer,
            "intervals": measured.intervals,
            "smallest_detectable_change": detectable_changes(measured),
            "baseline": study.earlier and study.earlier.path,
            "changes": [change.row() for change in study.changes],
            "simulated_repeats": study.repeats and study.repeats.row(),
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
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["beat", "frame", "seconds", *(f"{name} (%)" for name in names), "cavity area (px)"])
        for number_of, beat in enumerate(beats, 1):
            for k, t in enumerate(range(beat["ed"], beat["end"] + 1)):
                values = [round(beat["curves"][name][k], 4) if name in beat["curves"] else "" for name in names]
                seconds = "" if times is None else round(times[t], 4)
                writer.writerow([number_of, t, seconds, *values, round(float(areas[t]), 1)])


def write_wall_movie(path: Path, study: StrainCase, frames: NDArray[np.uint8], rate: float = 12.5) -> None:
    """The beats with the wall's lines and segments drawn over them, as MP4 at ``rate`` frames a second.

    What is said of a frame stands below it; of a case that was measured by force each frame says so, on red above it.

    Args:
        path: of the movie.
        study: what is known of the cine.
        frames: its grey values ``[T, H, W]``.
        rate: frames/s.
    """
    lines = lines_by_frame(study.tracked, 1)
    marks = marks_of(study.measured.beats)
    zoom = max(1, round(640 / frames.shape[2]))
    drawn = []
    for t in sorted(lines):
        picture = cv2.cvtColor(cv2.resize(frames[t], None, fx=zoom, fy=zoom), cv2.COLOR_GRAY2RGB)
        for line, colour in zip(*colour_lines(lines[t], study.measured.layer), strict=True):
            points = ((line[:, ::-1] + 0.5) * zoom * 16).round().astype(np.int32)
            ink = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
            cv2.polylines(picture, [np.ascontiguousarray(points)], False, ink, 2, cv2.LINE_AA, 4)
        text = f"frame {t}" + (f", {marks[t]}" if t in marks else "")
        picture = np.vstack([picture, strip(text, picture.shape[1], (0, 0, 0))])
        if study.banner:
            picture = np.vstack([strip(study.banner, picture.shape[1], (179, 38, 30)), picture])
        drawn.append(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
    write_movie(path, drawn, rate)


def strip(text: str, width: int, ground: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A line of text ``[CAPTION, width, 3]``, made smaller where it wouldn't fit.

    Examples:
        >>> strip("frame 3", 200, (0, 0, 0)).shape, int(strip("frame 3", 200, (0, 0, 0)).max()) > 200
        ((26, 200, 3), True)
    """
    found = np.full((CAPTION, width, 3), ground, dtype=np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    wide = cv2.getTextSize(text, font, 0.5, 1)[0][0]
    size = 0.5 * min(1.0, (width - 16) / wide)
    cv2.putText(found, text, (8, CAPTION - 8), font, size, (235, 235, 235), 1, cv2.LINE_AA)
    return found


def text_of(study: StrainCase) -> str:
    """A few lines for the terminal."""
    means, measured = study.measured.means, study.measured
    interval = measured.intervals.get("gls")
    within = "" if interval is None else f", 90 % interval {number(interval[0])} to {number(interval[1])}"
    lines = [
        f"{study.case.name}: {study.view.view.title}, {len(measured.beats)} beat(s)",
        f"  GLS {number(means['gls'])} % ({measured.layer}{within}), mid-wall {number(means['gls_mid_wall'])} %, "
        f"long-axis strain {number(means['long_axis_strain'])} %, drift {number(means['drift'])} %, "
        f"EF {number(means['ejection_fraction'])} %",
        *(f"  warning: {text}" for text in study.warnings),
        f"  {report.CAUTION}",
    ]
    return "\n".join(lines)
