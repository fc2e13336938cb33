"""The loop over cases on real processes: what goes wrong costs its case alone, and nothing is done twice."""

import errno
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager

import dask
import psutil
import pytest

from cardiac_motion.cohort import cluster, engine
from cardiac_motion.cohort.engine import Journal, hold_folder, run_cases
from cardiac_motion.cohort.runner import Limits
from cardiac_motion.core.errors import InputError
from tests.cohort.work import ROOT, count_done, end, expected, hold, names, outputs, release, wait_for, work

COUNT = 12
MANY = 36  # more than three schedulers see done
random = random.Random(0)


@pytest.fixture(scope="module")
def client():
    with cluster.start_local(2, ["7", "9"], memory=2**29) as client:
        yield client


def times(output_dir, file="done.txt"):
    return Counter((output_dir / file).read_text(encoding="utf-8").split())


def test_each_case_is_done_once_and_a_second_start_does_nothing(client, tmp_path):
    found = run_cases(work(tmp_path), names(COUNT), client)
    assert outputs(tmp_path) == expected(COUNT)
    assert {o["status"] for o in found.values()} == {"done"} and set(found) == set(names(COUNT))
    assert set(client.cluster.scheduler.task_prefixes) <= {"case"}, "what it keeps for ever"
    assert run_cases(work(tmp_path), names(COUNT), client) == {}
    assert set(times(tmp_path).values()) == {1}
    rows = Journal(tmp_path).read()
    assert set(rows) == set(names(COUNT)) and all(r["attempts"] == 1 and r["memory"] > 2**20 for r in rows.values())


def test_a_worker_keeps_its_process_its_threads_and_its_gpu(client, tmp_path):
    run_cases(work(tmp_path, seconds=0.1), names(COUNT), client, Limits(threads=3))
    found = [json.loads((tmp_path / name / "summary.json").read_text(encoding="utf-8")) for name in names(COUNT)]
    assert {f["gpu"] for f in found} == {"7", "9"} and {f["threads"] for f in found} == {"3"}
    assert len({f["pid"] for f in found}) == 2
    assert not psutil.pid_exists(found[0]["pid"]), "no process is left behind"


def test_what_goes_wrong_costs_its_case_alone(client, tmp_path):
    trouble = dict(zip(names(7), ("input", "error", "hang", "eat", "die", "die once", "input"), strict=True))
    limits = Limits(seconds=8, memory=200 * 2**20, retries=2)
    found = run_cases(work(tmp_path, trouble=trouble), names(COUNT), client, limits)
    whole = {"case0005", *names(COUNT)[7:]}
    assert outputs(tmp_path) == {name: digest for name, digest in expected(COUNT).items() if name in whole}
    said = {name: (o["status"], o.get("reason", "")) for name, o in found.items() if name not in whole}
    assert said == {
        "case0000": ("input", "case0000.nii.gz: is no cine"),
        "case0001": ("error", "ValueError: a defect"),
        "case0002": ("time", "took longer than 8 s"),
        "case0003": ("memory", "used more than 200 MiB of memory"),
        "case0004": ("died", "its process ended by SIGKILL: out of luck"),
        "case0006": ("input", "case0006.nii.gz: is no cine"),
    }
    assert "in do" in found["case0001"]["traceback"]
    begun = times(tmp_path, "begun.txt")
    assert [begun[name] for name in names(8)] == [1, 1, 1, 1, 3, 2, 1, 1], "again for a lost process alone"
    assert found["case0005"]["attempts"] == 2

    again = run_cases(work(tmp_path), names(COUNT), client, limits)
    assert set(again) == set(said) and outputs(tmp_path) == expected(COUNT)
    assert set(times(tmp_path).values()) == {1}


def test_what_cannot_be_set_up_ends_at_once(client, tmp_path):
    broken = work(tmp_path, unknown=1)
    with pytest.raises(InputError, match="unexpected keyword argument 'unknown'"):
        run_cases(broken, names(COUNT), client)
    assert not (tmp_path / "cases.jsonl").exists()


def test_without_a_cluster_the_same_loop_runs_here(tmp_path):
    found = run_cases(work(tmp_path, trouble={"case0001": "input"}), names(3))
    assert {name: o["status"] for name, o in found.items()} == {
        "case0000": "done",
        "case0001": "input",
        "case0002": "done",
    }
    assert json.loads((tmp_path / "case0002/summary.json").read_text(encoding="utf-8"))["pid"] == os.getpid()


def in_the_middle(output_dir, seen):
    """A process that stands in the middle of a case since ``seen`` lines of ``middle.txt``; that many are there now."""
    file = output_dir / "middle.txt"
    rows = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    alive = {p.pid: p for p in psutil.Process().children(True)}
    return len(rows), [alive[int(row.split()[1])] for row in rows[seen:] if int(row.split()[1]) in alive]


def test_a_lost_worker_loses_its_case_for_a_moment(tmp_path):
    """``kill -9`` of a Dask worker, and of the process that does a case, in the middle of a case, in turn.

    The cases stand still in the middle until all four are killed, so that how fast they are does not count.
    """
    killed = []

    def kill(abandoned):
        seen = 0
        try:
            while len(killed) < 4 and not abandoned.wait(0.05):
                count, runners = in_the_middle(tmp_path, seen)
                if runners:
                    target = random.choice(runners)
                    (target.parent() if len(killed) % 2 == 0 else target).kill()
                    killed.append(target.pid)
                    seen = count
        finally:
            release(tmp_path)

    hold(tmp_path)
    abandoned = threading.Event()
    with cluster.start_local(2, [], memory=2**29) as client:
        killer = threading.Thread(target=kill, args=(abandoned,))
        killer.start()
        try:
            found = run_cases(work(tmp_path), names(COUNT), client)
        finally:
            abandoned.set()
            killer.join()
    assert len(killed) == 4
    assert {o["status"] for o in found.values()} == {"done"}
    with hold_folder(tmp_path):
        assert outputs(tmp_path) == expected(COUNT)
    assert set(times(tmp_path).values()) == {1} and len(times(tmp_path)) == COUNT
    assert sum(times(tmp_path, "begun.txt").values()) == COUNT + 4, "each kill hit a case in the middle"


@pytest.mark.parametrize("trouble", ["die late", "hang late"])
def test_a_case_that_is_whole_is_none_that_failed(client, tmp_path, trouble):
    """Its process ends, or is ended, after the folder was moved into place and before it could say so."""
    found = run_cases(work(tmp_path, trouble={"case0001": trouble}), names(3), client, Limits(seconds=8))
    assert {name: o["status"] for name, o in found.items()} == {
        "case0000": "done", "case0001": "found", "case0002": "done",
    }  # fmt: skip
    assert "reason" not in found["case0001"] and found["case0001"]["attempts"] == 1
    assert outputs(tmp_path) == expected(3) and set(times(tmp_path, "begun.txt").values()) == {1}


def test_a_worker_that_is_slow_to_start_again_is_not_given_up(tmp_path):
    """Dask would end it and its keeper after ``lost-worker-timeout``, and with the last one nothing goes on."""
    given_up = {"distributed.deploy.lost-worker-timeout": "1ms"}
    with dask.config.set(given_up), cluster.start_local(1, [], memory=2**29) as client:
        (before,) = client.run(os.getpid).values()
        psutil.Process(before).kill()
        wait_for(lambda: before not in client.run(os.getpid, on_error="ignore").values())
        time.sleep(0.5)  # longer than the time above
        wait_for(lambda: client.nthreads())
        found = run_cases(work(tmp_path), names(2), client)
    assert {o["status"] for o in found.values()} == {"done"}


def driver(output_dir, *more, seconds=0.3, count=COUNT):
    words = [sys.executable, "-m", "tests.cohort.work", str(output_dir), str(count), str(seconds), *more]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_a_killed_driver_goes_on_where_it_was(tmp_path):
    for count in (2, 5, 8):
        hold(tmp_path, count)
        process = driver(tmp_path)
        wait_for(lambda count=count: count_done(tmp_path) >= count)
        time.sleep(random.uniform(0, 0.3))
        children = psutil.Process(process.pid).children(True)
        process.kill()
        process.wait()
        process.stderr.close()
        assert not psutil.wait_procs(children, 60)[1], "what it had started is gone with it"
        assert count <= count_done(tmp_path) < COUNT
    release(tmp_path)
    last = driver(tmp_path)
    assert last.communicate()[1] is not None and last.returncode == 0
    assert outputs(tmp_path) == expected(COUNT)
    assert set(times(tmp_path).values()) == {1}
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.fixture
def start():
    """Processes that are ended with what they started."""
    begun = []

    def start(*words):
        begun.append(subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stderr=subprocess.DEVNULL))
        return begun[-1]

    yield start
    end(begun)


def test_a_killed_scheduler_loses_nothing(tmp_path, start):
    out = tmp_path / "out"
    out.mkdir()
    for number in range(4):
        known = len(Journal(out).read())
        hold(out, count_done(out) + 8)  # none of the first three drivers comes to the end
        file = tmp_path / f"scheduler{number}.json"
        scheduler = start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                          "--scheduler-file", str(file))  # fmt: skip
        start("distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "2", "--no-nanny")
        wait_for(lambda file=file: file.is_file() and file.read_text(encoding="utf-8"))
        process = driver(out, json.loads(file.read_text(encoding="utf-8"))["address"], count=MANY)
        if number == 3:
            release(out)
            assert process.communicate()[1] is not None and process.returncode == 0
            continue
        wait_for(lambda known=known: len(Journal(out).read()) > known)  # a worker may go on for a moment alone
        time.sleep(random.uniform(0, 0.3))
        scheduler.kill()
        said = process.communicate(timeout=900)[1]
        assert process.returncode == 1 and "the scheduler is gone" in said.splitlines()[-1]
        assert "Traceback" not in said
    assert outputs(out) == expected(MANY)
    assert set(times(out).values()) == {1}


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 KiB and what makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("no small disk can be mounted here")
    yield folder, lambda option: subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_costs_the_cases_that_do_not_fit(small_disk, client):
    folder, remount = small_disk
    with hold_folder(folder):
        found = run_cases(work(folder), names(COUNT), client)
    full = [o for o in found.values() if o["status"] != "done"]
    assert 0 < len(full) < COUNT and all("no space left on device" in o["reason"] for o in full)
    whole = outputs(folder)
    assert len(whole) == COUNT - len(full) and whole.items() <= expected(COUNT).items()
    remount("size=2m")
    with hold_folder(folder):
        run_cases(work(folder), names(COUNT), client)
    assert outputs(folder) == expected(COUNT)


def test_a_journal_that_the_disk_did_not_take_is_written_later(small_disk):
    folder, _ = small_disk
    filler = folder / "filler"
    filler.write_bytes(bytes(290 * 1024))
    journal = Journal(folder)
    for name in names(200):
        journal.add({"case": name, "status": "done", "reason": "x" * 100})
    assert 0 < len(journal.read()) < 200
    filler.unlink()
    journal.add({"case": "last", "status": "done"})
    assert set(journal.read()) == {*names(200), "last"}


def test_a_read_only_output_says_so(small_disk, client, tmp_path):
    folder, remount = small_disk
    remount("ro")
    with pytest.raises(InputError, match=r"disk: cannot be written \(read-only file system\)"), hold_folder(folder):
        pass
    (tmp_path / "case0002").write_text("a file in the way of a case", encoding="utf-8")
    found = run_cases(work(tmp_path), names(COUNT), client)
    assert {name for name, o in found.items() if o["status"] != "done"} == {"case0002"}
    assert "case0002: cannot be written" in found["case0002"]["reason"]


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    journal = Journal(tmp_path)
    journal.add({"case": "a", "status": "done"})
    with open(journal.path, "a", encoding="utf-8") as file:
        file.write('{"case": "b", "sta')
    journal.add({"case": "c", "status": "done"})
    assert set(journal.read()) == {"a", "c"}


def test_two_drivers_never_write_one_folder(tmp_path):
    with hold_folder(tmp_path), pytest.raises(InputError, match="another run is writing it"), hold_folder(tmp_path):
        pass


def test_nothing_is_cleared_where_no_lock_says_that_nobody_writes(tmp_path, monkeypatch):
    @contextmanager
    def without_locks(folder):
        yield False

    monkeypatch.setattr(engine, "lock_folder", without_locks)
    (tmp_path / ".0123abcd.a").mkdir()
    with hold_folder(tmp_path):
        assert (tmp_path / ".0123abcd.a").is_dir()
    assert (tmp_path / ".0123abcd.a").is_dir()


def test_half_written_folders_are_cleared(tmp_path):
    (tmp_path / ".0123abcd.case").mkdir()
    (tmp_path / ".0123abcd.metrics.csv").touch()
    (tmp_path / ".keep").touch()
    with hold_folder(tmp_path):
        assert {p.name for p in tmp_path.iterdir()} == {".keep"}


def test_no_scheduler_answers():
    with pytest.raises(InputError, match="no scheduler answers"), cluster.connect("nonsense"):
        pass


def test_waiting_for_the_first_worker(tmp_path, start):
    """Cases wait where a cluster has no worker yet, as with a batch system's queue."""
    file = tmp_path / "scheduler.json"
    start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
          "--scheduler-file", str(file))  # fmt: skip
    wait_for(lambda file=file: file.is_file() and file.read_text(encoding="utf-8"))
    process = driver(tmp_path / "out", json.loads(file.read_text(encoding="utf-8"))["address"], seconds=0.0)
    time.sleep(3)
    assert process.poll() is None
    start("distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "2", "--no-dashboard")
    process.communicate(timeout=900)
    assert process.returncode == 0 and outputs(tmp_path / "out") == expected(COUNT)


@pytest.mark.parametrize("locks", [True, False])
def test_unfinished_files_are_cleared_where_nobody_else_can_be_writing_them(tmp_path, monkeypatch, locks):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if not locks:
        monkeypatch.setattr("fcntl.flock", without)
    (tmp_path / ".0123abcd.c0").mkdir()
    with hold_folder(tmp_path):
        assert (tmp_path / ".0123abcd.c0").exists() != locks
