"""What the page is told is what server and workers hold to."""

import json
from importlib.util import find_spec

from cardiac_motion.serving import settings as S
from cardiac_motion.serving.corrections import BUNDLE
from tests.bundles.running import ROOT


def test_every_method_that_is_offered_is_a_configuration_of_the_bundle():
    for name in S.METHODS:
        assert (ROOT / BUNDLE / "configs" / f"motion_{name}.json").is_file()
    assert {"cpwc", "farneback", "dis", "nmsr"} <= set(S.list_methods())


def test_a_method_is_offered_where_its_package_is(monkeypatch):
    monkeypatch.setattr(S, "find_spec", lambda name: None if name == "ants" else find_spec("cardiac_motion"))
    assert set(S.list_methods()) == set(S.METHODS) - {"ants"}
    monkeypatch.setattr(S, "find_spec", lambda name: find_spec("cardiac_motion") if name == "cardiac_motion" else None)
    assert set(S.list_methods()) == {"cpwc", "farneback", "dis", "nmsr"}
    assert set(S.page_settings()["kinds"]["cine"]) == {"cpwc", "farneback", "dis", "nmsr"}


def test_the_page_is_sent_plain_values_that_agree():
    page = S.page_settings()
    assert json.loads(json.dumps(page)) == page
    assert set(page["kinds"]) == set(S.KINDS)
    for kind, methods in page["kinds"].items():
        assert S.KINDS[kind] in methods and set(methods) <= set(page["methods"])
    assert page["views"] == {"apical_4ch": "A4C", "apical_2ch": "A2C", "apical_long_axis": "ALAX"}
    assert page["layers"] == ["endocardium", "mid-wall", "epicardium"]
    assert all(S.HANDLES[0] <= count <= S.HANDLES[1] for count in page["handles"])
    assert len(set(page["colours"])) == 6, "a colour for each sixth of the wall"
    assert ".dcm" in page["suffixes"] and all(suffix.startswith(".") for suffix in page["suffixes"])
