"""The page of a cine of blood: its numbers are those of the table, and nothing is said that was not measured."""

from dataclasses import replace

import pytest

from cardiac_motion.lv_blood_flow.measures import measure_flow
from cardiac_motion.lv_blood_flow.report import CANNOT, write_report
from cardiac_motion.strain_pipeline.report.html import number
from tests.lv_blood_flow.flows import turning


@pytest.fixture
def page(tmp_path):
    """Writes the page of a flow beside three pictures and reads it."""
    for name in ("flow", "vorticity", "particles"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())

    def page(case, flow):
        write_report(tmp_path, case, flow)
        return (tmp_path / "flow.html").read_text(encoding="utf-8")

    return page


def test_the_strongest_vortex_and_the_fastest_pair(page):
    case, ddf = turning()
    flow = measure_flow(case, ddf)
    rows = [dict(row) for row in flow.rows]
    rows[1]["ccw_circulation"], rows[1]["ccw_area"] = 1234.4, 17.25
    rows[2]["peak_speed"] = 9.876
    rows[0]["cw_circulation"], rows[2]["cw_circulation"] = -50.0, -3.0
    text = page(case, replace(flow, rows=rows))
    assert "1234<" in text.replace(" ", "") or ">1234" in text
    assert "9.88" in text and "−50" in text, "the fastest pair, and the strongest of either turn with its sign"
    assert "ccw, pair 1" in text and "cw, pair 0" in text and "17.25" in text
    assert number(rows[1]["ccw_sphericity"], 2) in text


def test_what_was_not_found_is_not_said(page):
    case, ddf = turning()
    flow = measure_flow(case, ddf)
    rows = [{key: None if key[:2] == "cc" else value for key, value in row.items()} for row in flow.rows]
    text = page(case, replace(flow, rows=rows, notes=["A note <of> its own."]))
    assert "No vortex was found." in text and "pair 0" not in text
    assert "A note &lt;of&gt; its own." in text, "notes are text, not HTML"
    assert all(line.split(":")[0] in text for line in CANNOT) and "research only" in text


def test_pictures_are_within_the_page(page):
    case, ddf = turning()
    text = page(case, measure_flow(case, ddf))
    for name, coded in (("flow", "Zmxvdw=="), ("vorticity", "dm9ydGljaXR5"), ("particles", "cGFydGljbGVz")):
        assert f'alt="{name}"' in text and f"base64,{coded}" in text


def test_without_spacing_there_is_no_energy(page):
    case, ddf = turning(spacing=None)
    text = page(case, measure_flow(case, ddf))
    assert "energy" not in text.lower().replace("energy loss and peak vorticity depend", "") and "px/frame" in text
