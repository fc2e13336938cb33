"""The table of a comparison: mean ± sd, and a paired Wilcoxon and a Mann-Whitney U test against the best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, wilcoxon

from cardiac_motion.compare.kinds import CORRELATED, KINDS, UNKNOWN, Kind
from cardiac_motion.compare.methods import Method
from cardiac_motion.core.tables import statistics


def kind_of(methods: Sequence[Method]) -> Kind:
    """Return the kind of the cases by their metrics; ``UNKNOWN`` if none has ground truth."""
    known = {
        metric
        for method in methods
        for case in method.cases.values()
        for metric, value in case.items()
        if np.isfinite(value)
    }
    return next((kind for kind in KINDS if kind.metric in known), UNKNOWN)


def compare_with_best(methods: Sequence[Method]) -> tuple[str | None, dict[str, tuple[float, float]]]:
    """Find the best method by the mean of its kind's metric, and test the others against it.

    Only methods that finished the largest number of cases can be the best; without ground truth there is none.

    Returns:
        The best method's title (or None), and two-sided p values by title: of the paired Wilcoxon test on cases that
        both finished, and of the Mann-Whitney U test on all cases of both; NaN with fewer than two.
    """
    kind = kind_of(methods)
    if kind.metric is None:
        return None, {}
    samples_of = {m.title: finite(m, kind.metric) for m in methods}
    most = max(map(len, samples_of.values()))
    sign = -1 if kind.larger else 1
    means = {title: sign * float(values.mean()) for title, values in samples_of.items() if len(values) == most}
    best = min(means, key=lambda title: means[title])
    of_best = next(m for m in methods if m.title == best)
    p_values = {}
    for method in methods:
        if method.title == best or not method.cases:
            continue
        both = [name for name in method.cases if name in of_best.cases]
        difference = values_of(method, kind.metric, both) - values_of(of_best, kind.metric, both)
        difference = difference[np.isfinite(difference)]
        samples = [samples_of[best], samples_of[method.title]]
        paired = unpaired = float("nan")
        if len(difference) > 1:
            paired = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
        if min(map(len, samples)) > 1:
            unpaired = float(mannwhitneyu(*samples).pvalue)
        p_values[method.title] = (paired, unpaired)
    return best, p_values


def values_of(method: Method, metric: str, names: Iterable[str] | None = None) -> NDArray[np.float64]:
    """Return a metric of the cases (of those in ``names``), NaN where a case lacks it."""
    names = method.cases if names is None else names
    return np.array([method.cases[name].get(metric, float("nan")) for name in names], dtype=float)


def finite(method: Method, metric: str) -> NDArray[np.float64]:
    """Return the finite values of a metric."""
    values = values_of(method, metric)
    return np.asarray(values[np.isfinite(values)])


def rows(methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Return the table's rows: ``<metric>`` and ``<metric>_sd`` in the files' units, ``n``, ``failed``, p values."""
    best, p = compare_with_best(methods)
    table = []
    for method in methods:
        columns = statistics([{"case": name, **metrics} for name, metrics in method.cases.items()])
        row: dict[str, Any] = {"method": method.title, "n": len(method.cases), "failed": len(method.failed)}
        for metric in kind_of(methods).columns:
            if metric in columns:
                sd = columns[metric]["sd"] if columns[metric]["n"] > 1 else float("nan")
                row |= {metric: columns[metric]["mean"], f"{metric}_sd": sd}
        for index in CORRELATED:
            truth, error = (values_of(method, f"{index}_{part}") for part in ("true", "error"))
            if np.isfinite(truth + error).sum() > 2:
                row[f"{index}_correlation"] = float(
                    np.ma.corrcoef(*map(np.ma.masked_invalid, (truth, truth + error)))[0, 1]
                )
        row["missed"] = sum(c.get("missed", 0) for c in method.cases.values())
        paired, unpaired = p.get(method.title, (float("nan"),) * 2)
        row["p_against_best"] = "best" if method.title == best else paired
        row["p_mann_whitney"] = "best" if method.title == best else unpaired
        row["reason"] = next(iter(method.failed.values()), "")
        table.append(row)
    return table


def markdown(table: Sequence[dict[str, Any]], about: str, kind: Kind = UNKNOWN) -> str:
    """Format the table as Markdown, ``mean ± sd`` (for one case its value)."""
    present = [metric for metric in kind.columns if any(metric in row for row in table)]
    indices = [index for index in CORRELATED if any(f"{index}_correlation" in row for row in table)]
    headings = [kind.columns[m][0] for m in present] + [f"{index.upper()} r" for index in indices]
    headings += ["n", "p against the best", "p Mann-Whitney"]
    lines = [about, "", "| method | " + " | ".join(headings) + " |", "|---|" + "---:|" * len(headings)]
    for row in table:
        cells = []
        for metric in present:
            _, factor, digits = kind.columns[metric]
            mean, sd = (factor * row.get(name, float("nan")) for name in (metric, f"{metric}_sd"))
            spread = f" ± {sd:.{digits}f}" if np.isfinite(sd) else ""
            cells.append(f"{mean:.{digits}f}{spread}" if metric in row else "")
        cells += [f"{row[f'{i}_correlation']:.3f}" if f"{i}_correlation" in row else "" for i in indices]
        cells.append(f"{row['n']}" + (f", {row['failed']} failed: {row['reason']}" if row["failed"] else ""))
        cells += [_probability(row[test]) for test in ("p_against_best", "p_mann_whitney")]
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _probability(p: float | str) -> str:
    return p if isinstance(p, str) else ("" if np.isnan(p) else f"{p:.1e}" if p < 0.001 else f"{p:.3f}")
