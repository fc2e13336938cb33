"""Errors of strain_pipeline's numbers on simulated cines, and how often their 90 % intervals hold the truth.

``python -m benchmarks strain_intervals`` simulates patients of CAMUS's ``train`` list (none of the test list) in every
scenario of ``data_lists/simulated.json``, measures each cine automatically (view, wall, ED, ES), and compares GLS,
long-axis strain, EF and segments with the truth. Rows of cases go to ``benchmarks/results/strain_intervals.csv``;
``docs/results/strain_intervals.csv`` holds bias, MAE, root mean square error, share of the intervals that hold the
truth and their half width, of all cines together, and the method's error with which 90 % would hold: what
``measures.intervals.METHOD`` is to be. It needs ``DATA_DIR`` with ``CAMUS_308um`` and ``CAMUS_split.json``;
``STRAIN_INTERVALS_CASES`` patients a scenario (4), ``STRAIN_INTERVALS_FOLDS`` (those without artefacts),
``STRAIN_INTERVALS_CONFIG`` (an override of the bundle, ``motion_midwall.json`` say), ``STRAIN_INTERVALS_FOLDER`` for
the cines (a temporary one). Cases in the CSV are kept, so that an interrupted run goes on; remove the file to
begin anew.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.results import FOLDER, ROOT, read_kept_rows
from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import write_csv
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.datasets.testset import read_recipe
from cardiac_motion.simulation.datasets.write import write_cases
from cardiac_motion.strain_pipeline.validation.coverage import Held, compare_case, coverage, fit_method_error
from cardiac_motion.training.frames import read_split

CASES = FOLDER / "strain_intervals.csv"
TABLE = ROOT / "docs/results/strain_intervals.csv"
SEED, FRAMES = 41, 40
TITLES = {"gls": "GLS", "long_axis_strain": "long-axis strain", "ejection_fraction": "EF", "segment": "segment"}
NOT_MEASURED = "not measured"


def run() -> dict[str, Any]:
    """Write both tables; gives the rows of each scenario."""
    recipe = read_recipe(ROOT / "data_lists/simulated.json")
    data = Path(os.environ["DATA_DIR"])
    known = {path.name for path in (data / "CAMUS_308um").iterdir()}
    names = [name for name in read_split(data / "CAMUS_split.json", "train") if name in known]
    source = TemplateSource(data / "CAMUS_308um", names)
    plain = [fold for fold in recipe["folds"] if not fold.endswith("_artefacts")]
    folds = [name for name in os.environ.get("STRAIN_INTERVALS_FOLDS", "").split(",") if name] or plain
    rows = read_kept_rows(CASES)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(os.environ.get("STRAIN_INTERVALS_FOLDER", scratch))
        for number in range(int(os.environ.get("STRAIN_INTERVALS_CASES", "4"))):
            for fold in folds:
                if not any(row["fold"] == fold and row["patient"] == str(number) for row in rows):
                    settings = recipe["folds"][fold]
                    rows += _measure(base / f"{fold}_{number}", source, number, fold, settings)
                    write_csv(CASES, rows)
    held = [held_from(row) for row in rows if row["number"] != NOT_MEASURED]
    write_csv(TABLE, summarise(held))
    return {"cases": coverage(held), "not measured": [r["case"] for r in rows if r["number"] == NOT_MEASURED]}


def summarise(held: Sequence[Held]) -> list[dict[str, Any]]:
    """A row a number, of all scenarios together."""
    rows = []
    for row in coverage(held):
        if row["scenario"] != "all":
            continue
        some = [one for one in held if one.name == row["number"]]
        rows.append({
            "number": TITLES[row["number"]], "n": row["n"], "bias": row["bias"],
            "MAE": sum(abs(one.error) for one in some) / len(some), "rms": row["rms"],
            "intervals that hold, %": 100 * row["held"] / row["n"],
            "half width": sum(one.interval[1] - one.interval[0] for one in some) / 2 / len(some),
            "method's error for 90 %": fit_method_error(some),
        })  # fmt: skip
    return rows


def _measure(
    folder: Path, source: TemplateSource, number: int, fold: str, settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """Simulate and measure a patient; a row a number, or one that says that nothing was measured."""
    one = TemplateSource(source.arguments["folder"], [source.name(number)])
    write_cases(folder, one, 1, FRAMES, SEED + number, settings_from(settings), datalist=folder / "list.json")
    content_of_list = json.loads((folder / "list.json").read_text(encoding="utf-8"))
    entry = next(entry for part in content_of_list.values() if isinstance(part, list) for entry in part)
    cine, name = folder / entry["image"], f"{fold}_{number:04d}_{source.name(number)}"
    further = os.environ.get("STRAIN_INTERVALS_CONFIG", "").split()
    files = config_files(ROOT / "bundles/strain_pipeline", further=further)
    options = {"input": str(cine), "output_dir": str(folder / "out"), "mlflow": False, "save_figures": False}
    common = {"fold": fold, "patient": str(number), "case": name}
    try:
        content(parse_config(files, options), "evaluator").run()
    except InputError as error:
        print(f"{name}: {error}", flush=True)
        return [{**common, "number": NOT_MEASURED}]
    found = [replace(one, case=name, scenario=fold) for one in compare_case(entry, folder, folder / "out")]
    for held in found:
        if held.name != "segment":
            print(f"{name} {held.name} {held.measured:.1f} (true {held.true:.1f})", flush=True)
    return [
        {**common, "number": h.name, "measured": h.measured, "true": h.true, "low": h.interval[0],
         "high": h.interval[1]}
        for h in found
    ]  # fmt: skip


def held_from(row: dict[str, str]) -> Held:
    """The measured number of a row of the cases' table."""
    measured, true, low, high = (float(row[key]) for key in ("measured", "true", "low", "high"))
    return Held(row["case"], row["fold"], row["number"], measured, true, (low, high))
