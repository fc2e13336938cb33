"""Clusters of batch systems: what a job would be, and a whole run on jobs."""

import os
import sys

import pytest

from cardiac_motion.cohort import cluster
from cardiac_motion.cohort.__main__ import main
from cardiac_motion.cohort.engine import run_cases
from cardiac_motion.core.errors import InputError
from tests.cohort.work import expected, names, outputs, work

JOB = """
jobs: 2
cores: 4
processes: 1
memory: 16GB
walltime: "08:00:00"
"""
SLURM = 'queue: gpu\naccount: echo\njob_extra_directives: ["--gres=gpu:4"]\njob_script_prologue: ["export DATA=1"]\n'


@pytest.mark.parametrize(
    "system, more, lines",
    [
        ("slurm", SLURM, ["#SBATCH -p gpu", "#SBATCH -A echo", "#SBATCH --gres=gpu:4", "#SBATCH --cpus-per-task=4",
                          "#SBATCH -t 08:00:00", "export DATA=1", "--nthreads 4 --memory-limit 14.90GiB"]),
        ("pbs", "queue: long\n", ["#PBS -q long", "#PBS -l walltime=08:00:00", "--nthreads 4"]),
        ("lsf", "use_stdin: true\n", ["#BSUB -n 4", "--nthreads 4"]),
    ],
)  # fmt: skip
def test_a_dry_run_prints_the_job(tmp_path, monkeypatch, capsys, system, more, lines):
    path = tmp_path / "job.yaml"
    path.write_text(JOB + more, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["cohort", f"--{system}", str(path), "--dry-run", "--output_dir", str(tmp_path)])
    assert main() == 0
    printed = capsys.readouterr().out
    assert not [line for line in ["# 2 such jobs", "distributed.cli.dask_worker tcp://", *lines] if line not in printed]


def test_a_dry_run_is_of_a_batch_system(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cohort", "--dry-run", "--output_dir", str(tmp_path)])
    assert main() == 1
    assert capsys.readouterr().err.startswith("error: --dry-run")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("cores: 1\nmemory: 1GB\n", "needs a line 'jobs: N'"),
        ("jobs: 1\nmemory: 1GB\n", "invalid options for slurm"),
        ("jobs: 1\ncores: 1\nmemory: 1GB\nnonsense: 1\n", "invalid options for slurm.*nonsense"),
        ("jobs: [", "not YAML"),
    ],
)
def test_bad_files(tmp_path, text, reason):
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason) as caught:
        cluster.make_job_cluster("slurm", path)
    assert str(path) in str(caught.value)


@pytest.fixture
def batch_system(tmp_path, monkeypatch):
    """``sbatch`` that starts a job at once, and ``scancel`` that ends it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "jobs.txt"
    sbatch = (  # as the real one, it keeps the script, which is removed when it returns
        f'#!/bin/sh\nkept=$(mktemp -p {tmp_path})\ncp "$1" "$kept"\nsetsid sh "$kept" >/dev/null 2>&1 &\n'
        f'echo $! >>{log}\necho "Submitted batch job $!"\n'
    )
    for name, text in (("sbatch", sbatch), ("scancel", '#!/bin/sh\nkill -- -"$1"\n')):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


def test_a_run_on_the_jobs_of_a_batch_system(tmp_path, batch_system):
    path = tmp_path / "job.yaml"
    path.write_text('jobs: 2\ncores: 1\nmemory: 500MB\nwalltime: "00:05:00"\n', encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    with cluster.submit_jobs("slurm", path) as client:
        found = run_cases(work(out, seconds=0.2), names(12), client)
    assert outputs(out) == expected(12)
    assert {o["worker"].split("-")[0] for o in found.values()} == {"SLURMCluster"}
    assert len(batch_system.read_text(encoding="utf-8").split()) == 2


def test_a_batch_system_that_takes_no_job(tmp_path, batch_system):
    (batch_system.parent / "bin/sbatch").write_text("#!/bin/sh\necho 'Invalid account' >&2\nexit 1\n", encoding="utf-8")
    path = tmp_path / "job.yaml"
    path.write_text("jobs: 1\ncores: 1\nmemory: 500MB\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"slurm accepted no job.*Invalid account"), cluster.submit_jobs("slurm", path):
        pass


def test_this_machine_is_shared_out(monkeypatch):
    monkeypatch.setattr(cluster, "CPU_COUNT", 8)
    monkeypatch.setattr(cluster, "MEMORY_LIMIT", 5 * 2**30)
    assert cluster.plan() == (2, 4, [])
    assert cluster.plan(workers=4) == (4, 2, [])
    assert cluster.plan(workers=16) == (16, 1, [])


def test_a_worker_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5a")
    assert cluster.plan(gpu=True)[::2] == (2, ["2", "GPU-5a"])
    assert cluster.plan(workers=3, gpu=True)[::2] == (3, ["2", "GPU-5a"]) and cluster.plan(workers=3)[2] == []


@pytest.mark.parametrize("text, size", [("4GiB", 4 * 2**30), ("1.5 GB", 1_500_000_000), ("100", 100)])
def test_sizes(text, size):
    assert cluster.size_in_bytes(text) == size


def test_no_size():
    with pytest.raises(InputError, match="much: not a size; expected for example 4GiB"):
        cluster.size_in_bytes("much")
