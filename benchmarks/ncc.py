"""Local NCC, forward and backward, against MONAI's loss: seconds and peak memory, in ratio.

MONAI filters five images with each separable kernel and records the graph of all of it; ours merges the moments of ever
wider windows (O(log radius) passes) and keeps three maps for an analytic gradient of three box sums.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss
from torch import nn

from cardiac_motion.core.memory import peak_memory
from cardiac_motion.fields.ncc import LocalNCCLoss

CASES = {
    "768x1024 radius 6": ((768, 1024), 6),
    "64x64x64 radius 2": ((64, 64, 64), 2),
    "64x64x64 radius 4": ((64, 64, 64), 4),
}
REPEATS = 5


def loss_named(name: str, dims: int, radius: int) -> nn.Module:
    """``ours`` or ``monai``, of the same window."""
    return LocalNCCLoss(radius) if name == "ours" else LocalNormalizedCrossCorrelationLoss(dims, 2 * radius + 1)


def measure(name: str, size: tuple[int, ...], radius: int, threads: int) -> tuple[float, float]:
    """Best seconds of a forward and backward pass, and MB of resident memory that they add."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    fixed, warped = torch.rand(2, 1, 1, *size)
    small = torch.rand(1, 1, *(2 * radius + 3,) * len(size), requires_grad=True)
    loss = loss_named(name, len(size), radius)
    loss(small, small.detach()).backward()
    before = peak_memory()
    best = float("inf")
    for _ in range(REPEATS):
        moving = warped.clone().requires_grad_()
        start = time.perf_counter()
        loss(moving, fixed).backward()
        best = min(best, time.perf_counter() - start)
    return best, (peak_memory() - before) / 2**20


def run() -> dict[str, Any]:
    """Each measurement in a process of its own, so that one's memory is not the other's."""
    found: dict[str, Any] = {}
    for title, (size, radius) in CASES.items():
        row: dict[str, float] = {}
        for name in ("ours", "monai"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, memory = pool.apply(measure, (name, size, radius, torch.get_num_threads()))
            row |= {f"{name}_s": round(seconds, 4), f"{name}_MB": round(memory, 1)}
        row["times_faster"] = round(row["monai_s"] / row["ours_s"], 1)
        row["memory_ratio"] = round(row["ours_MB"] / max(row["monai_MB"], 0.1), 2)
        found[title] = row
    return found


if __name__ == "__main__":
    from benchmarks.results import save

    save("ncc", run())
