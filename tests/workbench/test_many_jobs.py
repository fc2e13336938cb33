"""Many jobs in a row, of two people at once: nothing is lost, and memory stays flat."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("starlette")

from tests.workbench.serving import Workbench, there_and_back

JOBS, AT_A_TIME = 200, 20


@pytest.mark.slow
def test_200_jobs_of_two_people_leave_memory_flat_and_every_step_in_the_log(tmp_path):
    bench = Workbench(tmp_path)
    try:
        path = there_and_back(tmp_path / "cine.nii.gz", 30, (120, 160))
        name = bench.json("POST", "/api/uploads?name=cine.nii.gz", path.read_bytes())[1]["id"]
        bench.case(name, lambda c: c["status"] in ("open", "measured") and not c["progress"])
        bench.ask("POST", f"/api/cases/{name}/step", b'{"what": "view", "value": "apical_4ch", "revision": 0}')
        bench.ask("POST", f"/api/cases/{name}/measure", b'{"method": "farneback", "revision": 1}')
        case = bench.case(name, lambda c: "farneback" in c.get("methods", {}) and not c["progress"])
        segments = [row["name"] for row in case["results"]["farneback"]["segments"]][:2]
        start = len(case["log"])

        def press(k):
            status = 409
            while status == 409:  # the other was faster: look again
                body = {"what": "segment", "value": segments[k % 2], "method": "farneback",
                        "revision": bench.json("GET", f"/api/cases/{name}")[1]["revision"]}  # fmt: skip
                target, who = f"/api/cases/{name}/step", {"X-Who": f"person {k % 2}"}
                status = bench.ask("POST", target, json.dumps(body).encode(), who)[0]
            return status

        memory = []
        with ThreadPoolExecutor(2) as people:
            for first in range(0, JOBS, AT_A_TIME):
                assert set(people.map(press, range(first, first + AT_A_TIME))) == {200}
                memory.append(bench.memory())
        case = bench.json("GET", f"/api/cases/{name}")[1]
        log = case["log"][start:]
        assert len(log) == JOBS and {entry["who"] for entry in log} == {"person 0", "person 1"}
        assert not case["edits"]["exclude_segments"]  # each was pressed an even number of times
        assert max(memory[len(memory) // 2 :]) < 1.1 * max(memory[: len(memory) // 2]), memory
    finally:
        bench.stop()
