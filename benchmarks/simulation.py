"""Speed of the simulator: frames a second, in ratio to PyMUST, and the memory of a long run.

``python -m benchmarks.simulation`` prints the numbers and leaves them in ``benchmarks/results/simulation.json``.
``--patients N --templates FOLDER`` measures the memory and time of writing N patients of 40 frames too.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.results import save
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.memory import peak_memory
from cardiac_motion.simulation.datasets.dataset import SimulatedPairs, TemplateSource
from cardiac_motion.simulation.datasets.write import write_cases
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.sequence import Settings, Simulation, draw
from cardiac_motion.simulation.ultrasound.image import Probe, Scanner
from cardiac_motion.simulation.ultrasound.reference import pymust_echoes

SCATTERERS = 200_000
FRAMES = 40


def run(templates: str | None = None, patients: int = 0) -> dict[str, Any]:
    """Measure; ``templates`` and ``patients`` add a run of the writing command's function."""
    results: dict[str, Any] = {"scatterers": SCATTERERS, "image": [256, 256], "cores": multiprocessing.cpu_count()}
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results[f"frames_per_s_{threads}_threads"] = frames_per_second()
    torch.set_num_threads(1)
    with multiprocessing.get_context("spawn").Pool(2, torch.set_num_threads, (1,)) as pool:
        results["frames_per_s_2_processes"] = sum(pool.map(_worker, range(2)))
    results["stages_ms"] = stages()
    results["pairs_per_s"] = pairs_per_second()
    if torch.cuda.is_available():
        results["gpu"] = torch.cuda.get_device_name()
        results["frames_per_s_gpu"] = frames_per_second("cuda")
    results |= compare_with_pymust()
    torch.set_num_threads(before)
    if patients:
        results["writing"] = measure_writing(templates, patients)
    return results


def simulation(device: str = "cpu") -> Simulation:
    """A beat of an apical view without artefacts."""
    settings = Settings(artefact=0.0, probes=("reference",), scatterers=SCATTERERS)
    return draw(view("apical_4ch", 0), 3, settings, FRAMES, device)[0]


def frames_per_second(device: str = "cpu", repeats: int = 3) -> float:
    """Best of some repeats of a whole beat, motion to picture."""
    cine = simulation(device)
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        for chunk in cine.chunks():
            chunk.sum().item()
        best = min(best, time.perf_counter() - start)
    return round(FRAMES / best, 1)


def _worker(_: int) -> float:
    return frames_per_second()


def stages() -> dict[str, float]:
    """CPU milliseconds a frame of each stage, one thread, chunks of four frames; best of five."""
    cine, frames = simulation(), range(4)
    scanner, scatterers = cine.scanner, cine.scatterers
    places, amplitudes = scatterers.frames(cine.times[:4], frames)
    grids = torch.stack([scanner.splat(p, a) for p, a in zip(places, amplitudes, strict=True)])
    echoes = scanner.respond(grids)
    steps = {
        "motion": lambda: scatterers.frames(cine.times[:4], frames),
        "splat": lambda: [scanner.splat(p, a) for p, a in zip(places, amplitudes, strict=True)],
        "convolution": lambda: scanner.respond(grids),
        "display": lambda: scanner.image(echoes),
        "field": lambda: [cine.fields(1 + k, [k]) for k in range(4)],
    }
    found = {}
    for name, step in steps.items():
        times = []
        for _ in range(5):
            start = time.process_time()
            step()
            times.append(time.process_time() - start)
        found[name] = round(1000 * min(times) / 4, 2)
    return found


def pairs_per_second() -> float:
    """Training pairs a second with their fields, a fresh patient every eight, artefacts on, one thread."""
    stream = iter(SimulatedPairs(settings={"scatterers": SCATTERERS}))
    next(stream)
    start = time.perf_counter()
    for _ in range(24):
        next(stream)
    return round(24 / (time.perf_counter() - start), 1)


def compare_with_pymust() -> dict[str, float]:
    """Seconds for one frame of the same 5,000 scatterers by PyMUST and by the model, and the ratio.

    A diverging wave is one transmit; the paper's frames are 128 focused ones, of which two are timed.
    """
    generator = torch.Generator().manual_seed(0)
    found: dict[str, float] = {}
    for name, focus, transmits in (("diverging", None, 1), ("focused", 60.0, 128)):
        probe = Probe(depth=120.0, focus=focus)
        distance = 115 * torch.rand(5000, generator=generator).sqrt()
        angle = probe.half_angle * (2 * torch.rand(5000, generator=generator) - 1)
        points = torch.stack([distance * angle.cos(), distance * angle.sin()], dim=1)
        amplitudes = torch.randn(5000, generator=generator)
        scanner = Scanner(probe)
        scanner.echoes(points[None], amplitudes, 1.0)
        start = time.perf_counter()
        for _ in range(5):
            scanner.echoes(points[None], amplitudes, 1.0)
        model = (time.perf_counter() - start) / 5
        columns = scanner.sines[::8] if focus is None else scanner.sines[100:102]
        start = time.perf_counter()
        pymust_echoes(points, amplitudes, probe, scanner.ranges[::2], columns)
        physical = time.perf_counter() - start
        if focus is not None:
            physical *= transmits / len(columns)
        found[f"pymust_{name}_s"], found[f"model_{name}_s"] = round(physical, 2), round(model, 4)
        found[f"ratio_{name}"] = round(physical / model)
    return found


def measure_writing(templates: str | None, patients: int) -> dict[str, Any]:
    """Time and memory of writing patients in turn: the greatest resident MB so far after each tenth of them."""
    memory = []
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for share in range(1, 11):
            failed = write_cases(folder, TemplateSource(templates), max(1, patients * share // 10), FRAMES)
            memory.append(round(peak_memory() / 2**20))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.gz")) / 2**20
    seconds = time.perf_counter() - start
    return {
        "patients": patients,
        "failed": len(failed),
        "seconds_a_patient": round(seconds / patients, 2),
        "mb_a_patient": round(size / patients, 1),
        "peak_resident_mb": memory,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    parser = CommandParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--templates", help="folder of CAMUS-like patients")
    parser.add_argument("--patients", type=int, default=0)
    options = parser.parse_args(words)
    save("simulation", run(options.templates, options.patients))


if __name__ == "__main__":
    main()
