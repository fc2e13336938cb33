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


def test_every_world_has_the_same_patients_without_and_with_artefacts():
    recipe = read_recipe(LIST)
    names = {fold: [entry["case"] for entry in read_datalist(LIST, fold)] for fold in recipe["folds"]}
    assert {len(cases) for cases in names.values()} == {recipe["count"]} and len(set(map(tuple, names.values()))) == 1
    worlds = [fold for fold in names if not fold.endswith("_artefacts")]
    assert worlds == list(ANATOMICAL) and {f"{world}_artefacts" for world in worlds} == set(names) - set(worlds)
    for fold, changes in recipe["folds"].items():
        settings = settings_from(changes)
        assert (settings.artefact > 0) == fold.endswith("_artefacts")
        world = fold.removesuffix("_artefacts")
        assert settings.worlds == (None if world == "still" else {world: 1}), "recorded templates stand still"
    for world in worlds:
        plain, spoilt = (recipe["folds"][fold] for fold in (world, f"{world}_artefacts"))
        assert {**plain, "artefact": 0} == {**spoilt, "artefact": 0}, "the same world"
    for number, name in enumerate(names["still"]):
        template = recipe["templates"][number % len(recipe["templates"])]
        assert name == f"{number:04d}_{template}"


def test_some_cases_of_some_worlds(tmp_path, data_dir):
    small = {"artefact": 0.0, "scatterers": 5000, "shape": [64, 64]}
    recipe = {"seed": 1, "frames": 12, "count": 2, "templates": ["patient0200", "patient0233"]}
    recipe["folds"] = {"still": small, "moving": {**small, "worlds": {"moving": 1}}, "never": small}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"recipe": recipe}), encoding="utf-8")
    folder = data_dir / "CAMUS_308um"
    assert write_testset(path, folder, tmp_path, folds=["still", "moving"], max_cases=1) == []
    assert not (tmp_path / "never").exists()
    found = {p.parent.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in tmp_path.glob("*/*/summary.json")}
    assert set(found) == {"still", "moving"}
    assert found["still"]["strain"] == found["moving"]["strain"], "one patient in both worlds"
    assert (tmp_path / "still/0000_patient0200/cine.nii.gz").is_file()
    with pytest.raises(InputError, match="its recipe has no fold flying"):
        write_testset(path, folder, tmp_path, folds=["flying"])
