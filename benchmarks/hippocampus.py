"""SSMSR on the hippocampus against the comparators: seconds a case and Dice on the same targets, in one run.

Targets are validation cases of Task04 where ``DATA_DIR`` has it, else synthetic volumes. Same machine, same threads;
CPU seconds are told beside the clock's, which other work on the machine lengthens.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from monai.data import MetaTensor

from benchmarks.results import ROOT
from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.registration.atlas import AtlasSegmentation
from cardiac_motion.registration.overlap import segmentation_scores
from cardiac_motion.volume.volume_case import LABELS

METHODS = {
    "ssmsr": ("ssmsr_hippocampus", []),
    "voxelmorph": ("voxelmorph", []),
    "ffd": ("niftyreg", []),
    "ants_quick": ("ants_syn", ["quick.json"]),
    "ants_cc": ("ants_syn", []),
}
TARGETS = 3


def run() -> dict[str, Any]:
    """Mean seconds (clock, CPU) and Dice of each method, and how many times faster than ANTs CC ``ssmsr`` is."""
    data = os.environ.get("DATA_DIR")
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "targets": TARGETS, "real": bool(data)}
    for name, (bundle, files) in METHODS.items():
        found[name] = measure(bundle, files, data)
        print(f"  {name}: {found[name]}", flush=True)
    for kind in ("seconds", "cpu_seconds", "registration_seconds"):
        found[f"{kind}_ants_cc_over_ssmsr"] = round(found["ants_cc"][kind] / found["ssmsr"][kind], 2)
    return found


def measure(bundle: str, files: list[str], data: str | None) -> dict[str, float]:
    """Means over the targets of one bundle's configuration."""
    options = {"datalist": str(ROOT / "data_lists/hippocampus.json"), "dataset_dir": data} if data else {}
    parser = parse_config(config_files(ROOT / "bundles" / bundle, further=files), options)
    dataset, network, postprocessing = (content(parser, name) for name in ("dataset", "network", "postprocessing"))
    inferer: AtlasSegmentation = content(parser, "inferer")
    rows = []
    for index in range(TARGETS):
        case = dataset[index]
        clock, cpu = time.perf_counter(), time.process_time()
        with torch.no_grad():
            result = inferer(case.image, network, case.mask)
        seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
        label = postprocessing({"image": case.volume, "pred": MetaTensor(result.memberships[0])})["pred"][0]
        dice = segmentation_scores(label, torch.from_numpy(case.label.copy()), LABELS, (1, 1, 1))["dice"]
        rows.append((seconds, cpu_seconds, result.registration_seconds, dice))
    names = ("seconds", "cpu_seconds", "registration_seconds", "dice")
    return {name: round(sum(row[i] for row in rows) / len(rows), 4) for i, name in enumerate(names)}
