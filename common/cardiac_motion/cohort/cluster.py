"""Where cases run: a Dask cluster on this machine, a running one, or one requested from a batch system."""

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

logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # the engine reports instead
SMALLEST = 2 * 2**30  # minimum bytes per worker when the number of workers is automatic
RESTART = {"distributed.deploy.lost-worker-timeout": "1h"}  # by default Dask gives up on workers after 15 s
SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}


def plan(workers: int = 0, threads: int = 0, gpu: bool = False) -> tuple[int, int, list[str]]:
    """Divide this machine into workers.

    Args:
        workers: number of workers; 0 is one per GPU if ``gpu`` and there are any, otherwise one per core as long as
            each has 2 GiB.
        threads: threads per worker; 0 divides the cores.
        gpu: whether the work uses a GPU if there is one.

    Returns:
        Number of workers, threads per worker, and the GPUs.
    """
    gpus = list_gpus() if gpu else []
    workers = workers or len(gpus) or max(1, min(CPU_COUNT, MEMORY_LIMIT // SMALLEST))
    return workers, threads or max(1, CPU_COUNT // workers), gpus


@contextmanager
def _program_hidden() -> Iterator[None]:
    """Hide the main program, because each of Dask's processes would import it again."""
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
    """Start a cluster of single-threaded workers on this machine.

    Args:
        workers: number of processes, each running one case at a time.
        gpus: GPUs, assigned to the workers in turn; each worker sees only its own.
        memory: bytes per worker; 0 divides nine tenths of the machine's memory.
        retries: retries of a case whose worker was lost.
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
    """Connect to the cluster whose scheduler is at ``address`` (``tcp://host:port``).

    Raises:
        InputError: no scheduler answers.
    """
    try:
        client = Client(address)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{address}: no scheduler answers ({' '.join(str(error).split())})") from error
    with client:
        yield client


def make_job_cluster(system: str, path: str | Path) -> Any:
    """Build a cluster of batch jobs; no job is submitted yet.

    Args:
        system: ``slurm``, ``pbs`` or ``lsf``.
        path: YAML file with the arguments of dask-jobqueue's class (``cores``, ``processes``, ``memory``, ``queue``,
            ``walltime``, …) and ``jobs``, the number of jobs to request.

    Returns:
        The cluster and ``jobs``.

    Raises:
        InputError: the file cannot be used, or dask-jobqueue is not installed.
    """
    dask_jobqueue = import_extra("dask_jobqueue", f"a list of cases on {system}")
    try:
        options = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(options, dict) or not isinstance(options.get("jobs"), int) or options["jobs"] < 1:
        raise InputError(f"{path}: needs a line 'jobs: N', the number of jobs, besides cores, memory, walltime, …")
    jobs = options.pop("jobs")
    try:
        return getattr(dask_jobqueue, SYSTEMS[system])(**options), jobs
    except Exception as error:
        raise InputError(f"{path}: invalid options for {system} ({' '.join(str(error).split())})") from error


@contextmanager
def submit_jobs(system: str, path: str | Path) -> Iterator[Client]:
    """Submit the jobs of ``make_job_cluster`` and yield their client; the jobs are cancelled at the end."""
    cluster, jobs = make_job_cluster(system, path)
    with dask.config.set(RESTART), cluster, Client(cluster) as client:
        for _ in range(jobs):
            cluster.worker_spec.update(cluster.new_worker_spec())
        try:
            cluster.sync(cluster._correct_state)  # like scale(), which would hide errors
        except Exception as error:
            for job in cluster._created:
                job.status = Status.failed  # never started, so there is nothing to close
            raise InputError(f"{path}: {system} accepted no job ({' '.join(str(error).split())[:300]})") from error
        yield client


def size_in_bytes(text: str) -> int:
    """Convert a size such as ``4GiB`` to bytes.

    Raises:
        InputError: ``text`` is not a size.
    """
    try:
        return int(parse_bytes(text))
    except ValueError as error:
        raise InputError(f"{text}: not a size; expected for example 4GiB") from error
