"""Tables of cases and frame pairs, as CSV, summary statistics and terminal output.

The rows are gone through one by one and never all kept, since the pairs of a large cohort don't fit into memory: that
is why the standard library's ``csv`` and columns of plain numbers stand here, not pandas.
"""

from __future__ import annotations

import csv
import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.core.whole_files import PROGRAM, write_whole


def write_tables(
    output_dir: Path,
    rows: Sequence[dict[str, Any]],
    pairs: Iterable[dict[str, Any]],
    failed: dict[str, str],
    settings: str | None = None,
) -> None:
    """Write ``metrics.csv``, ``pairs.csv`` and ``summary.json`` of a list of cases.

    Args:
        output_dir: made if missing.
        rows: ``case`` and its metrics.
        pairs: ``case``, ``pair`` and its metrics; gone through several times, so no iterator.
        failed: reason of each case that is left out.
        settings: value of the column ``settings`` of the rows whose means are in ``summary.json``; None takes all rows.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tables(Path(folder), [{"case": "a", "gls": -19.0}, {"case": "b", "gls": -21.0}], [], {})
        ...     json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))["cases"]["gls"]["mean"]
        -20.0
    """
    if rows:
        write_csv(output_dir / "metrics.csv", rows)
    if any(True for _ in pairs):
        write_csv(output_dir / "pairs.csv", pairs)
    if rows or len(failed) > 1:
        means = [
            statistics(row for row in part if settings is None or row["settings"] == settings) for part in (rows, pairs)
        ]
        summary = {"program": PROGRAM, "cases": means[0], "pairs": means[1], "failed": failed}
        if settings is not None:
            summary["settings"] = settings
        with write_whole(output_dir / "summary.json") as beside:
            beside.write_text(json.dumps(finite(summary), indent=1), encoding="utf-8")


def statistics_text(rows: Sequence[dict[str, Any]]) -> str:
    """Format mean and sd of each column for the terminal.

    Examples:
        >>> print(statistics_text([{"case": "a", "gls": -19.0}, {"case": "b", "gls": -21.0}]).strip())
        2 cases, mean ± sd:
          gls                  -20 ± 1.4
    """
    lines = [f"\n{len(rows)} cases, mean ± sd:"]
    lines += [f"  {name:<20} {found['mean']:.4g} ± {found['sd']:.2g}" for name, found in statistics(rows).items()]
    return "\n".join(lines)


def metrics_of(summary: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of a case's ``summary.json``; values that were not finite are NaN.

    Examples:
        >>> metrics_of({"metrics": {"gls": -20.0, "drift": None}})
        {'gls': -20.0, 'drift': nan}
    """
    return {key: float("nan") if value is None else value for key, value in (summary.get("metrics") or {}).items()}


def pair_rows(case: str, columns: Mapping[str, Sequence[float]] | None) -> list[dict[str, Any]]:
    """A row a pair, of a list a column.

    Examples:
        >>> pair_rows("a", {"mse": [0.1, 0.2]})
        [{'case': 'a', 'pair': 0, 'mse': 0.1}, {'case': 'a', 'pair': 1, 'mse': 0.2}]
    """
    columns = columns or {}
    values = zip(*columns.values(), strict=True)
    return [{"case": case, "pair": t, **dict(zip(columns, row, strict=True))} for t, row in enumerate(values)]


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows of ``stage``, ``mse``, ``lncc2``, ``seconds`` for the terminal.

    Examples:
        >>> print(table_text([{"stage": "NCC flow", "mse": 0.0012, "lncc2": 0.4, "seconds": 1.25}]).splitlines()[1])
          NCC flow         1.200   0.400      1.2
    """
    lines = [f"  {'':<12}{'MSE ·10⁻³':>10}{'LNCC²':>8}{'seconds':>9}"]
    for row in rows:
        seconds = f"{row['seconds']:.1f}" if row["seconds"] else ""
        lines.append(f"  {row['stage']:<12}{row['mse'] * 1e3:>10.3f}{row['lncc2']:>8.3f}{seconds:>9}")
    return "\n".join(lines)


def statistics(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return mean, sample sd and n of each numeric column, over finite values.

    Examples:
        >>> statistics([{"case": "a", "gls": -19.0}, {"case": "b", "gls": -21.0}])["gls"]["n"]
        2
    """
    columns: dict[str, array[float]] = {}
    for row in rows:
        for column, value in row.items():
            if column not in ("case", "pair") and isinstance(value, int | float):
                columns.setdefault(column, array("d")).append(value)
    found = {}
    for column, numbers in columns.items():
        values = np.asarray(numbers)
        values = values[np.isfinite(values)]
        if len(values):
            sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            found[column] = {"mean": float(values.mean()), "sd": sd, "n": len(values)}
    return found


def write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write dictionaries as a CSV table, atomically; ``rows`` is iterated twice, so it must not be an iterator.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_csv(Path(folder) / "a.csv", [{"case": "a", "gls": -19.0}])
        ...     (Path(folder) / "a.csv").read_text(encoding="utf-8").split()
        ['case,gls', 'a,-19.0']
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with write_whole(path) as beside, open(beside, "w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def finite(value: Any) -> Any:
    """Convert a value for JSON: tensors to lists, NaN and infinities to null.

    Examples:
        >>> finite({"gls": float("nan"), "segments": (1.0, 2.0)})
        {'gls': None, 'segments': [1.0, 2.0]}
    """
    if isinstance(value, Mapping):
        return {key: finite(v) for key, v in value.items()}
    if hasattr(value, "tolist"):  # of NumPy or torch
        return finite(value.tolist())
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
