"""The numbers of several views together."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from ignite.engine import Events

from cardiac_motion.strain_pipeline.quality.choice import Listed
from cardiac_motion.strain_pipeline.report.study_report import StudyReport, biplane
from cardiac_motion.ventricle.views import APICAL


def ellipse():
    angle = np.linspace(0, np.pi, 61)
    return np.stack([80 - 80 * np.sin(angle), 60 - 24 * np.cos(angle)], -1)


def study(view, gls, segment=-18.0, spacing=None, factor=1.0):
    rows = [{"name": name, "end_systolic": segment} for name in APICAL[view].segments()]
    endo = np.stack([ellipse(), 0.8 * ellipse()])
    return SimpleNamespace(
        view=APICAL[view],
        means={"gls": gls},
        segments=rows,
        spacing=spacing,
        steps=(1.0, 1.0),
        endo=[factor * endo],
        gls_interval=None if gls is None else (gls - 6, gls + 6),
    )


def combined(tmp_path, *studies, failed=()):
    report = StudyReport(str(tmp_path))
    report.studies = list(studies)
    return report.combine(dict(failed))


FOUR, TWO, LONG = (study(view, gls) for view, gls in zip(APICAL, (-21.0, -18.0, -15.0), strict=True))


def test_average_of_three_views(tmp_path):
    found = combined(tmp_path, FOUR, TWO, LONG)
    assert found["gls_average"] == pytest.approx(-18)
    low, high = found["gls_average_interval"]
    assert -24 < low < -18 < high < -12 and low + high == pytest.approx(-36)
    assert found["gls"] == {"A4C": -21.0, "A2C": -18.0, "ALAX": -15.0} and len(found["segments"]) == 18


@pytest.mark.parametrize(
    "studies", [(FOUR,), (FOUR, TWO), (TWO, LONG), (FOUR, TWO, study("apical_long_axis", None))], ids=len
)
def test_no_average_of_fewer(tmp_path, studies):
    found = combined(tmp_path, *studies)
    assert found["gls_average"] is None
    assert found["gls"][studies[0].view.short] == studies[0].means["gls"], "each view's own is told all the same"


CINES = [Listed("a", "a.mp4", taken=True), Listed("b", "b.mp4", why="short")]


@pytest.mark.parametrize("more", [{}, {"listed": CINES}], ids=["no list", "two cines"])
def test_the_cines_that_an_evaluator_lists_are_in_the_file(tmp_path, more):
    handlers, report = {}, StudyReport()
    engine = SimpleNamespace(
        output_dir=tmp_path, state=SimpleNamespace(failed={}), add_event_handler=handlers.__setitem__, **more
    )
    report.attach(engine)
    report.studies = [SimpleNamespace(**vars(FOUR), sections=(), source="a.mp4")]
    handlers[Events.COMPLETED](engine)
    written = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert [(cine["name"], cine["taken"]) for cine in written["cines"]] == ([("a", True), ("b", False)] if more else [])


def test_biplane_fraction_is_a_ratio_that_needs_no_spacing():
    """All lengths to 0.8: 1 − 0.8³ is ejected, whatever the pixels of either view measure."""
    four, two = (study(view, -20.0, factor=f) for view, f in (("apical_4ch", 1.0), ("apical_2ch", 2.5)))
    volumes, fraction = biplane(four, two)
    assert volumes is None and fraction == pytest.approx(100 * (1 - 0.8**3))
    four.spacing, two.spacing = (1.0, 1.0), (0.4, 0.4)
    volumes, fraction = biplane(four, two)
    assert fraction == pytest.approx(100 * (1 - 0.8**3)) and volumes[0] == pytest.approx(
        96.5, rel=0.01
    )  # 2/3 π a b² ml
    assert biplane(four, None) == (None, None)
