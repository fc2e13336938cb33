"""Files of simulated cines: one folder per case, complete or absent, and their datalist.

A case has ``cine.nii.gz`` (X, Y, T), ``ddf.nii.gz`` and ``forward.nii.gz`` (X, Y, T-1, 1, 2; components (x, y) in
pixels), ``mask.nii.gz`` (X, Y, T-1; where ``ddf`` is the motion of the imaged tissue), ``labels.nii.gz`` (X, Y, T; 1
cavity, 2 myocardium), ``contours.json`` ((row, column) in pixels) and ``summary.json``, written last. Pair t of ``ddf``
pulls frame t back onto frame t + 1; pair t of ``forward`` is the displacement of the material from frame t to t + 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from cardiac_motion.cine.write import write_cine
from cardiac_motion.cohort.engine import Client, hold_folder, reasons, run_cases
from cardiac_motion.cohort.runner import Limits, Work
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.folders import check_targets
from cardiac_motion.core.whole_files import PROGRAM, write_whole
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.sequence import Settings, Simulation, draw

_PRECISION = 1024  # fields are rounded to 1/1024 pixel, which halves the files
SPLITS = ("training", "validation", "test")


def write_cases(
    output_dir: str | Path,
    source: TemplateSource,
    count: int = 100,
    frames: int = 40,
    seed: int = 0,
    settings: Settings | None = None,
    split: dict[str, list[str]] | None = None,
    datalist: str | Path | None = None,
    device: str = "cpu",
    client: Client | None = None,
    limits: Limits | None = None,
) -> list[str]:
    """Write virtual patients and their datalist; existing ones are kept.

    Args:
        output_dir: folder of the cases.
        source: source of the templates; patient k has template k, starting again after the last.
        count: number of patients.
        frames: number of frames, one beat.
        seed: the same seed, settings and source give the same files.
        settings: ranges of the random parameters.
        split: names of templates in ``training``, ``validation`` and ``test`` (or CAMUS's ``train`` and ``valid``);
            None splits 8, 1 and 1 of 10 by their number.
        datalist: path of the datalist; ``datalist.json`` in ``output_dir`` by default.
        device: device of the simulation.
        client, limits: as in ``cohort.engine.run_cases``; without them, patients are simulated one by one in this
            process.

    Returns:
        The errors of patients that could not be simulated; the others are written.

    Raises:
        InputError: a case in the folder has another seed, settings or number of frames.
        ClusterLost: the scheduler is lost.
    """
    if count < 1:
        raise InputError(f"count {count}: must be at least 1")
    output_dir, settings = Path(output_dir).resolve(), settings or Settings()
    recipe = json.loads(json.dumps({"seed": seed, "frames": frames, "settings": asdict(settings)}))
    names = [f"{number:04d}_{source.name(number)}" for number in range(count)]
    arguments = {"output_dir": str(output_dir), "source": source.arguments, "device": device, **recipe}
    work = Work("cardiac_motion.simulation.datasets.write:patient_writer", arguments, str(output_dir))
    existing = _summaries(output_dir, names, recipe)
    templates = source.arguments.get("folder")
    check_targets([output_dir / n for n in names if n not in existing], [str(templates)] if templates else [])
    listed = Path(datalist) if datalist else output_dir / "datalist.json"
    if listed.exists() and not _is_of_simulation(listed):
        raise InputError(f"{listed}: exists and was not written by a simulation; use another folder or name")
    with hold_folder(output_dir):
        failed = reasons(run_cases(work, names, client, limits, "patients"))
    entries: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}
    for name, summary in _summaries(output_dir, names, recipe).items():
        entries[_split_of(summary["template"], int(name.split("_")[0]), split)].append(_entry(name, summary))
    _write_datalist(listed, entries, recipe)
    return list(failed.values())


def patient_writer(
    output_dir: str, source: dict[str, Any], seed: int, frames: int, settings: dict[str, Any], device: str
) -> Callable[[str], None]:
    """Return the function that writes the patient of a folder name; arguments as in ``write_cases``, as JSON."""
    templates, drawn_from = TemplateSource(**source), settings_from(settings)

    def write(name: str) -> None:
        number = int(name.split("_")[0])
        simulation, drawn = draw(templates(number, (seed,)), (seed, number), drawn_from, frames, device)
        recipe = {"seed": seed, "frames": frames, "settings": settings, "template": templates.name(number)}
        with write_whole(Path(output_dir) / name) as beside:
            beside.mkdir()
            write_case(beside, simulation, {**recipe, **drawn})

    return write


def _summaries(output_dir: Path, names: Sequence[str], recipe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    summaries = {}
    for name in names:
        path = output_dir / name / "summary.json"
        if not path.is_file():
            continue
        summaries[name] = json.loads(path.read_text(encoding="utf-8"))
        if {key: summaries[name].get(key) for key in recipe} != recipe:
            other = "was simulated with another seed, settings or number of frames; use another folder"
            raise InputError(f"{path.parent}: {other}")
    return summaries


def write_case(folder: Path, simulation: Simulation, drawn: dict[str, Any]) -> None:
    """Write one simulation into an existing folder; ``summary.json`` is written last."""
    grid, times = simulation.grid, simulation.times
    cine = MetaTensor(
        torch.cat([chunk.cpu() for chunk in simulation.chunks()])[None],
        meta={"spacing": grid.spacing, "frame_times": times.tolist()},
    )
    write_cine(folder / "cine.nii.gz", cine)
    count = len(simulation)
    shape = (count - 1, 2, *grid.shape)
    ddf, forward = torch.empty(shape), torch.empty(shape)
    mask = np.empty((count - 1, *grid.shape), dtype=np.uint8)
    for frame in range(count):
        others = [other for other in (frame - 1, frame + 1) if 0 <= other < count]
        fields, masks = simulation.fields(frame, others)
        for other, field, valid in zip(others, fields.cpu(), masks.cpu(), strict=True):
            if other < frame:
                ddf[other], mask[other] = field, valid.numpy()
            else:
                forward[frame] = field
    for name, values in (("ddf", ddf), ("forward", forward)):
        save_cine_ddf(folder / f"{name}.nii.gz", (values * _PRECISION).round() / _PRECISION)
    save_frames(folder / "mask.nii.gz", mask, grid.spacing, float(times[1] - times[0]))
    labels = np.stack([simulation.labels(frame).numpy() for frame in range(count)])
    save_frames(folder / "labels.nii.gz", labels, grid.spacing, float(times[1] - times[0]))
    contours = {name: np.round(points, 4).tolist() for name, points in simulation.contours().items()}
    (folder / "contours.json").write_text(json.dumps(contours), encoding="utf-8")
    strains = simulation.strains()
    summary = {
        "program": PROGRAM,
        **drawn,
        "view": simulation.view,
        "spacing": list(grid.spacing),
        "frame_times": times.tolist(),
        "end_systole_frame": int(np.argmin(np.abs(times - simulation.motion.end_systole_time))),
        "strain": {name: np.asarray(values).round(6).tolist() for name, values in strains.items()},
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")


def _entry(case: str, summary: dict[str, Any]) -> dict[str, Any]:
    files = {
        key: f"{case}/{name}"
        for key, name in (
            ("image", "cine.nii.gz"),
            ("ddf", "ddf.nii.gz"),
            ("forward", "forward.nii.gz"),
            ("mask", "mask.nii.gz"),
            ("label", "labels.nii.gz"),
            ("contours", "contours.json"),
            ("summary", "summary.json"),
        )
    }
    return {
        "case": case,
        **files,
        "spacing": summary["spacing"],
        "gls": summary["strain"]["gls"],
        "view": summary["view"],
    }


def _split_of(template: str, number: int, split: dict[str, list[str]] | None) -> str:
    if split is None:
        return SPLITS[0] if number % 10 < 8 else SPLITS[number % 10 - 7]
    for name in SPLITS:
        for key in (name, {"training": "train", "validation": "valid"}.get(name, name)):
            if template in split.get(key, ()):
                return name
    raise InputError(f"split: template {template} is in none of {', '.join(split)}")


def _write_datalist(path: Path, entries: dict[str, list[dict[str, Any]]], recipe: dict[str, Any]) -> None:
    content = {
        "name": "Simulated echocardiography",
        "description": "cines with exact motion; ddf[t] pulls frame t back onto frame t + 1",
        "modality": {"0": "US"},
        "labels": {"0": "background", "1": "left ventricular cavity", "2": "left ventricular myocardium"},
        "recipe": recipe,
        **entries,
    }
    with write_whole(path) as beside:
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _is_of_simulation(path: Path) -> bool:
    try:
        return "recipe" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def save_frames(path: Path, frames: NDArray[np.uint8], spacing: tuple[float, float], step: float) -> None:
    """Write label maps [T, H, W] as NIfTI (X, Y, T): ``spacing`` (row, column) in mm, ``step`` in s."""
    image = nibabel.Nifti1Image(frames.transpose(2, 1, 0), np.diag([spacing[1], spacing[0], step, 1.0]))
    image.header.set_zooms((spacing[1], spacing[0], step))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
