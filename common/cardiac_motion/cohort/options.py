"""Where cases run and what each may take, as options that every command over a list of cases has."""

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
    where = parser.add_argument_group("where (default: this machine)")
    place = where.add_mutually_exclusive_group()
    place.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a running Dask cluster")
    for name in cluster.SYSTEMS:
        place.add_argument(f"--{name}", metavar="FILE.yaml", help=f"ask {name.upper()} for one: jobs, cores, memory, …")
    place.add_argument("--here", action="store_true", help="case after case in this process, to debug; no limits hold")
    where.add_argument("--workers", type=_count, default=0, help="on this machine (default: one a GPU or a core)")
    where.add_argument("--threads", type=_count, default=0, help="of a case (default: the cores shared out)")
    limits = parser.add_argument_group("limits of a case")
    limits.add_argument(
        "--time_limit", type=_seconds, default=14400, metavar="SECONDS", help="0: none (default: 14400)"
    )
    limits.add_argument("--memory_limit", metavar="SIZE", help="4GiB, say (default: the memory shared out)")
    limits.add_argument("--retries", type=_count, default=2, help="when its worker is lost (default: 2)")


def batch_system(options: argparse.Namespace) -> tuple[str, str] | None:
    """The batch system that is named, and its file."""
    return next(((name, getattr(options, name)) for name in cluster.SYSTEMS if getattr(options, name)), None)


def machines(
    options: argparse.Namespace, gpu: bool, cases: int
) -> tuple[AbstractContextManager[Client | None], Limits]:
    """Where cases run, as a context that gives Dask's client (None in this process), and their limits.

    Args:
        options: of ``add_options``.
        gpu: the work uses one where there is one.
        cases: no more workers than these are started on this machine.

    Raises:
        InputError: a limit that is no size, or a system without process groups.
    """
    if not options.here and not hasattr(os, "killpg"):
        raise InputError("cases in processes of their own need Linux or macOS; here, --here does one after the other")
    memory = cluster.size_in_bytes(options.memory_limit) if options.memory_limit else 0
    threads, place = options.threads or 1, batch_system(options)
    where: AbstractContextManager[Client | None]
    if options.here:
        where = nullcontext()
    elif options.scheduler:
        where = cluster.connect(options.scheduler)
    elif place:
        where = cluster.submit_jobs(*place)
    else:
        workers, threads, gpus = cluster.plan(options.workers, options.threads, gpu)
        where = cluster.start_local(min(workers, max(cases, 1)), gpus, memory, options.retries)
    return where, Limits(options.time_limit, memory, options.retries, threads)
