"""Two studies of one patient: what has changed, and whether more than measuring twice would show."""

import json

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.core.whole_files import SCHEMA
from cardiac_motion.strain_pipeline.measures.followup import (
    change,
    changes,
    half_width,
    read_earlier,
    smallest_detectable_change,
)
from cardiac_motion.strain_pipeline.measures.intervals import METHOD, QUANTILE, REPEAT, interval, sampling_variance

NAMES = ("basal inferoseptal", "mid inferoseptal", "apical septal")


def summary(gls=-20.0, view="apical_4ch", layer="endocardium", rejected=None, forced=False):
    segments = []
    for k, name in enumerate(NAMES):
        out = bool(rejected) and k == 1
        strain = None if out else gls + k
        held = None if out else interval(gls + k, 1.0, METHOD["segment"])
        segments.append({"name": name, "rejected": rejected if out else None, "end_systolic": strain, "interval": held})
    return {
        "view": view, "source": "a.dcm", "layer": layer, "forced": forced, "options": {"motion": "NCC flow"},
        "schema": SCHEMA, "metrics": {"gls": gls, "long_axis_strain": None, "ejection_fraction": 60.0},
        "intervals": {"gls": interval(gls, 1.0, METHOD["gls"])}, "beats": [{"segments": segments}],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name, view in (("a", "apical_4ch"), ("b", "apical_2ch")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(summary(view=view)), encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text(json.dumps({"metrics": {}}), encoding="utf-8")
    return tmp_path


def rows(gls):
    return [
        {"name": name, "rejected": None, "end_systolic": gls + k, "interval": interval(gls + k, 1.0, METHOD["segment"])}
        for k, name in enumerate(NAMES)
    ]


def test_changes_of_a_view_with_their_intervals(folder):
    earlier = read_earlier(folder)
    assert set(earlier) == {"apical_4ch", "apical_2ch"} and not earlier["apical_4ch"].forced
    now = {"gls": -10.0, "long_axis_strain": -12.0, "ejection_fraction": 58.0}
    found = changes(
        earlier["apical_4ch"], now, {"gls": interval(-10.0, 2.0, METHOD["gls"])}, rows(-20.5), "endocardium"
    )
    by = {c.name: c for c in found}
    assert list(by) == ["gls", "ejection_fraction", *NAMES], "what was not measured has no change"
    half = QUANTILE * np.sqrt(1.0**2 + 2.0**2 + REPEAT["gls"] ** 2)
    assert by["gls"].value == 10 and by["gls"].interval == pytest.approx((10 - half, 10 + half)) and by["gls"].beyond
    assert by["ejection_fraction"].interval is None is by["ejection_fraction"].beyond
    assert by[NAMES[0]].value == -0.5 and by[NAMES[0]].beyond is False
    assert by["gls"].row()["more_than_error"] is True


def test_a_change_from_nothing_is_covered_as_often_as_it_says():
    """Sampled errors of both, and what of the method's error is not the same twice."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        errors = [rng.normal(0, 1.5), rng.normal(0, 1.5)]
        before, now = -20 + errors[0], -20 + errors[1] + rng.normal(0, REPEAT["gls"])
        found = change("gls", before, now, *(interval(v, 1.5, METHOD["gls"]) for v in (before, now)), "gls")
        inside += not found.beyond
    assert inside / 2000 == pytest.approx(0.9, abs=0.02)


def test_the_smallest_change_is_half_the_interval_of_two_alike():
    one = interval(-18.0, 1.2, METHOD["gls"])
    assert sampling_variance(one, METHOD["gls"]) == pytest.approx(1.2**2)
    assert smallest_detectable_change(one, "gls") == half_width(one, one, "gls")
    assert smallest_detectable_change(one, "gls") == pytest.approx(QUANTILE * np.sqrt(2 * 1.2**2 + REPEAT["gls"] ** 2))


def test_segments_that_were_left_out_have_no_change(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps(summary(rejected="dark")), encoding="utf-8")
    earlier = read_earlier(tmp_path / "summary.json")["apical_4ch"]
    found = changes(earlier, {"gls": -20.0}, {}, rows(-20.0), "endocardium")
    assert [c.name for c in found] == ["gls", NAMES[0], NAMES[2]]


def test_what_cannot_be_compared(folder, tmp_path):
    earlier = read_earlier(folder / "a")["apical_4ch"]
    with pytest.raises(InputError, match="strain of the endocardium, this is of the mid-wall"):
        changes(earlier, {}, {}, [], "mid-wall")
    with pytest.raises(InputError, match=r"no summary\.json of strain_pipeline is there"):
        read_earlier(folder / "other")
    (folder / "b" / "summary.json").write_text(json.dumps(summary()), encoding="utf-8")
    with pytest.raises(InputError, match="the apical 4ch view twice"):
        read_earlier(folder)
    (folder / "b" / "summary.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="no readable result"):
        read_earlier(folder)


@pytest.mark.parametrize("schema", [None, SCHEMA - 1, SCHEMA + 1])
def test_a_result_of_another_schema_is_refused(tmp_path, schema):
    (tmp_path / "summary.json").write_text(json.dumps({**summary(), "schema": schema}), encoding="utf-8")
    with pytest.raises(InputError, match=r"summary\.json: was written by another version"):
        read_earlier(tmp_path)
