"""Seconds a pair of frames of cpwc_echo's networks and of the other 2D methods, in one run, on two threads.

The networks of the papers run with random weights here: their time does not depend on them. Where there is a GPU, the
networks also run there at 448 × 384, the paper's size.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.results import ROOT
from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.comparators.farneback import Farneback
from cardiac_motion.comparators.fft_xcorr import FFTXCorr
from cardiac_motion.registration.pairwise import PairwiseInferer

NETWORKS = {"ncc_flow": [], "small_pwc": ["small_pwc"], "pwc_net": ["pwc_net"], "c_pwc_net": ["c_pwc_net"]}
SIZE, PAPER_SIZE = (256, 256), (448, 384)
REPEATS = 5


def network_of(names: list[str]) -> nn.Module:
    """The network of a configuration of the bundle, with random weights."""
    files = config_files(ROOT / "bundles/cpwc_echo", further=[f"{name}.json" for name in names])
    network: nn.Module = content(parse_config(files, {}), "network_def")
    return network


def seconds(network: nn.Module, image: Tensor, composition: bool = False) -> float:
    """Least seconds of a pair ``image [1, 2, H, W]``, after one pass that is not counted."""
    inferer = PairwiseInferer(composition=composition, progress=False)
    best = float("inf")
    for run in range(REPEATS + 1):
        start = time.perf_counter()
        inferer(image, network)
        best = min(best, time.perf_counter() - start) if run else best
    return best


def run() -> dict[str, Any]:
    """Seconds a pair of each, and how many times slower than ``ncc_flow`` it is."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    image = torch.rand(1, 2, *SIZE)
    found: dict[str, Any] = {"size": SIZE, "threads": 2}
    networks = {name: network_of(files) for name, files in NETWORKS.items()}
    methods = {**networks, "farneback": Farneback(), "fft_xcorr": FFTXCorr()}
    for name, network in methods.items():
        found[name] = {"seconds": round(seconds(network, image), 4)}
        if name in networks:
            found[name]["seconds_with_composition"] = round(seconds(network, image, True), 4)
    for name in methods:
        found[name]["over_ncc_flow"] = round(found[name]["seconds"] / found["ncc_flow"]["seconds"], 2)
    if torch.cuda.is_available():
        pair = torch.rand(1, 2, *PAPER_SIZE, device="cuda")
        found["gpu"] = {
            "device": torch.cuda.get_device_name(),
            "size": PAPER_SIZE,
            **{name: round(seconds(network.cuda(), pair), 4) for name, network in networks.items()},
        }
    return found
