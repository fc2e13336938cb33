"""Methods are built from their bundles; those that can't be are named with the reason."""

import pytest
import torch

from cardiac_motion.prove import hippocampus, planar
from cardiac_motion.prove.measurement import BundleMethod, Row, load_methods, register_pairs
from tests.bundles.running import ROOT


def test_a_bundle_registers_a_pair():
    image = torch.rand(32, 40, generator=torch.Generator().manual_seed(0))
    result = BundleMethod("identity", "dis", options=planar.METHODS[0].options).load(ROOT / "bundles").run(image, image)
    assert result.ddf.shape == (1, 2, 32, 40) and result.ddf.abs().max() == 0 and result.processor_seconds >= 0


def test_what_cannot_be_loaded_has_a_reason():
    ready, reasons = load_methods(
        [BundleMethod("a", "no_such_bundle"), BundleMethod("b", "farneback")], ROOT / "bundles"
    )
    assert list(ready) == ["b"] and "no_such_bundle" in reasons["a"]


def test_every_method_names_files_that_are_there():
    for method in (*planar.METHODS, *hippocampus.METHODS):
        folder = ROOT / "bundles" / method.bundle / "configs"
        assert all((folder / name).is_file() for name in ("inference.json", *method.configs)), method


class Adds:
    def run(self, moving, fixed):
        return moving + fixed


class Broken:
    def run(self, moving, fixed):
        raise RuntimeError("too small\nand more")


def test_a_method_that_fails_is_a_row_and_the_others_go_on():
    failed, row = [], Row("data", "case", "", "measure", None)
    methods = [("broken", Broken()), ("adds", Adds())]
    found = register_pairs(methods, [(1, 2), (3, 4)], row, failed, {"absent": "no such package"})
    assert list(found) == [("adds", [3, 7])]
    assert failed == [
        Row("data", "case", "broken", "measure", None, note="too small"),
        Row("data", "case", "absent", "measure", None, note="no such package"),
    ]


def test_an_error_of_the_measurement_is_no_failure_of_the_method():
    with pytest.raises(ValueError, match="a defect"):
        for _ in register_pairs([("adds", Adds())], [(1, 2)], Row("data", "case", "", "measure", None), []):
            raise ValueError("a defect")
