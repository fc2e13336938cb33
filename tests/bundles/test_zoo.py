"""What MONAI's model zoo asks of a bundle before it takes it (``verify_bundle.py -m full``), step by step and offline.

The steps: the files, the version in the change log, the schema of the metadata, the properties of inference, one tensor
through the network, and the weights as TorchScript. Bundles without weights (methods without training, and nmsr_echo,
which trains on each cine) fail the first and the last, and their cards say so.
"""

import json
import tempfile

import pytest
import torch
from monai.bundle import ckpt_export, create_workflow, verify_metadata, verify_net_in_out

from tests.bundles.running import ROOT

BUNDLES = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/inference.json"))
WITH_WEIGHTS = [name for name in BUNDLES if (ROOT / "bundles" / name / "models/model.pt").is_file()]
WITHOUT = sorted(set(BUNDLES) - set(WITH_WEIGHTS))
CLASSICAL = [
    "ants_syn", "convexadam", "dis", "farneback", "fft_xcorr", "fireants", "greedy", "ilk", "niftyreg", "nmsr_echo",
    "tvl1",
]  # fmt: skip
PACKAGES = {"ants_syn": "ants", "convexadam": "convexAdam", "fireants": "fireants", "greedy": "picsl_greedy"}

with_weights = pytest.mark.parametrize("name", WITH_WEIGHTS)


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_who_has_weights():
    assert sorted(WITHOUT) == CLASSICAL


@pytest.mark.parametrize("name", WITHOUT)
def test_a_bundle_without_weights_says_what_it_cannot_pass(name):
    page = " ".join((ROOT / "bundles" / name / "docs/README.md").read_text(encoding="utf-8").split())
    assert "**The model zoo's check**" in page and "`models/model.pt` (" in page


@pytest.mark.parametrize("name", BUNDLES)
def test_files_version_and_schema(name, data_dir, tmp_path):
    folder = ROOT / "bundles" / name
    needed = ["LICENSE", "configs/metadata.json", "configs/inference.json"]
    needed += ["models/model.pt"] if name in WITH_WEIGHTS else []
    assert not [file for file in needed if not (folder / file).is_file()]
    metadata = json.loads((folder / "configs/metadata.json").read_text(encoding="utf-8"))
    assert metadata["version"] in metadata["changelog"]
    verify_metadata(str(folder / "configs/metadata.json"), filepath=str(data_dir / "meta_schema_20240725.json"))


def require_package(name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason="the package of this method")


@pytest.mark.parametrize("name", BUNDLES)
def test_properties_with_the_folder_given(name):
    require_package(name)
    folder = f"bundles/{name}"
    workflow = create_workflow(
        workflow_type="inference", bundle_root=folder, config_file=f"{folder}/configs/inference.json",
        logging_file=f"{folder}/configs/logging.conf", meta_file=f"{folder}/configs/metadata.json",
    )  # fmt: skip
    assert workflow.check_properties() in (None, [])


FEW_STEPS = {
    "ants_syn": {"iterations": [2, 0, 0]},
    "convexadam": {"steps": 2},
    "fireants": {"iterations": [2, 1, 1]},
    "niftyreg": {"steps": 2},
}  # methods that optimise: the shapes are those of the first step


@pytest.mark.parametrize("name", WITHOUT)
def test_shapes_of_a_network_without_weights(name):
    require_package(name)
    folder = f"bundles/{name}"
    files = {"meta_file": f"{folder}/configs/metadata.json", "config_file": f"{folder}/configs/inference.json"}
    verify_net_in_out(net_id="network_def", **files, bundle_root=folder, **FEW_STEPS.get(name, {}))


TRAININGS = sorted((ROOT / "bundles").glob("*/configs/train*.json"))
TRAININGS = [file for file in TRAININGS if "trainer" in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("file", TRAININGS, ids=lambda file: f"{file.parents[1].name}/{file.stem}")
def test_a_training_has_the_optional_parts_of_a_validation(file):
    """``val_interval``, ``validate#handlers`` and ``validate#key_metric``, each used where MONAI expects it."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if "validate" not in content:
        pytest.skip("changes another training's configuration")
    evaluator, (metric,) = content["validate"]["evaluator"], content["validate"]["key_metric"].values()
    assert evaluator["val_handlers"] == "@validate::handlers" and evaluator["key_val_metric"] == "@validate::key_metric"
    assert metric["name"] in {"loss", *evaluator.get("measures", {})} and isinstance(evaluator["lower_is_better"], bool)
    handlers = [h for h in content["train"]["handlers"] if str(h.get("_target_")).endswith("trainer.Validate")]
    assert [h["interval"] for h in handlers] == ["@val_interval"] and content["val_interval"] >= 1


@pytest.mark.parametrize("name", BUNDLES)
def test_entries_may_be_given_as_data_and_reach_the_evaluator_by_the_loader(name):
    content = json.loads((ROOT / "bundles" / name / "configs/inference.json").read_text(encoding="utf-8"))
    assert content["dataset"]["data"] is None and content["dataset"]["transform"] == "@preprocessing"
    assert content["dataloader"]["dataset"] == "@dataset"
    evaluator = content["evaluator"]
    wanted = {"val_data_loader": "@dataloader", "postprocessing": "@postprocessing", "val_handlers": "@handlers"}
    assert {key: evaluator[key] for key in wanted} == wanted


def test_the_parts_that_bundles_share_are_written_once():
    """``preprocessing``, ``postprocessing`` and ``handlers`` are functions of the package, by a line in each bundle."""
    for key, most in (("preprocessing", 2), ("postprocessing", 2), ("handlers", 1)):
        blocks = [
            json.loads(path.read_text(encoding="utf-8")).get(key) for path in ROOT.glob("bundles/*/configs/*.json")
        ]
        assert len({block["_target_"] for block in blocks if block is not None}) == most


@with_weights
def test_network_and_torchscript_of_the_weights(name, tmp_path):
    folder = f"bundles/{name}"
    files = {"meta_file": f"{folder}/configs/metadata.json", "config_file": f"{folder}/configs/inference.json"}
    verify_net_in_out(net_id="network_def", **files, bundle_root=folder)
    scripted = tmp_path / "verify_model.ts"
    ckpt_export("network_def", str(scripted), f"{folder}/models/model.pt", **files, bundle_root=folder)
    network = torch.jit.load(str(scripted))
    weights = torch.load(f"{folder}/models/model.pt", weights_only=True)
    assert {key: value.shape for key, value in network.state_dict().items()} == {
        key: value.shape for key, value in weights.items()
    }
