"""``python -m cardiac_motion.cohort``: a bundle over a list of cases."""

from __future__ import annotations

import argparse
import ast
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiac_motion.bundle.config import config_files, parse_config
from cardiac_motion.bundle.find import find_bundle
from cardiac_motion.cohort import bundle as bundles
from cardiac_motion.cohort.cluster import make_job_cluster
from cardiac_motion.cohort.engine import Journal, hold_folder, reasons, run_cases
from cardiac_motion.cohort.journal import Sender, send
from cardiac_motion.cohort.options import FAILED, add_options, batch_system, machines
from cardiac_motion.core.command import CommandParser
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.tables import write_csv
from cardiac_motion.core.tracking import viewing_command

SHOWN = 20  # failures that are printed

ABOUT = """A bundle over a list of cases, on this machine or a cluster. The same command goes on where it was:
what is missing or failed is done. Options of the bundle follow as for `monai.bundle run`: --save_figures False."""


def make_parser(prog: str = "python -m cardiac_motion.cohort") -> CommandParser:
    """The command line, without the options of a bundle."""
    parser = CommandParser(prog=prog, description=ABOUT)
    what = parser.add_argument_group("what")
    what.add_argument("--bundle", help="its name, or its folder")
    what.add_argument("--bundle_dir", help="folder that holds bundles (default: where they are found)")
    what.add_argument("--evaluate", action="store_true", help="evaluate.json too: score against labels or truth")
    what.add_argument("--config", nargs="+", default=[], help="further configuration files, motion.json say")
    what.add_argument("--datalist", help="JSON datalist of the decathlon's format")
    what.add_argument("--dataset_dir", default=".", help="where the datalist's paths start")
    what.add_argument("--fold", help="list of the datalist (default: the bundle's)")
    what.add_argument("--output_dir", required=True)
    add_options(parser)
    further = parser.add_argument_group("further")
    further.add_argument("--retry-failed", "--retry_failed", action="store_true", help="only what failed before")
    further.add_argument("--dry-run", "--dry_run", action="store_true", help="only print the job of a batch system")
    further.add_argument("--sync", action="store_true", help="only send MLflow what it missed")
    further.add_argument("--mlflow", default="True", choices=["True", "False"], help="keep a record (default: True)")
    return parser


def arguments(
    words: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.cohort"
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command line, and the options of the bundle in it."""
    parser = make_parser(prog)
    options, rest = parser.parse_known_args(words)
    if not options.sync and not options.dry_run and not (options.bundle and options.datalist):
        parser.error("--bundle and --datalist are needed")
    own = {}
    for key, value in zip(rest[::2], [*rest[1::2], None], strict=False):
        if not key.startswith("--") or value is None or value.startswith("--"):
            parser.error(f"{key}: an option of the bundle is --name value")
        own[key[2:]] = _parse_literal(value)
    return options, own


def _parse_literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def run(options: argparse.Namespace, own: dict[str, Any]) -> int:
    """Do what the command line says; returns the exit code.

    Raises:
        InputError: nothing can be done.
    """
    output_dir = Path(options.output_dir)
    files = config_files(find_bundle(options.bundle, options.bundle_dir), options.evaluate, options.config)
    given = {"datalist": str(Path(options.datalist).resolve()), "dataset_dir": str(Path(options.dataset_dir).resolve())}
    given |= {"fold": options.fold} if options.fold else {}
    given |= {"output_dir": str(output_dir.resolve()), **own}
    parser = parse_config(files, given)
    placed = bundles.case_names(parser)
    names = list(placed.values())
    work = bundles.bundle_work(files, given)
    with hold_folder(output_dir):
        kept = bundles.keep_settings(output_dir, bundles.settings(files, given), names, placed)
        before = Journal(output_dir).read()
        chosen = names
        if options.retry_failed:
            chosen = [name for name in names if name in reasons(before)]
        left = [name for name in chosen if not work.is_finished(name)]
        print(f"{options.bundle}: {len(left)} of {len(names)} cases to do", flush=True)
        start = time.monotonic()
        if left:
            with Sender(output_dir, options.mlflow == "True") as sender:
                client, limits = machines(options, bundles.uses_gpu(parser), len(left))
                with client as cluster:
                    before |= run_cases(work, left, cluster, limits, options.bundle, lambda o: sender.add(o["case"]))
        wrong = reasons(before)
        failed = {name: before[name] for name in names if name in wrong and not work.is_finished(name)}
        return finish(options, output_dir, names, kept["cases"], failed, len(left), time.monotonic() - start)


def finish(
    options: argparse.Namespace,
    output_dir: Path,
    names: Sequence[str],
    all_names: Sequence[str],
    failed: dict[str, Any],
    count: int,
    taken: float,
) -> int:
    """The tables of all cases of the folder, what failed of the list, and MLflow; returns the exit code."""
    try:
        text = bundles.tables(output_dir, all_names, reasons(failed))
        (output_dir / "failed.csv").unlink(missing_ok=True)
        if failed:
            columns = ("case", "status", "reason", "attempts", "seconds", "worker")
            write_csv(output_dir / "failed.csv", [{key: o.get(key) for key in columns} for o in failed.values()])
        if text:
            print(text)
    except (InputError, OSError) as error:  # the disk is full, say; the cases are there
        print(f"the tables are not written: {error}; the same command does it", file=sys.stderr)
    if count:
        print(f"\n{count} cases in {taken:.1f} s, {count / taken:.2f} cases/s")
    if failed:
        print(f"\n{len(failed)} of {len(names)} cases failed:")
        width = max(len(name) for name in list(failed)[:SHOWN])
        for name in list(failed)[:SHOWN]:
            print(f"  {name:<{width}}  {failed[name]['status']:<6}  {failed[name]['reason']}")
        if len(failed) > SHOWN:
            print(f"  … and {len(failed) - SHOWN} more: {output_dir / 'failed.csv'}")
    if options.mlflow == "True":
        sync(output_dir, keep=True)
    return FAILED if failed else 0


def sync(output_dir: Path, keep: bool = False) -> None:
    """Send MLflow what it missed.

    Args:
        output_dir: of the cohort.
        keep: when it can't be reached, only say so.

    Raises:
        InputError: it can't be reached.
    """
    try:
        run = send(output_dir)
    except InputError as error:
        if not keep:
            raise
        print(
            f"{error}; nothing is lost: "
            f"`python -m cardiac_motion.cohort --output_dir {output_dir} --sync` sends it later",
            file=sys.stderr,
        )
        return
    print(f"MLflow: run {run}; {viewing_command()}")


def dry_run(options: argparse.Namespace) -> None:
    """Print the script that a job would be.

    Raises:
        InputError: no batch system is named.
    """
    place = batch_system(options)
    if place is None:
        raise InputError("--dry-run: shows the job of --slurm, --pbs or --lsf FILE.yaml")
    cluster, jobs = make_job_cluster(*place)
    with cluster:
        print(f"# {jobs} of this job\n{cluster.job_script()}")


def main(words: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.cohort") -> int:
    """The command line; returns the exit code."""
    options, own = arguments(words, prog)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if options.sync:
            sync(Path(options.output_dir))
            return 0
        if options.dry_run:
            dry_run(options)
            return 0
        return run(options, own)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
