"""One report of several apical views together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
from ignite.engine import Events

from cardiac_motion.core.tables import finite
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.evaluation.case_evaluator import CaseEvaluator, CaseEvents
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, interval_of_mean
from cardiac_motion.strain_pipeline.measures.measures import mean
from cardiac_motion.strain_pipeline.quality.choice import Listed, ListsCines, rows
from cardiac_motion.strain_pipeline.report import html as report
from cardiac_motion.strain_pipeline.report.bullseye import bullseye
from cardiac_motion.strain_pipeline.report.dicom_sr import is_dicom, write_sr
from cardiac_motion.strain_pipeline.report.html import format_interval, number
from cardiac_motion.strain_pipeline.report.sections import provenance
from cardiac_motion.strain_pipeline.strain_case import StudyView, study_view
from cardiac_motion.ventricle.strain import disc_volume, ejection_fraction, long_axis
from cardiac_motion.ventricle.views import APICAL


class StudyReport:
    """One report of several apical views: average GLS, bull's-eye, biplane volumes; ``report.html``, ``study.json``.

    Written into the output folder when all cases are done, and ``sr.dcm`` too where all are DICOM files of one study.
    The average is that of the three views; with fewer it is None. All cines of the study are listed.

    Args:
        output_dir: made if missing; None is the evaluator's.
        enabled: a list of cases that are no study has none.
        weights: as in ``StrainEvaluator``.
    """

    def __init__(
        self, output_dir: str | None = None, enabled: bool = True, weights: Mapping[str, str] | None = None
    ) -> None:
        self.own, self.enabled, self.weights = output_dir, enabled, dict(weights or {})
        self.output_dir = Path(output_dir or ".")
        self.studies: list[StudyView] = []
        self.title = ""
        self.listed: Sequence[Listed] = ()

    def attach(self, engine: CaseEvaluator) -> None:
        self.output_dir = Path(self.own or engine.output_dir)
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self._begin)
            engine.add_event_handler(CaseEvents.CASE_DONE, self._case)
            engine.add_event_handler(Events.COMPLETED, self._write)

    def _begin(self, engine: CaseEvaluator) -> None:
        self.studies = []

    def _case(self, engine: CaseEvaluator) -> None:
        self.studies.append(study_view(engine.state.output))

    def _write(self, engine: CaseEvaluator) -> None:
        if not self.studies:
            return
        names = [study.view.short for study in self.studies]
        self.listed = engine.listed if isinstance(engine, ListsCines) else ()
        result = self.combine(dict(engine.state.failed))
        with write_whole(self.output_dir / "study.json") as beside:
            beside.write_text(json.dumps(finite(result), indent=1), encoding="utf-8")
        if all(study.sections for study in self.studies):
            with write_whole(self.output_dir / "report.html") as beside:
                beside.write_text(self.page(result), encoding="utf-8")
        sources = [study.source for study in self.studies]
        if all(is_dicom(source) for source in sources):
            found = {pydicom.dcmread(s, stop_before_pixels=True).get("StudyInstanceUID") for s in sources}
            if len(found) == 1:
                write_sr(self.output_dir / "sr.dcm", self.studies, result["gls_average"])
        average = number(result["gls_average"])
        print(f"\n{', '.join(names)}: average GLS of three views {average} %, written to {self.output_dir}/")

    def combine(self, failed: Mapping[str, str]) -> dict[str, Any]:
        """Numbers of all views together."""
        views = {study.view.name: study for study in self.studies}
        gls = {study.view.short: study.means["gls"] for study in self.studies}
        whole = set(views) == set(APICAL) and None not in gls.values()
        known = [study.gls_interval for study in self.studies if study.gls_interval is not None]
        volumes, fraction = biplane(views.get("apical_4ch"), views.get("apical_2ch"))
        return {
            "caution": report.CAUTION,
            "gls": gls,
            "gls_average": mean(list(gls.values())) if whole else None,
            "gls_average_interval": interval_of_mean(known, 0.0, METHOD["gls"])
            if whole and len(known) == len(APICAL)
            else None,
            "segments": {row["name"]: row["end_systolic"] for study in self.studies for row in study.segments},
            "ejection_fraction": fraction,
            "biplane": None
            if volumes is None
            else {
                "end_diastolic_volume_ml": volumes[0],
                "end_systolic_volume_ml": volumes[1],
                "ejection_fraction": fraction,
            },
            "cines": [cine.row() for cine in self.listed],
            "failed": dict(failed),
            "weights": self.weights,
        }

    def page(self, result: Mapping[str, Any]) -> str:
        """The report of all views as HTML."""
        numbers = [[f"GLS {name}, %", number(value)] for name, value in result["gls"].items()]
        for key, label in (
            ("end_diastolic_volume_ml", "End-diastolic volume, biplane, ml"),
            ("end_systolic_volume_ml", "End-systolic volume, biplane, ml"),
        ):
            numbers.append([label, number((result["biplane"] or {}).get(key), 0)])
        how = "" if result["biplane"] else ", long axes taken as equal"
        numbers.append([f"Ejection fraction, biplane{how}, %", number(result["ejection_fraction"], 0)])
        caption = "average GLS of the three apical views, end-systolic" + format_interval(
            result["gls_average_interval"]
        )
        if result["gls_average_interval"]:
            caption += "; the method's error is taken as the same in all views, so that averaging hardly narrows it"
        big = report.figure_of(result["gls_average"], "%", caption)
        failed = [f"{name}: {reason}" for name, reason in result["failed"].items()]
        overview = report.section(
            "All views",
            report.columns(bullseye(result["segments"]), big + report.table(["", "value"], numbers)),
        )
        missing = [report.section("Views that could not be measured", report.bullets(failed), kind="warnings")]
        parts = [html for study in self.studies for html in study.sections]
        heading = self.title or " · ".join(study.title for study in self.studies)
        banner = " ".join(f"{study.view.short}: {study.banner}" for study in self.studies if study.banner)
        head = ["Cine", "view", "length", "quality", ""]
        out = [k for k, cine in enumerate(self.listed) if not cine.taken]
        cines = report.section("Cines of the study", report.table(head, rows(self.listed), out=out))
        sections = [*(missing if failed else []), overview, *([cines] if self.listed else []), *parts]
        sections.append(provenance(self.weights))
        return report.page("Left ventricular strain", heading, sections, banner)


def biplane(four: StudyView | None, two: StudyView | None) -> tuple[list[float] | None, float | None]:
    """Volumes at end-diastole and end-systole (ml) and ejection fraction (%) of both views' first beats, biplane discs.

    Where a spacing is unknown there are no volumes, and of the fraction, a ratio, both long axes count as equal at
    end-diastole. None where a view is missing or its cavity is not segmented.
    """
    if four is None or two is None:
        return None, None
    first, second = four.endo[0], two.endo[0]
    if first is None or second is None:
        return None, None
    if four.spacing and two.spacing:
        volumes = [disc_volume(first[k], four.spacing, second[k], two.spacing) for k in (0, 1)]
        return volumes, ejection_fraction(*volumes)
    steps = []
    for view, contours in ((four, first), (two, second)):
        step = view.spacing or view.steps
        size = 100 / float(long_axis(contours[:1], step)[0])
        steps.append((step[0] * size, step[1] * size))
    return None, ejection_fraction(*(disc_volume(first[k], steps[0], second[k], steps[1]) for k in (0, 1)))
