"""Who waits, who works and what is kept; the processes are played (``tests/cohort`` has real ones)."""

import json
import os
import threading
from types import SimpleNamespace
from typing import ClassVar

import pytest

from cardiac_motion.serving import workers as W
from cardiac_motion.serving.validation import RequestRejected


class Played:
    """Stands for the keeper of a process: answers at once, or when ``go`` is set."""

    made: ClassVar[list] = []

    def __init__(self, work, threads, gpu):
        self.threads, self.gpu, self.stopped = threads, gpu, False
        self.process = SimpleNamespace(poll=lambda: None)
        self.begun, self.go, self.answer = threading.Event(), threading.Event(), {"status": "done"}
        self.go.set()
        Played.made.append(self)

    def case(self, request, limits, memory):
        self.begun.set()
        assert self.go.wait(60)
        folder = json.loads(request)["folder"]
        if self.answer["status"] == "done" and not self.stopped:
            with open(f"{folder}/{W.ANSWER}", "w", encoding="utf-8") as file:
                json.dump({"number": Played.made.index(self)}, file)
        elif self.answer["status"] != "input":
            self.stopped = True
        return self.answer

    def close(self):
        self.stopped = True
        self.go.set()


@pytest.fixture
def workers(monkeypatch, tmp_path):
    """Makes ``Workers``; they are closed in the end."""
    made = []
    monkeypatch.setattr(W, "Runner", Played)
    monkeypatch.setattr(W, "gpu_of", lambda slot: str(slot))
    monkeypatch.setattr(Played, "made", [])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    def make(count=1, waiting=0, **more):
        made.append(W.Workers(count, 60, 2**30, waiting, tmp_path, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def in_thread(call):
    """Run it beside; what it gives or raises is in ``found``."""
    found = []

    def run():
        try:
            found.append(call())
        except RequestRejected as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_one_process_does_one_request_after_another(workers, tmp_path):
    pool = workers()
    request = {"folder": str(tmp_path)}
    assert [pool.run(request) for _ in range(3)] == [{"number": 0}] * 3
    assert len(Played.made) == 1 and (Played.made[0].threads, Played.made[0].gpu) == (3, "0")
    assert pool.state() == {"workers": 1, "requests": 0}


def test_a_process_ends_after_so_many_requests(workers, tmp_path):
    pool = workers(uses=2)
    assert [pool.run({"folder": str(tmp_path)})["number"] for _ in range(5)] == [0, 0, 1, 1, 2]
    assert [runner.stopped for runner in Played.made] == [True, True, False]
    assert {runner.gpu for runner in Played.made} == {"0"}, "another takes its place, GPU and all"


def test_a_process_that_died_between_two_requests_is_replaced(workers, tmp_path):
    pool = workers()
    pool.run({"folder": str(tmp_path)})
    Played.made[0].process.poll = lambda: -9
    assert pool.run({"folder": str(tmp_path)}) == {"number": 1} and pool.slots == []


@pytest.mark.parametrize(
    "became, status", [("input", 422), ("time", 504), ("memory", 413), ("stopped", 499), ("died", 500), ("error", 500)]
)
def test_what_went_wrong_is_a_status_of_http_and_the_next_request_is_done(workers, tmp_path, became, status):
    pool = workers()
    pool.run({"folder": str(tmp_path)})
    Played.made[0].answer = {"status": became, "reason": "because"}
    with pytest.raises(RequestRejected, match=r"^because$") as caught:
        pool.run({"folder": str(tmp_path)})
    assert caught.value.status == status
    Played.made[0].answer = {"status": "done"}
    assert pool.run({"folder": str(tmp_path)}) == {"number": 0 if became == "input" else 1}
    assert pool.state()["requests"] == 0


def test_so_many_may_wait_and_no_more(workers, tmp_path):
    pool = workers(count=1, waiting=1)
    pool.run({"folder": str(tmp_path)})
    (runner,) = Played.made
    runner.go.clear(), runner.begun.clear()
    first, done = in_thread(lambda: pool.run({"folder": str(tmp_path)}))
    assert runner.begun.wait(60)
    job = W.Job()
    second, waited = in_thread(lambda: pool.run({"folder": str(tmp_path)}, job))
    while pool.state()["requests"] < 2:
        assert second.is_alive()
    with pytest.raises(RequestRejected, match="2 requests are already waiting") as caught:
        pool.run({"folder": str(tmp_path)})
    assert caught.value.status == 503 and pool.state() == {"workers": 1, "requests": 2}
    job.cancel()
    second.join(60)
    assert waited[0].status == 499, "who waits and is cancelled goes at once"
    runner.go.set()
    first.join(60)
    assert done == [{"number": 0}] and pool.state()["requests"] == 0


def test_to_cancel_ends_the_process_that_works(workers, tmp_path):
    pool = workers()
    pool.run({"folder": str(tmp_path)})
    (runner,) = Played.made
    runner.go.clear(), runner.begun.clear()
    job = W.Job()
    thread, found = in_thread(lambda: pool.run({"folder": str(tmp_path)}, job))
    assert runner.begun.wait(60)
    job.cancel()
    thread.join(60)
    assert found[0].status == 499 and runner.stopped
    assert pool.run({"folder": str(tmp_path)}) == {"number": 1}


def test_a_process_that_cannot_start_gives_its_place_back(workers, tmp_path, monkeypatch):
    pool = workers()
    monkeypatch.setattr(W, "Runner", lambda *given: (_ for _ in ()).throw(OSError("no more processes")))
    for _ in range(2):
        with pytest.raises(RequestRejected, match="no process could be started") as caught:
            pool.run({"folder": str(tmp_path)})
        assert caught.value.status == 503 and pool.slots == [0] and pool.state()["requests"] == 0


def test_closing_ends_those_that_work_and_those_that_wait_for_work(workers, tmp_path):
    pool = workers(count=2)
    for runner in (pool._take()[1], pool._take()[1]):
        pool.busy.append(runner)
    pool._give_back(0, Played.made[0], 1)
    pool.close()
    assert [runner.stopped for runner in Played.made] == [True, True]


def test_progress_is_read_whole(tmp_path):
    W.report_progress(tmp_path, "motion", 1 / 3)
    assert json.loads((tmp_path / W.PROGRESS).read_text(encoding="utf-8")) == {
        "what": "motion", "share": 0.333, "left": None,
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [W.PROGRESS]


def filled(results):
    folder = results.create()
    (folder / W.CASE).mkdir()
    (folder / W.CASE / "ddf.nii.gz").write_text("field", encoding="utf-8")
    return folder


def test_of_results_the_files_of_a_case_alone_are_given(tmp_path):
    results = W.Results(tmp_path / "kept" / "here")
    folder = filled(results)
    assert results.file(folder.name, "ddf.nii.gz").read_text(encoding="utf-8") == "field"
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (folder / W.CASE / "link").symlink_to(tmp_path / "secret")
    (folder / W.ANSWER).write_text("{}", encoding="utf-8")
    (folder / W.CASE / "sub").mkdir()
    for name, file in (
        (folder.name, "none"), (folder.name, "link"), (folder.name, "sub"), (folder.name, f"../{W.ANSWER}"),
        (f"../here/{folder.name}", "ddf.nii.gz"), ("", "ddf.nii.gz"), ("0" * 32, "ddf.nii.gz"),
    ):  # fmt: skip
        with pytest.raises(RequestRejected, match="no such result") as caught:
            results.file(name, file)
        assert caught.value.status == 404


def test_the_latest_results_are_kept_and_never_one_that_is_busy(tmp_path):
    results = W.Results(tmp_path, keep=2, seconds=1e9)
    folders = [filled(results) for _ in range(4)]
    for number, folder in enumerate(folders):
        os.utime(folder, (1e9 + number,) * 2)
    for folder in folders[1:]:
        results.finish(folder, keep=True)
    results.create()
    assert [folder.is_dir() for folder in folders] == [True, False, True, True], "the first is still at work"
    results.finish(folders[3], keep=False)
    assert not folders[3].exists()


def test_results_go_with_time(tmp_path):
    results = W.Results(tmp_path, keep=100, seconds=1000.0)
    old, late = filled(results), filled(results)
    results.finish(old, keep=True), results.finish(late, keep=True)
    now = late.stat().st_mtime
    os.utime(old, (now - 2000,) * 2)
    results.create()
    assert not old.exists() and late.exists()
