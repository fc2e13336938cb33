"""Requests that nobody should get anything by."""

import pytest

pytest.importorskip("starlette")
pytest.importorskip("websockets")

from cardiac_motion.core.errors import InputError
from cardiac_motion.workbench.guard import read_passwords
from cardiac_motion.workbench.log import history, state_of
from tests.workbench.serving import Workbench

ID = "0" * 32
PLACES = [
    ("GET", "/"), ("GET", "/api/cases"), ("GET", f"/api/cases/{ID}"), ("DELETE", f"/api/cases/{ID}"),
    ("POST", "/api/uploads?name=a.dcm"), ("POST", "/api/example"), ("GET", f"/api/cases/{ID}/shown/frames"),
    ("POST", f"/api/cases/{ID}/step"), ("GET", "/static/app.js"), ("GET", "/static/../server.py"),
    ("GET", "/api/settings"), ("POST", "/api/shared?name=a.nii.gz"), ("POST", f"/api/cases/{ID}/label?name=a.nii.gz"),
]  # fmt: skip
HOSTILE = [
    *[(m, t, {}, None) for m, t in PLACES],
    *[(m, t, {}, "guessed") for m, t in PLACES],
    *[(m, t, {"Host": "evil.example"}, "own") for m, t in PLACES],
    *[(m, t, {"Origin": "http://evil.example"}, "own") for m, t in PLACES],
    ("GET", "/?token=guessed", {}, None),
    ("GET", "/?token=", {}, None),
    *[("GET", f"/{path}", {}, "own") for path in (
        "api/cases/..", "api/cases/%2e%2e", "api/cases/..%2f..%2fetc", "api/cases/" + "a" * 31 + "/shown/frames",
        f"api/cases/{ID}/shown/..%2fcase.json", f"api/cases/{ID}/take/..%2fcase.json", "static/..%2fserver.py",
        "static/%2e%2e/guard.py", "static//etc/passwd", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "openapi.json",
    )],
    *[("POST", f"/api/uploads?name={name}", {}, "own") for name in (
        "a.py", "..%2f..%2fa.sh", "a.dcm.exe", "", "a", "a.html", "%00", "a.pickle",
    )],
    *[("POST", f"/api/shared?name={name}", {}, "own") for name in ("..%2f..%2fetc%2fpasswd", "", "..", ".lock")],
    ("POST", f"/api/cases/{ID}/label?name=..%2fa.nii.gz", {}, "own"),
    ("POST", "/api/example", {"Sec-Fetch-Site": "cross-site"}, "own"),
    ("POST", "/api/uploads?name=a.dcm", {"Content-Length": "-1"}, "own"),
    ("GET", "/api/cases", {"Origin": "null"}, "own"),
    ("GET", "/api/cases", {"Host": "127.0.0.1.evil.example"}, "own"),
    ("PUT", "/api/cases", {}, "own"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    running = Workbench(tmp_path_factory.mktemp("bench"), "--upload", "1")
    yield running
    running.stop()


def test_no_hostile_request_succeeds(bench):
    assert len(HOSTILE) >= 40
    for method, target, headers, token in HOSTILE:
        status, body = bench.ask(method, target, b"", headers, token)
        assert 400 <= status < 500, (method, target, headers, status)
        assert b"def " not in body and b"root:" not in body, target
    assert bench.json("GET", "/api/cases") == (200, [])
    assert not list((bench.folder / "space" / "cases").iterdir())


def test_the_token_opens_the_page_and_nothing_comes_from_elsewhere(bench):
    status, _ = bench.ask("GET", f"/?token={bench.token}", token=None)
    assert status == 303
    status, page = bench.ask("GET", "/")
    assert status == 200 and b"http://" not in page and b"https://" not in page
    assert bench.ask("GET", "/static/app.js")[0] == 200


def test_an_upload_is_no_larger_than_it_may_be(bench):
    status, body = bench.json("POST", "/api/uploads?name=a.dcm", bytes(2 * 2**20))
    assert status == 413 and "1 MiB" in body["detail"]
    pieces = iter([bytes(2**19)] * 4)
    status, _ = bench.ask("POST", "/api/uploads?name=a.dcm", pieces)  # chunked
    assert status == 413
    assert bench.json("GET", "/api/cases") == (200, [])


def test_a_file_that_is_no_cine_ends_with_one_line_and_keeps_its_name_out_of_paths(bench):
    status, found = bench.json("POST", "/api/uploads?name=..%2F..%2Fno%20cine.mp4", b"nothing that plays")
    assert status == 200
    case = bench.case(found["id"], lambda c: c["status"] == "failed", 120)
    assert case["title"] == "no cine.mp4" and case["failed"] and "\n" not in case["failed"]
    assert str(bench.folder) not in case["failed"]
    assert [p.name for p in (bench.folder / "space" / "cases" / found["id"] / "source").iterdir()] == ["image.mp4"]
    for what in ("step", "points", "undo", "nothing"):
        assert bench.ask("POST", f"/api/cases/{found['id']}/{what}", b"[1]")[0] == 400
    for body in (b'{"method": "../x"}', b'{"what": "wall", "value": {}}', b'{"what": "ed", "value": -1}', b"{"):
        assert bench.ask("POST", f"/api/cases/{found['id']}/step", body)[0] == 400
    assert bench.ask("DELETE", f"/api/cases/{found['id']}?revision=0")[0] == 200
    assert bench.ask("GET", f"/api/cases/{found['id']}")[0] == 404


def test_another_host_needs_passwords_that_others_can_not_read(tmp_path):
    with pytest.raises(RuntimeError, match="--password-file"):
        Workbench(tmp_path, "--host", "0.0.0.0")
    path = tmp_path / "passwords"
    path.write_text("ada:long enough\n", encoding="utf-8")
    path.chmod(0o644)
    with pytest.raises(InputError, match="others may read it"):
        read_passwords(path)
    path.chmod(0o600)
    assert read_passwords(path) == {"ada": "long enough"}


def test_undo_and_redo_of_a_log_that_only_grows():
    log = [{"what": "ed 1", "edits": {"ed": 1}}, {"what": "ed 2", "edits": {"ed": 2}}]
    assert state_of(log) == {"ed": 2}
    log.append({"what": "undo", "edits": {"ed": 1}})
    assert state_of(log) == {"ed": 1} and [entry["edits"] for entry in history(log)[1]] == [{"ed": 2}]
    log.append({"what": "redo", "edits": {"ed": 2}})
    assert state_of(log) == {"ed": 2} and history(log)[1] == []
    assert state_of([*log, {"what": "undo", "edits": {}}, {"what": "es 9", "edits": {"es": 9}}]) == {"es": 9}
