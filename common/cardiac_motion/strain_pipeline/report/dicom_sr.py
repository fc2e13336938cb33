"""Strain as a DICOM structured report: a file beside the cine's other results, where highdicom is installed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pydicom

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.strain_pipeline.strain_case import StudyView

log = logging.getLogger(__name__)


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins as DICOM files do."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def study_date(path: str | Path) -> str | None:
    """The date of a DICOM file's study, ``YYYY-MM-DD``; None of other files, and where it is not told."""
    if not is_dicom(path):
        return None
    date = str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["StudyDate"]).get("StudyDate") or "")
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else None


def write_sr(path: str | Path, studies: Sequence[StudyView], average: float | None = None) -> None:
    """Write the strain of one or several views as one structured report; without highdicom, say that it is left out.

    Args:
        path: ``….dcm``; written whole or not at all.
        studies: of each view; ``source`` is its DICOM file.
        average: mean end-systolic GLS of the three views, %.
    """
    try:
        import_extra("highdicom", f"{Path(path).name}, the DICOM structured report,")
    except InputError as error:
        log.warning("left out: %s", error)
        return
    from cardiac_motion.strain_pipeline.report.sr_content import strain_report

    with write_whole(path) as beside:
        strain_report(studies, average).save_as(beside, enforce_file_format=True)
