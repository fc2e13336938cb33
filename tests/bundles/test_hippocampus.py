"""The hippocampus bundle and its comparators, as configured: synthetic volumes, and a cine in 2D."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from nibabel import Nifti1Image, save

from cardiac_motion.core.errors import input_error_in
from cardiac_motion.volume.phantom import phantom
from tests.bundles.running import NEEDS, run_here

VARIANTS = {
    "ssmsr_hippocampus": ["ssr", "ssmsr_half", "paper_choice", "before", "majority", "fusion"],
    "ants_syn": ["quick"],
    "voxelmorph": [],
    "niftyreg": [],
    "neurreg": [],
    "convexadam": [],
    "fireants": [],
}


def with_its_package(name, *more):
    """The parameters of a test, skipped where the bundle's optional package is missing."""
    package = NEEDS.get(name, "torch")
    missing = pytest.mark.skipif(find_spec(package) is None, reason=f"needs {package}")
    return pytest.param(name, *more, marks=missing)


CASES = [with_its_package(name, extra) for name, files in VARIANTS.items() for extra in (None, *files)]
CASES += [with_its_package("greedy", "volume")]
QUICK = {
    "niftyreg": {"steps": 20},
    "ants_syn": {"iterations": [20, 10, 3]},
    "fireants": {"iterations": [40, 20, 5]},
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "extra"), CASES)
def test_every_method_segments_the_synthetic_volumes(name, extra, tmp_path):
    configs = [f"{name}/configs/inference.json", *([f"{name}/configs/{extra}.json"] if extra else [])]
    run_here(*configs, output_dir=str(tmp_path), mlflow=False, candidates=3, n_atlases=1, **QUICK.get(name, {}))
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["cases"]["dice"]["n"] == 3 and summary["cases"]["dice"]["mean"] > 0.6
    assert summary["cases"]["folding_fraction"]["mean"] < 0.005


@pytest.mark.parametrize("name", [with_its_package(name) for name in NEEDS])
def test_a_comparator_takes_an_atlas_to_a_synthetic_volume(name, tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        save(Nifti1Image(phantom(2)[folder == "labelsTr"], np.eye(4)), tmp_path / folder / "a.nii.gz")
    values, label = phantom(1)
    save(Nifti1Image(values, np.eye(4)), tmp_path / "v.nii.gz")
    save(Nifti1Image(label, np.eye(4)), tmp_path / "l.nii.gz")
    files = [f"{name}/configs/inference.json", *(["greedy/configs/volume.json"] if name == "greedy" else [])]
    given = {"input": str(tmp_path / "v.nii.gz"), "label": str(tmp_path / "l.nii.gz"), "atlas_dir": str(tmp_path)}
    run_here(*files, **given, output_dir=str(tmp_path / "out"), mlflow=False, save_figures=False)
    metrics = json.loads((tmp_path / "out/v/summary.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["dice"] > 0.7 and metrics["folding_fraction"] < 0.005


@pytest.mark.parametrize(("name", "options"), [("ants_syn", {"ants": "quick"}), ("niftyreg", {"steps": 5})])
def test_a_cine_is_registered_frame_by_frame(name, options, tmp_path):
    configs = [f"{name}/configs/inference.json", f"{name}/configs/cine.json"]
    run_here(*configs, output_dir=str(tmp_path), mlflow=False, max_frames=3, save_figures=False, **options)
    columns = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["cases"]
    assert columns["lncc2"]["mean"] > columns["lncc2_unregistered"]["mean"]


def test_evaluation_needs_labels(tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        save(Nifti1Image(phantom(2)[folder == "labelsTr"], np.eye(4)), tmp_path / folder / "a.nii.gz")
    save(Nifti1Image(phantom(1)[0], np.eye(4)), tmp_path / "v.nii.gz")
    configs = [f"voxelmorph/configs/{name}.json" for name in ("inference", "evaluate")]
    folders = {"input": str(tmp_path / "v.nii.gz"), "atlas_dir": str(tmp_path), "output_dir": str(tmp_path / "out")}
    with pytest.raises(Exception, match="") as error:
        run_here(*configs, **folders, mlflow=False)
    assert "v.nii.gz: a label map is required" in str(input_error_in(error.value))


def test_a_pair_of_a_list_is_registered_without_a_choice(tmp_path):
    """The list names the moving volume; nothing moves, so the label is the other volume's as it is."""
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        for name, seed in (("a", 1), ("b", 2), ("c", 3)):
            values = phantom(seed)[folder == "labelsTr"]
            save(Nifti1Image(values, np.eye(4)), tmp_path / folder / f"{name}.nii.gz")
    entries = [
        {"image": f"imagesTr/{fixed}.nii.gz", "label": f"labelsTr/{fixed}.nii.gz", "atlas": moving}
        for fixed, moving in (("a", "c"), ("c", "b"), ("b", "a"))
    ]
    (tmp_path / "list.json").write_text(json.dumps({"pairs": entries}), encoding="utf-8")
    configs = [f"ssmsr_hippocampus/configs/{n}.json" for n in ("inference", "evaluate", "learn2reg", "no_motion")]
    given = {"datalist": str(tmp_path / "list.json"), "dataset_dir": str(tmp_path), "fold": "pairs"}
    run_here(*configs, **given, output_dir=str(tmp_path / "out"), mlflow=False)
    for fixed, moving, seeds in (("a", "c", (1, 3)), ("c", "b", (3, 2))):
        summary = json.loads((tmp_path / f"out/{fixed}/summary.json").read_text(encoding="utf-8"))
        truth, carried = (phantom(seed)[1] for seed in seeds)
        dice = 2 * ((truth == 1) & (carried == 1)).sum() / ((truth == 1).sum() + (carried == 1).sum())
        assert summary["atlases"] == [moving] and summary["metrics"]["folding_fraction"] == 0
        assert summary["metrics"]["dice_head"] == pytest.approx(float(dice), abs=1e-5)
        assert summary["metrics"]["log_jacobian_sd_3"] == pytest.approx(0, abs=1e-6)
