"""Result files of all bundles: one folder per case, written completely or not at all, and the tables of a list."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.data import MetaTensor
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.cine.scale import aspect_of
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.arrays import bounding_box
from cardiac_motion.core.entry import Entry
from cardiac_motion.core.folders import keep_other_settings, source_of
from cardiac_motion.core.memory import peak_memory
from cardiac_motion.core.run_settings import noted_case_settings
from cardiac_motion.core.tables import finite, metrics_of, pair_rows, statistics_text, write_tables
from cardiac_motion.core.whole_files import PROGRAM, SCHEMA, SUMMARY, summary_of, write_whole
from cardiac_motion.evaluation import figures as pictures
from cardiac_motion.evaluation.case_evaluator import CaseEvaluator, CaseEvents, Report
from cardiac_motion.evaluation.contour import TrackedContour, write_contour
from cardiac_motion.evaluation.scores import Scores
from cardiac_motion.fields.ddf import smooth, warp
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.fields.points import grid_points, track
from cardiac_motion.registration.result import RegistrationResult

TISSUE = 0.03  # mean brightness above which the movie shows points; anechoic regions have nothing to track


@contextmanager
def case_folder(folder: Path, entry: Entry, method: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Create the folder of a case, completely or not at all; the block writes its files and fills its summary.

    Args:
        folder: final folder, created when the block ends; an older one of this program is replaced, or kept beside it
            if its results are from other settings.
        entry: entry of the case.
        method: name of the bundle.

    Yields:
        The temporary folder, and the content of ``summary.json``, which is written last.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with case_folder(Path(root) / "a4c", Entry("a4c", "a4c.dcm"), "dis") as (beside, summary):
        ...         summary["metrics"] = {"gls": -18.5}
        ...     found = summary_of(Path(root) / "a4c")
        >>> found["case"], found["method"], found["metrics"]
        ('a4c', 'dis', {'gls': -18.5})
    """
    with write_whole(folder) as beside:
        beside.mkdir()
        summary: dict[str, Any] = {"program": PROGRAM, "schema": SCHEMA, "input": source_of(entry.image)}
        summary |= {"case": entry.case, "method": method, "settings": noted_case_settings()}
        yield beside, summary
        (beside / SUMMARY).write_text(json.dumps(finite(summary), indent=1), encoding="utf-8")
        kept = keep_other_settings(folder, summary["settings"])
        if kept is not None:
            print(f"{folder}: the results of other settings that were there are kept in {kept.name}/")


def write_cine_case(
    folder: Path,
    case: CineCase,
    result: RegistrationResult,
    scores: Scores,
    contour: TrackedContour | None,
    method: str,
    save_fields: bool = True,
    save_figures: bool = True,
    save_warped: bool = False,
) -> None:
    """Write the folder of a cine: field, figures, movie, warped cine, and a contour's curves, as far as requested.

    Args:
        folder: folder of the case.
        case, result, scores, contour: the case and its results.
        method: name of the method, stored in ``summary.json``.
        save_fields, save_figures, save_warped: files to write.
    """
    with case_folder(folder, case.entry, method) as (beside, summary):
        if save_fields:
            save_cine_ddf(beside / "ddf.nii.gz", result.ddf)
        if save_warped:
            write_cine(beside / "warped.nii.gz", warp_cine(case.cine, result.ddf))
        if save_figures:
            draw(beside, case, result)
        if contour is not None:
            write_contour(beside, case, contour)
        meta = case.meta
        summary |= {
            "source": meta.source,
            "frames": case.cine.shape[1],
            "size": case.size,
            "spacing": meta.spacing,
            "aspect": aspect_of(case.cine.meta),
            "frame_times": meta.frame_times,
            "frame_time_source": meta.frame_time_source,
            "crop": meta.crop,
            "notes": meta.notes,
            "field": "ddf.nii.gz (X, Y, T-1, 1, 2), (x, y) in pixels: frame t at p + ddf(p) is frame t+1 at p",
            "table": scores.table,
            "metrics": scores.metrics,
            "pairs": scores.pairs,
            "profile_mm": scores.profile_mm,
            "peak_memory_bytes": peak_memory(),
        }


def warp_cine(cine: MetaTensor, ddf: Tensor) -> MetaTensor:
    """Return a cine ``[1, T, H, W]``: frame 0, and at t + 1 frame t warped by the pair's field."""
    warped: MetaTensor = cine.clone()  # type: ignore[no-untyped-call]
    for t, field in enumerate(ddf):
        warped[0, t + 1] = warp(cine.as_tensor()[None, :, t], field[None])[0, 0]
    return warped


def draw(folder: Path, case: CineCase, result: RegistrationResult) -> None:
    """Draw a cine's figures: ``arrows.png`` (one panel per stage), ``warped.png``, ``tracked.mp4``, ``tracked.png``.

    Args:
        folder: existing folder.
        case, result: a cine and its fields.
    """
    image, ddf, frames = case.image, result.ddf, case.cine.as_tensor()[0]
    aspect = aspect_of(case.cine.meta)
    mask = case.mask[0, 0] if case.mask is not None else torch.ones_like(frames[0], dtype=torch.bool)
    t = int(ddf.square().sum(1).mean((1, 2)).argmax())  # the pair with the largest motion
    pair = slice(t, t + 1)
    fields = [stage.ddf(pair)[0] for stage in result.stages[:-1]] + [ddf[t]]
    titles = [stage.title for stage in result.stages] or [f"frame {t} to {t + 1}"]
    pictures.arrows(image[t, 0], fields, titles, mask, folder / "arrows.png", aspect=aspect)
    rows, columns = (slice(*edges) for edges in bounding_box(mask[None, None], mask.shape))
    moving, warped, fixed = (
        torch.where(mask, frame, 0)[rows, columns]
        for frame in (image[t, 0], warp(image[pair, :1], ddf[pair])[0, 0], image[t, 1])
    )
    pictures.draw_warped(moving, warped, fixed, folder / "warped.png", aspect)
    tissue = mask & (smooth(frames.mean(0)[None, None], 3.0)[0, 0] > TISSUE)
    points = track(grid_points(tissue if tissue.any() else mask, max(6, round(min(mask.shape) / 24))), ddf)
    pictures.draw_movie(frames, points, folder / "tracked.mp4", folder / "tracked.png", aspect=aspect)


class MetricsTable:
    """Handler that writes ``metrics.csv`` (one row per case), ``pairs.csv`` and ``summary.json`` (mean, sd, n).

    Args:
        output_dir: output folder, created if missing; None uses the evaluator's.
        show: print the table of each case and the folder of its files.

    Examples:
        >>> import tempfile
        >>> from torch.utils.data import DataLoader
        >>> from cardiac_motion.cine import CineCases
        >>> from cardiac_motion.comparators.identity import NoMotion
        >>> from cardiac_motion.evaluation.cine import CineEvaluator
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cine(f"{folder}/a4c.nii.gz", torch.rand(1, 3, 32, 40))
        ...     CineEvaluator(
        ...         device="cpu", val_data_loader=DataLoader(CineCases(f"{folder}/a4c.nii.gz"), batch_size=None),
        ...         network=NoMotion(), output_dir=f"{folder}/out", method="identity", save_figures=False,
        ...         val_handlers=[MetricsTable(show=False)],
        ...     ).run()  # fmt: skip
        ...     header, row = Path(folder, "out/metrics.csv").read_text(encoding="utf-8").splitlines()
        >>> header.split(",")[:2], row.split(",")[0]
        (['case', 'mse_unregistered'], 'a4c')
    """

    def __init__(self, output_dir: str | None = None, show: bool = True) -> None:
        self.given_dir, self.show = output_dir, show

    def attach(self, engine: CaseEvaluator) -> None:
        """Collect a row per case; write the tables when all are done."""
        self.output_dir = Path(self.given_dir or engine.output_dir)
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(CaseEvents.CASE_DONE, self._row)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _begin(self, engine: CaseEvaluator) -> None:
        self.rows: list[dict[str, Any]] = []
        self.pair_rows: list[dict[str, Any]] = []

    def _row(self, engine: CaseEvaluator) -> None:
        report: Report = engine.state.output
        row, pairs = make_rows(report.case.name, noted_case_settings(), report.scores.metrics, report.scores.pairs)
        self.rows.append(row)
        self.pair_rows += pairs
        if self.show:
            print(f"\n{report.lines()}\n  written to {report.folder}/")

    def _write(self, engine: CaseEvaluator) -> None:
        rows, pairs = read_earlier_rows(self.output_dir, [row["case"] for row in self.rows])
        earlier, now = len(rows), shorten_digest(noted_case_settings())
        rows, pairs = rows + self.rows, pairs + self.pair_rows
        mixed = any(row["settings"] != now for row in rows)
        if not mixed:
            rows, pairs = (
                [{k: v for k, v in row.items() if k != "settings"} for row in part] for part in (rows, pairs)
            )
        if self.show and earlier:
            apart = f"; the column settings tells other settings apart, the means are of {now or 'this run'}"
            cases = f"{earlier} cases of earlier runs{apart if mixed else ''}"
            print(f"\nThe tables of {self.output_dir}/ also contain {cases}.")
        write_tables(self.output_dir, rows, pairs, engine.state.failed, now if mixed else None)
        own = [row for row in rows if row.get("settings", now) == now]
        if self.show and len(own) > 1:
            print(statistics_text(own))


def shorten_digest(settings: str | None) -> str:
    """Return the part of a digest of settings that names folders and rows; empty for None."""
    return (settings or "")[:8]


def make_rows(
    case: str, settings: str | None, metrics: Mapping[str, float], pairs: Mapping[str, Sequence[float]] | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a case's row of ``metrics.csv`` and its rows of ``pairs.csv``, with the digest of its settings.

    Examples:
        >>> row, pairs = make_rows("a4c", "0123456789", {"mse": 0.1}, {"mse": [0.1]})
        >>> row, pairs[0]["pair"]
        ({'case': 'a4c', 'settings': '01234567', 'mse': 0.1}, 0)
    """
    first = {"case": case, "settings": shorten_digest(settings)}
    return {**first, **metrics}, [{**first, **row} for row in pair_rows(case, pairs)]


def read_earlier_rows(output_dir: Path, names: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read rows of cases and of their pairs (``make_rows``) that earlier runs of the same method left in a folder.

    Args:
        output_dir: folder with one subfolder per case.
        names: cases of this run, which are skipped.
    """
    methods = {(summary_of(output_dir / name) or {}).get("method") for name in names[:1]}
    rows, pairs = [], []
    for folder in sorted(output_dir.iterdir()) if methods else ():
        summary = summary_of(folder) if folder.is_dir() and folder.name not in names else None
        if summary is None or summary.get("case", folder.name) != folder.name:  # kept of other settings
            continue
        if summary.get("method") in methods and summary.get("metrics"):
            metrics = metrics_of(summary)
            row, own = make_rows(folder.name, summary.get("settings"), metrics, summary.get("pairs"))
            rows.append(row)
            pairs += own
    return rows, pairs
