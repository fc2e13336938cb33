"""Pieces of the report."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from cardiac_motion.strain_pipeline.report import html as report


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


def test_numbers():
    assert [report.number(v) for v in (-18.26, None, float("nan"), 0.0)] == ["−18.3", "–", "–", "0.0"]
    assert "–" in report.figure_of(None, "%", "GLS") and "%" not in report.figure_of(None, "%", "GLS")


class Lines(HTMLParser):
    points = ()

    def handle_starttag(self, tag, attributes):
        if tag == "polyline":
            self.points += (dict(attributes)["points"],)


def test_a_tick_of_nothing_has_no_sign():
    assert report.tick_text(-0.0) == "0" and report.tick_text(-5.0) == "−5"


def test_a_plot_says_which_frames_its_ends_are():
    svg = report.curves({"a": ([0, 10], [0.0, -20.0])}, "ms", "%", frames=(3, 23), name="beat 2", size=(400, 200))
    first, last, left, right = re.search(r'data-seek="(\S+) (\S+) (\S+) (\S+)"', svg).groups()
    assert (first, last) == ("3", "23") and 'aria-label="% over ms, beat 2"' in svg
    (points,) = re.findall(r'<polyline points="([^"]+)"', svg)
    ends = [float(pair.split(",")[0]) / 400 for pair in points.split()]
    assert ends == pytest.approx([float(left), float(right)], abs=1e-3)


def test_curves_are_drawn_where_they_belong():
    svg = report.curves({"a": ([0, 1, 2], [0, -10, 0]), "b": ([0, 1, 2], [0, -20, 0])}, "s", "%", marks={"ES": 1.0})
    lines = Lines()
    lines.feed(svg)
    heights = [[float(p.split(",")[1]) for p in points.split()] for points in lines.points]
    (start, low, _), (_, lower, _) = heights
    assert start < low < lower and lower - start == pytest.approx(2 * (low - start), abs=0.3)
    assert "stroke-dasharray" in svg and ">ES<" in svg


def test_a_mark_at_the_axis_is_written_beside_its_numbers():
    svg = report.curves({"a": ([0, 1, 2], [0, -10, 5])}, "s", "%", marks={"ED": 0.0, "ES": 1.0})
    assert re.search(r'text-anchor="start">ED<', svg) and re.search(r'text-anchor="middle">ES<', svg)


def test_player_holds_every_frame_and_the_contours_of_those_that_have_one():
    line = np.array([[1.0, 2.0], [3.0, 4.0]])
    html = report.player(np.zeros((3, 20, 1000), np.uint8), {1: [line]}, ["#fff"], {1: "end-diastole"}, 40)
    data = json.loads(re.search(r'application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert len(data["frames"]) == 3 and data["lines"] == {"1": ["2.5,1.5 4.5,3.5"]}
    assert data["first"] == data["last"] == 1
    assert 'width="480"' in html and "0 0 1000 20" in html
