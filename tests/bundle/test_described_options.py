"""Every option of every configuration is described in one place, and nothing is described that no bundle has."""

import json

import pytest

from cardiac_motion.bundle.config import config_files
from cardiac_motion.bundle.described_options import PARTS, describe_options, read_descriptions
from tests.bundles.running import ROOT

OTHERS = ("metadata.json", "large_files.yml")


def options_of(path):
    """Names before ``imports`` of a file alone, as it may be one that only makes sense over another."""
    found = set()
    for name, value in json.loads(path.read_text(encoding="utf-8")).items():
        if name == "imports":
            break
        if name != "bundle_root" and not isinstance(value, dict) and "#" not in name and not name.startswith("+"):
            found.add(name)
    return found - set(PARTS)


CONFIGS = [
    path
    for path in sorted((ROOT / "bundles").glob("*/configs/*.json"))
    if path.name not in OTHERS and not path.name.startswith("compare")
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_every_option_is_described(path):
    assert not sorted(options_of(path) - set(read_descriptions()))


def test_nothing_else_is_described():
    assert not set(read_descriptions()) - set().union(*map(options_of, CONFIGS))
    assert list(read_descriptions()) == sorted(read_descriptions())


def test_descriptions_are_words_with_a_unit_where_there_is_one():
    for name, said in read_descriptions().items():
        assert set(said) <= {"about", "unit"} and len(said["about"].split()) >= 2, name
        assert said["about"] == said["about"].strip() and not said["about"].endswith("."), name
    assert read_descriptions()["longest"]["unit"] == "pixels" and "unit" not in read_descriptions()["view"]


def test_a_configuration_is_described_in_its_order_with_its_defaults():
    found = describe_options(config_files(ROOT / "bundles/nmsr_echo", further=["motion.json"]))
    options = {option.name: option for option in found}
    assert list(options)[:2] == ["output_dir", "input"] and "bundle_root" not in options and "handlers" not in options
    assert options["preset"].default == "motion" and options["preset"].metavar == "TEXT"
    assert options["radius"].help == "voxels; radius of the similarity window, which is 2·radius + 1 wide (default: 4)"
    assert options["carry_weights"].metavar == "True|False" and options["scales"].metavar == "LIST"
