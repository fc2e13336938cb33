"""Files to take away of a measured cine, as one zip: report, SR, curves, contours, movie, fields, labels, command.

The files are those of one state of the edits, and say so; their folder is named by case, view and date, and the command
names no path of this machine: it runs where the folder lies beside ``bundles`` and holds the cine's file.
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

WHOLE_SECTOR = 9  # lengths of a ventricle around the wall: more than a picture holds

STEPS = {"strain": "strain", "report and movie": "report and movie", "fields and masks": "fields and labels"}


def take(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files to take away into ``take.zip``: their ``files``, and the ``name`` that they are taken by.

    Args:
        request: ``edits``, their ``revision`` (how many steps were taken) and ``manual`` (what was changed, in words),
            ``title`` of the case, ``log``.

    Raises:
        InputError: a check fails that is not ignored, or it can't be measured.
    """
    folder, method, edits = Path(request["case"]), request["method"], request.get("edits") or {}
    frames = int(request.get("frames") or 1)
    progress = Progress(request["folder"], STEPS, frames, request.get("costs"))
    with progress.step("strain"):
        corrected = measure_with_edits(folder, method, edits)
        if corrected.blocked:
            words = " ".join(say_check(check) for check in corrected.blocked)
            raise InputError(f"no report while a check fails: {words} Place the wall, or choose Show anyway")
    study, source = corrected.study, request["source"]
    digest = source_digest(source)
    name = file_stem(request["title"], study.view.view.short, study_date(first_file(source)) or today())
    place = Path(request["folder"]) / name
    with progress.step("report and movie"):
        entry = replace(study.case.entry, image=str(first_file(source)), case=name)
        study = replace(
            study, case=replace(study.case, entry=entry), folder=place, title=request["title"],
            manual=tuple(request.get("manual") or ()), source_sha256=digest,
        )  # fmt: skip
        write_strain_case(study, content(configure(method), "weights"))
    with progress.step("fields and masks"):
        save_cine_ddf(place / "ddf.nii.gz", study.result.ddf)
        labels = wall_labels(study.wall.frame_labels(), study.tracked)
        save_frames(place / "labels.nii.gz", labels, source, study.case.meta)
        if request.get("study_label"):
            with write_whole(request["study_label"]) as beside:
                shutil.copyfile(place / "labels.nii.gz", beside)
    label = None
    if edits.get("drawn"):
        write_json(place / "contour.json", contour_content(edits["drawn"]))
    elif found := find_label(folder, edits):
        label = found
        shutil.copyfile(found["contour"], place / "contour.nii.gz")
    write_json(place / "log.json", request.get("log") or [])
    write_json(place / "about.json", {
        "source": request["title"], "source_sha256": digest, "revision": request.get("revision"), "method": method,
        "edits": {key: value for key, value in edits.items() if key != "drawn"}, "version": version(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    })  # fmt: skip
    words = command(f"{name}/{request['title']}", method, edits, name, label)
    (place / "command.txt").write_text(words + "\n", encoding="utf-8")
    files = sorted(path.name for path in place.iterdir() if path.is_file())
    with write_whole(folder / TAKE) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(place / file, f"{name}/{file}")
    return {"files": files, "name": name, "costs": progress.measured}


def write_json(path: Path, values: Any) -> None:
    """Write values as JSON."""
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")


def command(source: str, method: str, edits: Mapping[str, Any], name: str, label: Mapping[str, Any] | None) -> str:
    """The command that gives the same numbers; it runs in the folder that holds ``bundles`` and the folder ``name``.

    Args:
        source: of the cine, from there.
        method: of motion.
        edits: that hold.
        name: of the folder with ``contour.json``, or ``contour.nii.gz`` where a ``label`` came with the cine.
        label: ``ed`` of that label, if it tells.
    """
    configs = f"['{BUNDLE}/configs/inference.json','{BUNDLE}/configs/motion_{method}.json']"
    words = ["python -m monai.bundle run", f'--config_file "{configs}"', f'--input "{source}"']
    said = {**edits, **({"ed": label["ed"]} if label and "ed" in label else {})}
    for option in OPTIONS:
        value = said.get(option)
        if value in (None, [], False):
            continue
        words.append(f'--{option} "{list(value)}"' if isinstance(value, list | tuple) else f"--{option} {value}")
    if edits.get("drawn"):
        words.append(f"--contour {name}/contour.json")
    elif label:
        words.append(f"--contour {name}/contour.nii.gz")
    words.append(f"--roi_margin {WHOLE_SECTOR}")  # as the workbench registers, where a wall may be placed anywhere
    return " ".join([*words, f"--output_dir output/{name}"])


def first_file(source: str | Path) -> Path:
    """The file whose header tells of a cine: itself, or the first of a folder of DICOM files; a folder of pictures has
    none and is given back.
    """
    path = Path(source)
    return min(path.glob("*.dcm"), default=path) if path.is_dir() else path


def today() -> str:
    """Today's date, ``YYYY-MM-DD``."""
    return time.strftime("%Y-%m-%d")


def source_digest(source: str | Path) -> str:
    """SHA-256 of a file, or of the files of a folder one after the other, in natural order of their names."""
    path, found = Path(source), hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with open(file, "rb") as opened:
            while block := opened.read(2**20):
                found.update(block)
    return found.hexdigest()
