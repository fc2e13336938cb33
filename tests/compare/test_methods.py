"""The methods that a bundle compares, and what is read of their results."""

import json
import math

import pytest

from cardiac_motion.compare.methods import Method, list_variants
from cardiac_motion.core.errors import InputError
from tests.bundles.running import ROOT


def test_a_bundle_lists_its_methods_and_settings_change_the_folder(tmp_path):
    bundle = ROOT / "bundles" / "ants_syn"
    first = list_variants(bundle, tmp_path, "one")
    assert [m.title for m in first] == list(
        json.loads((bundle / "configs" / "compare.json").read_text(encoding="utf-8"))
    )
    assert all(path.is_file() for m in first for path in m.configs)
    assert {m.folder for m in first}.isdisjoint(m.folder for m in list_variants(bundle, tmp_path, "other"))
    with pytest.raises(InputError, match="cannot be run, missing"):
        list_variants(tmp_path / "nothing", tmp_path, "one")


def test_a_bundle_without_lines_is_one_method(tmp_path):
    (only,) = list_variants(ROOT / "bundles" / "farneback", tmp_path, "one", "none.json")
    assert only.title == "farneback" and [p.name for p in only.configs] == ["inference.json", "evaluate.json"]


def test_finished_cases_are_read_alone(tmp_path):
    for name, metrics in (("a", {"dice": 0.5, "hd95": None}), ("left over", {"dice": 1.0})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(
            json.dumps({"metrics": metrics, "profile_mm": [1.0, 2.0]}), encoding="utf-8"
        )
    (tmp_path / "b").mkdir()
    method = Method("m", [], tmp_path, {"old": {"dice": 0.1}})
    method.read(["a", "b"])
    assert set(method.cases) == {"a"} and method.cases["a"]["dice"] == 0.5 and math.isnan(method.cases["a"]["hd95"])
    assert method.profile("a") == [1.0, 2.0]
