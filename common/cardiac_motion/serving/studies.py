"""Combination of a study's apical views: average GLS, bull's-eye, biplane ejection fraction, and report."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cardiac_motion.bundle.config import content
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import finite
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.serving.corrections import Corrected, configure, measure_with_edits
from cardiac_motion.serving.takeaway import first_file, source_digest, today, write_json
from cardiac_motion.serving.validation import file_stem
from cardiac_motion.serving.volumes import TAKE
from cardiac_motion.strain_pipeline.quality.check_words import say_check
from cardiac_motion.strain_pipeline.report.bullseye import bullseye
from cardiac_motion.strain_pipeline.report.dicom_sr import is_dicom, study_date, write_sr
from cardiac_motion.strain_pipeline.report.report_files import write_strain_case
from cardiac_motion.strain_pipeline.report.study_report import StudyReport
from cardiac_motion.strain_pipeline.strain_case import study_view
from cardiac_motion.ventricle.views import APICAL


def combine_study(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of a study for the page.

    Args:
        request: ``members``, each with ``case`` (folder), ``method``, ``edits`` and ``title``: the cine selected for
            each view.
    """
    measured = {member["title"]: _measure(member) for member in request["members"]}
    blocked = {title: [say_check(c) for c in one.blocked] for title, one in measured.items() if one.blocked}
    report = StudyReport()
    report.studies = [study_view(one.study) for one in measured.values() if not one.blocked]
    result = report.combine({title: " ".join(words) for title, words in blocked.items()})
    present = {study.view.name for study in report.studies}
    numbers: dict[str, Any] = finite({
        "gls": result["gls"], "gls_average": result["gls_average"], "interval": result["gls_average_interval"],
        "ejection_fraction": result["ejection_fraction"], "biplane": result["biplane"],
        "bullseye": bullseye(result["segments"]) if present else "", "blocked": blocked,
        "missing": [view.short for name, view in APICAL.items() if name not in present],
    })  # fmt: skip
    return numbers


def _measure(member: Mapping[str, Any]) -> Corrected:
    return measure_with_edits(Path(member["case"]), member["method"], member["edits"])


def take_study(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files of a study into ``take.zip``: one folder per view, one report, one structured report.

    Args:
        request: as in ``combine_study``; members also have ``source`` and ``manual``, and the study a ``title``.

    Raises:
        InputError: a check of a view failed and is not ignored.
    """
    members = request["members"]
    if not members:
        raise InputError("no view of this study has been measured yet")
    name = file_stem(request["title"], "study", study_date(first_file(members[0]["source"])) or today())
    folder, views, weights = Path(request["folder"]) / name, [], {}
    for member in members:
        corrected = _measure(member)
        if corrected.blocked:
            raise InputError(f"{member['title']}: no report because a check failed: {say_check(corrected.blocked[0])}")
        study, weights = corrected.study, content(configure(member["method"]), "weights")
        entry = replace(study.case.entry, image=str(first_file(member["source"])), case=study.view.view.short)
        study = replace(
            study, case=replace(study.case, entry=entry), folder=folder / entry.case, title=member["title"],
            manual=tuple(member.get("manual") or ()), source_sha256=source_digest(member["source"]),
        )  # fmt: skip
        views.append(study_view(write_strain_case(study, weights)))
    report = StudyReport(weights=weights)
    report.studies, report.title = views, request["title"]
    result = report.combine({})
    (folder / "report.html").write_text(report.page(result), encoding="utf-8")
    (folder / "study.json").write_text(json.dumps(finite(result), indent=1), encoding="utf-8")
    if all(is_dicom(view.source) for view in views):
        write_sr(folder / "sr.dcm", views, result["gls_average"])
    write_json(folder / "about.json", {"revisions": request.get("revisions"), "title": request["title"]})
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    target = Path(request["case"]) / TAKE
    with write_whole(target) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(folder / file, f"{name}/{file}")
    return {"files": files, "name": name}
