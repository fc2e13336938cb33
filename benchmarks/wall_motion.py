"""What the fields are worth and what the wall is worth: several fields, each plain and with two regularised walls.

``python -m benchmarks wall_motion`` draws the first patients of ``data_lists/simulated.json`` in every scenario,
without and with artefacts, and follows the true end-diastolic borders from ED to ES. Of every case, field and
``wall_motion`` it writes ``benchmarks/results/wall_motion.csv``: EPE from ED to ES (mm, both borders), the error of GLS
(percentage points, measured − true) of the endocardium and epicardium, and processor seconds a frame of the fields and
of the wall; ``benchmarks/results/wall_motion.json`` holds the means of each scenario. It needs ``DATA_DIR`` with
``CAMUS_308um``; ``WALL_MOTION_CASES`` patients (4), ``WALL_MOTION_FIELDS`` (all) and ``WALL_MOTION_FOLDS`` (all).
Cases in the CSV are kept, so that an interrupted run goes on. The tables ``docs/results/wall_motion*.csv`` are of the
patients that all their rows and scenarios have.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.results import ROOT, read_kept_rows
from cardiac_motion.comparators.dis import DenseInverseSearch
from cardiac_motion.comparators.farneback import Farneback
from cardiac_motion.core.tables import write_csv
from cardiac_motion.fields.points import track
from cardiac_motion.networks.ncc_flow import NCCFlow
from cardiac_motion.networks.weights import load_weights
from cardiac_motion.registration.anchored import AnchoredInferer
from cardiac_motion.registration.pairwise import PairwiseInferer
from cardiac_motion.registration.wall_motion import WALL_MOTIONS, regularise_wall
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.datasets.testset import read_recipe
from cardiac_motion.simulation.sequence import draw
from cardiac_motion.ventricle import strain

RESULTS = ROOT / "benchmarks" / "results" / "wall_motion.csv"
KEYS = ("fold", "case", "fields", "wall_motion")
TITLES = {
    ("NCC flow", "none"): "NCC flow, as they are",
    ("NCC flow", "midwall"): "NCC flow, mid-wall affine regularisation",
    ("NCC flow anchored", "midwall"): "NCC flow, anchored, mid-wall affine regularisation",
    ("NCC flow", "material"): "NCC flow, wall in its own coordinates",
    ("DIS full resolution", "none"): "DIS, full resolution, as they are",
    ("DIS full resolution", "material"): "DIS, full resolution, wall in its own coordinates",
    ("Farneback", "none"): "Farnebäck, as they are",
    ("Farneback", "material"): "Farnebäck, wall in its own coordinates",
}
NCC_FLOW = [key for key in TITLES if key[0] == "NCC flow"]
FORMER = [key for key in TITLES if key[0].startswith("NCC flow")]  # with the default before version 0.5.0
BEGINNINGS = [key for key in TITLES if key[1] != "midwall"]
TABLES = {  # of each in docs/results: the value, the methods, and the ending of its folds
    "wall_motion_epe": ("epe_ed_es_mm", NCC_FLOW, ""),
    "wall_motion_gls": ("gls_error_endo", NCC_FLOW, ""),
    "wall_motion_gls_epi": ("gls_error_epi", NCC_FLOW, ""),
    "wall_motion_artefacts_epe": ("epe_ed_es_mm", FORMER, "_artefacts"),
    "wall_motion_artefacts_gls": ("gls_error_endo", FORMER, "_artefacts"),
    "wall_motion_beginnings_epe": ("epe_ed_es_mm", BEGINNINGS, ""),
    "wall_motion_beginnings": ("gls_error_endo", BEGINNINGS, ""),
}
SCENARIOS = ("static", "coupled", "sliding", "chambers", "respiratory")
VALUES = ("epe_ed_es_mm", "gls_error_endo", "gls_error_epi", "fields_s", "wall_s")


def field_makers() -> dict[str, Callable[[Tensor], Tensor]]:
    """Name to what gives the fields ``[T − 1, 2, H, W]`` of pairs."""
    flow = load_weights(NCCFlow(), str(ROOT / "bundles" / "cpwc_echo" / "models" / "model.pt"))

    def of(network: nn.Module, composition: bool = False, anchored: bool = False) -> Callable[[Tensor], Tensor]:
        inferer: Any = PairwiseInferer(4, composition, progress=False)
        inferer = AnchoredInferer(inferer) if anchored else inferer
        return lambda pairs: inferer(pairs, network).ddf

    return {
        "NCC flow": of(flow),
        "NCC flow anchored": of(flow, True, True),
        "DIS full resolution": of(DenseInverseSearch("medium", finest=0)),
        "Farneback": of(Farneback()),
    }


def cases(
    count: int, folds: list[str], known: Callable[[str, str], bool]
) -> Iterator[tuple[str, str, Tensor, dict[str, Any]]]:
    """Fold, name, pairs ``[T − 1, 2, H, W]`` and the truth: ``endo`` and ``epi [T, P, 2]``, ``es``, ``spacing``."""
    recipe = read_recipe(ROOT / "data_lists" / "simulated.json")
    source = TemplateSource(Path(os.environ["DATA_DIR"]) / "CAMUS_308um", recipe["templates"])
    for number in range(count):
        for fold in folds or recipe["folds"]:
            case, seed = f"{number:04d}_{source.name(number)}", recipe["seed"]
            if known(fold, case):
                continue
            settings = settings_from(recipe["folds"][fold])
            simulation, _ = draw(source(number, (seed,)), (seed, number), settings, recipe["frames"])
            frames, lines = torch.cat(list(simulation.chunks())), simulation.contours()
            es = int(np.argmin(np.abs(simulation.times - simulation.motion.end_systole_time)))
            truth = {"endo": lines["endocardium"], "epi": lines["epicardium"], "es": es}
            pairs = torch.stack([frames[:-1], frames[1:]], 1)
            yield fold, case, pairs, truth | {"spacing": simulation.grid.spacing}


def score(ddf: Tensor, truth: dict[str, Any]) -> list[float]:
    """EPE from ED to ES in mm, and the errors of GLS of both borders in percentage points."""
    es, spacing = truth["es"], truth["spacing"]
    off, errors = [], []
    for name in ("endo", "epi"):
        true = truth[name]
        found = track(torch.from_numpy(true[0]).float(), ddf).double().numpy()
        off.append(np.linalg.norm((found[es] - true[es]) * spacing, axis=-1))
        peaks = [strain.peak_systolic(strain.gls(line, spacing), 0, es) for line in (found, true)]
        errors.append(100 * (peaks[0] - peaks[1]))
    return [float(np.concatenate(off).mean()), *errors]


def run() -> dict[str, Any]:
    """Write the CSV and give the means."""
    rows = {tuple(row[key] for key in KEYS): row for row in read_kept_rows(RESULTS)}
    wanted = [name for name in os.environ.get("WALL_MOTION_FIELDS", "").split(",") if name]
    folds = [name for name in os.environ.get("WALL_MOTION_FOLDS", "").split(",") if name]
    makers = {name: maker for name, maker in field_makers().items() if not wanted or name in wanted}
    methods = [(name, wall) for name in makers for wall in WALL_MOTIONS]

    def known(fold: str, case: str) -> bool:
        return all((fold, case, *method) in rows for method in methods)

    for fold, case, pairs, truth in cases(int(os.environ.get("WALL_MOTION_CASES", "4")), folds, known):
        borders = truth["endo"][0], truth["epi"][0]
        for name, maker in makers.items():
            ddf, seconds = _timed(maker, pairs)
            for wall in WALL_MOTIONS:
                made, own = _timed(regularise_wall, wall, pairs, ddf, *borders)
                values = [*score(made, truth), seconds / len(pairs), own / len(pairs)]
                key = (fold, case, name, wall)
                rows[key] = dict(zip((*KEYS, *VALUES), (*key, *(f"{v:.4f}" for v in values)), strict=True))
                print(*key, *(f"{v:.3f}" for v in values), flush=True)
        write_csv(RESULTS, list(rows.values()))
    for table, (value, keys, ending) in TABLES.items():
        summary, patients = summarise(rows, value, keys, ending)
        print(table, f"{patients} patients")
        if patients:
            write_csv(ROOT / f"docs/results/{table}.csv", summary)
    return {"cases": _means(list(rows.values()))}


def summarise(
    rows: dict[tuple[str, ...], dict[str, str]], value: str, methods: list[tuple[str, str]], ending: str
) -> tuple[list[dict[str, Any]], int]:
    """The rows of a table, mean absolute values by scenario and the worst of them, and how many patients it has."""
    found = {case for _, case, *_ in rows}
    complete = [c for c in sorted(found) if all((f"{s}{ending}", c, *m) in rows for s in SCENARIOS for m in methods)]
    summary = []
    for method in methods:
        row: dict[str, Any] = {"fields, wall": TITLES[method]}
        for scenario in SCENARIOS:
            errors = [float(rows[f"{scenario}{ending}", case, *method][value]) for case in complete]
            row[scenario] = float(np.abs(errors).mean()) if errors else float("nan")
        summary.append(row | {"worst": max(row[scenario] for scenario in SCENARIOS)})
    return summary, len(complete)


def _timed(compute: Callable[..., Tensor], *given: Any) -> tuple[Tensor, float]:
    start = time.process_time()
    found = compute(*given)
    return found, time.process_time() - start


def _means(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["fields"], row["wall_motion"], row["fold"]), []).append(row)
    found = []
    for (fields, wall, fold), group in groups.items():
        table = {key: np.array([float(row[key]) for row in group]) for key in VALUES}
        means = {key: round(float(values.mean()), 3) for key, values in table.items()}
        means["gls_mae_endo"] = round(float(np.abs(table["gls_error_endo"]).mean()), 3)
        means["gls_mae_epi"] = round(float(np.abs(table["gls_error_epi"]).mean()), 3)
        found.append({"fields": fields, "wall_motion": wall, "fold": fold, "patients": len(group), **means})
    return found
