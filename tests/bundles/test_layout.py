"""What every bundle has: the layout, a model card, metadata, and what its trainings name; ``test_zoo`` has the rest."""

import filecmp
import json
import re
from pathlib import Path
from pydoc import locate

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

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

CARD = (
    "Model Overview", "Data", "Training configuration", "Input", "Output", "Performance", "Limits",
    "MONAI Bundle Commands", "References", "License",
)  # fmt: skip
TRAININGS = [
    f"{name}/configs/{file.name}"
    for name in BUNDLES
    for file in sorted((ROOT / "bundles" / name / "configs").glob("*train*.json"))
]

COPIES = {
    "ants_syn/models/selector.pt": "voxelmorph/models/model.pt",
    "convexadam/models/selector.pt": "voxelmorph/models/model.pt",
    "fireants/models/selector.pt": "voxelmorph/models/model.pt",
    "greedy/models/selector.pt": "voxelmorph/models/model.pt",
    "neurreg/models/selector.pt": "voxelmorph/models/model.pt",
    "niftyreg/models/selector.pt": "voxelmorph/models/model.pt",
    "ssmsr_hippocampus/models/model.pt": "voxelmorph/models/model.pt",
    "strain_pipeline/models/model.pt": "cpwc_echo/models/model.pt",
}  # weights of one bundle that another one uses too: the same training, the same network

bundles = pytest.mark.parametrize("name", BUNDLES)


def read(name):
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / name / "configs/inference.json")
    return parser.config


def metadata(name):
    return json.loads((ROOT / "bundles" / name / "configs/metadata.json").read_text(encoding="utf-8"))


@bundles
def test_files(name):
    folder = ROOT / "bundles" / name
    assert not [f for f in NEEDED if not (folder / f).is_file()]
    assert not list(folder.rglob("*.py")), "data and configuration only"
    assert (folder / "LICENSE").read_text(encoding="utf-8") == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert all(f.stat().st_size < 30e6 for f in folder.rglob("*"))
    if list((folder / "configs").glob("train*.json")):
        assert (folder / "configs/multi_gpu_train.json").is_file()


@bundles
def test_a_bundle_holds_what_its_configs_name(name):
    """Whoever takes the folder alone has all that runs: no config leads to another bundle."""
    for path in (ROOT / "bundles" / name / "configs").glob("*.json"):
        assert re.findall(r"bundles/\w+", path.read_text(encoding="utf-8")) in ([], [f"bundles/{name}"]), path
    named = set(re.findall(r"/(models/\w+\.pt)", " ".join(json.dumps(value) for value in read(name).values())))
    if name != "nmsr_echo":
        assert all((ROOT / "bundles" / name / file).is_file() for file in named)


@pytest.mark.parametrize(("copy", "origin"), COPIES.items())
def test_weights_that_are_another_bundles_stay_the_same(copy, origin):
    """Trained anew, they are copied anew; both cards say so. Git keeps such a pair once."""
    assert filecmp.cmp(ROOT / "bundles" / copy, ROOT / "bundles" / origin, shallow=False)
    page = (ROOT / "bundles" / copy).parents[1] / "docs/README.md"
    assert f"`{Path(copy).relative_to(Path(copy).parts[0])}` is `models/model.pt` of" in " ".join(
        page.read_text(encoding="utf-8").split()
    )
    terms = (ROOT / "bundles" / copy).parents[1] / "docs/data_license.txt"
    assert re.findall(r"CC BY[-\w]* 4\.0", terms.read_text(encoding="utf-8")), "the weights' licence"


@bundles
def test_metadata(name):
    found = metadata(name)
    assert not set(KEYS) - set(found)
    assert found["version"] in found["changelog"]
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert found["required_packages_version"]["cardiac-motion-bundles"] == project
    tensors = found["network_data_format"]
    assert set(tensors["inputs"]) == {"image"} and set(tensors["outputs"]) == {"pred"}


@bundles
def test_model_card(name):
    """The headings of the model zoo's cards, in their order."""
    page = (ROOT / "bundles" / name / "docs/README.md").read_text(encoding="utf-8")
    headings = [title for title in re.findall(r"^#+ (.+)$", page, re.MULTILINE) if title in CARD]
    assert headings == list(CARD)
    assert "not for diagnosis" in " ".join(page.split())


@pytest.mark.parametrize("path", TRAININGS)
def test_properties_of_training(path, monkeypatch):
    """As MONAI's ``TrainProperties`` has them; nothing is built: that would need the data sets."""
    monkeypatch.setattr(ConfigWorkflow, "_get_property", ConfigWorkflow._get_prop_id)
    own = ROOT / "bundles" / path
    base = next(
        own.parent / f"train{of}.json" for of in ("", "_segmentation") if (own.parent / f"train{of}.json").is_file()
    )
    whole = '"trainer": {' in own.read_text(encoding="utf-8")
    files = [str(file) for file in ([own] if whole else [base, own])]
    assert ConfigWorkflow(files, workflow_type="train", logging_file=False).check_properties() == []


@bundles
def test_what_a_user_sets_is_no_word_of_monais(name):
    """``monai.bundle run`` keeps these words for itself, so they can't be overridden on the command line."""
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / name / "configs/inference.json")
    assert parser["bundle_root"] == f"bundles/{name}"
    assert not {"run_id", "init_id", "final_id", "meta_file", "logging_file", "tracking", "args_file"} & set(
        parser.config
    )


@pytest.mark.parametrize("path", TRAININGS)
def test_what_a_training_names_is_there(path):
    """A function that moved is found before a data set is downloaded."""
    text = (ROOT / "bundles" / path).read_text(encoding="utf-8")
    for name in re.findall(r'"_target_": "(cardiac_motion\.[\w.]+)"', text):
        assert locate(name) is not None, name
    assert "__import__" not in text
