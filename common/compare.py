"""Many bundles on one datalist, under one MLflow run: ``python -m common.compare --datalist … --bundles …``.

Each bundle's ``evaluate.json`` runs on the engine of ``common.cohort``, once for every line of its ``compare.json``
(title and the configuration files that change it; a datalist may name another file under ``compare``), so a comparison
that was killed goes on where it was. The table (Markdown, CSV) has mean ± sd, and a paired Wilcoxon and a Mann-Whitney
U test against the best. ``seconds`` are of one worker beside the others: ``--workers 1`` has the machine to itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, wilcoxon

from common.cine.cases import read_datalist
from common.cohort.bundle import bundle_work, digest_of, parsed, uses_gpu
from common.cohort.engine import Client, ClusterLost, alone, reasons, run_cases
from common.cohort.options import FAILED, add_options, machines
from common.cohort.runner import Limits
from common.core.errors import InputError
from common.core.files import written_whole
from common.core.plots import plt
from common.core.tracking import LONGEST_PARAM, default_store, metric_name, tracking
from common.evaluation.writer import statistics, write_csv

log = logging.getLogger(__name__)

Columns = dict[str, tuple[str, float, int]]  # metric: heading, factor, digits
COSTS: Columns = {
    "folding": ("folding, %", 100, 3),
    "log_jacobian_sd": ("sd ln J", 1, 3),
    "nlcc": ("NLCC", 1, 3),
    "seconds": ("seconds a case", 1, 2),
    "registration_seconds": ("of these registration", 1, 2),
    "seconds_per_pair": ("seconds a pair", 1, 3),
    "memory_mib": ("memory, MiB", 1, 0),
}
DISTANCES: Columns = {"dm_mm": ("d_m, mm", 1, 2), "dh_mm": ("d_H, mm", 1, 2)}


@dataclass(frozen=True)
class Kind:
    """What is compared on one kind of cases.

    Attributes:
        metric: that decides which method is the best, and that a case of this kind has.
        larger: the larger, the better.
        columns: of the table.
        boxes: metrics that the box plot shows.
    """

    metric: str
    larger: bool
    columns: Columns
    boxes: tuple[str, ...]


KINDS = (
    Kind(
        "epe_mm",
        False,
        {
            "epe_mm": ("EPE a frame, mm", 1, 3),
            "epe_es_mm": ("EPE ED to ES, mm", 1, 2),
            **DISTANCES,
            "gls_error": ("GLS bias, points", 1, 2),
            "gls_absolute_error": ("GLS mae", 1, 2),
            "mapse_error": ("MAPSE bias, points", 1, 2),
            "mapse_absolute_error": ("MAPSE mae", 1, 2),
            "nlcc_myocardium": ("NLCC in the myocardium", 1, 3),
            **COSTS,
        },
        ("epe_mm", "epe_es_mm", "gls_error"),
    ),
    Kind(
        "dm_mm",
        False,
        {
            **DISTANCES,
            "dice_cavity": ("Dice cavity, %", 100, 2),
            "dice_myocardium": ("Dice myocardium, %", 100, 2),
            "dice_atrium": ("Dice atrium, %", 100, 2),
            **COSTS,
        },
        ("dm_mm", "dh_mm", "dice_myocardium"),
    ),
    Kind(
        "dice",
        True,
        {
            "dice_head": ("Dice head, %", 100, 2),
            "dice_body": ("Dice body, %", 100, 2),
            "dice": ("Dice average, %", 100, 2),
            "hd95": ("HD95, mm", 1, 2),
            **COSTS,
        },
        ("dice_head", "dice_body", "dice"),
    ),
)
CORRELATED = ("gls", "mapse")  # found and true values of a case, whose correlation is told


@dataclass
class Method:
    """One row of the table.

    Attributes:
        title: of the row.
        configs: files that are merged, in this order.
        folder: of its results.
        cases: metrics of each finished case.
        failed: reason of each case that was not.
    """

    title: str
    configs: list[Path]
    folder: Path
    cases: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def read(self, names: Sequence[str]) -> None:
        """Read what is finished of the cases ``names``."""
        self.cases = {}
        for name in names:
            path = self.folder / name / "summary.json"
            if path.is_file():
                metrics = json.loads(path.read_text())["metrics"]
                self.cases[name] = {k: float("nan") if v is None else v for k, v in metrics.items()}

    def profile(self, name: str) -> list[float] | None:
        """Error along the contour of a finished case, mm, where it has one."""
        return json.loads((self.folder / name / "summary.json").read_text()).get("profile_mm")


def methods_of(bundle: Path, output_dir: Path, key: str, lines_file: str = "compare.json") -> list[Method]:
    """The methods that a bundle compares, as ``lines_file`` in its configs lists them: ``{title: [file, …]}``.

    Args:
        bundle: folder of the bundle.
        output_dir: of the comparison.
        key: what the results depend on besides the configuration (data, fold).
        lines_file: without one, the bundle as it is is the one method.

    Raises:
        InputError: no such bundle, or a file that is missing.
    """
    configs = bundle / "configs"
    base = [configs / "inference.json", configs / "evaluate.json"]
    lines: dict[str, list[str]] = {bundle.name: []}
    if (configs / lines_file).is_file():
        lines = json.loads((configs / lines_file).read_text())
    methods = []
    for title, names in lines.items():
        files = base + [configs / name for name in names]
        missing = [str(path) for path in files if not path.is_file()]
        if missing:
            raise InputError(f"{bundle}: no bundle to evaluate, missing {', '.join(missing)}")
        slug = re.sub(r"[^a-z0-9]+", "_", f"{bundle.name} {title}".lower()).strip("_")
        methods.append(Method(title, files, output_dir / f"{slug}-{digest_of(files, key)[:8]}"))
    return methods


def run(
    method: Method,
    names: Sequence[str],
    options: dict[str, str],
    client: Client | None = None,
    limits: Limits | None = None,
) -> None:
    """Evaluate what is not finished of the cases, and read all results; what fails is told in ``method.failed``.

    Args:
        method: to run.
        names: of the cases.
        options: for the bundle: ``datalist``, ``dataset_dir``, ``fold``.
        client, limits: of ``common.cohort.engine.run_cases``.

    Raises:
        ClusterLost: the scheduler is gone.
    """
    method.read(names)
    left = [name for name in names if name not in method.cases]
    if not left:
        print(f"{method.title}: all {len(names)} cases are finished")
        return
    print(f"{method.title}: {len(left)} of {len(names)} cases to do", flush=True)
    work = bundle_work(method.configs, {**options, "output_dir": str(method.folder.resolve())})
    with alone(method.folder):
        try:
            method.failed = reasons(run_cases(work, left, client, limits, method.title))
        except ClusterLost:
            raise
        except InputError as error:  # of the method, not of a case
            method.failed = dict.fromkeys(left, str(error))
    method.read(names)
    for reason in dict.fromkeys(method.failed.values()):
        print(f"  {sum(r == reason for r in method.failed.values())} of {len(names)} cases failed: {reason}")


def kind_of(methods: Sequence[Method]) -> Kind:
    """The kind of what the methods were run on, by the metrics of their cases; the last where nothing is finished."""
    known = {metric for method in methods for case in method.cases.values() for metric in case}
    return next((kind for kind in KINDS if kind.metric in known), KINDS[-1])


def against_best(methods: Sequence[Method]) -> tuple[str | None, dict[str, tuple[float, float]]]:
    """The best method by the mean of its kind's metric, and the tests of each other against it.

    Only a method that finished most cases can be the best.

    Returns:
        The best's title (None where nothing is finished) and two-sided p by title: of the paired Wilcoxon test on the
        cases that both finished, and of the Mann-Whitney U test of all of both; NaN with fewer than two.
    """
    most = max((len(m.cases) for m in methods), default=0)
    if not most:
        return None, {}
    kind = kind_of(methods)
    sign = -1 if kind.larger else 1
    means = {m.title: sign * np.nanmean(_values(m, kind.metric)) for m in methods if len(m.cases) == most}
    best = min(means, key=lambda title: means[title])
    of_best = next(m for m in methods if m.title == best)
    found = {}
    for method in methods:
        if method.title == best or not method.cases:
            continue
        both = [name for name in method.cases if name in of_best.cases]
        difference = _values(method, kind.metric, both) - _values(of_best, kind.metric, both)
        difference = difference[np.isfinite(difference)]
        samples = [x[np.isfinite(x)] for x in (_values(of_best, kind.metric), _values(method, kind.metric))]
        paired = unpaired = float("nan")
        if len(difference) > 1:
            paired = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
        if min(map(len, samples)) > 1:
            unpaired = float(mannwhitneyu(*samples).pvalue)
        found[method.title] = (paired, unpaired)
    return best, found


def _values(method: Method, metric: str, names: Iterable[str] | None = None) -> NDArray[np.float64]:
    """A metric of the cases (of those of ``names``), NaN where a case has none."""
    names = method.cases if names is None else names
    return np.array([method.cases[name].get(metric, float("nan")) for name in names], dtype=float)


def rows(methods: Sequence[Method]) -> list[dict[str, Any]]:
    """The table's rows as numbers: ``<metric>`` and ``<metric>_sd`` in the files' units, ``n``, ``failed``, ``p``."""
    best, p = against_best(methods)
    table = []
    for method in methods:
        found = statistics([{"case": name, **metrics} for name, metrics in method.cases.items()])
        row: dict[str, Any] = {"method": method.title, "n": len(method.cases), "failed": len(method.failed)}
        for metric in kind_of(methods).columns:
            if metric in found:
                row |= {metric: found[metric]["mean"], f"{metric}_sd": found[metric]["sd"]}
        for index in CORRELATED:
            truth, error = (_values(method, f"{index}_{part}") for part in ("true", "error"))
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


def markdown(table: Sequence[dict[str, Any]], about: str, kind: Kind = KINDS[-1]) -> str:
    """The table as Markdown, ``mean ± sd``."""
    shown = [metric for metric in kind.columns if any(metric in row for row in table)]
    indices = [index for index in CORRELATED if any(f"{index}_correlation" in row for row in table)]
    headings = [kind.columns[m][0] for m in shown] + [f"{index.upper()} r" for index in indices]
    headings += ["n", "p against the best", "p Mann-Whitney"]
    lines = [about, "", "| method | " + " | ".join(headings) + " |", "|---|" + "---:|" * len(headings)]
    for row in table:
        cells = []
        for metric in shown:
            _, factor, digits = kind.columns[metric]
            cells.append(
                f"{factor * row[metric]:.{digits}f} ± {factor * row[f'{metric}_sd']:.{digits}f}"
                if metric in row
                else ""
            )
        cells += [f"{row[f'{i}_correlation']:.3f}" if f"{i}_correlation" in row else "" for i in indices]
        cells.append(f"{row['n']}" + (f", {row['failed']} failed: {row['reason']}" if row["failed"] else ""))
        cells += [_probability(row[test]) for test in ("p_against_best", "p_mann_whitney")]
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _probability(p: float | str) -> str:
    return p if isinstance(p, str) else ("" if np.isnan(p) else f"{p:.1e}" if p < 0.001 else f"{p:.3f}")


def box_plot(methods: Sequence[Method], path: Path) -> None:
    """The metrics that the kind names, a box a method."""
    kind, done = kind_of(methods), [m for m in methods if m.cases]
    figure, axes = plt.subplots(1, len(kind.boxes), figsize=(14, 0.36 * len(done) + 1.4), sharey=True)
    for axis, metric in zip(axes, kind.boxes, strict=True):
        heading, factor, _ = kind.columns[metric]
        values = [factor * _values(m, metric) for m in done]
        axis.boxplot([v[np.isfinite(v)] for v in values], orientation="horizontal", widths=0.6, showmeans=True)
        axis.set_yticks(range(1, len(done) + 1), [m.title for m in done])
        axis.set_xlabel(heading)
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    _save(figure, path)


def truth_plot(methods: Sequence[Method], path: Path) -> None:
    """Is the better similarity the truer motion? NLCC against endpoint error in the myocardium, a point a method."""
    figure, axis = plt.subplots(figsize=(7, 5))
    for method in methods:
        x, y = (np.nanmean(_values(method, metric)) for metric in ("nlcc_myocardium", "epe_mm"))
        axis.plot(x, y, "o", color="tab:blue")
        axis.annotate(method.title, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
    axis.set_xlabel("NLCC in the myocardium")
    axis.set_ylabel("endpoint error a frame, mm")
    axis.grid(alpha=0.3)
    _save(figure, path)


def profile_plot(methods: Sequence[Method], path: Path) -> None:
    """Error along the normalised endocardial contour from base over apex to base (Evain et al. 2022, Fig. 6)."""
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for method in methods:
        profiles = [p for p in map(method.profile, method.cases) if p]
        if profiles:
            mean = np.mean(profiles, axis=0)
            axis.plot(np.linspace(0, 1, len(mean)), mean, label=method.title)
    axis.set_xlabel("normalised position, base – apex – base")
    axis.set_ylabel("mean error over the beat, mm")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=110)
    plt.close(figure)


def send(methods: Sequence[Method], output_dir: Path, params: dict[str, str]) -> None:
    """One parent run with a child a method in MLflow; ``runs.json`` keeps what is sent, so nothing is sent twice.

    A child has the metrics of each case by step, their means under ``mean_<metric>``, and its configuration.

    Raises:
        InputError: the store can't be reached.
    """
    from mlflow.entities import Metric, Param, RunTag

    store = default_store(output_dir)
    kept = output_dir / "runs.json"
    sent: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    sent = sent.get(store, {"parent": None, "children": {}})
    try:
        client, experiment = tracking(output_dir, "compare")
        if sent["parent"] is None:
            sent["parent"] = client.create_run(experiment, run_name=output_dir.name).info.run_id
            client.log_batch(str(sent["parent"]), params=[Param(k, str(v)[:LONGEST_PARAM]) for k, v in params.items()])
        for method in methods:
            name = method.folder.name
            child = sent["children"].get(name, {"run": None, "cases": -1})
            if child["cases"] == len(method.cases):
                continue
            if child["run"] is None:
                tags = {"mlflow.parentRunId": sent["parent"]}
                child["run"] = client.create_run(experiment, run_name=method.title, tags=tags).info.run_id
                client.log_batch(str(child["run"]), params=[Param("configs", " ".join(map(str, method.configs)))])
            now = client.get_run(child["run"]).info.start_time
            metrics = [
                Metric(metric_name(key), value, now, step)
                for step, case in enumerate(method.cases.values())
                for key, value in case.items()
                if np.isfinite(value)
            ]
            means = statistics([{"case": "", **case} for case in method.cases.values()])
            metrics += [Metric(f"mean_{metric_name(key)}", found["mean"], now, 0) for key, found in means.items()]
            for start in range(0, len(metrics), 1000):
                client.log_batch(child["run"], metrics=metrics[start : start + 1000])
            client.log_batch(child["run"], tags=[RunTag("failed", json.dumps(method.failed)[:4000])])
            client.set_terminated(child["run"], "FAILED" if method.failed else "FINISHED")
            child["cases"] = len(method.cases)
            sent["children"][name] = child
        for file in (*output_dir.glob("table.*"), *output_dir.glob("*.png")):
            client.log_artifact(sent["parent"], str(file))
        client.set_terminated(sent["parent"])
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the tracking store {store} took no record ({reason})") from error
    with written_whole(kept) as beside:
        beside.write_text(json.dumps({store: sent}, indent=1))


def compare(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run everything and write ``table.md``, ``table.csv`` (rows), ``cases.csv`` and ``boxes.png``; returns the rows.

    Of simulated cines also ``nlcc_epe.png`` and ``profile.png``.

    Raises:
        InputError: the datalist or a bundle is not there.
    """
    output_dir = Path(arguments.output_dir)
    entries = read_datalist(arguments.datalist, arguments.fold, arguments.dataset_dir)
    names = [entry["case"] for entry in entries]
    content = Path(arguments.datalist).read_text()
    key = content + arguments.fold + str(Path(arguments.dataset_dir).resolve())
    lines_file = json.loads(content).get("compare", "compare.json")
    methods = [
        method
        for bundle in arguments.bundles
        for method in methods_of(Path(arguments.bundle_dir) / bundle, output_dir, key, lines_file)
    ]
    options = {name: str(getattr(arguments, name)) for name in ("datalist", "dataset_dir", "fold")}
    about = f"{Path(arguments.datalist).name}, {arguments.fold}, {len(names)} cases. p: paired Wilcoxon test."
    gpu = any(uses_gpu(parsed(method.configs, options)) for method in methods)
    place, limits = machines(arguments, gpu, len(names))
    with place as client:
        for method in methods:
            run(method, names, options, client, limits)
            table = write_tables(methods, output_dir, about)
    print("\n" + markdown(table, about, kind_of(methods)))
    try:
        send(methods, output_dir, {**options, "bundles": " ".join(arguments.bundles)})
        print(f"MLflow: python -m mlflow ui --backend-store-uri {default_store(output_dir)}")
    except InputError as error:
        log.warning("%s; nothing is lost: the same command sends it later", error)
    return table


def write_tables(methods: Sequence[Method], output_dir: Path, about: str) -> list[dict[str, Any]]:
    """Write what is known of the methods so far; returns the rows."""
    begun = [m for m in methods if m.cases or m.failed]
    table = rows(begun)
    write_csv(output_dir / "table.csv", table)
    write_csv(
        output_dir / "cases.csv", [{"method": m.title, "case": n, **c} for m in begun for n, c in m.cases.items()]
    )
    with written_whole(output_dir / "table.md") as beside:
        beside.write_text(markdown(table, about, kind_of(begun)))
    done = [m for m in begun if m.cases]
    if done:
        box_plot(done, output_dir / "boxes.png")
    if done and kind_of(done).metric == "epe_mm":
        truth_plot(done, output_dir / "nlcc_epe.png")
        profile_plot(done, output_dir / "profile.png")
    return table


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m common.compare", description=(__doc__ or "").splitlines()[0])
    found.add_argument("--datalist", required=True)
    found.add_argument("--dataset_dir", required=True)
    found.add_argument("--fold", default="validation")
    found.add_argument("--bundles", nargs="+", required=True)
    found.add_argument("--bundle_dir", default="bundles")
    found.add_argument("--output_dir", default="output/compare")
    add_options(found)
    return found


def main() -> None:
    """Compare; exit code 3 when some cases failed."""
    try:
        table = compare(parser().parse_args())
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    if any(row["failed"] for row in table):
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main()
