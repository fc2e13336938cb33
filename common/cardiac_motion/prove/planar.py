"""Pairs of images with known flow: particle images and photographs.

The error of a pair is the root mean square, or the mean, of the length of the difference of two fields over the pixels
whose flow is known, 8 pixels of border excluded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cardiac_motion.core.bars import show_bar
from cardiac_motion.core.errors import InputError
from cardiac_motion.prove.flow_files import read_flow
from cardiac_motion.prove.measurement import BundleMethod, Registration, Row, register_pairs
from cardiac_motion.prove.sources import CHAIRS, DIMETRODON, LITEFLOWNET, PIV_PAIRS, UNLITEFLOWNET, VORTICES

BORDER = 8  # pixels
RMS, MEAN = "RMS error, px", "endpoint error, px"
PARTICLES = "particle images"
STEPS, SCALE_ERROR = (0.03, 0.05), "RMS deviation from proportionality, % of the RMS displacement"
CHAIR_PAIRS = 20  # of FlyingChairs, the first ones
METHODS = (
    BundleMethod(
        "identity", "dis", options={"network_def": {"_target_": "cardiac_motion.comparators.identity.NoMotion"}}
    ),
    BundleMethod("nmsr_echo, blood.json", "nmsr_echo", ("blood.json",)),
    BundleMethod("nmsr_echo, default", "nmsr_echo"),
    BundleMethod("NCC flow", "cpwc_echo"),
    BundleMethod("openpiv", "fft_xcorr", ("piv.json",), needs="openpiv"),
    BundleMethod("PyMUST block matching", "fft_xcorr", needs="pymust"),
    BundleMethod("DIS, full resolution", "dis", ("full.json",)),
    BundleMethod("Farnebäck", "farneback"),
    BundleMethod("ILK", "ilk"),
    BundleMethod("TV-L1", "tvl1"),
)


@dataclass(frozen=True)
class PlanarPair:
    """Two images and the flow between them.

    Attributes:
        data, case: names of the data set and of the pair.
        first, second, flow: files of image 1, image 2 and the flow from 1 to 2, relative to the data folder.
        measure: ``RMS`` or ``MEAN``.
        quoted: files with flows that others estimated, by the method's title.
    """

    data: str
    case: str
    first: str
    second: str
    flow: str
    measure: str = RMS
    quoted: tuple[tuple[str, str], ...] = ()

    def find_missing(self, data: Path) -> list[str]:
        """Return those of its files that are not below ``data``."""
        return [file for file in (self.first, self.second, self.flow) if not (data / file).is_file()]


def list_pairs() -> list[PlanarPair]:
    """Return all pairs that are measured."""
    sample, demo = f"{UNLITEFLOWNET.folder}/sample_data", f"{LITEFLOWNET.folder}/images/demo/DNS_turbulence"
    pairs = [PlanarPair(PARTICLES, stem.split("/")[1], *_list_files(f"{sample}/{stem}")) for stem in PIV_PAIRS]
    quoted = (("PIV-LiteFlowNet-en (its authors' estimate)", f"{demo}_out.flo"),)
    pairs.append(PlanarPair(PARTICLES, "DNS_turbulence demo", *_list_files(demo), RMS, quoted))
    scene = f"{DIMETRODON.folder}/datasets/Dimetrodon"
    files = (f"{scene}/frame10.png", f"{scene}/frame11.png", f"{scene}/flow10.flo")
    pairs.append(PlanarPair("Middlebury", "Dimetrodon", *files, MEAN))
    stems = [f"{CHAIRS.folder}/data/{k:05d}" for k in range(1, CHAIR_PAIRS + 1)]
    return pairs + [
        PlanarPair("FlyingChairs", stem[-5:], f"{stem}_img1.ppm", f"{stem}_img2.ppm", f"{stem}_flow.flo", MEAN)
        for stem in stems
    ]


def _list_files(stem: str) -> tuple[str, str, str]:
    return f"{stem}_img1.tif", f"{stem}_img2.tif", f"{stem}_flow.flo"


def read_grey(path: Path) -> Tensor:
    """Read an image as grey values ``[H, W]``, scaled to [0, 1] by the range of its type.

    Raises:
        InputError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            wide = image.mode.startswith(("I", "F"))
            values = np.asarray(image if wide else image.convert("L"), dtype=np.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as an image ({type(error).__name__})") from None
    return torch.from_numpy(values / (65535 if wide else 255))


def flow_error(ddf: Tensor, truth: Tensor, known: Tensor, measure: str) -> float:
    """Compute the error of a field in pixels.

    Args:
        ddf, truth: ``[1, 2, H, W]`` in pixels.
        known: ``[H, W]`` bool, where ``truth`` holds.
        measure: ``RMS`` or ``MEAN``.

    Examples:
        >>> truth, known = torch.zeros(1, 2, 20, 20), torch.ones(20, 20).bool()
        >>> flow_error(truth + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), truth, known, RMS)
        5.0
    """
    inner = known.clone()
    inner[:BORDER], inner[-BORDER:], inner[:, :BORDER], inner[:, -BORDER:] = False, False, False, False
    lengths = (ddf - truth).norm(dim=1)[0][inner]
    return float(lengths.square().mean().sqrt() if measure == RMS else lengths.mean())


def measure_vortices(data: Path, ready: Mapping[str, Registration], reasons: Mapping[str, str]) -> list[Row]:
    """Measure how far the displacements of a steady flow at two time steps are from proportional.

    The exact flow is not published with these images. But the two pairs share their first image and their flow, so the
    field at the longer step is that of the shorter one times the ratio of the steps, but for the curvature of paths.

    Args:
        data: the data folder.
        ready: methods by title.
        reasons: why other methods can't be run, by title.
    """
    title, case = "vortex pair, two time steps", f"{STEPS[0]} and {STEPS[1]}"
    missing = VORTICES.find_missing(data)
    if missing:
        return [Row(title, case, "all", SCALE_ERROR, None, note=f"missing: {missing[0]}")]
    files = [data / VORTICES.folder / file for file in VORTICES.files]
    images = [read_grey(file) for file in files]
    inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    rows: list[Row] = []
    wanted = [(name, method) for name, method in ready.items() if name != "identity"]
    methods = show_bar(wanted, "vortex pair", "method")
    pairs, empty = [(images[k + 1], images[k]) for k in (0, 2)], Row(title, case, "", SCALE_ERROR, None)
    for name, (short, long) in register_pairs(methods, pairs, empty, rows, reasons):
        off = (long.ddf - short.ddf * (STEPS[1] / STEPS[0]))[inner].square().sum(1).mean().sqrt()
        size = long.ddf[inner].square().sum(1).mean().sqrt()
        seconds = (short.processor_seconds + long.processor_seconds) / 2
        rows.append(Row(title, case, name, SCALE_ERROR, float(100 * off / size), seconds))
    return rows


def measure_pairs(data: Path, ready: Mapping[str, Registration], reasons: Mapping[str, str]) -> list[Row]:
    """Measure all methods on all pairs whose files exist.

    Args:
        data: the data folder.
        ready: methods by title.
        reasons: by title, why other methods cannot be run.
    """
    rows: list[Row] = []
    for pair in show_bar(list_pairs(), "pairs of images", "pair"):
        missing = pair.find_missing(data)
        if missing and any(row.data == pair.data == "FlyingChairs" for row in rows):
            continue  # told once
        if missing:
            rows.append(Row(pair.data, pair.case, "all", pair.measure, None, note=f"missing: {missing[0]}"))
            continue
        fixed, moving = (read_grey(data / file) for file in (pair.first, pair.second))
        truth, known = read_flow(data / pair.flow)
        empty = Row(pair.data, pair.case, "", pair.measure, None)
        for title, (result,) in register_pairs(ready.items(), [(moving, fixed)], empty, rows, reasons):
            value = flow_error(result.ddf, truth, known, pair.measure)
            rows.append(Row(pair.data, pair.case, title, pair.measure, value, result.processor_seconds))
        for title, file in pair.quoted:
            if (data / file).is_file():
                value = flow_error(read_flow(data / file)[0], truth, known, pair.measure)
                rows.append(Row(pair.data, pair.case, title, pair.measure, value, note="estimated by its authors"))
    return rows
