"""The process that does cases: what it says of each, and that it ends with its keeper."""

import os
import subprocess
import sys
import time
from multiprocessing import Pipe

import pytest

from cardiac_motion.cohort.process import attempt, call_named, failure
from cardiac_motion.core.errors import InputError
from tests.cohort.work import ROOT, names, outputs, work


def test_what_does_cases_is_named_by_module_and_function(tmp_path):
    do = call_named("tests.cohort.work:writer", {"output_dir": str(tmp_path)})
    do("case0000")
    assert set(outputs(tmp_path)) == {"case0000"}
    with pytest.raises(TypeError, match="unknown"):
        call_named("tests.cohort.work:writer", {"unknown": 1})


def test_what_a_case_took():
    def compute(name):
        start = time.process_time()
        while time.process_time() - start < 0.1:
            sum(range(1000))

    busy, idle = attempt(compute, "a"), attempt(lambda name: time.sleep(0.3), "a")
    assert busy["status"] == idle["status"] == "done" and "reason" not in busy
    assert busy["cpu_seconds"] >= 0.09 and busy["seconds"] >= 0.09, "clocks of hundredths"
    assert idle["seconds"] >= 0.3 > idle["cpu_seconds"]
    assert busy["memory"] > 2**20


def test_children_s_processor_time_counts():
    code = "import time\nwhile time.process_time() < 0.2: pass"
    taken = attempt(lambda name: subprocess.run([sys.executable, "-c", code], check=True), "a")
    assert taken["cpu_seconds"] >= 0.19


def test_whose_fault_it_is():
    def fail(error):
        def do(name):
            raise error

        return attempt(do, "a")

    assert fail(InputError("a.dcm:\n no cine"))["reason"] == "a.dcm: no cine"
    wrapped = ValueError("outer")
    wrapped.__cause__ = InputError("b.dcm: no cine")
    assert (fail(wrapped)["status"], fail(wrapped)["reason"]) == ("input", "b.dcm: no cine")
    found = fail(KeyError("x" * 600))
    assert found["status"] == "error" and found["reason"].startswith("KeyError: 'xxx") and len(found["reason"]) == 500
    assert "in fail" not in found["traceback"] and "in do" in found["traceback"]
    assert failure(OSError("gone"))["reason"] == "OSError: gone"


@pytest.fixture
def start(tmp_path):
    """The process of a work, and this end of its connection."""
    begun = []

    def start(given):
        ours, theirs = Pipe()
        with theirs:
            fd = theirs.fileno()
            words = [sys.executable, "-m", "cardiac_motion.cohort.process", str(fd)]
            begun.append(subprocess.Popen(words, pass_fds=[fd], cwd=ROOT, start_new_session=True))
        ours.send((given.make, dict(given.arguments)))
        return begun[-1], ours

    yield start
    for process in begun:
        process.kill()
        process.wait()


def test_one_process_does_case_after_case_and_ends_with_its_keeper(start, tmp_path):
    process, connection = start(work(tmp_path))
    assert connection.recv() == {"status": "ready"}
    for name in names(2):
        connection.send(name)
        assert connection.recv()["status"] == "done"
    assert set(outputs(tmp_path)) == set(names(2))
    (tmp_path / "hold").write_text("0", encoding="utf-8")
    connection.send("case0002")
    while "case0002" not in (tmp_path / "middle.txt").read_text(encoding="utf-8"):
        assert process.poll() is None
        time.sleep(0.01)
    connection.close()
    assert process.wait(300) < 0, "in the middle of a case too"
    assert (
        not (tmp_path / "case0002").exists()
        and (tmp_path / "middle.txt").read_text(encoding="utf-8").count(str(process.pid)) == 3
    )


def test_what_cannot_be_made_is_said_and_the_process_ends(start, tmp_path):
    process, connection = start(work(tmp_path, unknown=1))
    found = connection.recv()
    assert found["status"] == "error" and "unexpected keyword argument 'unknown'" in found["reason"]
    assert process.wait(300) == 0 and process.pid != os.getpid()
