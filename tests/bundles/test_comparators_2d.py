"""The bundles of classical 2D methods from their files: a real cine, a list with truth, bad input, the schema."""

import csv
import json
from importlib.util import find_spec

import pytest
import torch

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import input_error_in
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.datasets.write import write_cases
from tests.bundles.running import run_here, run_module_here
from tests.conftest import moving_cine, rotation

BAD_OPTION = {
    "farneback": ({"levels": 0}, "at least 1"),
    "fft_xcorr": ({"windows": [8, 16]}, "decreasing"),
    "dis": ({"speed": "slow"}, "DIS preset must be one of ultrafast, fast, medium; got slow"),
    "ilk": ({"radius": 0}, "at least 1"),
    "tvl1": ({"attachment": 0}, "positive"),
    "greedy": ({"metric": "MI"}, "greedy's metric must be one of NCC"),
}
NEEDS = {"greedy": "picsl_greedy"}
BUNDLES = [
    pytest.param(
        name, marks=pytest.mark.skipif(find_spec(NEEDS.get(name, "torch")) is None, reason=f"needs {NEEDS.get(name)}")
    )
    for name in BAD_OPTION
]
QUICK = {"mlflow": False, "save_figures": False}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Two small virtual patients with their truth; the first is the test fold's."""
    folder = tmp_path_factory.mktemp("simulated")
    settings = settings_from({"scatterers": 20000, "shape": [96, 96], "artefact": 0.0, "probes": ["reference"]})
    write_cases(folder, TemplateSource(views=["apical_4ch"]), 1, 8, 3, settings, {"test": ["apical_4ch"]})
    return folder


def test_a_real_cine_as_a_user_runs_it(tmp_path):
    words = ["--config_file", "bundles/farneback/configs/inference.json", "--output_dir", str(tmp_path)]
    done = run_module_here("monai.bundle", "run", *words, "--max_frames", "3")
    assert done.returncode == 0, done.stderr
    case = tmp_path / "examples_ybr_color"
    assert {f.name for f in case.iterdir()} >= {"ddf.nii.gz", "summary.json", "arrows.png", "tracked.mp4"}
    assert json.loads((case / "summary.json").read_text(encoding="utf-8"))["method"] == "farneback"
    assert (tmp_path / "mlflow.json").exists()


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_known_motion(tmp_path, bundle):
    frames, angle = moving_cine(3, (96, 112))
    write_cine(tmp_path / "cine.nii.gz", frames[None])
    run_here(f"{bundle}/configs/inference.json", input=str(tmp_path / "cine.nii.gz"), output_dir=str(tmp_path), **QUICK)
    ddf = load_ddf(tmp_path / "cine/ddf.nii.gz")
    point = torch.tensor([60.0, 40.0])
    truth = rotation(point, -angle, (96, 112)) - point
    assert (ddf[:, :, 60, 40] - truth).abs().max() < 0.35


@pytest.mark.parametrize("bundle", BUNDLES)
def test_scores_against_the_truth_of_a_list(tmp_path, bundle, simulated):
    run_here(
        f"{bundle}/configs/inference.json", f"{bundle}/configs/evaluate.json",
        datalist=str(simulated / "datalist.json"), dataset_dir=str(simulated), output_dir=str(tmp_path), mlflow=False,
    )  # fmt: skip
    with open(tmp_path / "metrics.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["epe_mm"]) < 1.0 and 0 < float(row["epe_ed_es_mm"]) < 12
    assert 0 < float(row["mean_contour_distance_mm"]) < float(row["hausdorff_mm"])
    assert abs(float(row["gls_error"])) == pytest.approx(float(row["gls_absolute_error"]))
    assert 0 < float(row["lncc2_myocardium"]) <= 1 and float(row["seconds"]) > 0
    with open(tmp_path / "pairs.csv", encoding="utf-8") as file:
        assert len([r for r in csv.DictReader(file) if float(r["epe_mm"]) > 0]) == 7


@pytest.mark.parametrize("bundle", BUNDLES)
def test_bad_input_is_one_clear_line(tmp_path, bundle):
    for given, words in (
        ({"input": str(tmp_path / "none.dcm")}, "none.dcm"),
        BAD_OPTION[bundle],
    ):
        with pytest.raises(RuntimeError) as caught:
            run_here(f"{bundle}/configs/inference.json", output_dir=str(tmp_path / "out"), **QUICK, **given)
        assert words in str(input_error_in(caught.value))
    assert not (tmp_path / "out").exists()
