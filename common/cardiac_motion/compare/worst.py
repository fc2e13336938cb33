"""Worst-fold results: a claim about a method must hold in every scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.compare.kinds import Kind
from cardiac_motion.core.tables import write_csv
from cardiac_motion.core.whole_files import write_whole

Table = Sequence[dict[str, Any]]
LARGER = ("lncc2", "lncc2_myocardium")  # larger values are better, as for metrics that start with dice


def find_worst(values: Mapping[str, float], metric: str) -> tuple[str, float] | None:
    """Return the fold in which a metric is worst, and its value there; None if no fold has it.

    Args:
        values: mean of the metric by fold.
        metric: name of the metric; the worst score is the lowest, the worst signed error that furthest from 0.
    """
    finite = {fold: value for fold, value in values.items() if np.isfinite(value)}
    if not finite:
        return None
    larger = metric in LARGER or metric.startswith("dice")
    fold = max(finite, key=lambda name: -finite[name] if larger else abs(finite[name]))
    return fold, finite[fold]


def list_worst(tables: Mapping[str, Table], kinds: Mapping[str, Kind]) -> list[dict[str, Any]]:
    """Return one row per method with ``<metric>`` in its worst fold and ``<metric>_fold``, the best method first.

    Methods without a finished case in some fold list these folds in ``missing`` and come last.

    Args:
        tables: rows by fold, from ``cardiac_motion.compare.table.rows``.
        kinds: kinds of the folds.
    """
    titles = list(dict.fromkeys(row["method"] for table in tables.values() for row in table))
    metrics = list(dict.fromkeys(metric for kind in kinds.values() for metric in kind.columns))
    kind = next(iter(kinds.values()))
    lines = []
    for title in titles:
        rows = {fold: row for fold, table in tables.items() for row in table if row["method"] == title and row["n"]}
        line: dict[str, Any] = {"method": title, "n": min((row["n"] for row in rows.values()), default=0)}
        for metric in metrics:
            worst = find_worst({fold: row.get(metric, float("nan")) for fold, row in rows.items()}, metric)
            if worst:
                line |= {metric: worst[1], f"{metric}_fold": worst[0]}
        line["missing"] = " ".join(fold for fold in tables if fold not in rows)
        lines.append(line)
    sign, metric = (-1 if kind.larger else 1), kind.metric or ""
    if metric:
        lines.sort(key=lambda line: (bool(line["missing"]), sign * line.get(metric, sign * float("inf"))))
    return lines


def format_worst(table: Table, kinds: Mapping[str, Kind], about: str) -> str:
    """Format the rows of ``list_worst`` as Markdown, ``value (fold)``."""
    columns = {metric: column for kind in kinds.values() for metric, column in kind.columns.items()}
    present = [metric for metric in columns if any(metric in row for row in table)]
    headings = [columns[metric][0] for metric in present]
    lines = [f"{about} Each value is from the method's worst fold, given in brackets.", ""]
    lines += ["| method | " + " | ".join([*headings, "n"]) + " |", "|---|" + "---:|" * (len(headings) + 1)]
    for row in table:
        cells = []
        for metric in present:
            _, factor, digits = columns[metric]
            known = metric in row
            cells.append(f"{factor * row[metric]:.{digits}f} ({row[f'{metric}_fold']})" if known else "")
        cells.append(f"{row['n']}" + (f", not run on {row['missing']}" if row["missing"] else ""))
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_worst(tables: Mapping[str, Table], kinds: Mapping[str, Kind], output_dir: Path, about: str) -> str:
    """Write ``worst.md`` and ``worst.csv``; return the Markdown."""
    table = list_worst(tables, kinds)
    text = format_worst(table, kinds, about)
    write_csv(output_dir / "worst.csv", table)
    with write_whole(output_dir / "worst.md") as beside:
        beside.write_text(text, encoding="utf-8")
    return text
