"""The test set's list and its recipe agree, and the recipe makes the list's files."""

import json

import pytest

from cardiac_motion.core.datalist import read_datalist
from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.datasets.dataset import settings_from
from cardiac_motion.simulation.datasets.testset import read_recipe, write_testset
from cardiac_motion.simulation.heart.scenarios import ANATOMICAL
from tests.bundles.running import ROOT

LIST = ROOT / "data_lists/simulated.json"


def test_every_scenario_has_the_same_patients_without_and_with_artefacts():
    recipe = read_recipe(LIST)
    names = {fold: [entry["case"] for entry in read_datalist(LIST, fold)] for fold in recipe["folds"]}
    assert {len(cases) for cases in names.values()} == {recipe["count"]} and len(set(map(tuple, names.values()))) == 1
    scenarios = [fold for fold in names if not fold.endswith("_artefacts")]
    assert scenarios == list(ANATOMICAL) and {f"{scenario}_artefacts" for scenario in scenarios} == set(names) - set(
        scenarios
    )
    for fold, changes in recipe["folds"].items():
        settings = settings_from(changes)
        assert (settings.artefact > 0) == fold.endswith("_artefacts")
        scenario = fold.removesuffix("_artefacts")
        assert settings.scenarios == (None if scenario == "static" else {scenario: 1}), "recorded templates stand still"
    for scenario in scenarios:
        plain, spoilt = (recipe["folds"][fold] for fold in (scenario, f"{scenario}_artefacts"))
        assert {**plain, "artefact": 0} == {**spoilt, "artefact": 0}, "the same scenario"
    for number, name in enumerate(names["static"]):
        template = recipe["templates"][number % len(recipe["templates"])]
        assert name == f"{number:04d}_{template}"


def test_some_cases_of_some_scenarios(tmp_path, data_dir):
    small = {"artefact": 0.0, "scatterers": 5000, "shape": [64, 64]}
    recipe = {"seed": 1, "frames": 12, "count": 2, "templates": ["patient0200", "patient0233"]}
    recipe["folds"] = {"static": small, "coupled": {**small, "scenarios": {"coupled": 1}}, "never": small}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"recipe": recipe}), encoding="utf-8")
    folder = data_dir / "CAMUS_308um"
    assert write_testset(path, folder, tmp_path, folds=["static", "coupled"], max_cases=1) == []
    assert not (tmp_path / "never").exists()
    found = {p.parent.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in tmp_path.glob("*/*/summary.json")}
    assert set(found) == {"static", "coupled"}
    assert found["static"]["strain"] == found["coupled"]["strain"], "one patient in both scenarios"
    assert (tmp_path / "static/0000_patient0200/cine.nii.gz").is_file()
    with pytest.raises(InputError, match="its recipe has no fold flying"):
        write_testset(path, folder, tmp_path, folds=["flying"])
