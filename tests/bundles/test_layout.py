"""What every bundle has: the files of the layout, metadata that keeps the schema, the properties MONAI asks for."""

import json

import pytest
from jsonschema import validate
from monai.bundle import ConfigParser, verify_net_in_out

from tests.bundles.running import ROOT

BUNDLES = sorted(f.parents[1].name for f in (ROOT / "bundles").glob("*/configs/inference.json"))
NEEDED = (
    "LICENSE", "docs/README.md", "docs/data_license.txt", "configs/metadata.json", "configs/inference.json",
    "configs/evaluate.json", "configs/logging.conf",
)  # fmt: skip
KEYS = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task",
    "description", "authors", "copyright", "network_data_format", "changelog",
)  # fmt: skip

bundles = pytest.mark.parametrize("name", BUNDLES)
FEW_STEPS = {"ants_syn": {"iterations": [2, 0, 0]}, "niftyreg": {"steps": 2}}  # methods that optimise


def read(name):
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / name / "configs/inference.json")
    return parser.config


def metadata(name):
    return json.loads((ROOT / "bundles" / name / "configs/metadata.json").read_text())


@bundles
def test_files(name):
    folder = ROOT / "bundles" / name
    assert not [f for f in NEEDED if not (folder / f).is_file()]
    assert not list(folder.rglob("*.py")), "data and configuration only"
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert all(f.stat().st_size < 30e6 for f in folder.rglob("*"))
    if list((folder / "configs").glob("train*.json")):
        assert (folder / "configs/multi_gpu_train.json").is_file()


@bundles
def test_metadata(name):
    found = metadata(name)
    assert not set(KEYS) - set(found)
    assert found["version"] in found["changelog"]
    tensors = found["network_data_format"]
    assert set(tensors["inputs"]) == {"image"} and set(tensors["outputs"]) == {"pred"}


@bundles
def test_metadata_keeps_monais_schema(name, data_dir):
    validate(metadata(name), json.loads((data_dir / "meta_schema_20240725.json").read_text()))


@bundles
def test_properties(name):
    """What MONAI's ``InferProperties`` requires of an inference configuration."""
    found = read(name)
    assert not {"bundle_root", "device", "dataset_dir", "dataset", "evaluator", "network_def", "inferer"} - set(found)
    assert found["bundle_root"] == f"bundles/{name}"


@bundles
def test_network_has_the_contracts_shapes(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    configs = ROOT / "bundles" / name / "configs"
    verify_net_in_out(
        net_id="network_def", meta_file=str(configs / "metadata.json"), config_file=str(configs / "inference.json"),
        p=2, n=2, **FEW_STEPS.get(name, {}),
    )  # fmt: skip


@bundles
def test_what_a_user_sets_is_no_word_of_monais(name):
    """``monai.bundle run`` keeps these words for itself, so they can't be overridden on the command line."""
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / name / "configs/inference.json")
    assert not {"run_id", "init_id", "final_id", "meta_file", "logging_file", "tracking", "args_file"} & set(
        parser.config
    )
