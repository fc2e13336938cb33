"""Tasks of the workbench's worker processes: open, measure, correct, display and download a cine.

A case is a folder: ``source/`` (the file), ``kept/`` (``strain_pipeline.cache``), ``motion/<method>/`` (fields),
``tracked/`` (``strain_pipeline.tracking.track_cache``), ``shown/`` (data for the page: frames as WebP, arrows,
thumbnail) and ``take.zip`` (download).
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cardiac_motion.bundle.config import content
from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.scale import to_file_grid
from cardiac_motion.cine.transforms import cine_transforms
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.plots import cv2
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.fields.points import field_at, track
from cardiac_motion.registration.result import register
from cardiac_motion.serving.corrections import configure, configure_measuring, measure_with_edits, track_with_edits
from cardiac_motion.serving.drawing import move_wall, place_wall
from cardiac_motion.serving.page_content import make_comparison_row, page_content
from cardiac_motion.serving.progress import Progress
from cardiac_motion.serving.requests import serve
from cardiac_motion.serving.settings import ARROWS, METHODS, MOST_POINTS, VOLUME_METHODS
from cardiac_motion.serving.studies import combine_study, take_study
from cardiac_motion.serving.takeaway import take as take_cine
from cardiac_motion.serving.volumes import LABEL, find_uploaded_label, open_volume, segment_volume, take_volume
from cardiac_motion.strain_pipeline import cache as strain_cache
from cardiac_motion.strain_pipeline.quality.checks import Gate
from cardiac_motion.strain_pipeline.quality.orientation import orient_segmentation
from cardiac_motion.strain_pipeline.quality.view import energy_check, is_certain
from cardiac_motion.strain_pipeline.report.sections import grey_values
from cardiac_motion.strain_pipeline.strain_case import lines_by_frame
from cardiac_motion.strain_pipeline.tracking.motion import widen_sector
from cardiac_motion.strain_pipeline.tracking.region import fit_inferer
from cardiac_motion.strain_pipeline.tracking.wall import extract_lines, wall_in
from cardiac_motion.ventricle.views import APICAL

WEBP = 82

Request = Mapping[str, Any]


def open_workbench() -> Callable[[str], None]:
    """Return the function that processes a workbench request.

    A request has ``folder`` (absolute), ``task``, ``case`` (absolute) and the arguments of the task's function.
    """
    return serve({"open": open_case, "measure": measure, "correct": correct, "points": points, "line": draw_m_mode,
                  "take": take, "study": combine_study, "take_study": take_study, "warm": warm})  # fmt: skip


def is_volume(request: Request) -> bool:
    """Return whether a request's method is for volumes."""
    return request["method"] in VOLUME_METHODS


def warm(request: Request) -> dict[str, Any]:
    """Load everything that a correction needs."""
    configure_measuring("cpwc", "{}")
    return {}


def open_case(request: Request) -> dict[str, Any]:
    """Open a cine or a volume.

    Raises:
        InputError: it is neither.
    """
    for name in ("kept", "shown", "source"):
        (Path(request["case"]) / name).mkdir(exist_ok=True)
    saved = request.get("study_label")
    if saved and Path(saved).is_file():  # a copy: a later download overwrites the file
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


OPENING = {"reading": "reading", "view": "view", "pictures": "pictures"}


def open_cine(request: Request) -> dict[str, Any]:
    """Read and cache a cine, and return its size, times, spacing and view.

    Raises:
        InputError: it is not a cine.
    """
    folder = Path(request["case"])
    progress = Progress(request["folder"], OPENING, int(request.get("frames") or 60), request.get("costs"))
    with progress.step("reading"):
        data = CineCases(request["source"], transform=cine_transforms(square=True, grey=True, still=True))
        data.entries = [max(data.entries, key=lambda entry: len(entry.get("files", ())))]  # of a folder, the longest
        data.entries[0]["case"] = "case"
        case = data[0]
    progress.frames = len(case.image) + 1
    with progress.step("view"):
        probabilities = content(configure(), "classify")(case.cine.as_tensor()[0])
        strain_cache.write_cine_cache(folder / "kept", case, widen_sector(case.cine), probabilities)
    with progress.step("pictures"):
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
        "ready": best in APICAL
        and is_certain(probabilities, Gate().view_threshold)
        and energy_check(probabilities).passed is True,
        "sizes": [len(piece) for piece in coded],
        "height": height,
        "width": width,
        "frames": len(frames),
        "times": times,
        "frame_time_source": case.meta.frame_time_source,
        "rate": (len(times) - 1) / (times[-1] - times[0]) if times else None,
        "spacing": case.meta.spacing,
        "zoom": case.meta.zoom,
        "view": best,
        "probability": share,
        "notes": list(case.meta.notes),
        "costs": progress.measured,
    }


def measure(request: Request) -> dict[str, Any]:
    """Segment the wall if necessary, compute the fields of a ``method``, and measure; segment if it is a volume."""
    if is_volume(request):
        return segment_volume(request)
    folder, method = Path(request["case"]), request["method"]
    case, _, _ = strain_cache.read_case(folder / "kept")
    parser, motion = configure(method), folder / "motion" / method
    moving = f"motion by {METHODS[method]}"
    steps = {} if (folder / "kept" / "lines.npy").is_file() else {"wall": "segmenting the wall"}
    steps |= {} if (motion / strain_cache.MOTION).is_file() else {moving: moving}
    progress = Progress(request["folder"], {**steps, "strain": "strain"}, case.cine.shape[1], request.get("costs"))
    if "wall" in steps:
        with progress.step("wall"):
            frames = case.cine.as_tensor()[0]
            memberships = orient_segmentation(frames, content(parser, "segment"))[0](frames)
            segmented = extract_lines(memberships, source="the cine", required=False)  # the user may place the wall
            strain_cache.write_segmented(folder / "kept", segmented)
    if moving in steps:
        with progress.step(moving):
            content(parser, "initialize")
            # the whole sector, because the user may place the wall elsewhere
            inferer = fit_inferer(content(parser, "inferer"), strain_cache.read_segmented(folder / "kept").lines, None)
            result = register(case.image, content(parser, "network"), inferer, case.mask)
            strain_cache.write_motion(motion, result, METHODS[method])
            field = result.ddf[:, :, ARROWS // 2 :: ARROWS, ARROWS // 2 :: ARROWS]
            with write_whole(folder / "shown" / f"arrows_{method}.bin") as beside:
                beside.write_bytes(field.permute(0, 2, 3, 1).contiguous().numpy().astype("<f4").tobytes())
    with progress.step("strain"):
        answer = correct({**request, "handles": None, "clicks": None})
    return {**answer, "costs": progress.measured}


def correct(request: Request) -> dict[str, Any]:
    """Measure again with the user's ``edits`` (``serving.corrections``), after drawing a wall if requested.

    Args:
        request: to drag the tracked wall: ``handles`` with ``frame`` and the arguments of ``drawing.move_wall``; to
            place a wall: ``clicks`` with ``frame`` and ``points`` (``drawing.place_wall``). Both in pixels of the
            displayed frames.

    Returns:
        The current ``edits``, ``result`` for the page, and its ``row`` of the comparison.
    """
    folder, method, edits = Path(request["case"]), request["method"], dict(request.get("edits") or {})
    if request.get("handles"):
        edits = drag_wall(request, edits)
    elif request.get("clicks"):
        edits = place_by_clicks(request, edits)
    result = page_content(measure_with_edits(folder, method, edits), method)
    return {"edits": edits, "result": result, "row": make_comparison_row(result)}


def drag_wall(request: Request, edits: dict[str, Any]) -> dict[str, Any]:
    """Return the edits with the tracked wall of a frame moved by handles."""
    handles = request["handles"]
    case, tracked = track_with_edits(Path(request["case"]), request["method"], edits)
    lines, meta = lines_by_frame(tracked, 1), case.cine.meta
    frame = int(handles["frame"])
    if frame not in lines:
        raise InputError(f"frame {frame} is outside the measured beats; draw in one of {min(lines)} to {max(lines)}")
    beat = next(b.beat for b in tracked if b.beat.ed <= frame <= b.beat.end)
    drawn = dict(edits.get("drawn") or {})
    if not drawn and find_uploaded_label(request):  # keep the labelled wall in addition to the drawn one
        drawn[str(beat.ed)] = np.round(to_file_grid(lines[beat.ed], meta), 3).tolist()
    drawn[str(frame)] = np.round(to_file_grid(move_wall(lines[frame], handles), meta), 3).tolist()
    return {**edits, "ed": edits.get("ed", beat.ed), "drawn": drawn}


def place_by_clicks(request: Request, edits: dict[str, Any]) -> dict[str, Any]:
    """Return the edits with a wall through three clicks, which replaces drawn walls.

    Its frame becomes end-diastole if the measured beat does not contain it.
    """
    folder, frame = Path(request["case"]), int(request["clicks"]["frame"])
    case, _, _ = strain_cache.read_case(folder / "kept")
    if not 0 <= frame < case.cine.shape[1]:
        raise InputError(f"frame {frame} is outside the cine, frames 0 to {case.cine.shape[1] - 1}")
    segmented = strain_cache.read_segmented(folder / "kept")
    wall = place_wall(request["clicks"]["points"], case.cine.as_tensor()[0, frame].numpy(), segmented.lines.shape[2])
    drawn = {str(frame): np.round(to_file_grid(wall, case.cine.meta), 3).tolist()}
    try:
        fields: dict[str, Any] = {"ed": edits.get("ed"), "es": edits.get("es"), "contour": None}
        beat = wall_in(replace(case, entry=replace(case.entry, **fields)), segmented).beats[0]
    except InputError:  # no beat was found before
        return {**edits, "drawn": drawn, "ed": frame}
    if beat.ed <= frame <= beat.end:
        return {**edits, "drawn": drawn, "ed": beat.ed}
    return {**edits, "drawn": drawn, "ed": frame, "es": None}


def points(request: Request) -> dict[str, Any]:
    """Track ``points`` ((row, column) of the displayed frames, in ``frame``).

    Returns:
        Positions, displacement from ``frame``, and the distance of each point from the previous one, in mm if the
        spacing is known.
    """
    folder = Path(request["case"])
    case, _, _ = strain_cache.read_case(folder / "kept")
    ddf = strain_cache.read_motion(folder / "motion" / request["method"]).ddf
    start = torch.tensor(request["points"], dtype=torch.float32)
    frame = int(request["frame"])
    if start.dim() != 2 or start.shape[1] != 2 or not 0 <= frame <= len(ddf) or len(start) > MOST_POINTS:
        raise InputError(f"points must be up to {MOST_POINTS} (row, column) in a frame of the cine")
    if (start < 0).any() or (start > start.new_tensor(case.size) - 1).any():
        raise InputError("a point is outside the image")
    path = track(start, ddf, frame).double().numpy()
    steps = np.asarray(case.meta.steps)
    displacement = np.linalg.norm((path - path[frame]) * steps, axis=-1)
    distance = np.linalg.norm(np.diff(path * steps, axis=1), axis=-1)
    return {"path": np.round(path, 2).tolist(), "displacement": np.round(displacement, 3).T.tolist(),
            "distance": np.round(distance, 3).T.tolist(), "unit": "mm" if case.meta.spacing else "px"}  # fmt: skip


def draw_m_mode(request: Request) -> dict[str, Any]:
    """Return the M-mode along a line of two ``points``, time from left to right, as WebP, and the length over time."""
    tracked = points(request)
    case, _, _ = strain_cache.read_case(Path(request["case"]) / "kept")
    ends = torch.tensor(request["points"], dtype=torch.float32)
    if len(ends) != 2:
        raise InputError("a line needs two points")
    count = max(2, int((ends[1] - ends[0]).norm().ceil()))
    along = ends[0] + torch.linspace(0, 1, count)[:, None] * (ends[1] - ends[0])
    frames = case.cine.as_tensor()[0]
    columns = [field_at(frame[None].expand(2, -1, -1), along)[:, 0] for frame in frames]
    picture = np.round(255 * torch.stack(columns, 1).clamp(0, 1).numpy()).astype(np.uint8)
    coded = cv2.imencode(".webp", cv2.resize(picture, None, fx=4, fy=1))[1].tobytes()
    return {**tracked, "picture": "data:image/webp;base64," + base64.b64encode(coded).decode()}


def take(request: Request) -> dict[str, Any]:
    """Write the files for download: of a cine by ``serving.takeaway``, of a volume by ``serving.volumes``."""
    return take_volume(request) if is_volume(request) else take_cine(request)
