"""Figures of ``docs/simulation.md``: parametric anatomy, and one recorded frame that is distributed with pydicom.

Drawn by ``python -m cardiac_motion.simulation figures``.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.plots import plt
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.simulation.datasets.rendered import SCENARIOS
from cardiac_motion.simulation.heart.anatomy import apical_of_prior, view
from cardiac_motion.simulation.sequence import Settings, Simulation, draw, probe_for
from cardiac_motion.simulation.ultrasound.artefacts import ARTEFACTS
from cardiac_motion.simulation.ultrasound.image import PROBES, Probe, Scanner
from cardiac_motion.simulation.ultrasound.reference import pymust_echoes
from cardiac_motion.simulation.ultrasound.speckle import BodyMotion, Speckle, TexturedBody
from cardiac_motion.ventricle.views import VIEWS

CLEAN = Settings(artefact=0.0, probes=("reference",), gls=(-0.2, -0.05), defect=0.0, shape=(320, 420))
COLOURS = 200  # palette size of a saved figure, to limit its file size


def write_figures(output_dir: Path) -> None:
    """Write every figure into a folder."""
    drawn = (
        ("steps", steps),
        ("scenarios", scenarios),
        ("views", views),
        ("artefacts", artefacts),
        ("probes", probes),
        ("pymust", compare_with_pymust),
    )
    for name, draw_figure in show_bar(drawn, "figures", "figure"):
        _save(output_dir / f"simulation_{name}.png", draw_figure())


def steps() -> Any:
    """Show the steps of a simulation: mesh, time course, scatterers, image, field."""
    simulation, _ = draw(view("apical_4ch", 11), 1, replace(CLEAN, gls=(-0.2, -0.2)))
    motion, grid = simulation.motion, simulation.grid
    late = int(np.argmin(np.abs(simulation.times - motion.end_systole_time)))
    figure, axes = plt.subplots(2, 3, figsize=(12, 7.4))
    frames = simulation.frames([0, late])
    for axis, frame, title in ((axes[0, 0], 0, "end-diastole"), (axes[0, 1], 1, "end-systole")):
        _picture(axis, frames[frame], title)
        nodes = grid.to_pixels(torch.as_tensor(motion.wall(simulation.times[[0, late]])[frame])).numpy()
        axis.triplot(nodes[:, 1], nodes[:, 0], motion.mesh.triangles, color="gold", lw=0.35)
    axes[0, 2].plot(simulation.times * 1e3, 100 * simulation.strains()["global"], "k", label="whole endocardium")
    for number, segment in enumerate(simulation.strains()["segments"]):
        axes[0, 2].plot(simulation.times * 1e3, 100 * segment, lw=0.8, label=f"sixth {number + 1}")
    axes[0, 2].set(xlabel="ms", ylabel="strain, %", title="strain of a beat")
    axes[0, 2].legend(fontsize=7)
    places, amplitudes = simulation.scatterers.frames(simulation.times[[0]])
    chosen = torch.arange(0, places.shape[1], 12)
    pixels = grid.to_pixels(places[0, chosen])
    axes[1, 0].scatter(pixels[:, 1], pixels[:, 0], s=0.4, c=amplitudes[0, chosen].abs() ** 0.4, cmap="gray", vmax=0.7)
    axes[1, 0].set(title="scatterers, one in twelve", facecolor="black", aspect="equal", xlim=(0, 419), ylim=(319, 0))
    echoes = simulation.echoes([0])[0].abs()
    level = (1 + 20 * torch.log10(echoes.clamp_min(1e-6)) / 60).clamp(0, 1)
    axes[1, 1].imshow(level, cmap="gray", aspect="auto", extent=(-1, 1, float(simulation.scanner.ranges[-1]), 0))
    axes[1, 1].set(title="echoes: range (mm) and beams", xticks=[])
    step = max(2, late // 2)
    _picture(axes[1, 2], frames[0], "field of the wall, mid-systole")
    (field,), mask = simulation.fields(step, [step + 1])
    wall = motion.fields(grid, float(simulation.times[step]), [0.0])[2] & mask[0]
    rows, columns = np.nonzero(wall.numpy())
    thin = slice(None, None, 60)
    axes[1, 2].quiver(
        columns[thin], rows[thin], field[1][wall][thin], field[0][wall][thin],
        color="gold", angles="xy", scale_units="xy", scale=0.12, width=0.003,
    )  # fmt: skip
    for axis in (axes[1, 0], axes[1, 1], axes[1, 2]):
        axis.tick_params(labelsize=7)
    figure.tight_layout()
    return figure


def views() -> Any:
    """Show the eight views at end-diastole."""
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.4))
    for axis, name in zip(axes.flat, VIEWS, strict=True):
        _picture(axis, _clean(name, 2).frames([0])[0], name.replace("_", " "))
    figure.tight_layout()
    return figure


def scenarios() -> Any:
    """Show two frames of a patient in every scenario, the field's magnitude, and where it is valid."""
    figure, axes = plt.subplots(len(SCENARIOS), 5, figsize=(10, 2.05 * len(SCENARIOS)))
    template = apical_of_prior("apical_4ch", 5)
    for row, name in zip(axes, SCENARIOS, strict=True):
        if name == "speckle":
            body = TexturedBody("ring", (85.0, 8.0), 45.0, 28.0)
            scanner = draw(template, 1, CLEAN)[0].scanner
            turning = BodyMotion((85.0, 8.0), turn=0.02, radial=-25.0)
            pair = Speckle(body, turning, BodyMotion(), np.arange(5), scanner, level=0.15).pair(4, 0)
            pair["ground"] = torch.zeros_like(pair["mask"])
        else:
            pair = draw(template, 1, replace(CLEAN, gls=(-0.2, -0.2), scenarios={name: 1.0}))[0].pair(13, 8)
        for column, key in enumerate(("moving", "fixed")):
            _picture(row[column], pair["image"][column], f"{name}: {key}")
        length = pair["ddf"].norm(dim=0) * float(pair["spacing"][0])
        row[2].imshow(length * ((pair["mask"] + pair["ground"])[0] > 0), vmin=0, vmax=6)
        row[2].set_title("field, 0 to 6 mm", fontsize=9)
        row[2].axis("off")
        _picture(row[3], pair["mask"][0], "mask")
        _picture(row[4], pair["ground"][0], "ground")
    figure.tight_layout()
    return figure


def artefacts() -> Any:
    """Show one frame without and with each artefact at strengths 0.4 and 1; decorrelation after eight frames."""
    simulation = _clean("apical_4ch", 11)
    figure, axes = plt.subplots(3, len(ARTEFACTS) + 1, figsize=(16, 5.2))
    _picture(axes[0, 0], simulation.frames([8])[0], "none")
    for axis in axes[1:, 0]:
        axis.axis("off")
    clean = simulation.frames([8])[0]
    for column, (name, kind) in enumerate(ARTEFACTS.items(), 1):
        for row, strength in enumerate((0.4, 1.0)):
            simulation.artefacts = (kind(strength, 5),)
            distorted = simulation.frames([8])[0]
            _picture(axes[row, column], distorted, f"{name.replace('_', ' ')} {strength}")
        axes[2, column].imshow((distorted - clean), cmap="RdBu", vmin=-0.6, vmax=0.6)
        axes[2, column].set_title("difference", fontsize=8)
        axes[2, column].axis("off")
    figure.tight_layout()
    return figure


def probes() -> Any:
    """Show the same heart with every probe preset."""
    template = view("apical_2ch", 4)
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.4))
    axes[1, 3].axis("off")
    for axis, (name, probe) in zip(axes.flat, PROBES.items(), strict=False):
        simulation, _ = draw(template, 1, CLEAN)
        scanner = Scanner(probe_for(template, probe), simulation.grid)
        simulation.scanner = scanner
        _picture(axis, simulation.frames([0])[0], f"{name}, {probe.frequency / 1e6:.2g} MHz")
    figure.tight_layout()
    return figure


def compare_with_pymust() -> Any:
    """Compare one diverging wave by PyMUST and by the model; focused beams; a recorded frame."""
    template = view("apical_4ch", 11)
    probe = Probe(depth=template.depth, width=50.0, focus=None, dynamic_range=55.0)
    simulation, _ = draw(replace(template, width=50.0), 1, replace(CLEAN, scatterers=12_000))
    scanner, focused = Scanner(probe), Scanner(probe.replace(focus=70.0))
    places, amplitudes = simulation.scatterers.frames([0.0])
    model = scanner.echoes(places, amplitudes, simulation.scatterers.density)
    physical = pymust_echoes(places[0], amplitudes[0], probe, scanner.ranges[::2], scanner.sines[::3]).abs()
    depth_gain = [e.square().mean(1, keepdim=True).sqrt() for e in (model[0, ::2].abs(), physical)]
    physical = physical * (depth_gain[0] / depth_gain[1].clamp_min(1e-9))
    spread = functional.interpolate(physical[None, None], size=model.shape[1:], mode="bilinear")[0]
    figure, axes = plt.subplots(1, 4, figsize=(15, 4))
    _picture(axes[0], scanner.image(spread.to(torch.complex64))[0], "PyMUST, one diverging wave")
    _picture(axes[1], scanner.image(model)[0], "this model, one diverging wave")
    echoes = focused.echoes(places, amplitudes, simulation.scatterers.density)
    _picture(axes[2], focused.image(echoes)[0], "this model, focused beams")
    _picture(axes[3], torch.as_tensor(_read_recorded()), "recorded frame (pydicom's example)")
    figure.tight_layout()
    return figure


def _read_recorded() -> NDArray[np.float32]:
    import pydicom
    from pydicom.examples import get_path

    frame = pydicom.dcmread(get_path("ybr_color")).pixel_array[0]
    grey = (frame[..., 0] if frame.ndim == 3 else frame).astype(np.float32)
    return np.asarray(np.minimum(grey[20:205, 40:280] / 140, 1))


def _clean(name: str, seed: int) -> Simulation:
    return draw(view(name, seed), 1, CLEAN)[0]


def _picture(axis: Any, frame: Tensor, title: str) -> None:
    axis.imshow(frame, cmap="gray", vmin=0, vmax=1)
    axis.set_title(title, fontsize=9)
    axis.axis("off")


def _save(path: Path, figure: Any) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, format="png")
    plt.close(figure)
    small = Image.open(buffer).convert("RGB").quantize(COLOURS)
    with write_whole(path) as beside:
        small.save(beside, format="PNG", optimize=True)
