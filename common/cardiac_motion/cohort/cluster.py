"""Where cases run: a Dask cluster on this machine, one that is running, or one asked of a batch system."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import yaml
from dask.system import CPU_COUNT
from dask.utils import parse_bytes
from distributed import Client, Nanny, Scheduler, SpecCluster, Status
from distributed.system import MEMORY_LIMIT

from cardiac_motion.cohort.runner import list_gpus
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.extras import import_extra

logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it would say, the engine says
SMALLEST = 2 * 2**30  # bytes a worker, where the number of workers is ours to choose
RESTART = {"distributed.deploy.lost-worker-timeout": "1h"}  # Dask gives up a worker that takes 15 s to start again
SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}


def plan(workers: int = 0, threads: int = 0, gpu: bool = False) -> tuple[int, int, list[str]]:
    """How this machine is shared out.

    Args:
        workers: 0 takes one a GPU where ``gpu`` and there are any, else one a core as far as 2 GiB are left for each.
        threads: of a worker; 0 shares the cores out.
        gpu: the work uses one where there is one.

    Returns:
        workers, threads of each, and the GPUs.
    """
    gpus = list_gpus() if gpu else []
    workers = workers or len(gpus) or max(1, min(CPU_COUNT, MEMORY_LIMIT // SMALLEST))
    return workers, threads or max(1, CPU_COUNT // workers), gpus


@contextmanager
def _program_hidden() -> Iterator[None]:
    """Dask's processes need nothing of the program that starts them; by default each would import it anew."""
    program = sys.modules["__main__"]
    before = {name: getattr(program, name, None) for name in ("__spec__", "__file__")}
    for name in before:
        setattr(program, name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(program, name, value)


@contextmanager
def start_local(workers: int, gpus: list[str], memory: int = 0, retries: int = 2) -> Iterator[Client]:
    """A cluster of single-threaded workers on this machine.

    Args:
        workers: processes, each doing one case at a time.
        gpus: worker k sees the k-th alone (again from the first after the last).
        memory: bytes a worker; 0 shares out nine tenths of the machine's.
        retries: of a case whose worker was lost.
    """
    memory = memory or int(0.9 * MEMORY_LIMIT / workers)
    options = {"nthreads": 1, "memory_limit": memory, "dashboard_address": None}
    specification = {}
    for number in range(workers):
        environment = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        specification[number] = {"cls": Nanny, "options": {**options, "env": environment}}
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"},
    }
    with (
        _program_hidden(),
        dask.config.set({"distributed.scheduler.allowed-failures": retries, **RESTART}),
        SpecCluster(workers=specification, scheduler=scheduler) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """The cluster whose scheduler is at ``address`` (``tcp://host:port``).

    Raises:
        InputError: there is none.
    """
    try:
        client = Client(address)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{address}: no scheduler answers ({' '.join(str(error).split())})") from error
    with client:
        yield client


def make_job_cluster(system: str, path: str | Path) -> Any:
    """A cluster of jobs that a batch system is asked for; no job is sent yet.

    Args:
        system: ``slurm``, ``pbs`` or ``lsf``.
        path: YAML of what dask-jobqueue's class takes (``cores``, ``processes``, ``memory``, ``queue``, ``walltime``,
            …) and ``jobs``, how many to ask for.

    Returns:
        the cluster and ``jobs``.

    Raises:
        InputError: the file can't be used; it is named. Or dask-jobqueue is not installed.
    """
    dask_jobqueue = import_extra("dask_jobqueue", f"a list of cases on {system}")
    try:
        options = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(options, dict) or not isinstance(options.get("jobs"), int) or options["jobs"] < 1:
        raise InputError(f"{path}: needs a line 'jobs: N', how many jobs to ask for, beside cores, memory, walltime, …")
    jobs = options.pop("jobs")
    try:
        return getattr(dask_jobqueue, SYSTEMS[system])(**options), jobs
    except Exception as error:
        raise InputError(f"{path}: not what {system} takes ({' '.join(str(error).split())})") from error


@contextmanager
def submit_jobs(system: str, path: str | Path) -> Iterator[Client]:
    """The client of a ``make_job_cluster`` cluster, its jobs sent; they are cancelled at the end."""
    cluster, jobs = make_job_cluster(system, path)
    with dask.config.set(RESTART), cluster, Client(cluster) as client:
        for _ in range(jobs):
            cluster.worker_spec.update(cluster.new_worker_spec())
        try:
            cluster.sync(cluster._correct_state)  # as scale() does, which would not say what went wrong
        except Exception as error:
            for job in cluster._created:
                job.status = Status.failed  # never begun, so there is nothing to close
            raise InputError(f"{path}: {system} took no job ({' '.join(str(error).split())[:300]})") from error
        yield client


def size_in_bytes(text: str) -> int:
    """``4GiB`` as bytes.

    Raises:
        InputError: it is no size.
    """
    try:
        return int(parse_bytes(text))
    except ValueError as error:
        raise InputError(f"{text}: no size; 4GiB is one") from error
