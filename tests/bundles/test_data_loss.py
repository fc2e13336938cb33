"""No command replaces what a user has: bundles, the cohort, the server and the simulation refuse before they begin."""

import csv
import json
import sys

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest
from monai.bundle import run as run_bundle

from cardiac_motion.bundle.config import config_files
from cardiac_motion.cine.write import write_cine
from cardiac_motion.cohort import bundle as bundles
from cardiac_motion.cohort.__main__ import arguments, run
from cardiac_motion.core.errors import InputError, input_error_in
from cardiac_motion.serving.requests import open_requests
from cardiac_motion.simulation.datasets.dataset import TemplateSource, settings_from
from cardiac_motion.simulation.datasets.write import write_cases
from cardiac_motion.volume.phantom import phantom
from tests.bundles.running import NEEDS, ROOT, run_here, run_module_here
from tests.conftest import moving_cine

CINES = ("nmsr_echo", "cpwc_echo", "farneback", "fft_xcorr", "strain_pipeline")
VOLUMES = ("ssmsr_hippocampus", "ants_syn", "voxelmorph", "niftyreg", "neurreg", "convexadam", "fireants")
QUICK = {"mlflow": False, "save_figures": False}


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def study(tmp_path):
    """A folder of frames in a study, and something else in it."""
    folder = tmp_path / "study/patient1"
    folder.mkdir(parents=True)
    for t, frame in enumerate(moving_cine(3, (64, 72))[0]):
        iio.imwrite(folder / f"{t:03d}.png", (frame.numpy() * 255).astype(np.uint8))
    (folder / "notes.txt").write_text("must survive", encoding="utf-8")
    return folder.parent


@pytest.mark.parametrize("bundle", CINES)
@pytest.mark.parametrize("out", ["", "patient1", "patient1/deep/er"])
def test_an_input_folder_is_never_written(study, bundle, out):
    before = content(study)
    with pytest.raises(RuntimeError) as caught:
        given = {"input": str(study / "patient1"), "output_dir": str(study / out)}
        run_here(f"{bundle}/configs/inference.json", **given, **QUICK)
    assert "take another output_dir" in str(input_error_in(caught.value))
    assert content(study) == before


@pytest.mark.parametrize("bundle", VOLUMES)
def test_a_folder_of_others_is_never_replaced(tmp_path, bundle):
    pytest.importorskip(NEEDS.get(bundle, "torch"))
    atlases = tmp_path / "atlases"
    for k, kind in enumerate(("imagesTr", "labelsTr")):
        (atlases / kind).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(phantom(2)[k], np.eye(4)), atlases / kind / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(phantom(1)[0], np.eye(4)), tmp_path / "brain.nii.gz")
    (tmp_path / "brain").mkdir()
    (tmp_path / "brain/summary.json").write_text("{}", encoding="utf-8")
    before = content(tmp_path)
    with pytest.raises(RuntimeError) as caught:
        given = {"input": str(tmp_path / "brain.nii.gz"), "atlas_dir": str(atlases), "output_dir": str(tmp_path)}
        run_here(f"{bundle}/configs/inference.json", **given, **QUICK)
    assert "exists and was not written by this program" in str(input_error_in(caught.value))
    assert content(tmp_path) == before


def test_a_folder_given_as_a_dot(study, tmp_path, monkeypatch):
    (tmp_path / "results/earlier").mkdir(parents=True)
    (tmp_path / "results/earlier/summary.json").write_text("{}\n", encoding="utf-8")
    before = content(tmp_path)
    bundle = ROOT / "bundles/farneback"
    monkeypatch.chdir(study / "patient1")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    given = {"bundle_root": str(bundle), "input": ".", "output_dir": "../../results"}
    with pytest.raises(RuntimeError) as caught:
        run_bundle(config_file=[f"{bundle}/configs/inference.json"], **given)
    assert "no name for the folder" in str(input_error_in(caught.value))
    assert content(tmp_path) == before


def cines(tmp_path):
    """Two cines of one name."""
    frames, _ = moving_cine(3, (64, 72))
    paths = [tmp_path / "in/a/a4c.nii.gz", tmp_path / "in/b/a4c.nii.gz"]
    for k, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        write_cine(path, (frames * (1 - 0.2 * k))[None])
    return paths


def sources(out):
    """Case to the input of its folder, and the cases of the tables."""
    found = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["source"] for path in out.glob("*/summary.json")
    }
    for name, rows in (("metrics.csv", 1), ("pairs.csv", 2)):
        with open(out / name, encoding="utf-8") as file:
            assert sorted(row["case"] for row in csv.DictReader(file)) == sorted(list(found) * rows)
    return {source: name for name, source in found.items()}


def test_two_cines_of_one_name_over_two_runs(tmp_path):
    a, b = map(str, cines(tmp_path))
    for path in (a, b, b):
        run_here("farneback/configs/inference.json", input=path, output_dir=str(tmp_path / "out"), **QUICK)
    assert sources(tmp_path / "out") == {a: "a4c", b: "b_a4c"}
    assert json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))["cases"]["mse"]["n"] == 2


def test_two_cines_of_one_name_in_a_list(tmp_path):
    a, b = map(str, cines(tmp_path))
    run_here("farneback/configs/inference.json", input=[a, b], output_dir=str(tmp_path / "out"), **QUICK)
    assert sources(tmp_path / "out") == {a: "a_a4c", b: "b_a4c"}


def cohort(tmp_path, out, *images):
    (tmp_path / "list.json").write_text(json.dumps({"test": list(images)}), encoding="utf-8")
    words = ["--bundle", str(ROOT / "bundles/farneback"), "--datalist", str(tmp_path / "list.json"), "--dataset_dir",
             str(tmp_path), "--output_dir", str(out), "--save_figures", "False", "--mlflow", "False",
             "--here"]  # fmt: skip
    return run(*arguments(words))


def test_a_cohort_of_two_cines_of_one_name(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    a, b = map(str, cines(tmp_path))
    assert cohort(tmp_path, tmp_path / "out", "in/a/a4c.nii.gz") == 0
    assert cohort(tmp_path, tmp_path / "out", "in/b/a4c.nii.gz") == 0
    assert sources(tmp_path / "out") == {a: "a4c", b: "b_a4c"}
    assert cohort(tmp_path, tmp_path / "both", "in/a/a4c.nii.gz", "in/b/a4c.nii.gz") == 0
    assert sources(tmp_path / "both") == {a: "a_a4c", b: "b_a4c"}


def test_a_cohort_refuses_before_it_begins(study, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    before = content(study)
    with pytest.raises(InputError, match="take another output_dir"):
        cohort(tmp_path, study, "study/patient1")
    with pytest.raises(InputError, match="no name for the folder"):
        cohort(tmp_path, tmp_path / "out", {"image": "study/patient1", "case": "../patient1"})
    assert content(study) == before and not (tmp_path / "out").exists()
    files = config_files(ROOT / "bundles/farneback")
    options = {"input": str(study / "patient1"), "output_dir": str(study)}
    with pytest.raises(InputError, match="take another output_dir"):
        bundles.open_bundle([str(f) for f in files], options)


def test_a_server_refuses_too(study, monkeypatch):
    monkeypatch.chdir(ROOT)
    folder = study / "patient1/request"
    folder.mkdir()
    request = {"task": "infer", "folder": str(folder), "files": ["bundles/farneback/configs/inference.json"]}
    with pytest.raises(InputError, match="lie in the input"):
        open_requests()(json.dumps({**request, "options": {}, "entry": {"image": str(study / "patient1")}}))


def test_a_simulation_leaves_the_folders_of_others_alone(tmp_path):
    settings = settings_from({"scatterers": 2000, "shape": [64, 64]})
    source = TemplateSource(views=["apical_4ch"])
    for name in ("0000_apical_4ch/notes.txt", "datalist.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("must survive", encoding="utf-8")
        with pytest.raises(InputError, match="exists and was not written"):
            write_cases(tmp_path, source, 1, 12, 0, settings)
        assert path.read_text(encoding="utf-8") == "must survive" and len(list(tmp_path.iterdir())) == 1
        path.unlink()
        if path.parent != tmp_path:
            path.parent.rmdir()
    assert not write_cases(tmp_path, source, 1, 12, 0, settings)
    assert not write_cases(tmp_path, source, 2, 12, 0, settings), "its own are kept"


def test_what_a_user_sees(study):
    words = ["--config_file", "bundles/farneback/configs/inference.json", "--input", str(study / "patient1")]
    done = run_module_here("monai.bundle", "run", *words, "--output_dir", str(study))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
