"""nmsr_echo from its files: the demo, every preset, lists, resuming, and each way in which input can be bad."""

import csv
import json
import shutil

import imageio.v3 as iio
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser

from cardiac_motion.cine.cases import CineCases, demo_cine
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError, input_error_in
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.fields.regularity import folding_fraction
from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.networks.weights import load_weights, save_weights
from tests.bundles.running import ROOT, run_command, run_here, run_module_here
from tests.conftest import moving_cine
from tests.fresh_heart import measure_unfound

CONFIGS = ROOT / "bundles/nmsr_echo/configs"
INFERENCE = "nmsr_echo/configs/inference.json"
QUICK = {"max_frames": 3, "steps": 2, "mlflow": False, "save_figures": False}


def cine_file(folder, name="cine.nii.gz", frames=3, size=(112, 112)):
    cine, _ = moving_cine(frames, size)
    write_cine(folder / name, cine[None])
    return str(folder / name)


def columns(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_demo_as_a_user_runs_it(tmp_path):
    done = run_command(
        "--config_file", "bundles/nmsr_echo/configs/inference.json", "--output_dir", str(tmp_path / "out"),
        "--max_frames", "4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    case = out / "examples_ybr_color"
    assert f"written to {case}" in done.stdout
    assert "region" in done.stdout and "MSE" in done.stdout and "scale 1/8" in done.stdout
    assert "scale 1:" in done.stderr, "a progress bar"
    pictures = {"arrows.png", "warped.png", "tracked.mp4", "tracked.png"}
    assert {f.name for f in case.iterdir()} == {"ddf.nii.gz", "summary.json"} | pictures
    assert not [f.name for f in out.iterdir() if f.name.startswith(".")]
    ddf, cine = load_ddf(case / "ddf.nii.gz"), read_cine(demo_cine())
    assert ddf.shape == (3, 2, 240, 320)
    summary = json.loads((case / "summary.json").read_text(encoding="utf-8"))
    assert summary["spacing"] is None and any("region" in note for note in summary["notes"])
    stages = [row["stage"] for row in summary["table"]]
    assert stages == ["before", "scale 1/8", "scale 1/4", "scale 1/2", "scale 1"]
    assert summary["metrics"]["mse"] < 0.5 * summary["metrics"]["mse_unregistered"]
    assert summary["metrics"]["lncc2"] > 0.1 + summary["metrics"]["lncc2_unregistered"]
    assert summary["metrics"]["folding_fraction"] == 0 == folding_fraction(ddf).sum()
    moving, fixed = cine[0, :3, None].as_tensor(), cine[0, 1:4, None].as_tensor()
    sector = (..., slice(40, 190), slice(100, 220))
    before, after = ((w - fixed)[sector].square().mean() for w in (moving, warp(moving, ddf)))
    assert after < 0.4 * before, "the file's field moves frame t onto frame t+1"
    assert len(iio.imread(case / "tracked.mp4")) == 4
    (row,) = columns(out / "metrics.csv")
    assert row["case"] == "examples_ybr_color" and float(row["seconds"]) > 0
    assert len(columns(out / "pairs.csv")) == 3

    from mlflow.tracking import MlflowClient

    (kept,) = json.loads((out / "record.json").read_text(encoding="utf-8"))
    client = MlflowClient()
    experiment = client.get_experiment_by_name("cines")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.record = '{kept['id']}'")
    assert run.info.status == "FINISHED" and run.info.run_name == "nmsr_echo · fast · examples_ybr_color"
    assert run.data.params["scales"] == "[0.125, 0.25, 0.5, 1.0]" and "environment.torch" in run.data.tags
    assert run.data.metrics["lncc2"] == pytest.approx(summary["metrics"]["lncc2"])
    assert len(client.get_metric_history(run.info.run_id, "pairs/lncc2")) == 3
    kept = {f.path for f in client.list_artifacts(run.info.run_id, "examples_ybr_color")}
    assert {"examples_ybr_color/ddf.nii.gz", "examples_ybr_color/arrows.png"} <= kept


TABLE_1 = {
    "NMSR, single scale": ("paper.json", "nmsr_single.json"),
    "NMSR": ("paper.json", "nmsr.json"),
    "NMSR_V, single scale": ("paper.json", "nmsr_v_single.json"),
    "NMSR_V": ("paper.json", "nmsr_v.json"),
    "NMSR_VI": ("paper.json", "nmsr_vi.json"),
}


@pytest.mark.parametrize("preset", [*TABLE_1, "motion", "diffeomorphic", "paper"])
def test_every_variant_by_configuration(tmp_path, preset):
    files = TABLE_1.get(preset, (f"{preset}.json",))
    parser = ConfigParser()
    parser.read_config([CONFIGS / "inference.json", *(CONFIGS / name for name in files)])
    settings = parser.config
    if preset in TABLE_1 or preset == "paper":
        assert settings["preset"] == preset and settings["field_scales"] == [] and settings["steps"] == 3500
        assert (settings["radius"], settings["regularisation_weight"], settings["learning_rate"]) == (6, 10.0, 1e-3)
        assert settings["scales"] == ([1.0] if "single" in preset else [0.125, 0.25, 0.5, 1.0])
        assert settings["carry_weights"] == (preset in ("NMSR_VI", "paper"))
        assert ("_V" in preset) == bool(settings["checkpoint"])
    save_weights(RegistrationUNet(2), tmp_path / "model.pt")
    given = {"checkpoint": str(tmp_path / "model.pt")} if settings["checkpoint"] else {}
    run_here(
        INFERENCE, *(f"nmsr_echo/configs/{name}" for name in files), output_dir=str(tmp_path / "out"), **QUICK, **given
    )
    (row,) = columns(tmp_path / "out/metrics.csv")
    assert ("lncc2@1/8" in row) == ("single" not in preset), "each scale's intermediate result"
    assert float(row["mse"]) > 0


def test_the_trained_start_has_learned_to_see_motion():
    """On a heart and a motion of the test's own, drawn from no template: against no motion at all."""
    network = load_weights(RegistrationUNet(2), CONFIGS.parent / "models/voxelmorph.pt").eval()
    assert measure_unfound(network) < 0.7


def test_voxelmorph_is_one_pass_of_the_trained_start(tmp_path):
    cine = cine_file(tmp_path)
    files = [f"nmsr_echo/configs/{name}.json" for name in ("paper", "voxelmorph")]
    run_here(INFERENCE, *files, input=cine, output_dir=str(tmp_path / "out"), mlflow=False, save_figures=False)
    network = load_weights(RegistrationUNet(2), CONFIGS.parent / "models/voxelmorph.pt").eval()
    case = CineCases(cine)[0]
    with torch.no_grad():
        wanted = network(case.image)
    assert (load_ddf(tmp_path / "out/cine/ddf.nii.gz") - wanted).abs().max() < 1e-3


def test_evaluate_a_list_and_a_bad_case_in_it(tmp_path, capsys):
    cine_file(tmp_path, "a.nii.gz")
    cine_file(tmp_path, "c.nii.gz", frames=4)
    (tmp_path / "b.dcm").write_bytes(b"not a DICOM file")
    cases = [{"image": name} for name in ("a.nii.gz", "b.dcm", "c.nii.gz")]
    (tmp_path / "list.json").write_text(json.dumps({"test": cases[::-1], "validation": cases}), encoding="utf-8")
    with pytest.raises(RuntimeError) as caught:
        run_here(
            INFERENCE, "nmsr_echo/configs/evaluate.json", datalist=str(tmp_path / "list.json"), fold="validation",
            dataset_dir=str(tmp_path), output_dir=str(tmp_path / "out"), **(QUICK | {"max_frames": 0}),
        )  # fmt: skip
    assert "1 of 3 cases failed" in str(input_error_in(caught.value)) and "b.dcm" in str(input_error_in(caught.value))
    assert [row["case"] for row in columns(tmp_path / "out/metrics.csv")] == ["a", "c"]
    assert len(columns(tmp_path / "out/pairs.csv")) == 2 + 3
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    assert "b.dcm" in summary["failed"]["b"]
    assert summary["cases"]["mse"]["n"] == 2 and summary["pairs"]["lncc2"]["n"] == 5
    assert not (tmp_path / "out/a/ddf.nii.gz").exists(), "evaluate keeps no fields"
    assert "2 cases, mean ± sd" in capsys.readouterr().out


def test_spacing_given_and_warped_written(tmp_path):
    run_here(INFERENCE, output_dir=str(tmp_path / "out"), spacing=[0.8, 0.8], save_warped=True, **QUICK)
    case = tmp_path / "out/examples_ybr_color"
    assert json.loads((case / "summary.json").read_text(encoding="utf-8"))["spacing"] == [0.8, 0.8]
    assert read_cine(case / "warped.nii.gz").shape == (1, 3, 240, 320)


def test_blood_is_tracked_without_the_wall(tmp_path):
    path = cine_file(tmp_path, frames=5)
    rows, cols = np.mgrid[:112, :112] - 55.5
    for name, radius in (("ed", 40), ("es", 28)):
        mask = ((rows**2 + cols**2) < radius**2).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(mask.T, np.eye(4)), tmp_path / f"{name}.nii.gz")
    masks = {"ed_mask": str(tmp_path / "ed.nii.gz"), "es_mask": str(tmp_path / "es.nii.gz")}
    run_here(
        INFERENCE, input=path, ed=0, es=4, output_dir=str(tmp_path / "out"), **masks, **(QUICK | {"max_frames": 0})
    )
    assert json.loads((tmp_path / "out/cine/summary.json").read_text(encoding="utf-8"))["metrics"]["lncc2"] > 0
    with pytest.raises(RuntimeError) as caught:
        run_here(INFERENCE, input=path, output_dir=str(tmp_path / "no"), **masks, **QUICK)
    assert "missing: ed, es" in str(input_error_in(caught.value))


def test_train_goes_on_and_gives_the_same_weights(tmp_path):
    settings = {"crop": [48, 48], "pairs_per_epoch": 2, "validation_pairs": 1, "batch_size": 1}
    settings |= {"input": cine_file(tmp_path), "scales": [0.5, 1.0]}
    run_here("nmsr_echo/configs/train.json", output_dir=str(tmp_path / "whole"), epochs=3, **settings)
    run_here("nmsr_echo/configs/train.json", output_dir=str(tmp_path / "parts"), epochs=1, **settings)
    run_here("nmsr_echo/configs/train.json", output_dir=str(tmp_path / "parts"), epochs=3, **settings)
    whole, parts = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    run_here(
        INFERENCE, "nmsr_echo/configs/paper.json", "nmsr_echo/configs/nmsr_vi.json", output_dir=str(tmp_path / "out"),
        checkpoint=str(tmp_path / "whole/model.pt"), **QUICK,
    )  # fmt: skip


def bad_inputs(folder):
    """Name of each bad input to what the run is given and what its one line must say."""
    rng = np.random.default_rng(0)
    frames = rng.integers(1, 255, (4, 64, 64), np.uint8)
    (folder / "empty").mkdir()
    dicom = pydicom.examples.get_path("ybr_color").read_bytes()
    (folder / "cut.dcm").write_bytes(dicom[: len(dicom) // 3])
    whole = cine_file(folder, "whole.nii.gz")
    content = (folder / "whole.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    for name, values in {
        "one": frames[:1], "constant": np.full_like(frames, 90), "nan": np.where(frames > 200, np.nan, frames / 255.0),
    }.items():  # fmt: skip
        image = nibabel.Nifti1Image(np.asarray(values, np.float32).transpose(2, 1, 0), np.diag([0.5, 0.5, 0.03, 1]))
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, folder / f"{name}.nii.gz")
    volume = nibabel.Nifti1Image(rng.random((48, 50, 40), np.float32), np.diag([1.0, 1, 1, 1]))
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, folder / "volume.nii.gz")
    iio.imwrite(folder / "movie.mp4", np.repeat(frames[..., None], 3, -1).repeat(12, 0), fps=25, macro_block_size=1)
    movie = (folder / "movie.mp4").read_bytes()
    (folder / "short.mp4").write_bytes(movie[: len(movie) * 2 // 3])
    small = cine_file(folder, "small.nii.gz", size=(40, 40))
    save_weights(RegistrationUNet(2, encoder=(8, 8), decoder=(8, 8)), folder / "other.pt")
    (folder / "file").write_text("in the way", encoding="utf-8")
    return {
        "missing file": ({"input": str(folder / "nothing.dcm")}, "nothing.dcm"),
        "folder without frames": ({"input": str(folder / "empty")}, "empty"),
        "one frame": ({"input": str(folder / "one.nii.gz")}, "one.nii.gz"),
        "NaN": ({"input": str(folder / "nan.nii.gz")}, "nan.nii.gz"),
        "constant frames": ({"input": str(folder / "constant.nii.gz")}, "constant.nii.gz"),
        "truncated DICOM": ({"input": str(folder / "cut.dcm")}, "cut.dcm"),
        "truncated NIfTI": ({"input": str(folder / "cut.nii.gz")}, "cut.nii.gz"),
        "video that ends early": ({"input": str(folder / "short.mp4")}, "short.mp4"),
        "volume": ({"input": str(folder / "volume.nii.gz")}, "volume.nii.gz"),
        "scales that leave no pixels": (
            {"input": small, "scales": [0.01, 1.0], "regularisation_weight": 1.0},
            "1/64 reduces 40×40 to 0×0 pixels",
        ),
        "weights of another network": ({"input": whole, "checkpoint": str(folder / "other.pt")}, "other.pt"),
        "no weights": ({"input": whole, "checkpoint": str(folder / "none.pt")}, "none.pt"),
        "output under a file": ({"input": whole, "output_dir": str(folder / "file/out")}, "cannot be written"),
        "no such fold": ({"datalist": str(folder / "whole.nii.gz")}, "not a JSON datalist"),
        "input and list": ({"input": whole, "datalist": "x.json"}, "one of them"),
    }


BAD = (
    "missing file", "folder without frames", "one frame", "NaN", "constant frames", "truncated DICOM",
    "truncated NIfTI", "video that ends early", "volume", "scales that leave no pixels", "weights of another network",
    "no weights", "output under a file", "no such fold", "input and list",
)  # fmt: skip


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    found = bad_inputs(tmp_path_factory.mktemp("bad"))
    assert set(found) == set(BAD)
    return found


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(tmp_path, bad, name):
    given, words = bad[name]
    with pytest.raises(Exception) as caught:
        run_here(INFERENCE, **({"output_dir": str(tmp_path / "out"), **QUICK} | given))
    found = input_error_in(caught.value)
    assert isinstance(found, InputError), f"not foreseen: {caught.value!r}"
    assert words in str(found) and "\n" not in str(found) and len(str(found)) < 400
    assert not (tmp_path / "out").exists(), "nothing is written"


def test_bad_input_as_a_user_sees_it(tmp_path, bad):
    given, message = bad["truncated DICOM"]
    words = ["--config_file", "bundles/nmsr_echo/configs/inference.json", "--output_dir", str(tmp_path / "out")]
    done = run_module_here("monai.bundle", "run", *words, "--input", given["input"])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ") and message in done.stderr.splitlines()[-1]


def test_full_disk_leaves_nothing_that_looks_whole(tmp_path, small_disk):
    words = ["--config_file", "bundles/nmsr_echo/configs/inference.json", "--output_dir", str(tmp_path / "out")]
    with small_disk():
        done = run_module_here("monai.bundle", "run", *words, "--max_frames", "3", "--steps", "1", "--mlflow", "False")
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr.strip().splitlines()[-1]
    left = list((tmp_path / "out").rglob("*")) if (tmp_path / "out").exists() else []
    assert not [f for f in left if f.name in ("ddf.nii.gz", "summary.json") or f.is_dir()]


def test_tracking_server_that_is_down_costs_nothing(tmp_path, monkeypatch, capfd, empty_store):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    run_here(INFERENCE, output_dir=str(tmp_path / "out"), **(QUICK | {"mlflow": True}))
    assert (tmp_path / "out/examples_ybr_color/ddf.nii.gz").exists()
    assert "python -m cardiac_motion.core.tracking" in capfd.readouterr().err
    store = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'later.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)

    from mlflow.tracking import MlflowClient

    done = run_module_here("cardiac_motion.core.tracking", "out", folder=tmp_path)
    assert done.stdout.startswith("nmsr_echo · fast · examples_ybr_color: sent as run ")
    run = MlflowClient(store).get_run(done.stdout.split("as run ")[1].split()[0])
    assert run.data.params["preset"] == "fast"
    assert run.data.metrics["mse"] > 0
