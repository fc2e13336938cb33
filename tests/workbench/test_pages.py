"""The page in headless Chromium, with workers that stand in: whose case a click changes, what is shown as new."""

import socket
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")
pytest.importorskip("uvicorn")

import uvicorn
from pydicom import Dataset

from cardiac_motion.serving.settings import KINDS
from cardiac_motion.workbench.server import make_server
from tests.browser import needs_browser
from tests.cine.made import write_dicom
from tests.cine.test_study import write_frames
from tests.workbench.stand_in import Bench, StandIn

pytestmark = needs_browser
MAIN = KINDS["cine"]
SIZE = (90, 120)
LINE = [[70.0 - 50 * np.sin(a), 60.0 - 20 * np.cos(a)] for a in np.linspace(0, np.pi, 41)]


class Drawn(StandIn):
    """Workers that stand in, with pictures and curves for a page."""

    def open(self, request):
        pictures = [cv2.imencode(".webp", np.full((*SIZE, 3), 40 + k, np.uint8))[1].tobytes() for k in range(50)]
        shown = Path(request["case"]) / "shown"
        shown.mkdir(exist_ok=True)
        (shown / "frames.webps").write_bytes(b"".join(pictures))
        (shown / "thumbnail.webp").write_bytes(pictures[0])
        about = super().open(request)
        return {**about, "sizes": [len(p) for p in pictures], "height": SIZE[0], "width": SIZE[1]}

    def complete(self, answer):
        result = answer["result"]
        gls = answer["row"]["gls"]
        curve = [] if gls is None else (gls * np.sin(np.linspace(0, np.pi, 43))).tolist()
        for row in result["segments"]:
            row |= {"end_systolic": gls, "interval": [-25.0, -15.0], "rejected": "user" if row["rejected"] else None}
        names = ["gls", *(row["name"] for row in result["segments"])]
        for beat in result["beats"]:
            beat |= {"curves": {name: curve for name in names}, "numbers": {"drift": 0.4}} if curve else {}
        result |= {
            "lines": {str(t): [LINE, LINE, LINE] for t in range(3, 46)}, "warnings": [], "ignored": [], "checks": [],
            "layer": answer["edits"].get("layer", "endocardium"), "colours": ["#d55e00"] * 6, "intervals": {},
            "bullseye": "<svg></svg>", "times": None, "spacing": None, "drawn": [],
        }  # fmt: skip
        if curve:
            result["means"] |= {"drift": 0.4, "ejection_fraction": 55.0}
        return answer

    def measure(self, request):
        return self.complete(super().measure(request))

    def correct(self, request):
        return self.complete(super().correct(request))


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.workbench.stand_in.StandIn", Drawn)
    found = Bench(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = make_server(found.store, ("127.0.0.1",), "secret", None, 2**24, tmp_path / "example.dcm")
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1))
    running = threading.Thread(target=server.run, daemon=True)
    running.start()
    while not server.started:
        time.sleep(0.02)
    found.address = f"http://127.0.0.1:{port}/?token=secret"
    found.server = server
    yield found
    server.should_exit = True
    running.join(10)
    found.close()


def opened(browser, bench, **values):
    page = browser.new_context(viewport={"width": 1280, "height": 900}, **values).new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(bench.address)
    page.wait_for_function("() => workbench.state.settings")
    return page


def drop(page, name):
    page.set_input_files("#files", {"name": name, "mimeType": "application/dicom", "buffer": b"x"})


def open_case(page, case):
    page.click(f"[data-case='{case['id']}']")
    page.wait_for_function(f"() => workbench.state.info?.id === '{case['id']}'")


def test_a_click_on_the_shown_case_never_changes_one_that_is_uploaded(browser, bench):
    first = bench.measured("first.dcm")
    page = opened(browser, bench)
    open_case(page, first)
    bench.quick.held.add("open")
    bench.quick.go.clear()
    drop(page, "second.dcm")
    page.wait_for_function("() => document.querySelectorAll('.case').length === 2")
    page.click("#segments [data-segment='basal inferoseptal']")
    page.wait_for_selector("#segments .off")
    page.once("dialog", lambda dialog: (words.append(dialog.message), dialog.dismiss()))
    words = []
    page.click("#work .remove")
    assert words == ["Remove first.dcm with all that was made of it?"]
    bench.quick.go.set()
    page.wait_for_function("() => workbench.state.info?.title === 'second.dcm'")  # then the new one is shown
    assert [entry["what"] for entry in bench.case(first["id"])["log"]] == ["segment basal inferoseptal excluded"]
    second = page.evaluate("() => workbench.state.info.id")
    assert bench.case(second)["log"] == [] and not page.problems


def test_a_dragged_wall_is_greyed_until_it_is_measured(browser, bench):
    case = bench.measured()
    page = opened(browser, bench)
    open_case(page, case)
    page.wait_for_selector(".handle")
    before = page.inner_text("#gls")
    bench.hands.held.add("correct")
    bench.hands.go.clear()
    box = page.locator(".handle").nth(3).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 12, box["y"] + box["height"] / 2 - 9, steps=3)
    page.mouse.up()
    page.wait_for_selector("#work.pending")
    assert page.locator("#over .pending").count() == 2 and page.inner_text("#busy") == "measuring …"
    assert page.inner_text("#gls") == before  # greyed
    bench.hands.go.set()
    page.wait_for_function("() => workbench.times.length === 1")
    assert page.locator("#over .pending").count() == 0 and page.inner_text("#gls") != before
    moved = bench.hands.asked[-1]["handles"]["moved"]
    assert moved[3][0] < 0 < moved[3][1] and moved[2] == [0, 0]
    page.keyboard.press("Control+z")
    page.wait_for_function("() => workbench.state.info.revision === 2")
    assert page.inner_text("#gls") == before and not page.problems


def test_no_number_is_shown_where_a_check_fails(browser, bench):
    bench.work.blocked = bench.hands.blocked = ("Its apex points 50° off the beam.",)
    case = bench.measured()
    page = opened(browser, bench)
    open_case(page, case)
    page.wait_for_selector("#gate.blocked")
    assert "50° off the beam" in page.inner_text("#gate")
    assert page.locator("#gls").count() == 0 and not page.locator("#curves").is_visible()
    assert "%" not in page.inner_text("#work .side") and page.is_disabled("#take")
    bench.hands.blocked = ()
    page.click("#gate button:has-text('Show anyway')")
    page.wait_for_selector("#gls")
    assert bench.case(case["id"])["edits"]["ignore_checks"] is True
    page.click("#undo")
    page.wait_for_selector("#gate.blocked")
    bench.hands.blocked = ()
    page.click("#gate button:has-text('Place the wall')")
    box = page.locator("#over").bounding_box()
    for share in ((0.35, 0.75), (0.65, 0.75), (0.5, 0.2)):
        page.mouse.click(box["x"] + share[0] * box["width"], box["y"] + share[1] * box["height"])
    page.wait_for_selector("#gls")
    points = bench.hands.asked[-1]["clicks"]["points"]
    np.testing.assert_allclose(points[2], [0.2 * SIZE[0], 0.5 * SIZE[1]], atol=1.5)
    assert not page.problems


def test_a_reload_comes_back_to_the_case_frame_and_tool(browser, bench):
    case = bench.measured()
    page = opened(browser, bench)
    open_case(page, case)
    page.wait_for_selector(".handle")
    page.select_option("#tool", "points")
    page.keyboard.press("Escape")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => location.hash.includes('frame=4')")
    page.reload()
    page.wait_for_function(f"() => workbench.state.info?.id === '{case['id']}' && workbench.state.t === 4")
    assert page.input_value("#tool") == "points" and not page.problems


def test_somebody_elses_step_is_seen_and_a_stale_one_is_told(browser, bench):
    case = bench.measured()
    page = opened(browser, bench)
    open_case(page, case)
    page.wait_for_selector("#gls")
    page.evaluate("() => { workbench.state.info.revision = 7; }")  # as if the socket were late
    page.click("#segments [data-segment='mid inferoseptal']")
    page.wait_for_function("() => document.getElementById('message').textContent.includes('changed meanwhile')")
    assert bench.case(case["id"])["log"] == []
    bench.step(case, "es", 25)
    page.wait_for_function("() => document.getElementById('es').value === '25'")


def test_zoom_keeps_the_place_under_the_pointer_and_a_drag_moves_the_picture(browser, bench):
    case = bench.measured()
    page = opened(browser, bench)
    open_case(page, case)
    page.wait_for_selector(".handle")
    box = page.locator("#player").bounding_box()
    x, y = box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"]

    def under():
        return page.evaluate("""([x, y]) => { const b = document.getElementById('over').getBoundingClientRect();
            return [(x - b.left) / b.width, (y - b.top) / b.height, b.width]; }""", [x, y])  # fmt: skip

    before = under()
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"() => document.getElementById('over').getBoundingClientRect().width > 1.5 * {before[2]}")
    np.testing.assert_allclose(under()[:2], before[:2], atol=0.01)
    page.mouse.down()
    page.mouse.move(x - 60, y - 40, steps=3)
    page.mouse.up()
    moved = under()
    assert moved[0] > before[0] + 0.02 and moved[1] > before[1] + 0.02
    assert page.locator("#over .pending").count() == 0 and bench.hands.count("correct") == 0


def test_what_is_pointed_at_is_marked_in_curve_segment_and_wall(browser, bench):
    case = bench.measured()
    page = opened(browser, bench)
    open_case(page, case)
    page.wait_for_selector(".handle")
    page.hover("#segments [data-segment='apical anterolateral']")
    page.wait_for_selector("#over [data-piece='apical anterolateral'][opacity='1']")
    assert page.locator("#over [data-piece][opacity='0.45']").count() == 5
    assert page.evaluate("() => workbench.state.hover") == "apical anterolateral"


def test_handles_of_a_phone_are_large_enough_for_a_finger(browser, bench):
    case = bench.measured()
    page = opened(browser, bench, has_touch=True, is_mobile=True, color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    page.click(f"[data-case='{case['id']}']")
    page.wait_for_selector(".handle")
    assert min(page.locator(".handle").nth(k).bounding_box()["width"] for k in range(7)) >= 40  # pixels of the screen
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390 and not page.problems


def test_a_server_that_is_gone_is_told_at_once(browser, bench):
    page = opened(browser, bench)
    page.wait_for_function("() => document.getElementById('offline').hidden")
    bench.server.should_exit = True
    page.wait_for_selector("#offline:not([hidden])", timeout=10_000)


def test_dicom_files_of_one_frame_of_a_series_are_dropped_as_one_cine(browser, bench, tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (12, 20, 24), np.uint8)
    write_frames(tmp_path / "study" / "A4C", values)
    regions = Dataset()
    regions.RegionDataType = 1  # a sequence before the number of frames
    write_dicom(tmp_path / "study" / "still.dcm", values[:1], SeriesInstanceUID="1.2.9")
    write_dicom(
        tmp_path / "study" / "cine.dcm", values, SeriesInstanceUID="1.2.3", SequenceOfUltrasoundRegions=[regions]
    )
    page = opened(browser, bench)
    page.set_input_files("#folder", tmp_path / "study")
    page.wait_for_function("() => document.querySelectorAll('.case.study').length === 1 && "
                           "document.querySelectorAll('.member').length === 2")  # fmt: skip
    page.wait_for_function("() => document.getElementById('message').textContent.includes('1 file holds one still')")
    cases = {case["title"]: case for case in bench.client.get("/api/cases").json()}
    assert set(cases) == {"A4C", "cine.dcm"}
    folder = bench.store.source(cases["A4C"]["id"])
    assert len(list(folder.glob("*.dcm"))) == 12 and not page.problems


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_on_the_page_keeps_anybody_from_using_it(browser, bench, scheme):
    """By axe-core: names, roles, contrast."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    page = opened(browser, bench, color_scheme=scheme)
    page.evaluate("() => fetch('/api/studies', { method: 'POST', body: '{}' })")
    (study,) = page.evaluate("async () => Object.keys(await (await fetch('/api/studies')).json())")
    page.evaluate("""group => fetch(`/api/uploads?name=a.dcm&group=${group}`, { method: 'POST', body: 'x' })""", study)
    page.wait_for_selector(".case.study")
    (case,) = bench.client.get("/api/cases").json()
    bench.settled(case["id"], lambda one: one["status"] == "measured")
    found = axe.run(page).response["violations"]
    open_case(page, case)
    page.wait_for_selector("#gls")
    page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found += axe.run(page).response["violations"]
    page.click(".case.study")
    page.wait_for_selector("#studypage:not([hidden]) canvas")
    found += axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
