"""Command-line options, shared by all commands over a list of cases: where cases run, and their limits."""

from __future__ import annotations

import argparse
import os
from contextlib import AbstractContextManager, nullcontext

from distributed import Client

from cardiac_motion.cohort import cluster
from cardiac_motion.cohort.runner import Limits
from cardiac_motion.core.errors import InputError

FAILED = 3  # exit code: some cases failed


def _count(text: str) -> int:
    """A whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number, 0 or more")
    return int(text)


def _seconds(text: str) -> float:
    """A finite number of 0 or more."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds, 0 or more")
    return seconds


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command line."""
    where = parser.add_argument_group("where to run (default: this machine)")
    place = where.add_mutually_exclusive_group()
    place.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a running Dask cluster")
    for name in cluster.SYSTEMS:
        about = f"request jobs from {name.upper()}: jobs, cores, memory, …"
        place.add_argument(f"--{name}", metavar="FILE.yaml", help=about)
    place.add_argument("--here", action="store_true", help="one by one in this process, for debugging; without limits")
    where.add_argument("--workers", type=_count, default=0, help="on this machine (default: one per GPU or core)")
    where.add_argument("--threads", type=_count, default=0, help="threads per case (default: the cores are divided)")
    limits = parser.add_argument_group("limits of a case")
    limits.add_argument(
        "--time_limit", type=_seconds, default=14400, metavar="SECONDS", help="0: none (default: 14400)"
    )
    limits.add_argument("--memory_limit", metavar="SIZE", help="e.g. 4GiB (default: the machine's memory is divided)")
    limits.add_argument("--retries", type=_count, default=2, help="retries if its worker is lost (default: 2)")


def batch_system(options: argparse.Namespace) -> tuple[str, str] | None:
    """Return the requested batch system and its file, or None."""
    return next(((name, getattr(options, name)) for name in cluster.SYSTEMS if getattr(options, name)), None)


def machines(
    options: argparse.Namespace, gpu: bool, cases: int
) -> tuple[AbstractContextManager[Client | None], Limits]:
    """Return a context manager that yields Dask's client (None for this process), and the cases' limits.

    Args:
        options: parsed options of ``add_options``.
        gpu: whether the work uses a GPU if there is one.
        cases: number of cases; at most as many workers are started on this machine.

    Raises:
        InputError: a limit is not a size, or the operating system has no process groups.
    """
    if not options.here and not hasattr(os, "killpg"):
        raise InputError("separate processes per case need Linux or macOS; use --here to run cases one by one")
    memory = cluster.size_in_bytes(options.memory_limit) if options.memory_limit else 0
    threads, system = options.threads or 1, batch_system(options)
    where: AbstractContextManager[Client | None]
    if options.here:
        where = nullcontext()
    elif options.scheduler:
        where = cluster.connect(options.scheduler)
    elif system:
        where = cluster.submit_jobs(*system)
    else:
        workers, threads, gpus = cluster.plan(options.workers, options.threads, gpu)
        where = cluster.start_local(min(workers, max(cases, 1)), gpus, memory, options.retries)
    return where, Limits(options.time_limit, memory, options.retries, threads)
