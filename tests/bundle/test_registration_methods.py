"""Methods by name: each has its files in its bundle, and a wrong name leads to the right one."""

import json

import pytest

from cardiac_motion.bundle.registration_methods import (
    INFERER,
    METHODS,
    list_methods,
    method_files,
    method_named,
)
from cardiac_motion.core.errors import InputError
from tests.bundles.running import ROOT


@pytest.mark.parametrize("name", METHODS)
def test_each_has_its_files_and_registers_pairs(name):
    for dimensions in METHODS[name].dimensions():
        files = method_files(name, dimensions)
        assert all(path.is_file() for path in files) and files[0].parents[1].name == METHODS[name].bundle
        merged = {}
        for path in files:
            merged |= json.loads(path.read_text(encoding="utf-8"))
        assert {"network", INFERER[dimensions], "device", "seed"} <= set(merged)
        reader = json.dumps(merged["preprocessing"])
        assert ("cine_transforms" in reader) == (dimensions == 2) and ("volume_transforms" in reader) == (
            dimensions == 3
        )


def test_every_bundle_that_registers_has_a_method():
    bundles = {path.parents[1].name for path in (ROOT / "bundles").glob("*/configs/inference.json")}
    assert bundles - {method.bundle for method in METHODS.values()} == {"strain_pipeline"}


def test_names_by_dimension():
    assert "ncc_flow" in list_methods(2) and "ncc_flow" not in list_methods(3) and "ssmsr" not in list_methods(2)
    assert list(list_methods()) == list(METHODS)
    assert method_named("dis") is METHODS["dis"]


@pytest.mark.parametrize(
    ("name", "dimensions", "words"),
    [("farnebeck", 2, "did you mean farneback"), ("ncc_flow", 3, "expected one of .* in 3D"), ("x", None, "ncc_flow")],
)
def test_an_unknown_name_leads_to_the_known_ones(name, dimensions, words):
    with pytest.raises(InputError, match=words):
        method_named(name, dimensions)
