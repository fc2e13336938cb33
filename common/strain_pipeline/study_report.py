"""One report of several apical views together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydicom
from ignite.engine import Events

from common.core.errors import InputError
from common.core.files import written_whole
from common.core.tables import finite
from common.evaluation.evaluator import CaseEvaluator, CaseEvents
from common.strain_pipeline import html as report
from common.strain_pipeline.case import StudyView, study_view
from common.strain_pipeline.dicom_sr import is_dicom, write_sr
from common.strain_pipeline.files import about
from common.strain_pipeline.html import number
from common.strain_pipeline.measures import mean
from common.ventricle.strain import disc_volume, ejection_fraction
from common.ventricle.views import APICAL


class StudyReport:
    """One report of several apical views: average GLS, bull's-eye, biplane volumes; ``report.html``, ``study.json``.

    Written into the output folder when all cases are done, and ``sr.dcm`` too where all are DICOM files of one study.
    The average is that of the three views; with fewer it is None. A view that is given twice is refused.

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

    def attach(self, engine: CaseEvaluator) -> None:
        self.output_dir = Path(self.own or engine.output_dir)
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self._begin)
            engine.add_event_handler(CaseEvents.CASE_DONE, self._case)
            engine.add_event_handler(Events.COMPLETED, self._write)

    def _begin(self, engine: CaseEvaluator) -> None:
        self.studies: list[StudyView] = []

    def _case(self, engine: CaseEvaluator) -> None:
        self.studies.append(study_view(engine.state.output))

    def _write(self, engine: CaseEvaluator) -> None:
        if not self.studies:
            return
        names = [study.view.short for study in self.studies]
        if len(set(names)) < len(names):
            raise InputError(f"views {', '.join(names)}: one report takes each view once; name them with --view")
        result = self.combined(dict(engine.state.failed))
        with written_whole(self.output_dir / "study.json") as beside:
            beside.write_text(json.dumps(finite(result), indent=1))
        if all(study.sections for study in self.studies):
            with written_whole(self.output_dir / "report.html") as beside:
                beside.write_text(self.page(result))
        sources = [study.source for study in self.studies]
        if all(is_dicom(source) for source in sources):
            found = {pydicom.dcmread(s, stop_before_pixels=True).get("StudyInstanceUID") for s in sources}
            if len(found) == 1:
                write_sr(self.output_dir / "sr.dcm", self.studies, result["gls_average"])
        average = number(result["gls_average"])
        print(f"\n{', '.join(names)}: average GLS of three views {average} %, written to {self.output_dir}/")

    def combined(self, failed: Mapping[str, str]) -> dict[str, Any]:
        """Numbers of all views together."""
        views = {study.view.name: study for study in self.studies}
        gls = {study.view.short: study.means["gls"] for study in self.studies}
        whole = set(views) == set(APICAL) and None not in gls.values()
        volumes: list[float] | None = None
        pair = [views.get(name) for name in ("apical_4ch", "apical_2ch")]
        four, two = pair
        if four and two and four.spacing and two.spacing:
            volumes = [disc_volume(four.endo[0][k], four.spacing, two.endo[0][k], two.spacing) for k in (0, 1)]
        return {
            "caution": report.CAUTION,
            "gls": gls,
            "gls_average": mean(list(gls.values())) if whole else None,
            "segments": {row["name"]: row["end_systolic"] for study in self.studies for row in study.segments},
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
        parts = [html for study in self.studies for html in study.sections]
        heading = " · ".join(Path(study.source).name for study in self.studies)
        return report.page(
            "Left ventricular strain", heading, [*(missing if failed else []), overview, *parts, about(self.weights)]
        )
