"""Pieces of the report."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from common.strain_pipeline import html as report
from common.ventricle.views import APICAL


def test_text_is_escaped_everywhere():
    nasty = "<script>alert('x')</script>&"
    whole = report.page(
        nasty, nasty, [report.section(nasty, report.bullets([nasty]), report.table([nasty], [[nasty]]))]
    )
    player = report.player(np.zeros((2, 4, 4), np.uint8), {}, [], {0: nasty})
    assert "<script>alert" not in whole and whole.count("&lt;script&gt;") == 8
    assert "</script>&" not in player.replace("</script></div>", "")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-22.7, 3.1), (0, 980), (-0.004, 0), (5, 5)])
def test_ticks_are_round_and_cover_the_range(low, high):
    found = report.ticks(low, high)
    assert found[0] <= low and found[-1] >= high and 2 <= len(found) <= 9
    steps = np.diff(found)
    assert np.allclose(steps, steps[0]) or low == high


def test_bullseye_has_a_piece_for_each_segment_and_grey_for_what_is_missing():
    names = [name for view in APICAL.values() for name in view.segments()]
    values = {name: -20.0 + k for k, name in enumerate(names)}
    values[names[3]] = None
    del values[names[5]]
    svg = report.bullseye(values)
    fills = re.findall(r'<path [^>]*fill="(#\w+)"', svg)
    assert len(fills) == 18 and fills.count("#d7dbe1") == 2
    assert "basal anterior:" in svg and svg.count("–") >= 2


def test_colours_run_from_red_to_blue():
    red, pale, blue = (report.strain_colour(v) for v in (-30.0, 0.0, 20.0))
    assert red == "#a0121c" and blue == "#285abe" and pale == "#faf0e8"


def test_numbers():
    assert [report.number(v) for v in (-18.26, None, float("nan"), 0.0)] == ["−18.3", "–", "–", "0.0"]
    assert "–" in report.figure_of(None, "%", "GLS") and "%" not in report.figure_of(None, "%", "GLS")


class Lines(HTMLParser):
    points = ()

    def handle_starttag(self, tag, attributes):
        if tag == "polyline":
            self.points += (dict(attributes)["points"],)


def test_curves_are_drawn_where_they_belong():
    svg = report.curves({"a": ([0, 1, 2], [0, -10, 0]), "b": ([0, 1, 2], [0, -20, 0])}, "s", "%", marks={"ES": 1.0})
    lines = Lines()
    lines.feed(svg)
    heights = [[float(p.split(",")[1]) for p in points.split()] for points in lines.points]
    (start, low, _), (_, lower, _) = heights
    assert start < low < lower and lower - start == pytest.approx(2 * (low - start), abs=0.3)
    assert "stroke-dasharray" in svg and ">ES<" in svg


def test_player_holds_every_frame_and_the_contours_of_those_that_have_one():
    line = np.array([[1.0, 2.0], [3.0, 4.0]])
    html = report.player(np.zeros((3, 20, 1000), np.uint8), {1: [line]}, ["#fff"], {1: "end-diastole"}, 40)
    data = json.loads(re.search(r'application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert len(data["frames"]) == 3 and data["lines"] == {"1": ["2.5,1.5 4.5,3.5"]}
    assert data["first"] == data["last"] == 1
    assert 'width="480"' in html and "0 0 1000 20" in html
