"""What the strain pipeline leaves of a cine, and of several apical views together: files, report, film, DICOM."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
import pydicom
from ignite.engine import Events
from numpy.typing import NDArray

from common.cine.scale import file_size, on_file_grid
from common.core.errors import InputError
from common.core.files import written_whole
from common.core.memory import peak_memory
from common.core.tables import finite
from common.evaluation.evaluator import CaseEvaluator, CaseEvents
from common.evaluation.writer import CaseWriter
from common.strain_pipeline import html as report
from common.strain_pipeline.dicom_sr import is_dicom, write_sr
from common.strain_pipeline.html import SEGMENT_COLOURS, number
from common.strain_pipeline.measures import SEGMENTS, mean
from common.strain_pipeline.pipeline import LINES, timed
from common.ventricle.strain import disc_volume, ejection_fraction, segment_bounds
from common.ventricle.views import APICAL

Array = NDArray[np.float64]


OUTLINE = ("#ffffff", "#9fd0ff")  # endocardium, epicardium
CAPTION = 26  # pixels below a frame of the film
SHOWN = 3  # every so manieth point of a line is drawn

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


TIMED = ("ms", "1/s", "beats/min")
DOUBT = " (by the playback rate)"


class StrainWriter(CaseWriter):
    """The folder of a cine: ``summary.json``, ``strain.csv``, ``contours.json``, ``report.html``, ``film.mp4``.

    A structured report, ``sr.dcm``, is there where the cine is a DICOM file. What a report of several views needs stays
    in ``case["study"]``.

    Args:
        output_dir: made if missing.
        figures: write report and film.
        weights: name of a network to what its weights are and what they were trained on.
    """

    def __init__(self, output_dir: str, figures: bool = True, weights: Mapping[str, str] | None = None) -> None:
        super().__init__(output_dir, ddf=False, figures=figures, method="strain_pipeline")
        self.weights = dict(weights or {})

    def write(self, folder: Path, case: dict[str, Any], engine: CaseEvaluator) -> dict[str, Any]:
        source = case["entry"]["image"]
        case["study"] = {
            "source": source,
            "view": case["view"],
            "line": case["line"],
            "means": case["means"],
            "segments": mean_segments(case["strain"]),
            "html": case_sections(case) if self.figures else [],
            "endo": [found.lines[[0, found.beat.es - found.beat.ed], 0] for found in case["tracked"]],
            "spacing": case["cine"].meta["spacing"],
        }
        write_curves(folder / "strain.csv", case)
        lines = lines_by_frame(case, 1)
        contours = {"frames": sorted(lines)}
        for k, name in enumerate(LINES):
            contours[name] = [np.round(on_file_grid(lines[t][k], case["cine"].meta), 2).tolist() for t in sorted(lines)]
        (folder / "contours.json").write_text(json.dumps(contours))
        if self.figures:
            with timed(case, "report"):
                heading = f"{case['view'].title} · {Path(source).name}"
                html = report.page("Left ventricular strain", heading, [*case["study"]["html"], about(self.weights)])
                (folder / "report.html").write_text(html)
                write_film(folder / "film.mp4", case)
        if is_dicom(source):
            write_sr(folder / "sr.dcm", [case["study"]])
        case["metrics"].update({f"seconds_{part}": seconds for part, seconds in case["parts"].items()})
        case["metrics"]["seconds"] = sum(case["parts"].values())
        case["report"] = text_of(case)
        meta = case["cine"].meta
        return {
            "caution": report.CAUTION,
            "source": source,
            "view": case["view"].name,
            "view_given": case["view_given"],
            "view_probabilities": case["view_probabilities"],
            "frames": case["cine"].shape[1],
            "size": list(file_size(case["cine"], meta)),
            "spacing": meta["spacing"],
            "zoom": meta.get("zoom"),
            "frame_times": meta["frame_times"],
            "times_are": meta.get("times_are"),
            "times_doubted": case["times_doubted"],
            "notes": meta["notes"],
            "warnings": case["warnings"],
            "contour": case["contour_given"],
            "line": case["line"],
            "means": case["means"],
            "beats": case["strain"],
            "weights": self.weights,
            "metrics": case["metrics"],
            "peak_memory_bytes": peak_memory(),
        }


def mean_segments(beats: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the segments with the means over the beats in which they were kept; rejected where they never were."""
    rows = []
    for of_beats in zip(*(beat["segments"] for beat in beats), strict=True):
        keys = [key for key in of_beats[0] if key not in ("name", "rejected")]
        reasons = [row["rejected"] for row in of_beats]
        rejected = reasons[0] if all(reasons) else None
        rows.append(
            {"name": of_beats[0]["name"], "rejected": rejected, **{k: mean([r[k] for r in of_beats]) for k in keys}}
        )
    return rows


def write_curves(path: Path, case: dict[str, Any]) -> None:
    """``strain.csv``: a row a frame of each beat, strains in %."""
    times = case["cine"].meta["frame_times"]
    names = list(dict.fromkeys(name for beat in case["strain"] for name in beat["curves"]))
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["beat", "frame", "seconds", *(f"{name} (%)" for name in names), "cavity area (px)"])
        for number_of, beat in enumerate(case["strain"], 1):
            for k, t in enumerate(range(beat["ed"], beat["end"] + 1)):
                values = [round(beat["curves"][name][k], 4) if name in beat["curves"] else "" for name in names]
                seconds = "" if times is None else round(times[t], 4)
                writer.writerow([number_of, t, seconds, *values, round(float(case["areas"][t]), 1)])


def lines_by_frame(case: dict[str, Any], every: int = SHOWN) -> dict[int, Array]:
    """Frame to the wall's lines ``[3, P, 2]`` in pixels, of all beats."""
    found = {}
    for tracked in case["tracked"]:
        keep = np.unique([*range(0, tracked.lines.shape[2], every), tracked.lines.shape[2] - 1])
        for k, lines in enumerate(tracked.lines[:, :, keep]):
            found[tracked.beat.ed + k] = lines
    return found


def drawn_lines(lines: Array) -> tuple[list[Array], list[str]]:
    """Polylines to draw of ``lines [3, P, 2]``, and their colours: both borders, and the centreline by segments."""
    bounds = segment_bounds(lines.shape[1], SEGMENTS)
    parts = [lines[1, a : b + 1] for a, b in pairwise(bounds)]
    return [lines[0], lines[2], *parts], [*OUTLINE, *SEGMENT_COLOURS]


def shades(case: dict[str, Any]) -> NDArray[np.uint8]:
    """The cine's frames ``[T, H, W]`` as grey values, brightened where it is dark."""
    frames = case["cine"].as_tensor()[0].numpy()
    return np.round(255 * np.clip(frames / max(0.3, 0.9 * float(frames.max())), 0, 1)).astype(np.uint8)


def marks_of(case: dict[str, Any]) -> dict[int, str]:
    """What is said of end-diastolic and end-systolic frames."""
    marks: dict[int, str] = {}
    for beat in case["strain"]:
        marks[beat["ed"]], marks[beat["es"]] = "end-diastole", "end-systole"
    return marks


def write_film(path: Path, case: dict[str, Any], rate: float = 12.5) -> None:
    """The beats with the wall's lines and segments drawn over them, as MP4 at ``rate`` frames a second.

    What is said of a frame stands below it.
    """
    frames, lines, marks = shades(case), lines_by_frame(case, 1), marks_of(case)
    zoom = max(1, round(640 / frames.shape[2]))
    drawn = []
    for t in sorted(lines):
        picture = cv2.cvtColor(cv2.resize(frames[t], None, fx=zoom, fy=zoom), cv2.COLOR_GRAY2RGB)
        for line, colour in zip(*drawn_lines(lines[t]), strict=True):
            points = ((line[:, ::-1] + 0.5) * zoom * 16).round().astype(np.int32)
            shade = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
            cv2.polylines(picture, [np.ascontiguousarray(points)], False, shade, 2, cv2.LINE_AA, 4)
        text = f"frame {t}" + (f", {marks[t]}" if t in marks else "")
        picture = np.pad(picture, ((0, CAPTION), (0, 0), (0, 0)))
        corner = (8, picture.shape[0] - 8)
        cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA)
        drawn.append(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
    iio.imwrite(path, drawn, fps=rate, codec="libx264", macro_block_size=2)


def case_sections(case: dict[str, Any]) -> list[str]:
    """The sections of one cine: warnings, the cine with its GLS and curves, segments, numbers."""
    view, beats, meta = case["view"], case["strain"], case["cine"].meta
    lines = {t: drawn_lines(found)[0] for t, found in lines_by_frame(case).items()}
    times = meta["frame_times"]
    step = 1000 * (times[-1] - times[0]) / (len(times) - 1) if times else 60.0
    cine = report.player(shades(case), lines, [*OUTLINE, *SEGMENT_COLOURS], marks_of(case), step)
    caption = f"GLS, end-systolic, {case['line']}" + (", mean of the beats" if len(beats) > 1 else "")
    frames = ", ".join(f"ED {b['ed']}, ES {b['es']}{'' if b['whole'] else ' (not whole)'}" for b in beats)
    facts = f'<p class="muted">{view.title}. Frames: {frames}.</p>'
    big = report.figure_of(case["means"]["gls"], "%", caption)
    said = notes_of(case)
    return [
        *([report.section("Warnings and notes", report.bullets(said), kind="warnings")] if said else []),
        report.section(
            f"{view.short} · {Path(case['entry']['image']).name}",
            report.columns(cine, big + facts + "".join(plot_of(beat, times) for beat in beats)),
        ),
        report.section(f"{view.short} · segments", segment_table(mean_segments(beats), case["line"])),
        report.section(f"{view.short} · numbers", number_table(beats, case["means"], case["times_doubted"])),
    ]


def notes_of(case: dict[str, Any]) -> list[str]:
    """Everything that a reader of the numbers must know."""
    said = [*case["warnings"], *case["cine"].meta["notes"]]
    found = sorted(case["view_probabilities"].items(), key=lambda pair: -pair[1])[:2]
    words = ", ".join(f"{name.replace('_', ' ')} {share:.2f}" for name, share in found)
    said.append(f"View {'given by the user; the classifier says' if case['view_given'] else 'found'}: {words}.")
    if case["cine"].meta["spacing"] is None:
        said.append("The pixels' spacing is unknown: nothing is given in mm or ml.")
    if case["contour_given"]:
        said.append(f"The contour at end-diastole is the user's, {case['contour_given']}.")
    return said


def plot_of(beat: dict[str, Any], times: Sequence[float] | None) -> str:
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
    return report.curves(series, label, "strain, %", [colours.get(name, "#1c2430") for name in series], marks)


def segment_table(rows: Sequence[dict[str, Any]], line: str) -> str:
    """A row a segment."""
    keys = (
        ("end_systolic", "ES, %", 1), ("peak_systolic", "peak-systolic, %", 1), ("peak", "peak, %", 1),
        ("post_systolic_index", "post-systolic index, %", 0), ("time_to_peak_ms", "to peak, ms", 0),
        ("systolic_rate", "systolic rate, 1/s", 2), ("nlcc", "NLCC", 2), ("missed_px", "directions apart, px", 2),
    )  # fmt: skip
    body = [
        [row["name"] + (" (left out)" if row["rejected"] else ""), *(number(row[key], d) for key, _, d in keys)]
        for row in rows
    ]
    out = [k for k, row in enumerate(rows) if row["rejected"]]
    return report.table([f"Segment, {line}", *(label for _, label, _ in keys)], body, SEGMENT_COLOURS, out)


def number_table(beats: Sequence[dict[str, Any]], means: Mapping[str, float | None], doubted: bool = False) -> str:
    """A row a number, a column a beat and one of their mean; those that rest on a doubted frame time are marked."""
    several = beats if len(beats) > 1 else []
    body = [
        [
            f"{label}, {unit}{DOUBT if doubted and unit in TIMED else ''}",
            *(number(values[key], digits) for values in (means, *(b["numbers"] for b in several))),
        ]
        for key, label, unit, digits in NUMBERS
    ]
    head = ["", "mean" if several else "value", *(f"beat {k + 1}" for k in range(len(several)))]
    return report.table(head, body)


def about(weights: Mapping[str, str]) -> str:
    """What measured, and what it was trained on."""
    said = [f"{name}: {text}" for name, text in weights.items()]
    return report.section("How this was measured", report.bullets([*said, report.CAUTION]))


def text_of(case: dict[str, Any]) -> str:
    """A few lines for the terminal."""
    means, view = case["means"], case["view"]
    lines = [
        f"{case['case']}: {view.title}, {len(case['strain'])} beat(s)",
        f"  GLS {number(means['gls'])} % ({case['line']}), centreline {number(means['gls_centreline'])} %, "
        f"MAPSE {number(means['mapse'])} %, drift {number(means['drift'])} %, "
        f"EF {number(means['ejection_fraction'])} %",
        *(f"  warning: {text}" for text in case["warnings"]),
        f"  {report.CAUTION}",
    ]
    return "\n".join(lines)


class StudyReport:
    """One report of several apical views: average GLS, bull's-eye, biplane volumes; ``report.html``, ``study.json``.

    Written into the output folder when all cases are done, and ``sr.dcm`` too where all are DICOM files of one study.
    The average is that of the three views; with fewer it is None. A view that is given twice is refused.

    Args:
        output_dir: made if missing.
        enabled: a list of cases that are no study has none.
        weights: as in ``StrainWriter``.
    """

    def __init__(self, output_dir: str, enabled: bool = True, weights: Mapping[str, str] | None = None) -> None:
        self.output_dir, self.enabled, self.weights = Path(output_dir), enabled, dict(weights or {})

    def attach(self, engine: CaseEvaluator) -> None:
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self._begin)
            engine.add_event_handler(CaseEvents.CASE_DONE, self._case)
            engine.add_event_handler(Events.COMPLETED, self._write)

    def _begin(self, engine: CaseEvaluator) -> None:
        self.studies: list[dict[str, Any]] = []

    def _case(self, engine: CaseEvaluator) -> None:
        self.studies.append(engine.state.output["study"])

    def _write(self, engine: CaseEvaluator) -> None:
        if not self.studies:
            return
        names = [study["view"].short for study in self.studies]
        if len(set(names)) < len(names):
            raise InputError(f"views {', '.join(names)}: one report takes each view once; name them with --view")
        result = self.combined(dict(engine.state.failed))
        with written_whole(self.output_dir / "study.json") as beside:
            beside.write_text(json.dumps(finite(result), indent=1))
        if all(study["html"] for study in self.studies):
            with written_whole(self.output_dir / "report.html") as beside:
                beside.write_text(self.page(result))
        sources = [study["source"] for study in self.studies]
        if all(is_dicom(source) for source in sources):
            found = {pydicom.dcmread(s, stop_before_pixels=True).get("StudyInstanceUID") for s in sources}
            if len(found) == 1:
                write_sr(self.output_dir / "sr.dcm", self.studies, result["gls_average"])
        average = number(result["gls_average"])
        print(f"\n{', '.join(names)}: average GLS of three views {average} %, written to {self.output_dir}/")

    def combined(self, failed: Mapping[str, str]) -> dict[str, Any]:
        """Numbers of all views together."""
        views = {study["view"].name: study for study in self.studies}
        gls = {study["view"].short: study["means"]["gls"] for study in self.studies}
        whole = set(views) == set(APICAL) and None not in gls.values()
        volumes: list[float] | None = None
        pair = [views.get(name) for name in ("apical_4ch", "apical_2ch")]
        four, two = pair
        if four and two and four["spacing"] and two["spacing"]:
            volumes = [
                disc_volume(four["endo"][0][k], four["spacing"], two["endo"][0][k], two["spacing"]) for k in (0, 1)
            ]
        return {
            "caution": report.CAUTION,
            "gls": gls,
            "gls_average": mean(list(gls.values())) if whole else None,
            "segments": {row["name"]: row["end_systolic"] for study in self.studies for row in study["segments"]},
            "biplane": None
            if volumes is None
            else {
                "end_diastolic_volume_ml": volumes[0],
                "end_systolic_volume_ml": volumes[1],
                "ejection_fraction": ejection_fraction(*volumes),
            },
            "failed": dict(failed),
            "weights": self.weights,
        }

    def page(self, result: Mapping[str, Any]) -> str:
        """The report of all views as HTML."""
        rows = [[f"GLS {name}, %", number(value)] for name, value in result["gls"].items()]
        for key, label in (
            ("end_diastolic_volume_ml", "End-diastolic volume, biplane, ml"),
            ("end_systolic_volume_ml", "End-systolic volume, biplane, ml"),
            ("ejection_fraction", "Ejection fraction, biplane, %"),
        ):
            rows.append([label, number((result["biplane"] or {}).get(key), 0)])
        big = report.figure_of(result["gls_average"], "%", "average GLS of the three apical views, end-systolic")
        failed = [f"{name}: {reason}" for name, reason in result["failed"].items()]
        overview = report.section(
            "All views",
            report.columns(report.bullseye(result["segments"]), big + report.table(["", "value"], rows)),
        )
        missing = [report.section("Views that could not be measured", report.bullets(failed), kind="warnings")]
        parts = [html for study in self.studies for html in study["html"]]
        heading = " · ".join(Path(study["source"]).name for study in self.studies)
        return report.page(
            "Left ventricular strain", heading, [*(missing if failed else []), overview, *parts, about(self.weights)]
        )
