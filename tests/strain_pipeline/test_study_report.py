"""The numbers of several views together."""

from types import SimpleNamespace

import pytest

from common.strain_pipeline.study_report import StudyReport
from common.ventricle.views import APICAL


def study(view, gls, segment=-18.0):
    rows = [{"name": name, "end_systolic": segment} for name in APICAL[view].segments()]
    return SimpleNamespace(view=APICAL[view], means={"gls": gls}, segments=rows, spacing=None)


def combined(tmp_path, *studies, failed=()):
    report = StudyReport(str(tmp_path))
    report.studies = list(studies)
    return report.combined(dict(failed))


FOUR, TWO, LONG = (study(view, gls) for view, gls in zip(APICAL, (-21.0, -18.0, -15.0), strict=True))


def test_average_of_three_views(tmp_path):
    found = combined(tmp_path, FOUR, TWO, LONG)
    assert found["gls_average"] == pytest.approx(-18)
    assert found["gls"] == {"A4C": -21.0, "A2C": -18.0, "ALAX": -15.0} and len(found["segments"]) == 18


@pytest.mark.parametrize(
    "studies", [(FOUR,), (FOUR, TWO), (TWO, LONG), (FOUR, TWO, study("apical_long_axis", None))], ids=len
)
def test_no_average_of_fewer(tmp_path, studies):
    found = combined(tmp_path, *studies)
    assert found["gls_average"] is None
    assert found["gls"][studies[0].view.short] == studies[0].means["gls"], "each view's own is told all the same"
