"""Under load, with clients that go away, and after a kill."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.monailabel.serving import form, write_cine_file

FAST = ("--conf", "bundles", "farneback")
ASK = ("POST", "/infer/farneback?image=speckle&output=json", *form(params="{}"))


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_fifty_at_once_then_one_more(own_server):
    server = own_server(*FAST, "--conf", "waiting", "60")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: server.ask(*ASK, timeout=600), range(50)))
    assert [status for status, _ in answers] == [200] * 50
    assert len({json.loads(content)["metrics"]["lncc2"] for _, content in answers}) == 1
    assert server.ask(*ASK)[0] == 200
    assert len(server.workers()) == 1


def test_process_is_kept_while_nothing_is_asked(own_server):
    server = own_server(*FAST)
    assert server.ask(*ASK)[0] == 200
    before = [p.pid for p in server.workers()]
    time.sleep(15)  # longer than the threads of a server live that have nothing to do
    assert server.ask(*ASK)[0] == 200
    assert [p.pid for p in server.workers()] == before


def test_more_than_may_wait_are_refused(own_server):
    server = own_server(*FAST, "--conf", "waiting", "2")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: server.ask(*ASK, timeout=600), range(12)))
    states = [status for status, _ in answers]
    assert set(states) == {200, 503} and states.count(200) >= 3
    assert server.ask(*ASK)[0] == 200


@pytest.mark.slow
def test_memory_does_not_grow_over_two_hundred_requests(own_server, capsys):
    server = own_server(*FAST)
    own, work = [], []
    for i in range(220):
        assert server.ask(*ASK)[0] == 200
        if i % 20 == 19:
            own.append(server.memory() / 2**20)
            work.append(sum(p.memory_info().rss for p in server.workers()) / 2**20)
    with capsys.disabled():
        print("\nserver, MiB:", [round(m) for m in own], "\nworkers, MiB:", [round(m) for m in work])
    assert own[-1] < own[0] + 30  # after the first twenty
    assert max(work) < 1.3 * work[0]
    assert len(list((server.folder / "studies" / ".motion" / "results").iterdir())) <= 101


def leave(server, target):
    """Send a request and close the connection while it is at work."""
    body, headers = form(params='{"preset": "nmsr"}')
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(head.encode() + b"\r\n" + body)
    return connection


def test_client_that_goes_away_frees_its_worker(own_server):
    server = own_server("--conf", "bundles", "farneback,nmsr_echo")
    write_cine_file(server.folder / "studies" / "long.nii.gz", frames=24, size=(240, 240))
    assert server.ask(*ASK)[0] == 200
    first = server.workers()[0]
    connection = leave(server, "/infer/nmsr_echo?image=long")
    until(lambda: server.json("GET", "/info/")[1]["state"]["requests"] == 1)
    time.sleep(1)
    connection.close()
    until(lambda: server.json("GET", "/info/")[1]["state"]["requests"] == 0)
    until(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE)
    assert server.ask(*ASK)[0] == 200
    assert len(server.workers()) == 1


def test_client_that_goes_away_while_it_waits(own_server):
    server = own_server("--conf", "bundles", "farneback,nmsr_echo")
    write_cine_file(server.folder / "studies" / "long.nii.gz", frames=24, size=(240, 240))
    works, waits = (leave(server, f"/infer/nmsr_echo?image=long&n={k}") for k in range(2))
    until(lambda: server.json("GET", "/info/")[1]["state"]["requests"] == 2)
    waits.close()
    until(lambda: server.json("GET", "/info/")[1]["state"]["requests"] == 1)
    works.close()
    until(lambda: server.json("GET", "/info/")[1]["state"]["requests"] == 0)


def test_what_takes_too_long_is_ended(own_server):
    server = own_server("--conf", "bundles", "farneback,nmsr_echo", "--conf", "timeout", "2")
    write_cine_file(server.folder / "studies" / "long.nii.gz", frames=24, size=(240, 240))
    status, said = server.json("POST", "/infer/nmsr_echo?image=long", params='{"preset": "nmsr"}')
    assert status == 504 and "longer than 2 s" in said["detail"]


def test_killed_server_starts_again_with_its_studies(own_server, tmp_path):
    server = own_server(*FAST)
    content = (tmp_path / "studies" / "speckle.nii.gz").read_bytes()
    assert server.json("PUT", "/datastore/?image=second", file=("a.nii.gz", content), params="{}")[0] == 200
    import nibabel
    import numpy as np

    label = tmp_path / "label.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((80, 72, 4), np.uint8), np.eye(4)), label)
    saved = server.json("PUT", "/datastore/label?image=second", label=("l.nii.gz", label.read_bytes()), params="{}")
    assert saved[0] == 200
    before = server.json("GET", "/datastore/?output=all")[1]["objects"]
    workers = server.workers()
    with ThreadPoolExecutor(4) as pool:  # uploads and requests are on their way when it dies
        for k in range(3):
            pool.submit(_swallow, server, f"/datastore/?image=late{k}", content)
        time.sleep(0.5)
        server.kill()
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in workers))
    again = own_server(*FAST)
    after = again.json("GET", "/datastore/?output=all")[1]["objects"]
    assert {name: after[name] for name in before} == before
    assert set(after) <= {*before, "late0", "late1", "late2"}
    assert all(
        again.ask("POST", f"/infer/farneback?image={name}&output=json", *form(params="{}"))[0] == 200 for name in after
    )


def test_broken_list_of_studies_is_set_aside(own_server, tmp_path):
    server = own_server(*FAST)
    server.kill()
    (tmp_path / "studies" / "datastore_v2.json").write_text('{"objects": {"speck', encoding="utf-8")
    again = own_server(*FAST)
    assert set(again.json("GET", "/datastore/?output=all")[1]["objects"]) == {"speckle"}
    assert (tmp_path / "studies" / "datastore_v2.json.broken").is_file()


def _swallow(server, target, content):
    try:
        server.json("PUT", target, file=("a.nii.gz", content), params="{}")
    except OSError:
        pass
