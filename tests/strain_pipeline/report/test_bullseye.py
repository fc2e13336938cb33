import re

from cardiac_motion.strain_pipeline.report.bullseye import bullseye, strain_colour
from cardiac_motion.ventricle.views import APICAL


def test_bullseye_has_a_piece_for_each_segment_and_grey_for_what_is_missing():
    names = [name for view in APICAL.values() for name in view.segments()]
    values = {name: -20.0 + k for k, name in enumerate(names)}
    values[names[3]] = None
    del values[names[5]]
    svg = bullseye(values)
    fills = re.findall(r'<path [^>]*fill="(#\w+)"', svg)
    assert len(fills) == 18 and fills.count("#d7dbe1") == 2
    assert "basal anterior:" in svg and svg.count("–") >= 2


def test_colours_run_from_red_to_blue():
    red, pale, blue = (strain_colour(v) for v in (-30.0, 0.0, 20.0))
    assert red == "#a0121c" and blue == "#285abe" and pale == "#faf0e8"
