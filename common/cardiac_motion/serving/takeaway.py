"""Download of a measured cine as one zip: report, SR, curves, contours, movie, fields, labels, command.

The files belong to one revision of the edits and record it. Their folder is named after case, view and date. The
command contains no path of this machine: it runs where the folder lies next to ``bundles`` and holds the cine's file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cardiac_motion.bundle.config import content
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.serving.corrections import BUNDLE, configure, find_label, measure_with_edits
from cardiac_motion.serving.drawing import contour_content
from cardiac_motion.serving.progress import Progress
from cardiac_motion.serving.requests import save_frames, wall_labels
from cardiac_motion.serving.settings import OPTIONS
from cardiac_motion.serving.validation import file_stem
from cardiac_motion.serving.volumes import TAKE
from cardiac_motion.strain_pipeline.quality.check_words import say_check
from cardiac_motion.strain_pipeline.report.dicom_sr import study_date
from cardiac_motion.strain_pipeline.report.report_files import write_strain_case
from cardiac_motion.strain_pipeline.report.sections import version

WHOLE_SECTOR = 9  # margin around the wall in ventricular lengths: larger than any image

STEPS = {"strain": "strain", "report and movie": "report and movie", "fields and masks": "fields and labels"}


def take(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files for download into ``take.zip``; return their ``files`` and the ``name`` of the download.

    Args:
        request: ``edits``, their ``revision`` (number of edits made), ``manual`` (descriptions of the edits),
            ``title`` of the case, ``log``.

    Raises:
        InputError: a check failed and is not ignored, or the case cannot be measured.
    """
    folder, method, edits = Path(request["case"]), request["method"], request.get("edits") or {}
    frames = int(request.get("frames") or 1)
    progress = Progress(request["folder"], STEPS, frames, request.get("costs"))
    with progress.step("strain"):
        corrected = measure_with_edits(folder, method, edits)
        if corrected.blocked:
            words = " ".join(say_check(check) for check in corrected.blocked)
            raise InputError(f"no report because a check failed: {words} Place the wall, or choose Show anyway")
    study, source = corrected.study, request["source"]
    digest = source_digest(source)
    name = file_stem(request["title"], study.view.view.short, study_date(first_file(source)) or today())
    target = Path(request["folder"]) / name
    with progress.step("report and movie"):
        entry = replace(study.case.entry, image=str(first_file(source)), case=name)
        study = replace(
            study, case=replace(study.case, entry=entry), folder=target, title=request["title"],
            manual=tuple(request.get("manual") or ()), source_sha256=digest,
        )  # fmt: skip
        write_strain_case(study, content(configure(method), "weights"))
    with progress.step("fields and masks"):
        save_cine_ddf(target / "ddf.nii.gz", study.result.ddf)
        labels = wall_labels(study.wall.frame_labels(), study.tracked)
        save_frames(target / "labels.nii.gz", labels, source, study.case.meta)
        if request.get("study_label"):
            with write_whole(request["study_label"]) as beside:
                shutil.copyfile(target / "labels.nii.gz", beside)
    label = None
    if edits.get("drawn"):
        write_json(target / "contour.json", contour_content(edits["drawn"]))
    elif uploaded := find_label(folder, edits):
        label = uploaded
        shutil.copyfile(uploaded["contour"], target / "contour.nii.gz")
    write_json(target / "log.json", request.get("log") or [])
    write_json(target / "about.json", {
        "source": request["title"], "source_sha256": digest, "revision": request.get("revision"), "method": method,
        "edits": {key: value for key, value in edits.items() if key != "drawn"}, "version": version(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    })  # fmt: skip
    words = command(f"{name}/{request['title']}", method, edits, name, label)
    (target / "command.txt").write_text(words + "\n", encoding="utf-8")
    files = sorted(path.name for path in target.iterdir() if path.is_file())
    with write_whole(folder / TAKE) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(target / file, f"{name}/{file}")
    return {"files": files, "name": name, "costs": progress.measured}


def write_json(path: Path, values: Any) -> None:
    """Write values as JSON."""
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")


def command(source: str, method: str, edits: Mapping[str, Any], name: str, label: Mapping[str, Any] | None) -> str:
    """Return the command that reproduces the results; run it in the folder that contains ``bundles`` and ``name``.

    Args:
        source: path of the cine, relative to that folder.
        method: motion method.
        edits: current edits.
        name: folder with ``contour.json``, or with ``contour.nii.gz`` if a ``label`` was uploaded with the cine.
        label: the label's ``ed``, if known.
    """
    configs = f"['{BUNDLE}/configs/inference.json','{BUNDLE}/configs/motion_{method}.json']"
    words = ["python -m monai.bundle run", f'--config_file "{configs}"', f'--input "{source}"']
    values = {**edits, **({"ed": label["ed"]} if label and "ed" in label else {})}
    for option in OPTIONS:
        value = values.get(option)
        if value in (None, [], False):
            continue
        words.append(f'--{option} "{list(value)}"' if isinstance(value, list | tuple) else f"--{option} {value}")
    if edits.get("drawn"):
        words.append(f"--contour {name}/contour.json")
    elif label:
        words.append(f"--contour {name}/contour.nii.gz")
    words.append(f"--roi_margin {WHOLE_SECTOR}")  # as in the workbench, where a wall may be placed anywhere
    return " ".join([*words, f"--output_dir output/{name}"])


def first_file(source: str | Path) -> Path:
    """Return the file with a cine's header: the cine's file, or the first of a folder of DICOM files.

    A folder of single images has no header; the folder itself is returned.
    """
    path = Path(source)
    return min(path.glob("*.dcm"), default=path) if path.is_dir() else path


def today() -> str:
    """Return today's date, ``YYYY-MM-DD``."""
    return time.strftime("%Y-%m-%d")


def source_digest(source: str | Path) -> str:
    """Return the SHA-256 of a file, or of the concatenated files of a folder in natural order of their names."""
    path, digest = Path(source), hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with open(file, "rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
    return digest.hexdigest()
