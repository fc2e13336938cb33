"""``python -m cardiac_motion.cohort``: run a bundle over a list of cases."""

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

SHOWN = 20  # maximum number of failures that are printed

ABOUT = """Run a bundle over a list of cases, on this machine or a cluster. The same command resumes an interrupted run:
missing and failed cases are processed. Options of the bundle follow as in `monai.bundle run`: --save_figures False."""


def make_parser(prog: str = "python -m cardiac_motion.cohort") -> CommandParser:
    """Build the parser, without the options of a bundle."""
    parser = CommandParser(prog=prog, description=ABOUT)
    what = parser.add_argument_group("input and output")
    what.add_argument("--bundle", help="name of the bundle, or its folder")
    what.add_argument("--bundle_dir", help="folder of the bundles (default: the usual places)")
    what.add_argument("--evaluate", action="store_true", help="add evaluate.json: score against labels or ground truth")
    what.add_argument("--config", nargs="+", default=[], help="further configuration files, e.g. motion.json")
    what.add_argument("--datalist", help="JSON datalist in the decathlon's format")
    what.add_argument("--dataset_dir", default=".", help="folder of the datalist's relative paths")
    what.add_argument("--fold", help="list of the datalist (default: the bundle's)")
    what.add_argument("--output_dir", required=True)
    add_options(parser)
    further = parser.add_argument_group("further options")
    further.add_argument("--retry-failed", "--retry_failed", action="store_true", help="process only failed cases")
    further.add_argument("--dry-run", "--dry_run", action="store_true", help="only print the job of a batch system")
    further.add_argument("--sync", action="store_true", help="only send pending records to MLflow")
    further.add_argument("--mlflow", default="True", choices=["True", "False"], help="record in MLflow (default: True)")
    return parser


def arguments(
    words: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.cohort"
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse the command line; return its options, and the bundle's options in it."""
    parser = make_parser(prog)
    options, rest = parser.parse_known_args(words)
    if not options.sync and not options.dry_run and not (options.bundle and options.datalist):
        parser.error("--bundle and --datalist are required")
    bundle_options = {}
    for key, value in zip(rest[::2], [*rest[1::2], None], strict=False):
        if not key.startswith("--") or value is None or value.startswith("--"):
            parser.error(f"{key}: options of the bundle are given as --name value")
        bundle_options[key[2:]] = _parse_literal(value)
    return options, bundle_options


def _parse_literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def run(options: argparse.Namespace, bundle_options: dict[str, Any]) -> int:
    """Process the cases; return the exit code.

    Raises:
        InputError: the bundle, the datalist or the output folder cannot be used.
    """
    output_dir = Path(options.output_dir)
    files = config_files(find_bundle(options.bundle, options.bundle_dir), options.evaluate, options.config)
    given = {"datalist": str(Path(options.datalist).resolve()), "dataset_dir": str(Path(options.dataset_dir).resolve())}
    given |= {"fold": options.fold} if options.fold else {}
    given |= {"output_dir": str(output_dir.resolve()), **bundle_options}
    parser = parse_config(files, given)
    folder_names = bundles.case_names(parser)
    names = list(folder_names.values())
    work = bundles.bundle_work(files, given)
    with hold_folder(output_dir):
        cohort = bundles.write_settings(output_dir, bundles.settings(files, given), names, folder_names)
        before = Journal(output_dir).read()
        chosen = names
        if options.retry_failed:
            chosen = [name for name in names if name in reasons(before)]
        pending = [name for name in chosen if not work.is_finished(name)]
        print(f"{options.bundle}: {len(pending)} of {len(names)} cases to process", flush=True)
        start = time.monotonic()
        if pending:
            with Sender(output_dir, options.mlflow == "True") as sender:
                client, limits = machines(options, bundles.uses_gpu(parser), len(pending))
                with client as cluster:
                    before |= run_cases(work, pending, cluster, limits, options.bundle, lambda o: sender.add(o["case"]))
        failures = reasons(before)
        failed = {name: before[name] for name in names if name in failures and not work.is_finished(name)}
        return finish(options, output_dir, names, cohort["cases"], failed, len(pending), time.monotonic() - start)


def finish(
    options: argparse.Namespace,
    output_dir: Path,
    names: Sequence[str],
    all_names: Sequence[str],
    failed: dict[str, Any],
    count: int,
    seconds: float,
) -> int:
    """Write the tables of all cases in the folder, print failures, and update MLflow; return the exit code."""
    try:
        text = bundles.tables(output_dir, all_names, reasons(failed))
        (output_dir / "failed.csv").unlink(missing_ok=True)
        if failed:
            columns = ("case", "status", "reason", "attempts", "seconds", "worker")
            write_csv(output_dir / "failed.csv", [{key: o.get(key) for key in columns} for o in failed.values()])
        if text:
            print(text)
    except (InputError, OSError) as error:  # the disk is full, for example; the cases themselves are complete
        print(f"the tables could not be written: {error}; run the same command again to write them", file=sys.stderr)
    if count:
        print(f"\n{count} cases in {seconds:.1f} s, {count / seconds:.2f} cases/s")
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
    """Send pending records to MLflow.

    Args:
        output_dir: output folder of the cohort.
        keep: print a message instead of raising if the store cannot be reached.

    Raises:
        InputError: the store cannot be reached.
    """
    try:
        run = send(output_dir)
    except InputError as error:
        if not keep:
            raise
        print(
            f"{error}; nothing is lost: send the record later with "
            f"`python -m cardiac_motion.cohort --output_dir {output_dir} --sync`",
            file=sys.stderr,
        )
        return
    print(f"MLflow: run {run}; {viewing_command()}")


def dry_run(options: argparse.Namespace) -> None:
    """Print the script of a batch job.

    Raises:
        InputError: no batch system is given.
    """
    system = batch_system(options)
    if system is None:
        raise InputError("--dry-run prints the job of a batch system; give --slurm, --pbs or --lsf FILE.yaml")
    cluster, jobs = make_job_cluster(*system)
    with cluster:
        print(f"# {jobs} such jobs\n{cluster.job_script()}")


def main(words: Sequence[str] | None = None, prog: str = "python -m cardiac_motion.cohort") -> int:
    """Run the command line; return the exit code."""
    options, bundle_options = arguments(words, prog)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if options.sync:
            sync(Path(options.output_dir))
            return 0
        if options.dry_run:
            dry_run(options)
            return 0
        return run(options, bundle_options)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
