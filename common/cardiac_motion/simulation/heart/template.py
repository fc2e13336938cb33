"""Appearance of a simulated heart at end-diastole: brightness, position of the wall, and sector.

A template comes from a recorded frame with its mask (here) or from parametric anatomy (``anatomy``). Brightness is the
scatterers' standard deviation, (I / 255)^(1/gamma), as in Evain et al. 2022, section II-A.1; 1 is white.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cardiac_motion.cine.labels import read_plane
from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.ventricle.mesh import Array, Mesh, is_inside_outlines, myocardial_contours, myocardial_mesh

GAMMA = 0.3  # nearly inverted by compression with a dynamic range of 60 dB
_GRAIN = 0.35  # mm: smoothing of the recorded speckle before new speckle is drawn
_WALL_MARGIN = 2.0  # mm around the wall that are not copied into the static background


@dataclass(frozen=True)
class Template:
    """Start of a simulation.

    Attributes:
        brightness: standard deviation of the scatterers [H, W], 0 to 1, at end-diastole.
        grid: positions of its pixels.
        mesh: wall at end-diastole, mm.
        end_systole: its nodes at end-systole [N, 2], or None to generate them.
        depth: depth of the sector, mm.
        width: opening angle of the sector, degrees.
        static: whether the tissue around the wall is static, as in the paper, or follows the wall with decay.
        name: name in errors and files.
        view: echocardiographic view.
    """

    brightness: NDArray[np.float32]
    grid: ImageGrid
    mesh: Mesh
    end_systole: Array | None
    depth: float
    width: float
    static: bool = True
    name: str = "template"
    view: str = "apical_4ch"

    def background(self) -> NDArray[np.float32]:
        """Return the brightness [H, W] with the wall replaced by the nearest surrounding tissue."""
        points = self.grid.points().numpy()
        wall = is_inside_outlines(points, [self.mesh.nodes[o] for o in self.mesh.outlines()]).reshape(self.grid.shape)
        away = ndimage.distance_transform_edt(~wall, sampling=self.grid.spacing) > _WALL_MARGIN
        nearest = ndimage.distance_transform_edt(~away, return_distances=False, return_indices=True)
        filled = self.brightness[tuple(nearest)]
        smooth = ndimage.gaussian_filter(filled, [1.5 / s for s in self.grid.spacing])
        return np.where(away, self.brightness, smooth).astype(np.float32)


def find_sector(
    frame: NDArray[np.floating], spacing: tuple[float, float], name: str = "template"
) -> tuple[tuple[float, float], float, float]:
    """Detect the sector of a frame with a black background.

    Returns:
        Apex (row, column) in mm, depth in mm, and half-angle in rad.

    Raises:
        InputError: no sector is found.
    """
    lit = ndimage.binary_opening(ndimage.binary_closing(frame > 0, iterations=3), iterations=2)
    rows = np.flatnonzero(lit.any(1))
    if len(rows) < 20:
        raise InputError(f"{name}: no imaging sector on a black background was found in the frame")
    width = lit.shape[1]
    first, last = lit.argmax(1), width - 1 - lit[:, ::-1].argmax(1)
    part = rows[(rows > rows[0] + 0.12 * len(rows)) & (rows < rows[0] + 0.55 * len(rows))]
    edges = []
    for column, free in ((first, first > 1), (last, last < width - 2)):
        use = part[free[part]]
        if len(use) < 8:
            raise InputError(f"{name}: the edges of the imaging sector are cut off or not straight")
        slope, offset = np.polyfit(use, column[use], 1)
        for _ in range(3):
            residual = np.abs(column[use] - slope * use - offset)
            use = use[residual <= max(np.median(residual) * 2, 1.0)]
            slope, offset = np.polyfit(use, column[use], 1)
        edges.append((slope, offset))
    (left, a), (right, b) = edges
    if right - left < 0.2:
        raise InputError(f"{name}: the edges of the imaging sector do not open downwards")
    apex_row = (a - b) / (right - left)
    apex = (apex_row * spacing[0], (left * apex_row + a) * spacing[1])
    ratio = spacing[1] / spacing[0]
    half = 0.5 * (math.atan(right * ratio) - math.atan(left * ratio))
    y, x = np.nonzero(lit)
    distance = np.hypot(y * spacing[0] - apex[0], x * spacing[1] - apex[1])
    return apex, float(np.percentile(distance, 99.8)), half


def template_from_frame(
    frame: NDArray[np.floating],
    mask: NDArray[np.integer],
    spacing: tuple[float, float],
    mask_end_systole: NDArray[np.integer] | None = None,
    gamma: float = GAMMA,
    name: str = "template",
) -> Template:
    """Build a template from a recorded frame at end-diastole.

    Args:
        frame: grey values [H, W], 0 to 255.
        mask: labels [H, W]: 1 cavity, 2 myocardium.
        spacing: mm per pixel, (row, column).
        mask_end_systole: labels at end-systole, or None.
        gamma: exponent of the frame's compression.
        name: name in error messages.

    Raises:
        InputError: sizes differ, a label is missing, contours cross, or no sector is found.
    """
    if frame.ndim != 2 or frame.shape != mask.shape:
        raise InputError(f"{name}: the frame's shape {tuple(frame.shape)} differs from its mask's {tuple(mask.shape)}")
    if not np.isfinite(frame).all() or frame.min() < 0 or frame.max() > 255 or frame.max() <= 1:
        raise InputError(f"{name}: grey values must be from 0 to 255, got {frame.min():g} to {frame.max():g}")
    if not 0.05 <= gamma <= 1:
        raise InputError(f"{name}: gamma {gamma} is outside 0.05 to 1")
    apex, depth, half_angle = find_sector(frame, spacing, name)
    origin = np.asarray(apex)
    meshes = []
    for labels, phase in ((mask, "end-diastole"), (mask_end_systole, "end-systole")):
        if labels is None:
            continue
        if labels.shape != frame.shape:
            raise InputError(
                f"{name}: the {phase} mask's shape {tuple(labels.shape)} differs from the frame's {tuple(frame.shape)}"
            )
        endo, epi = myocardial_contours(labels, spacing, name=f"{name} ({phase})")
        meshes.append(myocardial_mesh(endo - origin, epi - origin, name=f"{name} ({phase})"))
    grey = ndimage.gaussian_filter(frame.astype(np.float32) / 255, [_GRAIN / s for s in spacing])
    return Template(
        brightness=(grey ** (1 / gamma)).astype(np.float32),
        grid=ImageGrid((frame.shape[0], frame.shape[1]), spacing, (-apex[0], -apex[1])),
        mesh=meshes[0],
        end_systole=meshes[1].nodes if len(meshes) > 1 else None,
        depth=depth,
        width=math.degrees(2 * half_angle),
        name=name,
    )


def read_template(frame: Path, mask: Path, mask_end_systole: Path | None = None, gamma: float = GAMMA) -> Template:
    """Read a template from NIfTI files stored as (X, Y), as in CAMUS.

    Raises:
        InputError: a file is missing or unreadable, or see ``template_from_frame``.
    """
    image, zooms = read_plane(frame)
    column, row = (float(s) for s in zooms[:2])
    labels, _ = read_plane(mask)
    labels_es = None if mask_end_systole is None else read_plane(mask_end_systole)[0]
    return template_from_frame(image, labels, (row, column), labels_es, gamma, name=frame.name.removesuffix(".nii.gz"))


def find_templates(folder: Path, patients: Sequence[str] | None = None) -> list[tuple[str, Path, Path, Path | None]]:
    """Find the CAMUS-like patients of a folder: (name, frame, mask, end-systolic mask or None), sorted by name.

    Raises:
        InputError: the folder is missing or contains no patient.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of templates")
    patients_found = []
    for frame in sorted(folder.glob("*/*_4CH_ED.nii.gz")):
        name = frame.parent.name
        if patients is not None and name not in patients:
            continue
        mask, late = (frame.with_name(f"{name}_4CH_{phase}_gt.nii.gz") for phase in ("ED", "ES"))
        patients_found.append((name, frame, mask, late if late.exists() else None))
    if not patients_found:
        raise InputError(f"{folder}: contains no templates named <patient>/<patient>_4CH_ED.nii.gz")
    return patients_found
