"""The pictures of README, index and cards, made anew by one command: ``python docs/figures.py``.

The demo cine (the apical four-chamber cine that ships with pydicom) is measured by the default of strain_pipeline into
``output/figures``, unless a result is there. From it come ``pipeline.png`` (the steps from a cine to strain),
``ncc_flow.png`` (how NCC flow works) and ``strain_report.png`` (the first page of the report, by Chromium);
``workbench.png`` is the workbench with the same cine, by Playwright;
``lncc2_epe.png`` comes from ``benchmarks/results/nmsr_echo.json``. Names of pictures after the command make those
alone. The pictures of simulated ultrasound are made by ``python -m cardiac_motion.simulation figures``.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import cardiac_motion as cm
from cardiac_motion.core.plots import plt
from cardiac_motion.networks.ncc_flow import ncc_volume, standardise

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for ``tests.workbench``, which drives the page
IMAGES, OUTPUT = ROOT / "docs/images", ROOT / "output/figures"
COLOURS = ("#d55e00", "#e69f00", "#cc79a7", "#009e73", "#56b4e9", "#0072b2")  # of segments, as in the report
SEARCH = 12  # pixels of half the size, on either side
Array = NDArray[np.float32]


def measure_demo() -> Path:
    """Measure the demo cine by the default, unless that was done; returns the folder of the case."""
    case = OUTPUT / "strain/examples_ybr_color"
    if not (case / "report.html").is_file():
        words = ["strain", cm.demo_cine(), "--output_dir", str(OUTPUT / "strain"), "--mlflow", "False"]
        subprocess.run([sys.executable, "-m", "cardiac_motion.command", *words], cwd=ROOT, check=True)
    return case


def read_frames() -> Array:
    """Return the grey values of the demo cine ``[T, H, W]``, cropped to the sector."""
    frames: Array = cm.read_cine(cm.demo_cine())[0].numpy()[:, 20:220, 20:300]
    return frames


def draw_pipeline(path: Path) -> None:
    """Draw the steps from a cine to strain: view, wall, motion, tracked wall, curves."""
    case = measure_demo()
    summary: dict[str, Any] = json.loads((case / "summary.json").read_text(encoding="utf-8"))
    contours = json.loads((case / "contours.json").read_text(encoding="utf-8"))
    frames, beat = read_frames(), summary["beats"][0]
    field = cm.register(cm.read_cine(cm.demo_cine())[:, beat["ed"] + 4 : beat["ed"] + 6]).ddf[0].numpy()
    figure, axes = plt.subplots(1, 5, figsize=(15, 2.7), width_ratios=[1, 1, 1, 1, 1.2])
    for axis in axes[:4]:
        axis.set_axis_off()
    probability = summary["view_probabilities"][summary["view"]]
    titles = (
        f"1 View: {summary['view']} ({probability:.2f})", f"2 Wall at end-diastole (frame {beat['ed']})",
        "3 Motion between frames (× 6)", f"4 Tracked wall at end-systole ({beat['es']})", "5 Strain",
    )  # fmt: skip
    axes[0].imshow(frames[beat["ed"]], cmap="gray")
    for axis, frame in ((axes[1], beat["ed"]), (axes[3], beat["es"])):
        axis.imshow(frames[frame], cmap="gray")
        k = contours["frames"].index(frame)
        for layer, colour in (("endocardium", "#ffc20a"), ("mid-wall", "#ffffff"), ("epicardium", "#7fb3ff")):
            line = np.array(contours[layer][k]) - 20
            axis.plot(line[:, 1], line[:, 0], color=colour, lw=1.4)
    axes[2].imshow(frames[beat["ed"] + 5], cmap="gray")
    inner = field[:, 20:220, 20:300]
    rows, columns = np.mgrid[10:200:9, 10:280:9]
    moves = -inner[:, rows, columns]  # the tissue moves against the field
    shown = (frames[beat["ed"] + 5][rows, columns] > 0.08) & (np.hypot(*moves) > 0.15)
    axes[2].quiver(
        columns[shown], rows[shown], moves[1][shown], moves[0][shown], color="#ffc20a", angles="xy", scale_units="xy",
        scale=1 / 6, width=0.004,
    )  # fmt: skip
    with open(case / "strain.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    frame_numbers = [int(row["frame"]) for row in table]
    for segment, colour in zip(beat["segments"], COLOURS, strict=True):
        values = [float(row[f"{segment['name']} (%)"]) for row in table]
        axes[4].plot(frame_numbers, values, color=colour, label=segment["name"], lw=1.3)
    axes[4].plot(frame_numbers, [float(row["gls (%)"]) for row in table], color="black", lw=2.2, label="GLS")
    axes[4].set(xlabel="frame", ylabel="strain, %")
    axes[4].legend(fontsize=6, frameon=False)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=9)
    save(figure, path)


def draw_ncc_flow(path: Path) -> None:
    """Draw how NCC flow works: two frames, the local NCC over all shifts at one place, the field, its deviation."""
    cine = cm.read_cine(cm.demo_cine())[:, 23:25]
    pair = torch.as_tensor(cine.numpy())
    network = cm.load("cpwc_echo")
    with torch.no_grad():
        ddf, deviation = network.forward_with_deviation(pair)
        half = torch.nn.functional.avg_pool2d(pair, 2)[..., :112, :]
        volume = ncc_volume(standardise(half[:, 1:]), standardise(half[:, :1]), SEARCH, stride=16)
    row, column = 144, 208  # the lateral wall
    shifts = volume[0, :, row // 32, column // 32].view(2 * SEARCH + 1, 2 * SEARCH + 1).numpy()
    figure, axes = plt.subplots(1, 5, figsize=(15, 2.7))
    shown = pair[0, :, 20:220, 20:300].numpy()
    for axis, image, title in zip(axes[:2], shown, ("Moving frame", "Fixed frame"), strict=True):
        axis.imshow(image, cmap="gray")
        axis.set_title(title, fontsize=9)
        axis.plot(column - 20, row - 20, "+", color="#ffc20a", ms=12, mew=2)
    extent = (-2 * SEARCH - 1, 2 * SEARCH + 1, 2 * SEARCH + 1, -2 * SEARCH - 1)
    axes[2].imshow(shifts, cmap="magma", extent=extent, aspect="auto")
    axes[2].plot(float(ddf[0, 1, row, column]), float(ddf[0, 0, row, column]), "o", mfc="none", mec="white", ms=10)
    axes[2].set(xlabel="shift of columns, px", ylabel="shift of rows, px")
    axes[2].set_title("Local NCC at + (○: the network's answer)", fontsize=9)
    inner = slice(20, 220), slice(20, 300)
    parts = ((ddf[0].norm(dim=0)[inner], "Length of the field, px", "viridis", None),
             (deviation[0].norm(dim=0)[inner], "Its standard deviation, px", "cividis", 4.0))  # fmt: skip
    for axis, (values, title, colours, highest) in zip(axes[3:], parts, strict=True):
        picture = axis.imshow(values.numpy(), cmap=colours, vmax=highest)
        axis.set_title(title, fontsize=9)
        figure.colorbar(picture, ax=axis, fraction=0.035)
    for axis in (*axes[:2], *axes[3:]):
        axis.set_axis_off()
    save(figure, path)


def draw_similarity(path: Path) -> None:
    """Draw image similarity against endpoint error, of the benchmark of nmsr_echo."""
    found = json.loads((ROOT / "benchmarks/results/nmsr_echo.json").read_text(encoding="utf-8"))["simulated"]
    titles = {"identity": "identity", "fast": "nmsr_echo, fast", "motion": "nmsr_echo, motion",
              "diffeomorphic": "nmsr_echo, diffeomorphic", "ants_cc": "ANTs, CC"}  # fmt: skip
    figure, axis = plt.subplots(figsize=(5.6, 3.4))
    for name, title in titles.items():
        values = found[name]
        axis.plot(values["lncc2"], values["epe_mm_per_frame"], "o", ms=8)
        across, up = {"identity": (9, -4), "motion": (9, -4), "fast": (-4, 14)}.get(name, (-9, -4))
        axis.annotate(title, (values["lncc2"], values["epe_mm_per_frame"]), xytext=(across, up),
                      textcoords="offset points", ha="left" if across > 0 else "right")  # fmt: skip
    axis.set(xlabel="LNCC² of warped and fixed frame", ylabel="endpoint error, mm a frame", ylim=(0, 0.75))
    axis.set_title("Simulated cines with artefacts", fontsize=10)
    save(figure, path)


def picture_report(path: Path) -> None:
    """Take the first page of the report by headless Chromium."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("error: the picture of the report needs Chromium (apt-get install chromium)")
    page = measure_demo() / "report.html"
    with tempfile.TemporaryDirectory() as folder:
        words = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder}"]
        words += ["--window-size=1200,1250", f"--screenshot={path}", page.resolve().as_uri()]
        subprocess.run([program, *words], check=True, capture_output=True, timeout=300)


def picture_workbench(path: Path) -> None:
    """Picture the workbench with the example, one handle of whose wall was dragged; by Playwright."""
    from playwright.sync_api import sync_playwright

    from tests.workbench.person import drag, show_frame
    from tests.workbench.serving import Workbench

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bench = Workbench(folder)
        try:
            program = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            page.goto(bench.address)
            page.fill("#who", "Ada")
            page.click("#example")
            page.wait_for_selector("#gls[data-method=cpwc]", timeout=1_800_000)
            show_frame(page, int(page.input_value("#ed")))
            drag(page, 2, -14)
            page.wait_for_function("() => !workbench.state.info.progress && !workbench.state.busy", timeout=600_000)
            page.mouse.move(5, 5)
            page.screenshot(path=path)
            browser.close()
        finally:
            bench.stop()


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG."""
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


FIGURES: Mapping[str, Callable[[Path], None]] = {
    "pipeline": draw_pipeline, "ncc_flow": draw_ncc_flow, "lncc2_epe": draw_similarity, "strain_report": picture_report,
    "workbench": picture_workbench,
}  # fmt: skip


def main(words: list[str]) -> None:
    """Draw all figures, or those named."""
    unknown = sorted(set(words) - set(FIGURES))
    if unknown:
        sys.exit(f"error: no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    for name in words or FIGURES:
        FIGURES[name](IMAGES / f"{name}.png")
        print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
