"""What runs again after a step, what is shown, and what is refused: counted, with workers that stand in."""

import json
import time

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from cardiac_motion.serving.settings import KINDS, PREVIEW
from cardiac_motion.workbench.log import describe_changes
from cardiac_motion.workbench.messages import say_plainly
from tests.workbench.stand_in import Bench, result_of

MAIN = KINDS["cine"]


@pytest.fixture
def bench(tmp_path):
    found = Bench(tmp_path)
    yield found
    found.close()


def wait_until(holds, seconds=5):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_first_curve_by_the_quick_method_comes_before_the_true_one_and_goes_when_that_is_there(bench):
    bench.work.held.add("measure")
    bench.work.go.clear()
    name = bench.upload()
    wait_until(lambda: bench.work.count("measure") == 1)
    assert bench.work.asked[-1]["method"] == PREVIEW
    bench.work.go.set()
    case = bench.settled(name, lambda c: MAIN in c["results"])
    assert [r["method"] for r in bench.work.asked if r["task"] == "measure"] == [PREVIEW, MAIN]
    assert set(case["results"]) == {MAIN} and not case["preview"]
    assert not (bench.store.cases / name / "motion" / PREVIEW).exists()


def test_undo_and_redo_ask_no_worker_at_any_depth(bench):
    case = bench.measured()
    gls = [case["results"][MAIN]["means"]["gls"]]
    for frame in range(20, 32):
        case = bench.step(case, "es", frame)
        gls.append(case["results"][MAIN]["means"]["gls"])
    asked = bench.hands.count("correct")
    assert asked == 12
    for k in range(12):
        case = bench.post(case, "undo").json()
        assert case["results"][MAIN]["means"]["gls"] == gls[-2 - k]
    assert case["edits"] == {} and not case["can"]["undo"]
    for k in range(12):
        case = bench.post(case, "redo").json()
        assert case["results"][MAIN]["means"]["gls"] == gls[1 + k]
    assert bench.hands.count("correct") == asked and bench.work.count("correct") == 0
    assert len(case["log"]) == 36  # undo and redo are steps themselves
    assert bench.post(case, "redo").status_code == 409


def test_nothing_of_older_edits_is_shown_while_another_method_is_measured_again(bench):
    case = bench.measured()
    bench.post(case, "measure", method="farneback")
    case = bench.settled(case["id"], lambda c: "farneback" in c["results"])
    bench.work.held.add("correct")
    bench.work.go.clear()
    case = bench.step(case, "es", 22)
    assert set(case["results"]) == set(case["methods"]) == {MAIN}
    bench.work.go.set()
    case = bench.settled(case["id"], lambda c: "farneback" in c["results"])
    assert case["results"]["farneback"]["beats"][0]["es"] == 22


def test_a_stale_request_is_refused_and_changes_nothing(bench):
    before = bench.measured()
    now = bench.step(before, "es", 22)
    for what, body in (("step", {"what": "es", "value": 25}), ("undo", {}), ("take", {}), ("measure", {})):
        answer = bench.post(before, what, **body)
        assert answer.status_code == 409 and "changed meanwhile" in answer.json()["detail"]
    assert bench.client.delete(f"/api/cases/{now['id']}?revision=0").status_code == 409
    assert bench.case(now["id"])["log"] == now["log"]
    answer = bench.client.post(f"/api/cases/{now['id']}/step", json={"what": "es", "value": 25})
    assert answer.status_code == 400 and "revision" in answer.json()["detail"]
    assert bench.client.delete(f"/api/cases/{now['id']}?revision=1").status_code == 200


def test_steps_of_one_case_are_not_written_into_another(bench):
    first, second = bench.measured("a.dcm"), bench.measured("b.dcm")
    bench.step(first, "segment", "basal inferoseptal")
    assert bench.case(second["id"])["log"] == []
    assert bench.case(first["id"])["edits"]["exclude_segments"] == ["basal inferoseptal"]


def test_files_say_which_edits_they_are_of_and_are_out_of_date_after_the_next(bench):
    case = bench.measured()
    bench.post(case, "take")
    case = bench.settled(case["id"], lambda c: c.get("files"))
    assert case["files"]["revision"] == 0 and case["files_current"]
    case = bench.step(case, "layer", "mid-wall")
    assert not case["files_current"]
    assert bench.post(case, "undo").json()["files_current"]  # what they are of holds again
    answer = bench.client.get(f"/api/cases/{case['id']}/take/sr.dcm")
    assert answer.content == b"sr" and 'filename="name_sr.dcm"' in answer.headers["content-disposition"]
    assert b"GLS" in bench.client.get(f"/api/cases/{case['id']}/take/report.html").content
    assert bench.client.get(f"/api/cases/{case['id']}/take/all.zip").content[:2] == b"PK"
    assert bench.client.get(f"/api/cases/{case['id']}/take/..%2Fcase.json").status_code == 404


def test_a_case_that_fails_to_open_can_be_shown_tried_again_and_removed(bench):
    bench.quick.fails["open"] = "a.mp4: [Errno 1094995529] Invalid data found when processing input: 'a.mp4'"
    name = bench.upload("a.mp4")
    case = bench.settled(name, lambda c: c["status"] == "failed")
    assert case["failed"].startswith("This file cannot be read") and "Errno" not in case["failed"]
    bench.quick.fails.clear()
    assert bench.post(case, "retry").status_code == 200
    assert bench.settled(name, lambda c: c["status"] == "measured")["failed"] is None
    assert bench.client.delete(f"/api/cases/{name}?revision=0").status_code == 200
    assert bench.client.get(f"/api/cases/{name}").status_code == 404


def test_a_small_file_is_opened_while_a_long_one_is_measured(bench):
    bench.work.held.add("measure")
    bench.work.go.clear()
    long = bench.upload("long.dcm")
    wait_until(lambda: bench.work.count("measure") == 1)
    short = bench.upload("short.dcm")
    wait_until(lambda: bench.case(short)["about"] if "about" in bench.case(short) else False)
    assert bench.case(long)["progress"]
    assert bench.client.post(f"/api/cases/{long}/cancel", json={}).status_code == 200
    wait_until(lambda: not bench.case(long)["progress"])
    assert bench.case(long)["failed"] == "cancelled"


def test_what_costs_how_long_is_remembered(bench):
    bench.measured()
    assert json.loads((bench.folder / "costs.json").read_text(encoding="utf-8"))["strain"] == pytest.approx(0.1)
    assert bench.store.costs["strain"] == pytest.approx(0.1)


def test_a_server_that_starts_again_finds_results_and_log(bench, tmp_path):
    case = bench.step(bench.measured(), "es", 22)
    bench.close()
    again = Bench(tmp_path)
    found = again.case(case["id"])
    assert found["results"] == case["results"] and found["revision"] == 1
    assert again.post(found, "undo").json()["edits"] == {} and again.hands.count("correct") == 0
    again.close()


def test_results_of_another_program_are_not_shown_as_this_ones(bench, monkeypatch):
    case = bench.measured()
    monkeypatch.setattr("cardiac_motion.workbench.results.code_stamp", lambda: "another")
    assert bench.case(case["id"])["results"] == {}


def test_a_failed_check_leaves_no_number_in_the_answer_nor_in_the_list(bench):
    bench.work.blocked = bench.hands.blocked = ("its apex points 50° off the beam",)
    case = bench.measured()
    assert case["results"][MAIN]["means"] == {} and case["methods"][MAIN]["gls"] is None
    (listed,) = bench.client.get("/api/cases").json()
    assert listed["methods"][MAIN]["gls"] is None
    bench.hands.blocked = ()
    case = bench.step(case, "ignore_checks", True)
    assert case["edits"] == {"ignore_checks": True} and "Failed checks ignored" in case["manual"][0]


def test_changes_by_hand_in_words():
    def entry(field, before, after, edits, who="Ada"):
        return {"what": field, "field": field, "before": before, "after": after, "edits": edits, "who": who}

    drawn = {"drawn": {"23": []}}
    log = [
        entry("es", 19, 21, {"es": 21}), entry("wall", None, 23, {"es": 21, **drawn}),
        entry("es", 21, 22, {"es": 22, **drawn}, "Bea"), entry("view", "apical_4ch", "apical_2ch", drawn),
        {"what": "undo", "edits": {"es": 22, **drawn}},
    ]  # fmt: skip
    assert describe_changes(log) == [
        "End-systole moved from frame 19 to 22, by Ada and Bea.", "Wall moved at frame 23, by Ada."
    ]  # fmt: skip
    log.append(entry("reset", None, None, {}))
    assert describe_changes(log) == []


def test_messages_name_no_option_of_a_command_line():
    said = "a.dcm: not measured: shape of the wall 7; --ignore_checks True measures all the same"
    assert say_plainly(said, "a.dcm") == "Not measured: shape of the wall 7."
    looks = "a.dcm: looks like other (0.9), not an apical view; --view apical_4ch (or apical_2ch) takes it as one"
    assert say_plainly(looks, "a.dcm").endswith("choose the view, then measure.")
    assert "--" not in say_plainly(looks, "a.dcm")


def test_the_stand_in_tells_edits_apart():
    assert result_of("m", {})["row"]["gls"] != result_of("m", {"es": 22})["row"]["gls"]
