"""nmsr_echo's presets against ANTs with local cross-correlation, on real cines and on simulated ones of known truth.

Same machine, same run, same threads. ``DATA_DIR`` adds the second real cine. MSE and LNCC² (radius 10) over the sector
are what the papers compare; the endpoint error in the myocardium of simulated cines is the truth.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ants
import numpy as np
import torch
from torch import Tensor

from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.cine.cases import CineCases
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.core.memory import peak_memory
from cardiac_motion.fields.ncc import masked_mean
from cardiac_motion.fields.regularity import folding_fraction
from cardiac_motion.registration.metrics import reconstruction
from cardiac_motion.simulation.heart.anatomy import view
from cardiac_motion.simulation.sequence import Settings, draw

BUNDLE = Path(__file__).parents[1] / "bundles/nmsr_echo"
PRESETS = {"fast": (), "motion": ("motion.json",), "diffeomorphic": ("diffeomorphic.json",)}
ANTS_PAIRS = 3
PATIENTS = 5
SIMULATED_PAIRS = (6, 14)
MYOCARDIUM = 2

Method = Callable[[Tensor, Tensor], Tensor]


def nmsr(preset: str, **changes: Any) -> Method:
    """``(image [N, 2, H, W], mask)`` to fields, as the bundle's configuration registers, with ``changes`` of it."""
    files = config_files(BUNDLE, further=PRESETS[preset])
    parser = parse_config(files, {"inferer#progress": False, "inferer#checkpoint_dir": None, **changes})
    inferer, network = content(parser, "inferer"), content(parser, "network")
    return lambda image, mask: inferer(image, network, mask=mask).ddf


def ants_cc(image: Tensor, mask: Tensor) -> Tensor:
    """ANTsPy's ``SyNOnly`` with CC of radius 4 and 200×200×200 iterations, from the identity."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(torch.get_num_threads())
    fields = []
    for pair in image.numpy():
        moving, fixed = map(ants.from_numpy, pair)
        found = ants.registration(
            fixed, moving, "SyNOnly", "Identity", syn_metric="CC", syn_sampling=4, reg_iterations=(200, 200, 200)
        )
        fields.append(ants.image_read(found["fwdtransforms"][0]).numpy().transpose(2, 0, 1))
    return torch.from_numpy(np.stack(fields))


def measure_registration(method: Method, image: Tensor, mask: Tensor, part: slice = slice(None)) -> dict[str, float]:
    """Seconds a pair of the whole call; MSE, LNCC² and folding of a part of the pairs."""
    start = time.perf_counter()
    ddf = method(image, mask)
    seconds = (time.perf_counter() - start) / len(image)
    found = reconstruction(image[part], mask, ddf[part].__getitem__)
    print(f"  {seconds:.2f} s a pair", flush=True)
    return {
        "mse_e3": round(float(found["mse"].mean()) * 1e3, 4),
        "lncc2": round(float(found["lncc2"].mean()), 4),
        "folding_percent": round(float(folding_fraction(ddf[part], mask).mean()) * 100, 4),
        "seconds_per_pair": round(seconds, 3),
    }


def measure_real(path: str | None) -> dict[str, Any]:
    """One cine: nmsr registers all its pairs, ANTs every n-th; both are measured on these."""
    case = CineCases(path)[0]
    image, mask = case["image"], case["mask"]
    part = slice(0, None, max(1, len(image) // ANTS_PAIRS))
    unmoved = reconstruction(image[part], mask)
    found: dict[str, Any] = {
        "size": list(image.shape[2:]),
        "pairs": len(image),
        "compared_pairs": len(image[part]),
        "before": {
            "mse_e3": round(float(unmoved["mse"].mean()) * 1e3, 4),
            "lncc2": round(float(unmoved["lncc2"].mean()), 4),
        },
    }
    found |= {preset: measure_registration(nmsr(preset), image, mask, part) for preset in PRESETS}
    found["ants_cc"] = measure_registration(ants_cc, image[part], mask)
    for preset in PRESETS:
        found[preset]["times_faster_than_ants"] = round(
            found["ants_cc"]["seconds_per_pair"] / found[preset]["seconds_per_pair"], 1
        )
    return found


def measure_simulated() -> dict[str, Any]:
    """Endpoint error in the myocardium, mm a frame, beside the LNCC²: parametric hearts with artefacts."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for patient in range(PATIENTS):
        cine, _ = draw(view("apical_4ch", 100 + patient), 100 + patient, Settings())
        image = torch.stack([cine.frames([t, t + 1]) for t in SIMULATED_PAIRS])
        truth = torch.stack([cine.fields(t + 1, [t])[0][0] for t in SIMULATED_PAIRS])
        wall = torch.stack([cine.labels(t + 1) == MYOCARDIUM for t in SIMULATED_PAIRS])[:, None]
        spacing = torch.tensor(cine.grid.spacing, dtype=torch.float32).view(1, 2, 1, 1)
        mask = sector_mask(image[:, 0][None])[None, None]
        methods: dict[str, Method] = {"identity": lambda i, m: torch.zeros_like(i), **{p: nmsr(p) for p in PRESETS}}
        for name, method in {**methods, "ants_cc": ants_cc}.items():
            ddf = method(image, mask)
            error = ((ddf - truth) * spacing).square().sum(1, keepdim=True).sqrt()
            lncc2 = reconstruction(image, mask, ddf.__getitem__)["lncc2"]
            rows.setdefault(name, []).append((float(masked_mean(error, wall).mean()), float(lncc2.mean())))
    return {
        name: {
            "epe_mm_per_frame": round(float(np.mean([e for e, _ in found])), 4),
            "epe_sd_over_patients": round(float(np.std([e for e, _ in found], ddof=1)), 4),
            "lncc2": round(float(np.mean([n for _, n in found])), 4),
        }
        for name, found in rows.items()
    }


def measure_large() -> dict[str, Any]:
    """A cine of 768×1024×50, enlarged from the real one, in the ``fast`` preset: seconds and peak memory.

    And of three of its pairs what ``strided_scales`` spare, by how much MSE and LNCC² change: with and without, by
    turns.
    """
    case = CineCases()[0]
    frames = case["cine"].as_tensor()[0, :, None]
    frames = torch.nn.functional.interpolate(frames, size=(768, 1024), mode="bilinear")[:, 0]
    frames = torch.cat([frames, frames.flip(0)])[:50]
    mask = sector_mask(frames[None])[None, None]
    image = torch.stack([frames[:-1], frames[1:]], 1)
    start = time.perf_counter()
    nmsr("fast")(image, mask)
    seconds, memory = time.perf_counter() - start, peak_memory()
    few = image[:: len(image) // 3][:3]
    turns = [
        [measure_registration(nmsr("fast", strided_scales=scales), few, mask) for scales in ([], [1.0])]
        for _ in range(2)
    ]
    plain, quick = zip(*turns, strict=True)
    best = [min(row["seconds_per_pair"] for row in rows) for rows in (plain, quick)]
    return {
        "seconds": round(seconds, 1),
        "peak_memory_GB": round(memory / 2**30, 2),
        "without_strided_scales": plain[0],
        "with_strided_scales": quick[0],
        "times_faster": round(best[0] / best[1], 2),
    }


def run() -> dict[str, Any]:
    """Everything; some minutes, nearly all of them ANTs'."""
    found: dict[str, Any] = {
        "simulated": measure_simulated(),
        "768x1024x50": measure_large(),
        "pydicom_a4c": measure_real(None),
    }
    folder = os.environ.get("DATA_DIR")
    if folder and (Path(folder) / "cines/a4c_normal.mp4").is_file():
        found["a4c_normal"] = measure_real(str(Path(folder) / "cines/a4c_normal.mp4"))
    return found


if __name__ == "__main__":
    from benchmarks.results import save

    save("nmsr_echo", run())
