"""Cines of ``fields.analytic`` by PyMUST, a physical simulator that is independent of the training data's.

Scatterers of the body in water, one diverging wave per frame (``reference.pymust_echoes``), white noise, and the
display of ``image.Scanner``. A frame takes up to tens of seconds, so existing cases are kept. A case has
``cine.nii.gz``, ``ddf.nii.gz``, ``forward.nii.gz`` and ``mask.nii.gz`` as in ``write``, and ``summary.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor
from tqdm import tqdm

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.folders import check_targets
from cardiac_motion.core.whole_files import PROGRAM, write_whole
from cardiac_motion.fields.analytic import CENTRE, PHANTOMS, Array, Phantom, get_phantom
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.ultrasound.image import Probe, Scanner
from cardiac_motion.simulation.ultrasound.reference import pymust_echoes

PROBE = Probe(focus=None, depth=112.0, width=70.0, dynamic_range=42.0, gain=-8.0)
NOISE = -40.0  # dB relative to the tissue's mean power
_MARGIN = 4.0  # mm that are beamformed beyond the image, along the range


def picture_grid(size: int = 192, width: float = 76.0) -> ImageGrid:
    """Return a square grid around the bodies: ``size`` pixels and ``width`` mm between the outermost centres."""
    spacing = width / (size - 1)
    return ImageGrid((size, size), (spacing, spacing), (CENTRE[0] - width / 2, CENTRE[1] - width / 2))


def phantom_scatterers(body: Phantom, count: int, rng: np.random.Generator) -> tuple[Array, Tensor]:
    """Draw scatterers uniformly in a body at rest: points [count, 2] in mm, Gaussian amplitudes [count]."""
    points = np.zeros((0, 2))
    while len(points) < count:
        drawn = CENTRE + (2 * rng.random((2 * count, 2)) - 1) * body.reach
        points = np.concatenate([points, drawn[body.inside(drawn)]])
    return points[:count], torch.from_numpy(rng.standard_normal(count))


def body_frames(
    body: Phantom, shares: Sequence[float], scanner: Scanner, count: int, seed: int = 0, progress: bool = True
) -> Tensor:
    """Return B-mode frames [T, H, W] in [0, 1] of a body.

    Args:
        body: moving body.
        shares: fraction of its motion completed in each frame.
        scanner: probe (without a focus) and image formation.
        count: number of scatterers.
        seed: seed of scatterers and noise.
        progress: show a progress bar.

    Raises:
        InputError: PyMUST is not installed.
    """
    points, amplitudes = phantom_scatterers(body, count, np.random.default_rng([seed, 0]))
    corners = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
    grid = scanner.grid
    size = torch.tensor([(n - 1) * s for n, s in zip(grid.shape, grid.spacing, strict=True)], dtype=torch.float64)
    border = torch.cat([torch.cat([corners * 0 + a, corners], 1) for a in (0, 1)])
    distance = (torch.cat([border, border.flip(1)]) * size + torch.tensor(grid.origin)).norm(dim=1)
    near, far = float(distance.min()) - _MARGIN, float(distance.max()) + _MARGIN
    rows = (scanner.ranges >= near) & (scanner.ranges <= far)
    echoes = torch.zeros(len(shares), len(scanner.ranges), len(scanner.sines), dtype=torch.complex64)
    spread = scanner.ranges[rows][:, None] / CENTRE[0]
    for frame, share in enumerate(tqdm(shares, desc=f"{body.name}, frames", disable=not progress)):
        places = torch.from_numpy(body.moved(points, share))
        beamformed = pymust_echoes(places, amplitudes, scanner.probe, scanner.ranges[rows], scanner.sines)
        echoes[frame, rows] = beamformed * spread
    depth, lateral = scanner.ranges[:, None] * (1 - scanner.sines**2).sqrt(), scanner.ranges[:, None] * scanner.sines
    within = body.covers(torch.stack([depth, lateral], -1).reshape(-1, 2).double().numpy(), shares[0])
    echoes /= echoes[0][torch.from_numpy(within).view(depth.shape)].abs().square().mean().sqrt()
    rng = torch.Generator().manual_seed(seed)
    noise = torch.view_as_complex(torch.randn(*echoes.shape, 2, generator=rng)) * 0.5**0.5
    return scanner.image(echoes + 10 ** (NOISE / 20) * noise)


def body_fields(body: Phantom, grid: ImageGrid, at: float, to: float) -> tuple[Tensor, Tensor]:
    """Return the displacement [2, H, W] in pixels from ``at`` to ``to`` at each pixel, and the body's mask [H, W]."""
    points = grid.points().numpy()
    field = body.displacement(points, at, to) / grid.spacing
    covered = torch.from_numpy(body.covers(points, at)).view(grid.shape)
    return torch.from_numpy(field.T.reshape(2, *grid.shape).copy()).float() * covered, covered


def write_phantoms(
    output_dir: str | Path,
    names: Sequence[str] = tuple(PHANTOMS),
    frames: int = 16,
    scatterers: int = 6000,
    size: int = 192,
    seeds: Sequence[int] = (0,),
    probe: Probe = PROBE,
    progress: bool = True,
) -> Path:
    """Write cases ``<body>_<seed>`` and their datalist (fold ``test``); existing cases are kept.

    Args:
        output_dir: folder of the cases.
        names: names in ``fields.analytic.PHANTOMS``.
        frames: number of frames, evenly from rest to the full motion.
        scatterers: number of scatterers per body.
        size: image size in pixels.
        seeds: seeds of scatterers and noise.
        probe: probe.
        progress: show progress bars.

    Returns:
        The path of the datalist.

    Raises:
        InputError: PyMUST is not installed, there are fewer than two frames, a body is unknown, or an existing case has
            other settings.
    """
    if frames < 2:
        raise InputError(f"frames {frames}: must be at least 2")
    output_dir, entries = Path(output_dir), []
    scanner = Scanner(probe, picture_grid(size))
    for seed in seeds:
        for name in names:
            body, case = get_phantom(name), f"{name}_{seed}"
            recipe = {"body": name, "frames": frames, "scatterers": scatterers, "size": size, "seed": seed}
            summary = output_dir / case / "summary.json"
            if summary.is_file():
                stored = json.loads(summary.read_text(encoding="utf-8"))
                if {key: stored.get(key) for key in recipe} != recipe:
                    raise InputError(f"{summary.parent}: was simulated with other settings; use another folder")
            else:
                check_targets([output_dir / case], [])
                with write_whole(output_dir / case) as beside:
                    beside.mkdir()
                    _write_case(beside, body, recipe, scanner, progress)
            files = {key: f"{case}/{key}.nii.gz" for key in ("ddf", "forward", "mask")}
            entries.append(
                {"case": case, "image": f"{case}/cine.nii.gz", **files, "body": name, "summary": f"{case}/summary.json"}
            )
    path = output_dir / "datalist.json"
    about = {
        "name": "Bodies with analytic motion, simulated by PyMUST",
        "description": "a rotating disc, a compressed block, a contracting ring",
        "compare": "compare_cine.json",
        "test": entries,
    }
    with write_whole(path) as beside:
        beside.write_text(json.dumps(about, indent=1), encoding="utf-8")
    return path


def _write_case(folder: Path, body: Phantom, recipe: dict[str, Any], scanner: Scanner, progress: bool) -> None:
    grid, shares = scanner.grid, np.linspace(0, 1, recipe["frames"]).tolist()
    images = body_frames(body, shares, scanner, recipe["scatterers"], recipe["seed"], progress)
    cine = MetaTensor(images[None], meta={"spacing": grid.spacing, "frame_times": None})
    write_cine(folder / "cine.nii.gz", cine)
    steps = list(pairwise(shares))
    back, forward = ([body_fields(body, grid, *pair) for pair in pairs] for pairs in ([s[::-1] for s in steps], steps))
    save_cine_ddf(folder / "ddf.nii.gz", torch.stack([field for field, _ in back]))
    save_cine_ddf(folder / "forward.nii.gz", torch.stack([field for field, _ in forward]))
    mask = torch.stack([covered for _, covered in back]).numpy().astype(np.uint8)
    with write_whole(folder / "mask.nii.gz") as beside:
        nibabel.save(nibabel.Nifti1Image(mask.transpose(2, 1, 0), np.diag([*grid.spacing[::-1], 1, 1])), beside)
    about = {"program": PROGRAM, **recipe, "spacing": list(grid.spacing), "origin": list(grid.origin)}
    (folder / "summary.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
