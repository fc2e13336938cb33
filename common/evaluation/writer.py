"""Handlers that measure, write and print what a bundle found of each case (the files that every bundle leaves)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from common.cine.scale import aspect_of
from common.cine.write import write_cine
from common.core.arrays import bounding_box
from common.core.files import PROGRAM, SUMMARY, summary_of, written_whole
from common.core.folders import source_of
from common.core.memory import peak_memory
from common.core.tables import finite, metrics_of, pair_rows, statistics_text, table_text, write_tables
from common.evaluation import figures
from common.evaluation.evaluator import CaseEvaluator, CaseEvents
from common.fields.ddf import smooth, warp
from common.fields.files import save_cine_ddf
from common.fields.points import grid_points, track
from common.registration.metrics import reconstruction, regularity

TISSUE = 0.03  # mean brightness from which the film shows points: in the dark there is nothing to follow


class ReconstructionMetrics:
    """MSE, NLCC and folding of each case, after each scale where the inferer tells them.

    Puts ``table`` (a row a stage: ``stage``, ``mse``, ``nlcc``, ``seconds``), ``pairs`` (a list a column) and
    ``metrics`` (one number a column) into the engine's output.

    Args:
        radius: of the NLCC window; the papers measure with 10 and register with 6.
    """

    def __init__(self, radius: int = 10) -> None:
        self.radius = radius

    def attach(self, engine: CaseEvaluator) -> None:
        engine.add_event_handler(CaseEvents.CASE_DONE, self)

    def __call__(self, engine: CaseEvaluator) -> None:
        case = engine.state.output
        image, mask, ddf = case["image"], case.get("mask"), case["pred"]
        stages: list[tuple[str, Any, float]] = [("before", None, 0.0)]
        for result in getattr(engine.inferer, "results", [])[:-1]:
            stages.append((f"scale {Fraction(result.scale).limit_denominator(64)}", result.ddf, result.seconds))
        results = getattr(engine.inferer, "results", None)
        last = f"scale {Fraction(results[-1].scale).limit_denominator(64)}" if results else "after"
        stages.append((last, ddf.__getitem__, results[-1].seconds if results else case["seconds"]))
        case["table"], case["metrics"] = [], {}
        for stage, field, seconds in stages:
            found = reconstruction(image, mask, field, self.radius)
            mean = {key: float(values.mean()) for key, values in found.items()}
            case["table"].append({"stage": stage, **mean, "seconds": seconds})
            suffix = "" if field is ddf.__getitem__ else f"@{stage.removeprefix('scale ')}"
            case["metrics"].update({f"{key}{suffix}": value for key, value in mean.items()})
        found.update(regularity(ddf, mask))
        case["pairs"] = {key: values.tolist() for key, values in found.items()}
        case["metrics"].update({key: float(values.mean()) for key, values in found.items()})
        case["metrics"].update(seconds=case["seconds"], seconds_per_pair=case["seconds"] / len(ddf))


class CaseWriter:
    """Writes ``<output_dir>/<case>/``, whole or not at all, with its ``summary.json`` last.

    Args:
        output_dir: made if missing.
        ddf, figures, warped: which files are wanted beside ``summary.json``.
        method: name that ``summary.json`` carries.
    """

    def __init__(
        self, output_dir: str, ddf: bool = True, figures: bool = True, warped: bool = False, method: str = ""
    ) -> None:
        self.output_dir, self.method = Path(output_dir), method
        self.ddf, self.figures, self.warped = ddf, figures, warped

    def attach(self, engine: CaseEvaluator) -> None:
        engine.add_event_handler(CaseEvents.CASE_DONE, self)

    def __call__(self, engine: CaseEvaluator) -> None:
        case = engine.state.output
        with written_whole(self.output_dir / case["case"]) as folder:
            folder.mkdir()
            summary = self.write(folder, case, engine)
            made = {"program": PROGRAM, "input": source_of(case["entry"]), "case": case["case"], "method": self.method}
            with open(folder / SUMMARY, "w") as file:
                json.dump(finite({**made, **summary}), file, indent=1)
        case["folder"] = self.output_dir / case["case"]

    def write(self, folder: Path, case: dict[str, Any], engine: CaseEvaluator) -> dict[str, Any]:
        """Write the files of a case into ``folder`` and return what its summary says."""
        raise NotImplementedError


class CineWriter(CaseWriter):
    """The folder of a cine: field, pictures, film, and the warped cine where asked."""

    def write(self, folder: Path, case: dict[str, Any], engine: CaseEvaluator) -> dict[str, Any]:
        if self.ddf:
            save_cine_ddf(folder / "ddf.nii.gz", case["pred"])
        if self.warped:
            self._write_warped(folder, case)
        if self.figures:
            draw(folder, case, getattr(engine.inferer, "results", []))
        meta = case["cine"].meta
        return {
            "source": str(meta["source"]),
            "frames": case["cine"].shape[1],
            "size": list(case["cine"].shape[2:]),
            "spacing": meta["spacing"],
            "aspect": aspect_of(meta),
            "frame_times": meta["frame_times"],
            "times_are": meta.get("times_are"),
            "crop": meta.get("crop"),
            "notes": meta["notes"],
            "field": "ddf.nii.gz (X, Y, T-1, 1, 2), (x, y) in pixels: frame t at p + ddf(p) is frame t+1 at p",
            "table": case.get("table"),
            "metrics": case.get("metrics"),
            "pairs": case.get("pairs"),
            "profile_mm": case.get("profile_mm"),
            "peak_memory_bytes": peak_memory(),
        }

    @staticmethod
    def _write_warped(folder: Path, case: dict[str, Any]) -> None:
        warped = case["cine"].clone()
        for t, ddf in enumerate(case["pred"]):
            warped[0, t + 1] = warp(case["cine"][None, :, t].as_tensor(), ddf[None])[0, 0]
        write_cine(folder / "warped.nii.gz", warped)


def draw(folder: Path, case: dict[str, Any], results: Sequence[Any] = ()) -> None:
    """The pictures of one cine: ``arrows.png`` (a panel a scale), ``warped.png``, ``tracked.mp4``, ``tracked.png``.

    Args:
        folder: exists.
        case: with ``cine``, ``image``, ``mask`` and ``pred`` as a ``CaseEvaluator`` leaves it.
        results: ``ScaleResult``s, where there are intermediate fields.
    """
    image, ddf, frames = case["image"], case["pred"], case["cine"][0].as_tensor()
    aspect = aspect_of(case["cine"].meta)
    mask = case["mask"][0, 0] if case.get("mask") is not None else torch.ones_like(frames[0], dtype=torch.bool)
    t = int(ddf.square().sum(1).mean((1, 2)).argmax())  # the pair that moves most shows most
    pair = slice(t, t + 1)
    fields = [r.ddf(pair)[0] for r in results[:-1]] + [ddf[t]]
    titles = [f"scale {Fraction(r.scale).limit_denominator(64)}" for r in results] or [f"frame {t} to {t + 1}"]
    figures.arrows(image[t, 0], fields, titles, mask, folder / "arrows.png", aspect=aspect)
    rows, columns = (slice(*edges) for edges in bounding_box(mask[None, None], mask.shape))
    moving, warped, fixed = (
        torch.where(mask, frame, 0)[rows, columns]
        for frame in (image[t, 0], warp(image[pair, :1], ddf[pair])[0, 0], image[t, 1])
    )
    figures.warped_beside_fixed(moving, warped, fixed, folder / "warped.png", aspect)
    tissue = mask & (smooth(frames.mean(0)[None, None], 3.0)[0, 0] > TISSUE)
    points = track(grid_points(tissue if tissue.any() else mask, max(6, round(min(mask.shape) / 24))), ddf)
    figures.tracked_film(frames, points, folder / "tracked.mp4", folder / "tracked.png", aspect=aspect)


class MetricsTable:
    """``metrics.csv`` (a row a case), ``pairs.csv`` and ``summary.json`` (mean, sd, n of each column) of a whole run.

    Args:
        output_dir: made if missing.
        show: print the table of each case and where its files are.
    """

    def __init__(self, output_dir: str, show: bool = True) -> None:
        self.output_dir, self.show = Path(output_dir), show

    def attach(self, engine: CaseEvaluator) -> None:
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(CaseEvents.CASE_DONE, self._row)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _begin(self, engine: CaseEvaluator) -> None:
        self.rows: list[dict[str, Any]] = []
        self.pair_rows: list[dict[str, Any]] = []

    def _row(self, engine: CaseEvaluator) -> None:
        case = engine.state.output
        self.rows.append({"case": case["case"], **case["metrics"]})
        self.pair_rows += pair_rows(case["case"], case.get("pairs"))
        if self.show:
            print("\n" + (case.get("report") or f"{case['case']}: {len(case['pred'])} pairs"))
            for note in case["cine"].meta["notes"] if "cine" in case else ():
                print(f"  note: {note}")
            if case.get("table"):
                print(table_text(case["table"]))
            if "folder" in case:
                print(f"  written to {case['folder']}{'/'}")

    def _write(self, engine: CaseEvaluator) -> None:
        rows, pairs = earlier_rows(self.output_dir, [row["case"] for row in self.rows])
        if self.show and rows:
            print(f"\nThe tables of {self.output_dir}/ hold {len(rows)} cases of earlier runs too.")
        rows, pairs = rows + self.rows, pairs + self.pair_rows
        write_tables(self.output_dir, rows, pairs, engine.state.failed)
        if self.show and len(rows) > 1:
            print(statistics_text(rows))


def earlier_rows(output_dir: Path, names: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of cases and of their pairs that earlier runs of the same method left in a folder.

    Args:
        output_dir: with a folder a case.
        names: the cases of this run, whose folders are there.
    """
    methods = {(summary_of(output_dir / name) or {}).get("method") for name in names[:1]}
    rows, pairs = [], []
    for folder in sorted(output_dir.iterdir()) if methods else ():
        summary = summary_of(folder) if folder.is_dir() and folder.name not in names else None
        if summary is not None and summary.get("method") in methods and summary.get("metrics"):
            rows.append({"case": folder.name, **metrics_of(summary)})
            pairs += pair_rows(folder.name, summary.get("pairs"))
    return rows, pairs
