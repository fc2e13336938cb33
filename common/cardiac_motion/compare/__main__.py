"""Many bundles on one datalist, under one MLflow run: ``python -m cardiac_motion.compare --datalist … --bundles …``.

Each bundle's ``evaluate.json`` runs on the engine of ``cohort``, once for every line of its ``compare.json``
(title and the configuration files that change it; a datalist may name another file under ``compare``), so a comparison
that was killed goes on where it was. The table (Markdown, CSV) has mean ± sd, and a paired Wilcoxon and a Mann-Whitney
U test against the best. ``seconds`` are of one worker beside the others: ``--workers 1`` has the machine to itself.
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
from cardiac_motion.compare.methods import Method, methods_of, run
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
    """Run everything and write ``table.md``, ``table.csv`` (rows), ``cases.csv`` and ``boxes.png``; returns the rows.

    Of simulated cines also ``lncc2_epe.png`` and ``profile.png``. With several folds each has its folder of these, and
    ``worst.md`` and ``worst.csv`` have a line a method with what it is in its worst fold.

    Raises:
        InputError: the datalist, a fold or a bundle is not there.
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
    """As ``compare``, of one fold."""
    entries = read_datalist(arguments.datalist, fold, arguments.dataset_dir)
    content = json.loads(Path(arguments.datalist).read_text(encoding="utf-8"))
    depends = [content[fold], fold, str(Path(arguments.dataset_dir).resolve())]
    key = json.dumps([*depends, arguments.max_frames] if arguments.max_frames else depends)
    variants = arguments.variants or content.get("compare", "compare.json")
    methods = [
        method
        for bundle in arguments.bundles
        for method in methods_of(find_bundle(bundle, arguments.bundle_dir), output_dir, key, variants)
        if not arguments.methods or method.title in arguments.methods
    ]
    if not methods:
        raise InputError(f"no method of {', '.join(arguments.bundles)} is called {', '.join(arguments.methods)}")
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
    """The command line."""
    found = CommandParser(prog=prog, description=(__doc__ or "").splitlines()[0])
    found.add_argument("--datalist", required=True)
    found.add_argument("--dataset_dir", required=True)
    found.add_argument("--fold", default="validation")
    found.add_argument("--folds", nargs="+", help="several: a table each, and one of the worst of them")
    found.add_argument("--max_cases", type=int, default=0, help="the first so many of a fold (default: all)")
    found.add_argument("--max_frames", type=int, default=0, help="of each cine, the first so many (default: all)")
    found.add_argument(
        "--variants", metavar="FILE", help="in the configs of each bundle: its variants (default: the list's)"
    )
    found.add_argument("--methods", nargs="+", default=[], metavar="TITLE", help="these variants alone (default: all)")
    found.add_argument("--bundles", nargs="+", required=True)
    found.add_argument("--bundle_dir", help="folder that holds bundles (default: where they are found)")
    found.add_argument("--output_dir", default="output/compare")
    add_options(found)
    return found


def main(words: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.compare") -> None:
    """Compare; exit code 3 when some cases failed."""
    try:
        table = compare(make_parser(prog).parse_args(words))
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    if any(row["failed"] for row in table):
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main()
