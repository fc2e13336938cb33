"""The workbench as a person uses it, in headless Chromium, against the command line."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest

from common.cine.cases import demo_cine
from tests.workbench.serving import ROOT, Workbench

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    running = Workbench(tmp_path_factory.mktemp("bench"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser, bench, problems):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()

    def only_this_machine(route):
        if f"127.0.0.1:{bench.port}" in route.request.url or route.request.url.startswith(("blob:", "data:")):
            route.continue_()
        else:
            problems.append(route.request.url)
            route.abort()

    page.route("**/*", only_this_machine)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(bench.address)
    return page


def gls(page):
    return float(page.get_attribute("#gls", "data-value"))


def drag(page, handle, by):
    before = page.evaluate("() => workbench.times.length")
    box = page.locator(".handle").nth(handle).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=3)
    page.mouse.up()
    page.wait_for_function(f"() => workbench.times.length > {before}", timeout=60_000)


def test_drop_drag_undo_take_away_and_the_command_line_says_the_same(bench, browser, tmp_path):
    problems = []
    page = opened(browser, bench, problems)
    page.set_input_files("#files", demo_cine())
    page.wait_for_selector("#gls", timeout=590_000)
    found = gls(page)
    ed = page.input_value("#ed")
    page.evaluate(f"() => {{ const s = document.getElementById('seek'); s.value = {ed};"
                  "s.dispatchEvent(new Event('input')); }")  # fmt: skip
    page.wait_for_timeout(700)
    drag(page, 2, -14)
    corrected = gls(page)
    assert abs(corrected - found) > 0.05
    page.click("#undo")
    page.wait_for_function(f"() => Math.abs(+document.getElementById('gls').dataset.value - {found}) < 1e-9")
    page.click("#redo")
    page.wait_for_function(f"() => Math.abs(+document.getElementById('gls').dataset.value - {corrected}) < 1e-9")

    second = opened(browser, bench, problems)  # somebody else sees the same
    second.click(".case")
    second.wait_for_selector("#gls")
    assert gls(second) == corrected

    name = page.get_attribute(".case", "data-case")
    assert bench.json("POST", f"/api/cases/{name}/take", b"{}")[0] == 200
    case = bench.case(name, lambda c: c.get("files") and not c["progress"])
    assert {"report.html", "sr.dcm", "strain.csv", "ddf.nii.gz", "labels.nii.gz", "film.mp4", "contour.json",
            "command.txt", "log.json", "all.zip"} <= set(case["files"])  # fmt: skip
    assert [entry["what"].split()[0] for entry in case["log"]] == ["wall", "undo", "redo"]
    words = shlex.split(bench.ask("GET", f"/api/cases/{name}/take/command.txt")[1].decode())
    words[words.index("--output_dir") + 1] = str(tmp_path)
    subprocess.run([sys.executable, *words[1:], "--mlflow", "False", "--figures", "False"], cwd=ROOT, check=True)
    (summary,) = tmp_path.glob("*/summary.json")
    assert json.loads(summary.read_text())["means"]["gls"] == pytest.approx(corrected, abs=0.1)
    assert not problems


def test_a_server_killed_in_the_middle_goes_on(tmp_path):
    first = Workbench(tmp_path)
    name = first.json("POST", "/api/example")[1]["id"]
    first.case(name, lambda c: c.get("doing") == "measure")
    first.kill()
    second = Workbench(tmp_path)
    try:
        case = second.case(name, lambda c: c["status"] == "measured" and not c["progress"])
        assert case["methods"]["cpwc"]["gls"] < 0
    finally:
        second.stop()
