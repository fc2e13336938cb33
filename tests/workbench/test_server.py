"""The interface, without a browser: hostile values, folders of pictures, studies, calibration."""

import json
import re
import resource

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from cardiac_motion.workbench.server import STATIC
from cardiac_motion.workbench.studies import Studies
from tests.workbench.stand_in import Bench


@pytest.fixture
def bench(tmp_path):
    found = Bench(tmp_path)
    yield found
    found.close()


HOSTILE = [
    '{"what": "wall", "value": {"frame": 1e400, "at": [0, 1], "moved": [[0, 0], [0, 0], [0, 0]]}}',
    '{"what": "wall", "value": {"frame": NaN, "at": [0, 0.5, 1], "moved": [[0, 0], [0, 0], [0, 0]]}}',
    '{"what": "wall", "value": {"frame": 3, "at": [0, 0.5, 1], "moved": [[0, 1e400], [0, 0], [0, 0]]}}',
    '{"what": "wall", "value": {"frame": 3, "at": [0, 0.5, NaN], "moved": [[0, 0], [0, 0], [0, 0]]}}',
    '{"what": "wall", "value": {"frame": 3, "at": "abc", "moved": [[0, 0], [0, 0], [0, 0]]}}',
    '{"what": "wall", "value": {"frame": 3, "at": [0, 0.5, 1], "moved": [0, 0, 0]}}',
    '{"what": "wall", "value": {"frame": 3, "at": [0, 0.5, 1], "moved": {"a": 1}}}',
    '{"what": "wall", "value": [1, 2]}',
    '{"what": "clicks", "value": {"frame": 3, "points": [[0, 0], [1, 1]]}}',
    '{"what": "clicks", "value": {"frame": -1, "points": [[0, 0], [1, 1], [2, 2]]}}',
    '{"what": "clicks", "value": {"frame": 3, "points": [[0, 0], [1, 1], [2, 1e999]]}}',
    '{"what": "ed", "value": 1e400}', '{"what": "ed", "value": -Infinity}', '{"what": "es", "value": [3]}',
    '{"what": "es", "value": true}', '{"what": "es", "value": 1e30}', '{"what": "view", "value": "../../x"}',
    '{"what": "view", "value": {"a": 1}}', '{"what": "layer", "value": null}', '{"what": "segment", "value": 3}',
    '{"what": "ignore_checks", "value": "perhaps"}', '{"what": ["es"], "value": 3}', '{"what": null}',
    '{"what": "scale", "value": {"points": [[0, 0], [0, 0]], "mm": 50}}',
    '{"what": "scale", "value": {"points": [[0, 0], [90, 0]], "mm": 1e400}}',
    '{"what": "scale", "value": {"points": [[0, 0], [90, 0]], "mm": -5}}',
    '{"what": "frame_rate", "value": {"frames_per_second": 0}}', '{"what": "frame_rate", "value": 30}',
    '{"what": "frame_rate", "value": {"beats_per_minute": 1e9}}', '{"what": "es", "value": 20, "method": "../x"}',
    '{"what": "es", "value": 20, "method": 7}', '[1]', '{', '"es"', '12',
    '{"what": "es", "value": ' + "9" * 5000 + "}",
    "[" * 20000,
]  # fmt: skip


def test_an_upload_to_a_full_disk_says_so_and_leaves_no_case(bench, small_disk):
    with small_disk():
        answer = bench.client.post("/api/uploads", params={"name": "a.dcm"}, content=b"x" * 200_000)
    assert (answer.status_code, answer.json()) == (507, {"detail": "The server can't store this (file too large)."})
    assert not list(bench.store.cases.iterdir())


@pytest.mark.parametrize("errors", [OSError("x"), PermissionError(13, "x")])
def test_another_error_of_the_server_is_none_of_a_full_disk(bench, monkeypatch, errors):
    monkeypatch.setattr(bench.store, "create", lambda *given: (_ for _ in ()).throw(errors))
    assert bench.client.post("/api/uploads", params={"name": "a.dcm"}, content=b"x").status_code == 500


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_of_a_step_are_refused(bench, body):
    case = bench.measured()
    if body.startswith("{") and body.endswith("}"):
        body = '{"revision": 0, ' + body[1:]
    answer = bench.client.post(f"/api/cases/{case['id']}/step", content=body)
    assert 400 <= answer.status_code < 500, answer.text
    assert bench.case(case["id"])["log"] == [] and bench.hands.count("correct") == 0


@pytest.mark.parametrize("revision", ["1e400", "NaN", "-1", "null", '"x"', "[]", "true", "1e12"])
def test_hostile_revisions_are_refused(bench, revision):
    case = bench.measured()
    body = f'{{"revision": {revision}, "what": "es", "value": 20}}'
    assert 400 <= bench.client.post(f"/api/cases/{case['id']}/step", content=body).status_code < 500


@pytest.mark.parametrize("points", ["[]", "[[1e400, 0]]", "[[NaN, 0]]", "[[1]]", "7", "null", '[["a", "b"]]',
                                    "[" + "[0, 0]," * 99 + "[0, 0]]"])  # fmt: skip
def test_hostile_points_are_refused(bench, points):
    case = bench.measured()
    body = f'{{"revision": 0, "frame": 3, "points": {points}}}'
    assert bench.client.post(f"/api/cases/{case['id']}/points", content=body).status_code == 400


def test_a_json_body_of_400_mib_is_refused_in_bounded_memory(bench):
    case = bench.measured()
    before, sent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0

    def pieces():
        nonlocal sent
        for _ in range(400):
            sent += 1
            yield bytes(2**20)

    assert bench.client.post(f"/api/cases/{case['id']}/step", content=pieces()).status_code == 413
    declared = {"Content-Length": str(400 * 2**20)}
    assert bench.client.post(f"/api/cases/{case['id']}/step", content=b"{}", headers=declared).status_code == 413
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024
    )  # KiB: the client holds what it sends


def pictures(parts, head=None):
    head = json.dumps([[name, len(content)] for name, content in parts]).encode() if head is None else head
    return len(head).to_bytes(4, "big") + head + b"".join(content for _, content in parts)


def test_a_folder_of_pictures_is_one_cine_in_the_order_in_which_it_was_sent(bench):
    parts = [(f"../{k}.JPG", bytes([k]) * (k + 1)) for k in (2, 10, 11)]
    name = bench.upload("A4C.frames", pictures(parts))
    case = bench.settled(name, lambda c: c["status"] == "measured")
    folder = bench.store.source(name)
    assert case["title"] == "A4C" and [p.name for p in sorted(folder.iterdir())] == [
        "00000.jpg",
        "00001.jpg",
        "00002.jpg",
    ]
    assert [p.read_bytes() for p in sorted(folder.iterdir())] == [content for _, content in parts]
    assert bench.quick.asked[-1]["source"] == str(folder)


@pytest.mark.parametrize("body", [
    b"", b"\x00\x00", (2**31).to_bytes(4, "big"), pictures([("a.jpg", b"1")]), pictures([], b"[1, 2]"),
    pictures([("a.jpg", b"1"), ("b.exe", b"2")]), pictures([], b'[["a.jpg", 5], ["b.jpg", 5]]'),
    pictures([], b'[["a.jpg", -5], ["b.jpg", 5]]'), pictures([], b'[["a.jpg", 1e400], ["b.jpg", 5]]'),
    pictures([], b"[" * 9000),
])  # fmt: skip
def test_a_folder_of_pictures_that_is_none_leaves_nothing(bench, body):
    answer = bench.client.post("/api/uploads", params={"name": "A4C.frames"}, content=body)
    assert 400 <= answer.status_code < 500
    assert bench.client.get("/api/cases").json() == [] and list(bench.store.cases.iterdir()) == []


def test_a_study_takes_the_best_cine_of_each_view_and_what_the_user_chooses(bench):
    name = bench.client.post("/api/studies", json={"title": "Monday"}).json()["id"]
    cases = [bench.measured(f"{k}.dcm", group=name) for k in range(3)]
    bench.step(cases[2], "view", "apical_2ch")
    study = bench.client.get(f"/api/studies/{name}").json()
    assert study["title"] == "Monday" and len(study["members"]) == 3
    assert set(study["choices"]) == {"apical_4ch", "apical_2ch"} and study["choices"]["apical_2ch"] == cases[2]["id"]
    other = next(c["id"] for c in cases[:2] if c["id"] != study["choices"]["apical_4ch"])
    study = bench.client.post(f"/api/studies/{name}/choose", json={"view": "apical_4ch", "case": other}).json()
    assert study["choices"]["apical_4ch"] == other
    assert {m["id"] for m in bench.hands.asked[-1]["members"]} == {other, cases[2]["id"]}
    asked = bench.hands.count("study")
    bench.client.get(f"/api/studies/{name}")
    assert bench.hands.count("study") == asked  # nothing has changed
    assert (
        bench.client.post("/api/uploads", params={"name": "a.dcm", "group": "0" * 32}, content=b"x").status_code == 404
    )
    bad = bench.client.post(f"/api/studies/{name}/choose", json={"view": "apical_4ch", "case": "../x"})
    assert bad.status_code == 404
    assert bench.client.delete(f"/api/studies/{name}").status_code == 200
    assert bench.client.get("/api/cases").json() == []


def test_the_choices_of_a_study_are_those_that_its_numbers_are_of(bench, monkeypatch):
    studies = Studies(bench.store)
    name = studies.create("Monday")
    cases = [bench.measured(f"{k}.dcm", group=None)["id"] for k in range(2)]
    for case in cases:
        bench.store.update(case, group=name)
    combine, view = bench.hands.study, "apical_4ch"

    def choose_meanwhile(request):
        studies.choose(name, view, next(case for case in cases if case != request["members"][0]["id"]))
        return combine(request)

    monkeypatch.setattr(bench.hands, "study", choose_meanwhile)
    shown = studies.show(name)
    assert shown["choices"] == {view: bench.hands.asked[-1]["members"][0]["id"]}
    assert studies.choices(name) != shown["choices"]  # and the next look has the numbers of the new choice


def test_a_scale_and_a_heart_rate_become_spacing_and_frame_rate(bench):
    case = bench.step(bench.measured(), "scale", {"points": [[10, 20], [110, 20]], "mm": 50})
    assert case["edits"]["spacing"] == [0.5, 0.5] and "50 mm apart" in case["log"][-1]["what"]
    case = bench.step(case, "frame_rate", {"beats_per_minute": 60})
    assert case["edits"]["frame_rate"] == 42.0  # frames from 3 to 45 in a second
    case = bench.step(case, "frame_rate", {"frames_per_second": 50})
    assert case["edits"]["frame_rate"] == 50
    assert any("50 frames/s" in words for words in case["manual"])


def test_an_end_systole_keeps_the_beat_that_is_shown(bench):
    case = bench.step(bench.measured(), "es", 22)
    assert case["edits"] == {"ed": 3, "es": 22} and case["log"][0]["what"] == "ES 19 → 22"


def test_the_scripts_name_only_what_the_pages_state_has():
    scripts = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
    (fields,) = re.findall(r"export const state = \{(.+?)\}", scripts["shared.js"])
    known = set(re.findall(r"(\w+):", fields))
    for name, text in scripts.items():
        assert set(re.findall(r"\bstate\.(\w+)", text)) <= known, name
