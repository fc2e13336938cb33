"""The workbench as a person uses it, in headless Chromium, against the command line."""

import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.volume.phantom import phantom
from tests.browser import needs_browser
from tests.workbench.person import drag, only_this_machine, show_frame
from tests.workbench.serving import ROOT, Workbench, there_and_back

pytestmark = needs_browser


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    running = Workbench(tmp_path_factory.mktemp("bench"))
    yield running
    running.stop()


def opened(browser, bench, problems, **values):
    page = browser.new_context(viewport={"width": 1280, "height": 900}, **values).new_page()
    only_this_machine(page, bench, problems)
    page.goto(bench.address)
    page.wait_for_function("() => workbench.state.settings")
    return page


def gls(page):
    return float(page.get_attribute("#gls", "data-value"))


def test_drop_drag_undo_take_away_and_the_command_line_says_the_same(bench, browser, tmp_path):
    problems = []
    page = opened(browser, bench, problems)
    page.set_input_files("#files", demo_cine())
    page.wait_for_selector("#gls[data-method=cpwc]", timeout=590_000)
    assert bench.case(page.evaluate("() => workbench.state.info.id"), lambda c: not c["progress"])[
        "methods"
    ].keys() == {"cpwc"}
    found = gls(page)
    ed = page.input_value("#ed")
    show_frame(page, int(ed))
    drag(page, 2, -14)
    corrected = gls(page)
    assert abs(corrected - found) > 0.05
    page.click("#undo")
    page.wait_for_function(f"() => Math.abs(+document.getElementById('gls').dataset.value - {found}) < 1e-9")
    page.click("#redo")
    page.wait_for_function(f"() => Math.abs(+document.getElementById('gls').dataset.value - {corrected}) < 1e-9")

    page.click("summary:has-text('Compare methods')")
    page.select_option("#method", "farneback")  # which then stands beside the first, measured with the drawn wall
    page.click("#run")
    page.wait_for_selector("#panels [data-method=farneback]", timeout=590_000)
    assert page.locator("#panels canvas").count() == 2
    other = float(page.evaluate("() => workbench.state.info.methods.farneback.gls"))
    page.click("#undo")  # both follow what is undone
    page.wait_for_function(
        f"() => Math.abs(workbench.state.info.methods.cpwc?.gls - {found}) < 1e-9"
        f" && Math.abs(workbench.state.info.methods.farneback?.gls - {other}) > 1e-3", timeout=120_000
    )  # fmt: skip
    page.click("#redo")
    page.wait_for_function(
        f"() => Math.abs(workbench.state.info.methods.cpwc?.gls - {corrected}) < 1e-9", timeout=120_000
    )
    page.select_option("#method", "cpwc")

    page.select_option("#tool", "line")
    for share in (0.45, 0.6):
        box = page.locator("#over").bounding_box()
        page.mouse.click(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_selector("#tracks img", timeout=60_000)

    second = opened(browser, bench, problems)  # somebody else sees the same
    second.click(".case")
    second.wait_for_selector("#gls")
    assert gls(second) == corrected

    name = page.get_attribute(".case", "data-case")
    revision = bench.json("GET", f"/api/cases/{name}")[1]["revision"]
    assert bench.json("POST", f"/api/cases/{name}/take", f'{{"revision": {revision}}}'.encode())[0] == 200
    case = bench.case(name, lambda c: c.get("files") and not c["progress"])
    assert {"report.html", "sr.dcm", "strain.csv", "ddf.nii.gz", "labels.nii.gz", "contour.json",
            "command.txt", "log.json", "about.json"} <= set(case["files"]["names"])  # fmt: skip
    assert [entry["what"].split()[0] for entry in case["log"]] == ["wall", "undo", "redo", "undo", "redo"]
    with zipfile.ZipFile(io.BytesIO(bench.ask("GET", f"/api/cases/{name}/take/all.zip")[1])) as archive:
        archive.extractall(tmp_path)
    stem = case["files"]["name"]
    about = json.loads((tmp_path / stem / "about.json").read_text(encoding="utf-8"))
    assert about["source_sha256"] == hashlib.sha256(Path(demo_cine()).read_bytes()).hexdigest()
    shutil.copyfile(demo_cine(), tmp_path / stem / about["source"])  # the zip, beside bundles, and the cine in it
    (tmp_path / "bundles").symlink_to(ROOT / "bundles")
    words = shlex.split((tmp_path / stem / "command.txt").read_text(encoding="utf-8"))
    assert not any(str(bench.folder) in word for word in words)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/common"}
    words += ["--mlflow", "False", "--save_figures", "False"]
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True, env=environment)
    (summary,) = tmp_path.glob("output/*/*/summary.json")
    assert json.loads(summary.read_text(encoding="utf-8"))["metrics"]["gls"] == pytest.approx(corrected, abs=0.1)
    assert not problems


def test_a_volume_in_three_planes_with_dice_where_a_label_is_given(browser, tmp_path):
    for k in (1, 2, 3, 7):
        values, label = phantom(k)
        for folder, what in (("imagesTr", values.astype(np.float32)), ("labelsTr", label)):
            (tmp_path / folder).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(what, np.eye(4)), tmp_path / folder / f"a{k}.nii.gz")
    volume = (tmp_path / "imagesTr" / "a7.nii.gz").rename(tmp_path / "volume.nii.gz")
    label = (tmp_path / "labelsTr" / "a7.nii.gz").rename(tmp_path / "label.nii.gz")
    bench = Workbench(tmp_path, "--atlases", str(tmp_path))
    try:
        problems = []
        page = opened(browser, bench, problems)
        page.set_input_files("#files", volume)
        page.wait_for_selector("#scores [data-method=ssmsr]", timeout=590_000)
        assert page.locator("#planes canvas").count() == 3
        page.set_input_files("#truth", label)
        page.wait_for_function("() => workbench.state.info.methods?.ssmsr?.dice > 0.6", timeout=590_000)
        colours = page.evaluate("""() => [...document.querySelectorAll('#planes canvas')].map(c => new Set(
            c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((_, k) => k % 4 === 0)).size)""")
        assert min(colours) > 20
        assert not problems
    finally:
        bench.stop()


def test_300_frames_play_and_a_phone_shows_them_without_scrolling_sideways(browser, bench, tmp_path):
    problems = []
    page = opened(browser, bench, problems, color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    page.set_input_files("#files", there_and_back(tmp_path / "long.nii.gz", 300, (120, 160)))
    page.wait_for_selector("#work:not([hidden])", timeout=590_000)
    page.wait_for_function("() => workbench.state.info.about.frames === 300", timeout=60_000)
    name = page.evaluate("() => workbench.state.info.id")
    bench.ask("POST", f"/api/cases/{name}/cancel", b"{}")
    case = bench.case(name, lambda c: not c["progress"])
    assert case["failed"] in ("cancelled", None)
    page.focus("#over")
    page.keyboard.press("End")
    page.wait_for_function("() => document.getElementById('at').textContent.startsWith('frame 299')")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
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
