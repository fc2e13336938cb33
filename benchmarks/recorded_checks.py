"""Which recorded cines strain_pipeline measures: view, GLS, EF and quality checks of each, as a table.

``python -m benchmarks recorded_checks`` takes the clips of ``DATA_DIR/clips``, the normal cine of ``DATA_DIR/cines``
and the views of ``DATA_DIR/study_three_apical`` one after the other, each by itself, measured whatever the checks say,
and writes ``docs/results/recorded_checks.csv``: what the view classifier says, whether the cine passes, its GLS and EF
(of a rejected cine those that the checks hold back), and the values of four checks, a beat each.
``RECORDED_CHECKS`` names some of them; rows of others stay.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.results import ROOT, read_kept_rows
from cardiac_motion.bundle.config import config_files, content, parse_config
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import write_csv
from cardiac_motion.strain_pipeline.quality.checks import BASE, BEAT, CASE, DRIFT, EMPTIED
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.ventricle.views import APICAL

TABLE = ROOT / "docs/results/recorded_checks.csv"
TITLES = {DRIFT: "drift / GLS", BASE: "base, of the length", EMPTIED: "EF tracked − segmented", "systole": "systole"}


def run() -> dict[str, Any]:
    """Write the table; gives its rows."""
    rows = {row["cine"]: row for row in read_kept_rows(TABLE)}
    wanted = [name for name in os.environ.get("RECORDED_CHECKS", "").split(",") if name]
    for path in list_cines(Path(os.environ["DATA_DIR"])):
        name = f"{path.name} of the study" if path.is_dir() else path.stem
        if not wanted or path.stem in wanted:
            rows[name] = {"cine": name, **measure_cine(path)}
            write_csv(TABLE, list(rows.values()))
    return {"rows": list(rows.values())}


def list_cines(data: Path) -> list[Path]:
    """The recorded cines of a data folder: clips, the normal cine, and the views of the study."""
    study = [path for path in sorted((data / "study_three_apical").iterdir()) if path.is_dir()]
    return [*sorted((data / "clips").glob("*.mp4")), data / "cines/a4c_normal.mp4", *study]


def measure_cine(path: Path) -> dict[str, Any]:
    """The row of a cine."""
    row: dict[str, Any] = {"view": "", "measured": "no", "GLS": "", "EF": "", **dict.fromkeys(TITLES.values(), "")}
    with tempfile.TemporaryDirectory() as folder:
        options = {"input": str(path), "output_dir": folder, "mlflow": False, "save_figures": False}
        files = config_files(ROOT / "bundles/strain_pipeline")
        evaluator = content(parse_config(files, {**options, "ignore_checks": True}), "evaluator")
        evaluator.classify = classify = ApicalOnly(evaluator.classify)
        try:
            evaluator.run()
        except InputError as error:
            return {**row, "view": classify.seen, "rejected by": classify.rejected or str(error)}
        summary = json.loads(next(Path(folder).glob("*/summary.json")).read_text(encoding="utf-8"))
    return {**row, "view": classify.seen, **describe_checks(summary)}


class ApicalOnly:
    """A view classifier that rejects a cine of no apical view, although checks are ignored.

    Attributes:
        seen: the most probable view of the last cine and its probability, as text.
        rejected: ``view`` if that was no apical one.
    """

    def __init__(self, classify: Callable[[Tensor], ViewProbabilities]) -> None:
        self.classify, self.seen, self.rejected = classify, "", ""

    def __call__(self, cine: Tensor) -> ViewProbabilities:
        found = self.classify(cine)
        self.seen = f"{found.most_probable.replace('_', ' ')} {found.by_view[found.most_probable]:.2f}"
        self.rejected = "" if found.most_probable in APICAL else "view"
        if self.rejected:
            raise InputError(f"{found.most_probable} is no apical view")
        return found


def describe_checks(summary: dict[str, Any]) -> dict[str, Any]:
    """What a case's beats and checks say, the case measured by force; the numbers are of the beats that pass.

    Where none passes they are of all beats.
    """
    failed = [c for c in summary["checks"] if c["passed"] is False and c["consequence"] in (CASE, BEAT)]
    of_case = [c["name"] for c in failed if c["beat"] is None]
    beats = [beat["ed"] for beat in summary["beats"]]
    good = [ed for ed in beats if not any(c["beat"] == ed for c in failed)]
    measured = bool(good) and not of_case
    shown = [beat["numbers"] for beat in summary["beats"] if not good or beat["ed"] in good]
    values = {
        title: "; ".join(f"{c['value']:.2f}" for c in summary["checks"] if c["name"] == name and c["value"] is not None)
        for name, title in TITLES.items()
    }
    reasons = [*of_case, *dict.fromkeys(c["name"] for c in failed if c["beat"] is not None and not good)]
    known = {key: [n[key] for n in shown if n[key] is not None] for key in ("gls", "ejection_fraction")}
    means = {key: f"{np.mean(values):.1f}" if values else "" for key, values in known.items()}
    return {
        "measured": f"{len(good)} of {len(beats)} beats" if measured else "no",
        "GLS": means["gls"], "EF": means["ejection_fraction"], **values, "rejected by": ", ".join(reasons),
    }  # fmt: skip
