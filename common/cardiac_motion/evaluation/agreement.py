"""Agreement of a measurement with its reference: bias, limits of agreement, errors, and the Bland-Altman plot.

Bland and Altman 1986 (10.1016/S0140-6736(86)90837-8); Østvik et al. 2018 (10.1007/978-3-030-00889-5_35), Fig. 2: the
difference (measured − reference) over the mean of both, with the bias and the bias ± 1.96 standard deviations.
Implemented here because statsmodels' ``mean_diff_plot`` only draws and does not return the numbers.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Events
from numpy.typing import ArrayLike

from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError, install_error_hook
from cardiac_motion.core.plots import plt
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.evaluation.case_evaluator import CaseEvaluator, CaseEvents


def agreement(measured: ArrayLike, reference: ArrayLike) -> dict[str, float]:
    """Compute bias, sd, limits of agreement, mean absolute error and correlation, in the unit of the values.

    Args:
        measured, reference: ``[n]``; pairs with a non-finite value are excluded.

    Returns:
        ``n``, ``bias``, ``sd`` (of a sample), ``lower`` and ``upper`` limit, ``mae``, ``correlation``.

    Raises:
        InputError: fewer than two pairs.

    Examples:
        >>> numbers = agreement([-18.0, -20.0, -22.0], [-19.0, -20.0, -21.0])
        >>> [round(numbers[key], 2) for key in ("n", "bias", "sd", "lower", "upper", "mae", "correlation")]
        [3, 0.0, 1.0, -1.96, 1.96, 0.67, 1.0]
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (measured, reference))
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if len(a) < 2:
        raise InputError(f"agreement needs at least two pairs of finite values, got {len(a)}")
    difference = a - b
    sd = float(difference.std(ddof=1))
    varies = a.std() > 0 and b.std() > 0
    return {
        "n": len(a),
        "bias": float(difference.mean()),
        "sd": sd,
        "lower": float(difference.mean()) - 1.96 * sd,
        "upper": float(difference.mean()) + 1.96 * sd,
        "mae": float(np.abs(difference).mean()),
        "correlation": float(np.corrcoef(a, b)[0, 1]) if varies else math.nan,
    }


def bland_altman(measured: ArrayLike, reference: ArrayLike, path: str | Path, label: str = "GLS, %") -> None:
    """Draw the differences over the means as a PNG.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bland_altman([-18.0, -20.0, -22.0], [-19.0, -20.0, -21.0], f"{folder}/gls.png")
        ...     Path(folder, "gls.png").read_bytes()[1:4]
        b'PNG'
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (measured, reference))
    numbers = agreement(a, b)
    figure, axis = plt.subplots(figsize=(5.2, 4))
    axis.scatter((a + b) / 2, a - b, s=26, color="#0072b2", alpha=0.8, edgecolors="none")
    for key, style in (("bias", "-"), ("lower", "--"), ("upper", "--")):
        axis.axhline(numbers[key], color="#d55e00" if key == "bias" else "0.4", linestyle=style, linewidth=1.2)
        axis.annotate(
            f"{numbers[key]:+.1f}", (1.0, numbers[key]), (4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    axis.set_xlabel(f"mean of measured and reference ({label})")
    axis.set_ylabel(f"measured − reference ({label})")
    axis.set_title(f"n = {numbers['n']}, bias {numbers['bias']:+.1f} ± {numbers['sd']:.1f}", fontsize=10)
    figure.tight_layout()
    with write_whole(path) as beside:
        figure.savefig(beside, dpi=120)
    plt.close(figure)


def table(rows: Sequence[dict[str, Any]], measures: Sequence[str] = ("gls",)) -> str:
    """Format the agreement of each measure as a Markdown table, from columns ``<name>_true`` and ``<name>_error``.

    Raises:
        InputError: a column is missing, or has fewer than two values.
    """
    lines = ["| | n | bias | sd | limits of agreement | MAE | r |", "|---|---|---|---|---|---|---|"]
    for name in measures:
        measured, truth = extract_pairs(rows, name)
        n = agreement(measured, truth)
        lines.append(
            f"| {name} | {n['n']} | {n['bias']:+.2f} | {n['sd']:.2f} | {n['lower']:+.2f} to {n['upper']:+.2f} "
            f"| {n['mae']:.2f} | {n['correlation']:.2f} |"
        )
    for name in ("ed_error", "es_error"):
        errors = [abs(float(row[name])) for row in rows if row.get(name) not in (None, "")]
        if errors:
            near = sum(e <= 1 for e in errors)
            lines.append(f"\n{name.replace('_', ' ')}: within one frame in {near} of {len(errors)}")
    return "\n".join(lines)


def extract_pairs(rows: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Return measured and true values from the rows of a ``metrics.csv``."""
    try:
        truth = [_number(row[f"{name}_true"]) for row in rows]
        return [t + _number(row[f"{name}_error"]) for t, row in zip(truth, rows, strict=True)], truth
    except KeyError as error:
        raise InputError(f"no column {error}; agreement needs an evaluation of simulated cases") from None


def _number(value: Any) -> float:
    return math.nan if value in (None, "") else float(value)


class AgreementReport:
    """Handler that writes ``bland_altman.png`` and prints the table when all cases are done.

    Args:
        output_dir: folder of the figure.
        measure: name in the columns ``<measure>_true`` and ``<measure>_error`` of the cases' metrics.
    """

    def __init__(self, output_dir: str, measure: str = "gls") -> None:
        self.output_dir, self.measure = Path(output_dir), measure

    def attach(self, engine: CaseEvaluator) -> None:
        """Collect the metrics of each case; write when all are done."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(CaseEvents.CASE_DONE, self._case)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _begin(self, engine: CaseEvaluator) -> None:
        self.rows: list[dict[str, Any]] = []

    def _case(self, engine: CaseEvaluator) -> None:
        if f"{self.measure}_true" in engine.state.output["metrics"]:
            self.rows.append(engine.state.output["metrics"])

    def _write(self, engine: CaseEvaluator) -> None:
        if len(self.rows) < 2:
            return
        print("\n" + table(self.rows, [self.measure]))
        bland_altman(*extract_pairs(self.rows, self.measure), self.output_dir / "bland_altman.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m cardiac_motion.evaluation.agreement METRICS.csv [--plot FILE]``: print the table, optionally plot.

    Raises:
        InputError: the file cannot be read, or contains no true values.
    """
    parser = CommandParser(prog="python -m cardiac_motion.evaluation.agreement", description=__doc__)
    parser.add_argument("metrics", type=Path, help="metrics.csv of an evaluation on simulated cases")
    parser.add_argument("--measure", default="gls")
    parser.add_argument("--plot", type=Path, help="PNG of the Bland-Altman plot")
    options = parser.parse_args(arguments)
    try:
        with open(options.metrics, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{options.metrics}: cannot be read ({error.strerror})") from error
    print(table(rows, [options.measure]))
    if options.plot:
        bland_altman(*extract_pairs(rows, options.measure), options.plot)


if __name__ == "__main__":
    install_error_hook()
    main(sys.argv[1:])
