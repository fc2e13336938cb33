"""The strain pipeline by parts: processor ms a frame of a 50-frame 256×256 cine, from the bundle's own files.

The cine is simulated; the networks are those of the bundle where their weights are there, else untrained ones of the
same size. Processor time is that of all threads together: on as many idle cores as there are threads a run takes little
more than its part of it, on a shared machine longer. ``STRAIN_PIPELINE_MOTIONS`` (all) names motions, by commas.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.core.memory import peak_memory
from cardiac_motion.networks.segmentation_unet import SegmentationUNet
from cardiac_motion.networks.view_classifier import ViewClassifier
from cardiac_motion.networks.weights import save_weights
from cardiac_motion.simulation.datasets.dataset import TemplateSource
from cardiac_motion.simulation.datasets.write import write_cases

ROOT = Path(__file__).parents[1]
FRAMES = 50


def measure(folder: Path, cine: Path, motion: str) -> dict[str, Any]:
    """Processor ms a frame of each part with the motion of ``motion_<motion>.json``."""
    weights = {}
    for name, network in (("view", ViewClassifier()), ("segmentation", SegmentationUNet())):
        path = ROOT / f"bundles/strain_pipeline/models/{name}.pt"
        if not path.is_file():
            path = folder / f"{name}.pt"
            save_weights(network, path)
        weights[f"{name}_weights"] = str(path)
    out = folder / motion
    options = {"input": str(cine), "output_dir": str(out), "view": "A4C", "ed": 0, "es": 20, "mlflow": False, **weights}
    files = config_files(ROOT / "bundles/strain_pipeline", further=[f"motion_{motion}.json"])
    evaluator = content(parse_config(files, options), "evaluator")
    start = time.perf_counter()
    with patch("time.perf_counter", time.process_time):  # the clock of the parts
        evaluator.run()
    took = time.perf_counter() - start
    parts = json.loads((out / "cine/summary.json").read_text(encoding="utf-8"))["metrics"]
    found = {k.removeprefix("seconds_"): 1000 * v / FRAMES for k, v in parts.items() if k.startswith("seconds_")}
    return {
        "processor_ms_per_frame": {name: round(value, 1) for name, value in found.items()},
        "processor_seconds": round(parts["seconds"], 1),
        "seconds_on_this_shared_machine": round(took, 1),
        "peak_memory_GB": round(peak_memory() / 2**30, 2),
    }


def run() -> dict[str, Any]:
    """Every motion that needs no weights, and cpwc_echo where its weights are there."""
    motions = ["farneback", "nmsr"]
    if (ROOT / "bundles/cpwc_echo/models/model.pt").is_file():
        motions = ["cpwc", "material", *motions]
    wanted = [name for name in os.environ.get("STRAIN_PIPELINE_MOTIONS", "").split(",") if name]
    motions = [name for name in motions if not wanted or name in wanted]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cases(folder / "heart", TemplateSource(None), 1, FRAMES, 5)
        cine = next((folder / "heart").glob("*/cine.nii.gz"))
        return {
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "cine": f"{FRAMES} frames, 256 × 256",
            **{motion: measure(folder, cine, motion) for motion in motions},
        }


if __name__ == "__main__":
    from benchmarks.results import save

    save("strain_pipeline", run())
