"""The keeper of a process, without Dask: limits, what became of a case, and the GPU of a thread."""

import subprocess
from types import SimpleNamespace

import psutil
import pytest

from cardiac_motion.cohort import runner
from cardiac_motion.cohort.runner import Limits, Runner, gpu_of, list_gpus, run_case
from tests.cohort.work import expected, outputs, work


@pytest.fixture
def keep():
    """A keeper, closed in the end."""
    kept = []

    def keep(*arguments):
        kept.append(Runner(*arguments))
        return kept[-1]

    yield keep
    for one in kept:
        one.close()


@pytest.fixture
def worker(monkeypatch):
    """A Dask worker of two threads and 1 GiB, as far as a task sees it."""
    found = SimpleNamespace(
        name="w1", memory_manager=SimpleNamespace(memory_limit=2**30), state=SimpleNamespace(nthreads=2)
    )
    monkeypatch.setattr(runner, "get_worker", lambda: found)
    yield found
    runner.stop_runners()


def test_a_process_is_kept_until_a_case_goes_wrong(keep, tmp_path):
    one = keep(work(tmp_path, trouble={"case0001": "input", "case0002": "error"}), 1)
    assert one.case("case0000", Limits(), 0)["status"] == "done"
    assert one.case("case0001", Limits(), 0)["status"] == "input" and not one.stopped
    assert one.case("case0002", Limits(), 0)["status"] == "error"
    assert one.stopped and not psutil.pid_exists(one.process.pid), "a defect may have spoiled it"
    assert outputs(tmp_path) == expected(1)


@pytest.mark.parametrize(
    "trouble, limits, memory, status, reason",
    [
        ("hang", Limits(seconds=0.5), 0, "time", "took longer than 0.5 s"),
        ("eat", Limits(), 300 * 2**20, "memory", "used more than 300 MiB of memory"),
        ("die", Limits(), 0, "died", "its process ended by SIGKILL: out of luck"),
    ],
)
def test_what_is_ended(keep, tmp_path, trouble, limits, memory, status, reason):
    one = keep(work(tmp_path, trouble={"case0000": trouble}), 1)
    found = one.case("case0000", limits, memory)
    assert (found["status"], found["reason"]) == (status, reason) and found["seconds"] >= limits.seconds
    assert not psutil.pid_exists(one.process.pid) and outputs(tmp_path) == {}


def test_what_cannot_be_set_up(keep, tmp_path):
    found = keep(work(tmp_path, unknown=1), 1).case("case0000", Limits(), 0)
    assert found["status"] == "setup" and "unexpected keyword argument" in found["reason"]


def test_a_closed_keeper_says_that_it_was_stopped(keep, tmp_path):
    one = keep(work(tmp_path), 1)
    one.close()
    assert one.case("case0000", Limits(), 0)["status"] == "stopped"


def test_a_case_that_was_finished_is_found_and_not_begun(worker, tmp_path):
    given = work(tmp_path)
    assert run_case(given, "case0000", Limits())["attempts"] == 1
    again = run_case(given, "case0000", Limits())
    assert (again["status"], again["attempts"], again["worker"]) == ("found", 0, "w1")
    assert (tmp_path / "begun.txt").read_text(encoding="utf-8").split() == ["case0000"]


@pytest.mark.parametrize("trouble, retries, status, attempts", [
    ("die", 0, "died", 1), ("die", 2, "died", 3), ("die once", 1, "done", 2), ("die late", 2, "found", 1),
    ("input", 2, "input", 1), ("error", 2, "error", 1),
])  # fmt: skip
def test_how_often_a_case_begins(worker, tmp_path, trouble, retries, status, attempts):
    found = run_case(work(tmp_path, trouble={"case0000": trouble}), "case0000", Limits(retries=retries))
    assert (found["status"], found["attempts"]) == (status, attempts)
    assert (tmp_path / "begun.txt").read_text(encoding="utf-8").split() == ["case0000"] * attempts


def test_a_thread_s_share_of_the_worker_s_memory(worker, tmp_path):
    worker.memory_manager.memory_limit = 2 * 300 * 2**20
    found = run_case(work(tmp_path, trouble={"case0000": "eat"}), "case0000", Limits())
    assert found["reason"] == "used more than 300 MiB of memory"


def test_gpus_are_handed_out_in_turn(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5a")
    assert list_gpus() == ["2", "GPU-5a"]
    assert [gpu_of(slot) for slot in range(3)] == ["2", "GPU-5a", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_of(0) is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    listed = subprocess.CompletedProcess([], 0, "GPU 0: one\n  MIG 1g: a\nGPU 1: two\n")
    monkeypatch.setattr(runner.shutil, "which", lambda name: name)
    monkeypatch.setattr(runner.subprocess, "run", lambda *_, **__: listed)
    assert list_gpus() == ["0", "1"]
