import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.fields.points import track
from cardiac_motion.simulation.blood.contrast_cine import blood_case, read_cases, write_blood

ROOT = Path(__file__).parents[3]
SHARED = {"seed": 1, "frames": 3, "shape": [96, 96]}
HILL = {"number": 0, "flow": "hill", "frame_rate": 200, "flow_settings": {"speed": 150.0}}


def listed(folder, cases):
    files = {"image": "cine", "blood_mask": "pool", "ddf": "ddf", "mask": "mask", "velocity": "velocity"}
    entries = [{"case": n, **{k: f"still/{n}/{f}.nii.gz" for k, f in files.items()}} for n in cases]
    path = folder / "list.json"
    path.write_text(json.dumps({"recipe": {**SHARED, "cases": {"still": cases}}, "still": entries}), encoding="utf-8")
    return path


def test_a_case_is_written_read_and_true(tmp_path):
    path = listed(tmp_path, {"a": HILL})
    assert write_blood(path, tmp_path, progress=False) == ["still/a"]
    made = (tmp_path / "still" / "a" / "cine.nii.gz").stat().st_mtime_ns
    write_blood(path, tmp_path, progress=False)
    assert (tmp_path / "still" / "a" / "cine.nii.gz").stat().st_mtime_ns == made  # kept
    case = CineCases(datalist=str(path), fold="still", dataset_dir=str(tmp_path))[0]
    assert (
        case.blood_mask.shape == (3, 96, 96)
        and case.mask.shape == (2, 1, 96, 96)
        and case.image[:, 0][~case.blood_mask[:-1]].max() == 0
    )
    assert case.meta.frame_times == pytest.approx([0, 0.005, 0.01], abs=1e-6)
    velocity, ddf = (load_ddf(tmp_path / "still" / "a" / f"{name}.nii.gz") for name in ("velocity", "ddf"))
    summary = json.loads((tmp_path / "still" / "a" / "summary.json").read_text(encoding="utf-8"))
    assert summary["peak_velocity_m_per_s"] == pytest.approx(0.225, rel=0.02) == float(velocity.norm(dim=1).max())
    # the exact fields carry a bubble as the exact velocity does
    spacing = summary["spacing"][0]
    start = torch.tensor([[75.0 / spacing, 47.5]])
    end = track(start, ddf)[-1]
    assert float(start[0, 0] - end[0, 0]) == pytest.approx(0.01 * 225 / spacing, rel=0.06)


def test_another_recipe_in_the_folder_is_refused(tmp_path):
    write_blood(listed(tmp_path, {"a": HILL}), tmp_path, progress=False)
    other = listed(tmp_path, {"a": {**HILL, "frame_rate": 100}})
    with pytest.raises(InputError, match="another recipe"):
        write_blood(other, tmp_path, progress=False)
    with pytest.raises(InputError, match="no fold moving"):
        write_blood(other, tmp_path, folds=["moving"], progress=False)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"flow": "river"}, "flow must be one of lamb_oseen, hill, filling; got river"),
        ({"flow_settings": {"swiftness": 1}}, "swiftness"),
        ({"flow": "filling", "template": "patient0001"}, "needs a folder of templates"),
        ({"contrast": {"loss": -1}}, "contrast"),
    ],
)
def test_recipes_that_are_none(change, words):
    with pytest.raises(InputError, match=words):
        blood_case({**HILL, **change}, SHARED, None)


def test_a_list_without_recipes(tmp_path):
    (tmp_path / "list.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="contains no recipes"):
        read_cases(tmp_path / "list.json")


def test_the_list_of_the_project_is_whole():
    shared, cases = read_cases(ROOT / "data_lists/simulated_blood.json")
    content = json.loads((ROOT / "data_lists/simulated_blood.json").read_text(encoding="utf-8"))
    entries = [f"{fold}/{e['case']}" for fold in content["recipe"]["cases"] for e in content[fold]]
    assert entries == list(cases) and len(cases) >= 12 and shared["frames"] >= 2
    assert len({c["number"] for c in cases.values()}) == len(cases)
    assert {c["frame_rate"] for c in cases.values()} >= {60, 500}


def test_filling_of_parametric_anatomy_needs_no_template():
    shared, cases = read_cases(ROOT / "data_lists/parametric_blood.json")
    content = json.loads((ROOT / "data_lists/parametric_blood.json").read_text(encoding="utf-8"))
    assert [f"filling/{entry['case']}" for entry in content["filling"]] == list(cases) == ["filling/example"]
    case = blood_case(cases["filling/example"], {**shared, "frames": 2, "shape": [64, 64]}, None)
    truth, pool = case.fields(), case.pool()
    assert pool[0].sum() > 100 and 0.1 < float(truth["velocity"].norm(dim=1).max()) < 1.0


def test_filling_of_a_template(data_dir):
    recipe = {
        "number": 1,
        "flow": "filling",
        "template": "patient0200",
        "frame_rate": 200,
        "heart_rate": 70,
        "begin": 0.05,
    }
    case = blood_case(recipe, {**SHARED, "frames": 2, "shape": [80, 80]}, data_dir / "CAMUS_308um")
    truth, pool = case.fields(), case.pool()
    assert pool[1].sum() >= pool[0].sum() > 100 and truth["mask"].shape == (1, 80, 80)
    assert 0.1 < float(truth["velocity"].norm(dim=1).max()) < 1.2
    points = case.scanner.grid.points().numpy()
    assert np.array_equal(
        case.flow.is_inside(points, case.times[0]).reshape(80, 80) & case.scanner.sector.numpy(), pool[0]
    )
