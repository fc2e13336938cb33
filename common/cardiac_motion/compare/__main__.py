"""Compare bundles on one datalist, under one MLflow run: ``python -m cardiac_motion.compare --datalist … --bundles …``.

Each bundle's ``evaluate.json`` runs on the engine of ``cohort``, once for every variant in its ``compare.json`` (title
and configuration files; a datalist may name another file under ``compare``). An interrupted comparison resumes. The
table (Markdown, CSV) has mean ± sd, a paired Wilcoxon and a Mann-Whitney U test against the best method. ``seconds``
are measured while other workers run; use ``--workers 1`` for undisturbed times.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.bundle.config import parse_config
from cardiac_motion.bundle.find import find_bundle
from cardiac_motion.cohort.bundle import uses_gpu
from cardiac_motion.cohort.options import FAILED, add_options, machines
from cardiac_motion.compare.figures import box_plot, profile_plot, truth_plot
from cardiac_motion.compare.kinds import kind_named
from cardiac_motion.compare.methods import Method, list_variants, run
from cardiac_motion.compare.table import kind_of, markdown, rows
from cardiac_motion.compare.tracked_comparison import send
from cardiac_motion.compare.worst import write_worst
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.datalist import read_datalist
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.folders import case_names
from cardiac_motion.core.tables import write_csv
from cardiac_motion.core.tracking import viewing_command
from cardiac_motion.core.whole_files import write_whole

log = logging.getLogger(__name__)


def compare(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all methods and write ``table.md``, ``table.csv``, ``cases.csv`` and ``boxes.png``; return the rows.

    Simulated cines also get ``lncc2_epe.png`` and ``profile.png``. With several folds, each has a folder with these
    files, and ``worst.md`` and ``worst.csv`` list each method's results in its worst fold.

    Raises:
        InputError: the datalist, a fold or a bundle does not exist.
    """
    output_dir, folds = Path(arguments.output_dir), list(dict.fromkeys(arguments.folds or [arguments.fold]))
    if len(folds) == 1:
        return compare_fold(arguments, folds[0], output_dir)
    for fold in folds:
        read_datalist(arguments.datalist, fold, arguments.dataset_dir)
    tables = {fold: compare_fold(arguments, fold, output_dir / fold) for fold in folds}
    kinds = {fold: kind_named(table) for fold, table in tables.items()}
    print(write_worst(tables, kinds, output_dir, f"{Path(arguments.datalist).name}: {', '.join(folds)}."))
    return [row for table in tables.values() for row in table]


def compare_fold(arguments: argparse.Namespace, fold: str, output_dir: Path) -> list[dict[str, Any]]:
    """Run all methods on one fold, as ``compare`` does."""
    entries = read_datalist(arguments.datalist, fold, arguments.dataset_dir)
    content = json.loads(Path(arguments.datalist).read_text(encoding="utf-8"))
    depends = [content[fold], fold, str(Path(arguments.dataset_dir).resolve())]
    key = json.dumps([*depends, arguments.max_frames] if arguments.max_frames else depends)
    variants = arguments.variants or content.get("compare", "compare.json")
    methods = [
        method
        for bundle in arguments.bundles
        for method in list_variants(find_bundle(bundle, arguments.bundle_dir), output_dir, key, variants)
        if not arguments.methods or method.title in arguments.methods
    ]
    if not methods:
        raise InputError(f"no variant of {', '.join(arguments.bundles)} has the title {', '.join(arguments.methods)}")
    names = case_names(entries[: arguments.max_cases or None], methods[0].folder)
    options: dict[str, Any] = {name: str(getattr(arguments, name)) for name in ("datalist", "dataset_dir")}
    options["fold"] = fold
    part = ""
    if arguments.max_frames:
        options["max_frames"], part = arguments.max_frames, f", the first {arguments.max_frames} frames of each"
    about = f"{Path(arguments.datalist).name}, {fold}, {len(names)} cases{part}. p: paired Wilcoxon test."
    gpu = any(uses_gpu(parse_config(method.configs, options)) for method in methods)
    place, limits = machines(arguments, gpu, len(names))
    with place as client:
        for method in methods:
            run(method, names, options, client, limits)
            table = write_tables(methods, output_dir, about)
    print("\n" + markdown(table, about, kind_of(methods)))
    try:
        send(methods, output_dir, {**options, "bundles": " ".join(arguments.bundles)}, names)
        print(f"MLflow: {viewing_command()}")
    except InputError as error:
        log.warning("%s; nothing is lost: run the same command again to send it", error)
    return table


def write_tables(methods: Sequence[Method], output_dir: Path, about: str) -> list[dict[str, Any]]:
    """Write the tables and figures of the results so far; return the rows."""
    begun = [m for m in methods if m.cases or m.failed]
    table = rows(begun)
    write_csv(output_dir / "table.csv", table)
    write_csv(
        output_dir / "cases.csv", [{"method": m.title, "case": n, **c} for m in begun for n, c in m.cases.items()]
    )
    with write_whole(output_dir / "table.md") as beside:
        beside.write_text(markdown(table, about, kind_of(begun)), encoding="utf-8")
    done = [m for m in begun if m.cases]
    if done:
        box_plot(done, output_dir / "boxes.png")
    if done and kind_of(done).metric == "epe_mm":
        truth_plot(done, output_dir / "lncc2_epe.png")
        profile_plot(done, output_dir / "profile.png")
    return table


def make_parser(prog: str = "python -m cardiac_motion.compare") -> CommandParser:
    """Build the parser."""
    parser = CommandParser(prog=prog, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--datalist", required=True)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--fold", default="validation")
    parser.add_argument("--folds", nargs="+", help="several folds: one table each, and one of the worst fold")
    parser.add_argument("--max_cases", type=int, default=0, help="maximum number of cases of a fold (default: all)")
    parser.add_argument("--max_frames", type=int, default=0, help="maximum number of frames of a cine (default: all)")
    parser.add_argument(
        "--variants", metavar="FILE", help="file of variants in each bundle's configs (default: the datalist's)"
    )
    parser.add_argument("--methods", nargs="+", default=[], metavar="TITLE", help="only these variants (default: all)")
    parser.add_argument("--bundles", nargs="+", required=True)
    parser.add_argument("--bundle_dir", help="folder of the bundles (default: the usual places)")
    parser.add_argument("--output_dir", default="output/compare")
    add_options(parser)
    return parser


def main(words: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.compare") -> None:
    """Run the comparison; exit code 3 if some cases failed."""
    try:
        table = compare(make_parser(prog).parse_args(words))
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    if any(row["failed"] for row in table):
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main()
