"""The report as a person opens it, in headless Chromium: accessible, on a telephone, on paper."""

import re
from importlib import resources

import pytest

from tests.browser import needs_browser
from tests.bundles.test_strain_pipeline import VIEWS, measure
from tests.heart import write_heart

pytestmark = needs_browser


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """One of a cine that was measured by force, one of a cine beside an earlier study."""
    folder = tmp_path_factory.mktemp("reports")
    (heart,) = write_heart(folder / "heart", VIEWS[:1])
    measure(folder / "forced", heart, says={"view": "parasternal_short_axis", "probability": 0.9}, ignore_checks=True)
    measure(folder / "plain", heart, baseline=str(folder / "forced"))
    return {name: folder / name / "cine" / "report.html" for name in ("forced", "plain")}


def opened(browser, report, width=1280):
    page = browser.new_context(viewport={"width": width, "height": 900}, bypass_csp=True).new_page()
    page.goto(f"file://{report}")
    page.wait_for_selector("output:has-text('frame')")
    return page


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["plain", "forced"])
def test_axe_finds_no_violation(browser, reports, name, width):
    axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python, which holds axe-core")
    page = opened(browser, reports[name], width)
    page.evaluate((resources.files(axe) / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")["violations"]
    assert not found, "\n".join(f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found)


@pytest.mark.parametrize("name", ["plain", "forced"])
def test_a_telephone_does_not_scroll_sideways(browser, reports, name):
    page = opened(browser, reports[name], 390)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_click_on_a_curve_shows_its_frame(browser, reports):
    page = opened(browser, reports["plain"])
    plot = page.locator("svg[data-seek]").first
    first, last, left, right = (float(v) for v in plot.get_attribute("data-seek").split())
    box = plot.bounding_box()
    for share in (0.0, 0.5, 1.0):
        plot.click(position={"x": (left + share * (right - left)) * box["width"], "y": box["height"] / 2})
        frame = int(re.search(r"frame (\d+)", page.locator("output").first.inner_text())[1])
        assert abs(frame - (first + share * (last - first))) <= 0.51
    assert page.locator("button", has_text="Play").count() == 1, "it stays at that frame"


@pytest.mark.parametrize("size", ["A4", "Letter"])
def test_it_prints_on_paper_with_its_banner(browser, reports, tmp_path, size):
    page = opened(browser, reports["forced"])
    page.pdf(path=tmp_path / "report.pdf", format=size, print_background=False)
    assert (tmp_path / "report.pdf").stat().st_size > 20_000
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700 if size == "A4" else 720, "height": 1000})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 720, "nothing is cut off at the right"
    cut = "() => [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.locator(".wide").count() > 2 and page.evaluate(cut) == 0, "no column of a table is cut off"
    assert page.locator(".forced").is_visible() and page.locator(".stills img").count() == 2
    assert not page.locator(".controls").first.is_visible()


@pytest.mark.parametrize("name", ["plain", "forced"])
def test_a_view_prints_on_two_pages_and_stills_stand_in_for_the_cine(browser, reports, name, tmp_path):
    page = opened(browser, reports[name])
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    pages = len(re.findall(rb"/Type\s*/Page[^s]", (tmp_path / "report.pdf").read_bytes()))
    assert pages <= (2 if name == "forced" else 3)  # one more for the changes since the earlier study
    page.emulate_media(media="print")
    assert not page.locator("[data-player]").is_visible() and page.locator(".overview figure").count() == 2
