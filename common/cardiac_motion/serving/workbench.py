"""What the workbench's worker processes do: a cine opened, measured, corrected, looked at, taken away.

A case is a folder: ``source/`` (the file), ``kept/`` (``strain_pipeline.cache``), ``motion/<method>/`` (fields),
``shown/`` (what a page is sent: frames as WebP, arrows, a thumbnail) and ``take/`` (files to take away).
"""

from __future__ import annotations

import base64
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.scale import to_file_grid
from cardiac_motion.cine.transforms import cine_transforms
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import finite
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.fields.points import field_at, track
from cardiac_motion.registration.result import register
from cardiac_motion.serving.requests import find_labelled_frame, save_frames, serve, wall_labels
from cardiac_motion.serving.settings import ARROWS, HANDLES, METHODS, MOST_POINTS, VOLUME_METHODS
from cardiac_motion.serving.volumes import LABEL, label_of, open_volume, segment_volume, take_volume
from cardiac_motion.serving.workers import report_progress
from cardiac_motion.strain_pipeline import cache as kept_files
from cardiac_motion.strain_pipeline.quality.checks import Gate
from cardiac_motion.strain_pipeline.quality.orientation import orient_segmentation
from cardiac_motion.strain_pipeline.quality.view import energy_check
from cardiac_motion.strain_pipeline.report.bullseye import bullseye
from cardiac_motion.strain_pipeline.report.html import SEGMENT_COLOURS
from cardiac_motion.strain_pipeline.report.report_files import write_strain_case
from cardiac_motion.strain_pipeline.report.sections import grey_values
from cardiac_motion.strain_pipeline.strain_case import StrainCase, lines_by_frame, mean_segments
from cardiac_motion.strain_pipeline.tracking.motion import widen_sector
from cardiac_motion.strain_pipeline.tracking.wall import extract_lines
from cardiac_motion.ventricle.contours import LAYERS
from cardiac_motion.ventricle.views import APICAL

BUNDLE = "bundles/strain_pipeline"
WEBP = 82
SHOWN = 3  # of so many points of a line one is sent

Request = Mapping[str, Any]
_latest: dict[tuple[str, str, str], StrainCase] = {}  # of this process: where a handle is dragged from


def open_workbench() -> Callable[[str], None]:
    """The function that does a request of the workbench: ``folder`` (absolute), ``task``, ``case`` (absolute) and what
    else the function of the task's name says."""
    return serve({"open": open_case, "measure": measure, "correct": correct, "points": points, "line": line_of,
                  "take": take, "warm": warm})  # fmt: skip


def is_volume(request: Request) -> bool:
    """Whether a request's method is one of volumes."""
    return request["method"] in VOLUME_METHODS


def warm(request: Request) -> dict[str, Any]:
    """Have everything at hand that a correction needs."""
    configure_measuring("cpwc", "{}")
    return {}


@lru_cache(16)
def configure_measuring(method: str, options: str) -> tuple[Any, Any, Any]:
    """Measures, fusion and gate of a method and the bundle's options (JSON); what fails a check is warned of."""
    parser = configure(method, **json.loads(options), force=True)
    return content(parser, "measures"), content(parser, "fusion"), content(parser, "gate")


def configure(method: str = "cpwc", **options: Any) -> Any:
    """The strain pipeline's configuration with a method of motion."""
    if method not in METHODS:
        raise InputError(f"method {method!r}: there are {', '.join(METHODS)}")
    files = config_files(BUNDLE, further=[f"motion_{method}.json"])
    return parse_config(files, {"mlflow": False, "output_dir": "output", **options})


def open_case(request: Request) -> dict[str, Any]:
    """Open a cine or a volume.

    Raises:
        InputError: it is neither.
    """
    report_progress(request["folder"], "reading", 0.1)
    for name in ("kept", "shown", "source"):
        (Path(request["case"]) / name).mkdir(exist_ok=True)
    saved = request.get("study_label")
    if saved and Path(saved).is_file():  # as it is now: what is taken away later is written there
        shutil.copyfile(saved, Path(request["case"]) / "source" / LABEL)
    try:
        return open_cine(request)
    except InputError as no_cine:
        if not request["source"].endswith((".nii", ".nii.gz")):
            raise
        try:
            return open_volume(request)
        except InputError as no_volume:
            raise InputError(f"{no_cine}; as a volume: {no_volume}") from no_volume


def open_cine(request: Request) -> dict[str, Any]:
    """Read a cine, keep it, and show it: size, times, spacing, view.

    Raises:
        InputError: it is no cine.
    """
    folder = Path(request["case"])
    data = CineCases(request["source"], transform=cine_transforms(square=True))
    data.entries[0]["case"] = "case"
    case = data[0]
    report_progress(request["folder"], "view", 0.5)
    probabilities = content(configure(), "classify")(case.cine.as_tensor()[0])
    kept_files.write_cine_kept(folder / "kept", case, widen_sector(case.cine), probabilities)
    report_progress(request["folder"], "pictures", 0.7)
    frames = grey_values(case)
    coded = [cv2.imencode(".webp", frame, [cv2.IMWRITE_WEBP_QUALITY, WEBP])[1].tobytes() for frame in frames]
    (folder / "shown" / "frames.webps").write_bytes(b"".join(coded))
    height, width = frames.shape[1:]
    small = cv2.resize(frames[len(frames) // 3], (160, max(1, round(160 * height / width))))
    (folder / "shown" / "thumbnail.webp").write_bytes(cv2.imencode(".webp", small)[1].tobytes())
    times = case.meta.frame_times
    best = probabilities.most_probable
    share = probabilities.by_view[best]
    return {
        "kind": "cine",
        "ready": best in APICAL and share >= Gate().view_threshold and energy_check(probabilities).passed is True,
        "sizes": [len(piece) for piece in coded],
        "height": height,
        "width": width,
        "frames": len(frames),
        "times": times,
        "rate": (len(times) - 1) / (times[-1] - times[0]) if times else None,
        "spacing": case.meta.spacing,
        "view": best,
        "probability": share,
        "notes": list(case.meta.notes),
    }


def measure(request: Request) -> dict[str, Any]:
    """Segment the wall, if that was not done, find the fields of a ``method``, and measure; a volume: segment it."""
    if is_volume(request):
        return segment_volume(request)
    folder, method = Path(request["case"]), request["method"]
    case, _, _ = kept_files.read_case(folder / "kept")
    parser = configure(method, output_dir=str(folder / "motion"))
    if not (folder / "kept" / "lines.npy").is_file():
        report_progress(request["folder"], "the wall", 0.1)
        frames = case.cine.as_tensor()[0]
        memberships = orient_segmentation(frames, content(parser, "segment"))[0](frames)
        kept_files.write_segmented(folder / "kept", extract_lines(memberships, source="the cine"))
    motion = folder / "motion" / method
    if not (motion / kept_files.MOTION).is_file():
        content(parser, "initialize")
        network, inferer = content(parser, "network"), content(parser, "inferer")
        pairs, done = max(1, len(case.image)), 0

        def count(*_: Any) -> None:
            nonlocal done
            done += 1
            report_progress(request["folder"], f"motion by {METHODS[method]}", 0.3 + 0.6 * min(1.0, done / pairs))

        network.register_forward_hook(count)
        report_progress(request["folder"], f"motion by {METHODS[method]}", 0.3)
        result = register(case.image, network, inferer, case.mask)
        kept_files.write_motion(motion, result, METHODS[method])
        field = result.ddf[:, :, ARROWS // 2 :: ARROWS, ARROWS // 2 :: ARROWS]
        with write_whole(folder / "shown" / f"arrows_{method}.bin") as beside:
            beside.write_bytes(field.permute(0, 2, 3, 1).contiguous().numpy().astype("<f4").tobytes())
    report_progress(request["folder"], "strain", 0.95)
    return correct({**request, "handles": None})


def correct(request: Request) -> dict[str, Any]:
    """Measure again with what the user says: ``edits`` (``ed``, ``es``, ``view``, ``exclude_segments``, ``layer``,
    ``drawn``) and, to draw a wall, ``handles``: ``frame``, ``border`` (``endocardium`` or ``epicardium``), ``at``
    (parts of the line) and ``moved`` (rows and columns of the shown pixels by which each handle was moved)."""
    folder, edits = Path(request["case"]), dict(request.get("edits") or {})
    study = measure_corrected(folder, request["method"], edits, Path(request["folder"]))
    handles = request.get("handles")
    if handles:
        lines, meta = lines_by_frame(study.tracked, 1), study.case.cine.meta
        frame = int(handles["frame"])
        if frame not in lines:
            raise InputError(f"frame {frame} lies outside the measured beats: draw in one of {min(lines)}-{max(lines)}")
        beat = next(b.beat for b in study.tracked if b.beat.ed <= frame <= b.beat.end)
        edits.setdefault("ed", beat.ed)
        wall = move_wall(lines[frame], handles)
        drawn = dict(edits.get("drawn") or {})
        if not drawn and label_of(request):  # the labelled wall stays where it is, beside the drawn one
            drawn[str(beat.ed)] = np.round(to_file_grid(lines[beat.ed], meta), 3).tolist()
        drawn[str(frame)] = np.round(to_file_grid(wall, meta), 3).tolist()
        edits["drawn"] = drawn
        study = measure_corrected(folder, request["method"], edits, Path(request["folder"]))
    result = page_content(study, request["method"])
    return {"edits": edits, "result": result, "row": row_of(result)}


def measure_corrected(folder: Path, method: str, edits: Request, place: Path) -> StrainCase:
    """The strain of a case with what the user says of it; a drawn wall goes by way of ``place/contour.json``.

    Where none is drawn, the wall of a label that came with the cine is taken.

    Raises:
        InputError: it can't be measured so.
    """
    kept = kept_files.read_kept(folder / "kept", folder / "motion" / method)
    said = {"ed": edits.get("ed"), "es": edits.get("es"), "assumed_view": edits.get("view")}
    if edits.get("drawn"):
        said["contour"] = str(place / "contour.json")
        (place / "contour.json").write_text(json.dumps(contour_content(edits["drawn"])), encoding="utf-8")
    else:
        said |= find_label(folder, edits)
    options = json.dumps(options_of(edits), sort_keys=True)
    key = (str(folder), method, json.dumps(edits, sort_keys=True))
    if key not in _latest:
        study = kept_files.measure_kept(kept_files.replace_entry(kept, **said), *configure_measuring(method, options))
        while len(_latest) > 3:
            _latest.pop(next(iter(_latest)))
        _latest[key] = study
    return _latest[key]


def find_label(folder: Path, edits: Request) -> dict[str, Any]:
    """The contour, and end-diastole, of the label that came with a cine; nothing where none did."""
    label = label_of({"case": str(folder)})
    if label is None:
        return {}
    return {"contour": label, **({} if edits.get("ed") is not None else find_labelled_frame(label))}


def options_of(edits: Request) -> dict[str, Any]:
    """The options of the bundle that edits stand for."""
    return {name: edits[name] for name in ("layer", "exclude_segments") if edits.get(name)}


def contour_content(drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Drawn walls as the file that ``--contour`` takes (``cardiac_motion.evaluation.contour.read_drawn_walls``)."""
    frames = sorted(drawn, key=int)
    return {
        "drawn": [int(t) for t in frames],
        **{name: [drawn[t][k] for t in frames] for k, name in enumerate(LAYERS)},
    }


def move_wall(lines: NDArray[np.float64], handles: Request) -> NDArray[np.float64]:
    """The lines ``[3, P, 2]`` of a wall whose handles were moved; what lies between follows a cubic spline.

    The endocardium takes the whole wall along, the epicardium leaves it where it is and changes the thickness.
    """
    at, moved = np.asarray(handles["at"], dtype=float), np.asarray(handles["moved"], dtype=float)
    low, high = HANDLES
    if not low <= len(at) <= high or moved.shape != (len(at), 2) or (np.diff(at) <= 0).any():
        raise InputError(f"handles are {low} to {high} rising parts of a line and as many (row, column)")
    along = CubicSpline(at, moved, bc_type="natural")(np.linspace(0, 1, lines.shape[1]))
    shares = (0.0, 0.5, 1.0) if handles.get("border") == "epicardium" else (1.0, 1.0, 1.0)
    return np.stack([line + share * along for line, share in zip(lines, shares, strict=True)])


def page_content(study: StrainCase, method: str) -> dict[str, Any]:
    """What a page shows of a measured cine; lines in the pixels of the shown frames."""
    lines = lines_by_frame(study.tracked, SHOWN)
    beats, measured = study.measured.beats, study.measured
    segments = mean_segments(beats)
    values = {row["name"]: row["end_systolic"] for row in segments}
    found = {
        "method": method,
        "title": METHODS[method],
        "view": study.view.view.name,
        "view_given": study.view.given,
        "segments": segments,
        "colours": SEGMENT_COLOURS,
        "layer": measured.layer,
        "beats": list(beats),
        "means": measured.means,
        "warnings": list(study.warnings),
        "drawn": list(study.wall.drawn),
        "lines": {str(t): np.round(found, 1).tolist() for t, found in lines.items()},
        "bullseye": bullseye(values),
        "nlcc": float(np.mean([row["nlcc"] for row in segments])),
        "seconds": study.seconds.get("motion"),
    }
    return finite(found)


def row_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """A measured method's row of the comparison."""
    means = result["means"]
    out = sum(bool(segment["rejected"]) for segment in result["segments"])
    return {"title": result["title"], "gls": means["gls"], "drift": means["drift"], "seconds": result["seconds"],
            "nlcc": result["nlcc"], "ejection_fraction": means["ejection_fraction"], "out": out,
            "view": result["view"]}  # fmt: skip


def points(request: Request) -> dict[str, Any]:
    """Paths of ``points`` ((row, column) of the shown frames, in ``frame``): places, displacement from ``frame``
    and the distance of each from the point before it, in mm where the spacing is known."""
    folder = Path(request["case"])
    case, _, _ = kept_files.read_case(folder / "kept")
    ddf = kept_files.read_motion(folder / "motion" / request["method"]).ddf
    start = torch.tensor(request["points"], dtype=torch.float32)
    frame = int(request["frame"])
    if start.dim() != 2 or start.shape[1] != 2 or not 0 <= frame <= len(ddf) or len(start) > MOST_POINTS:
        raise InputError(f"points are up to {MOST_POINTS} (row, column) in a frame of the cine")
    if (start < 0).any() or (start > start.new_tensor(case.size) - 1).any():
        raise InputError("a point lies outside the picture")
    path = track(start, ddf, frame).double().numpy()
    steps = np.asarray(case.meta.steps)
    away = np.linalg.norm((path - path[frame]) * steps, axis=-1)
    apart = np.linalg.norm(np.diff(path * steps, axis=1), axis=-1)
    return {"path": np.round(path, 2).tolist(), "displacement": np.round(away, 3).T.tolist(),
            "distance": np.round(apart, 3).T.tolist(), "unit": "mm" if case.meta.spacing else "px"}  # fmt: skip


def line_of(request: Request) -> dict[str, Any]:
    """M-mode along a line of two ``points``, time from left to right, as a WebP, and the line's length over time."""
    found = points(request)
    case, _, _ = kept_files.read_case(Path(request["case"]) / "kept")
    ends = torch.tensor(request["points"], dtype=torch.float32)
    if len(ends) != 2:
        raise InputError("a line has two points")
    count = max(2, int((ends[1] - ends[0]).norm().ceil()))
    along = ends[0] + torch.linspace(0, 1, count)[:, None] * (ends[1] - ends[0])
    frames = case.cine.as_tensor()[0]
    columns = [field_at(frame[None].expand(2, -1, -1), along)[:, 0] for frame in frames]
    picture = np.round(255 * torch.stack(columns, 1).clamp(0, 1).numpy()).astype(np.uint8)
    coded = cv2.imencode(".webp", cv2.resize(picture, None, fx=4, fy=1))[1].tobytes()
    return {**found, "picture": "data:image/webp;base64," + base64.b64encode(coded).decode()}


def take(request: Request) -> dict[str, Any]:
    """Write the files to take away: report, SR, curves, contours, film, fields, masks, log, command; one zip of all."""
    if is_volume(request):
        return take_volume(request)
    folder, method, edits = Path(request["case"]), request["method"], request.get("edits") or {}
    study = measure_corrected(folder, method, edits, Path(request["folder"]))
    report_progress(request["folder"], "report and film", 0.2)
    entry = replace(study.case.entry, image=request["source"], case="take")
    study = replace(study, case=replace(study.case, entry=entry), folder=folder / "take")
    weights = content(configure(method), "weights")
    write_strain_case(study, weights)
    place = folder / "take"
    report_progress(request["folder"], "fields and masks", 0.8)
    save_cine_ddf(place / "ddf.nii.gz", study.result.ddf)
    labels = wall_labels(study.wall.frame_labels(), study.tracked)
    save_frames(place / "labels.nii.gz", labels, request["source"], study.case.meta)
    if request.get("study_label"):
        with write_whole(request["study_label"]) as beside:
            shutil.copyfile(place / "labels.nii.gz", beside)
    if edits.get("drawn"):
        (place / "contour.json").write_text(json.dumps(contour_content(edits["drawn"])), encoding="utf-8")
    (place / "log.json").write_text(json.dumps(request.get("log") or [], indent=1), encoding="utf-8")
    (place / "command.txt").write_text(command(request["source"], method, edits, place) + "\n", encoding="utf-8")
    files = sorted(path.name for path in place.iterdir() if path.is_file())
    with zipfile.ZipFile(place / "all.zip", "w", zipfile.ZIP_STORED) as archive:
        for name in files:
            archive.write(place / name, name)
    return {"files": [*files, "all.zip"]}


def command(source: str, method: str, edits: Request, place: Path) -> str:
    """The command that gives the same numbers; it runs in the folder that holds ``bundles``."""
    configs = f"['{BUNDLE}/configs/inference.json','{BUNDLE}/configs/motion_{method}.json']"
    words = ["python -m monai.bundle run", f'--config_file "{configs}"', f"--input {source}"]
    said = {} if edits.get("drawn") else find_label(place.parent, edits)
    edits = {**edits, **said}
    for name in ("ed", "es", "view", "layer"):
        if edits.get(name) is not None:
            words.append(f"--{name} {edits[name]}")
    if edits.get("exclude_segments"):
        words.append(f'--exclude_segments "{list(edits["exclude_segments"])}"')
    if edits.get("drawn"):
        words.append(f"--contour {place / 'contour.json'}")
    elif said:
        words.append(f"--contour {said['contour']}")
    return " ".join([*words, "--output_dir output/again"])
