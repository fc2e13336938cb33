"""cpwc_echo from its files: training in its stages, resumed and on two processes, inference, ablations, bad input."""

import csv
import json

import numpy as np
import pytest
import torch
from ignite.handlers import Checkpoint
from monai.bundle import ConfigParser

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import input_error_in
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.networks.pwc_net import PWCNet
from cardiac_motion.networks.weights import save_weights
from cardiac_motion.simulation.datasets.dataset import TemplateSource
from cardiac_motion.simulation.datasets.rendered import SCENARIOS, write_pairs
from cardiac_motion.simulation.sequence import Settings
from cardiac_motion.simulation.ultrasound.recording import RecordingChain
from tests.bundles.running import ROOT, run_here
from tests.conftest import moving_cine
from tests.fresh_heart import measure_unfound

CONFIGS = ROOT / "bundles/cpwc_echo/configs"
INFERENCE, TRAIN = "cpwc_echo/configs/inference.json", "cpwc_echo/configs/train.json"
SIZES = {
    "pyramid": [6, 8], "estimator": [6, 6, 6, 6, 6], "context": [6, 6, 6, 6, 6, 6], "contexts": [1, 2], "finest": 1,
}  # fmt: skip
TINY = {"network_def": "@pwc", **SIZES}
SIMULATION = {"scatterers": 2000, "shape": [64, 64], "probes": ["reference"], "artefact": 0.0}
QUICK = {
    **TINY, "loss": "@pyramid_loss", "loss_weights": [0.005, 0.01], "pairs_per_epoch": 4, "validation_pairs": 2,
    "batch_size": 2, "repeats": 4, "settings": SIMULATION, "augmentation": {"crop": [32, 32], "brightness": 0.05},
}  # fmt: skip


def config(*names, base="train.json"):
    parser = ConfigParser()
    parser.read_config([CONFIGS / base, *(CONFIGS / f"{name}.json" for name in names)])
    return parser


def test_a_killed_training_goes_on_and_gives_the_same_weights(tmp_path, monkeypatch):
    settings = {"epochs": 2, "learning_rate": 1e-3, "mlflow": False, **QUICK}
    settings |= {"pairs_per_epoch": 2, "validation_pairs": 1}
    run_here(TRAIN, output_dir=str(tmp_path / "whole"), **settings)
    save = Checkpoint.__call__

    def killed(self, engine):
        save(self, engine)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(BaseException):  # noqa: B017
        patch.setattr(Checkpoint, "__call__", killed)
        run_here(TRAIN, output_dir=str(tmp_path / "parts"), **settings)
    reached = torch.load(tmp_path / "parts/checkpoint.pt", weights_only=True)["trainer"]
    assert reached["iteration"] == reached["epoch_length"], "one epoch"
    run_here(TRAIN, output_dir=str(tmp_path / "parts"), **settings)
    whole, parts = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert all(value.dtype == torch.float16 for value in whole.values())
    curves = [(tmp_path / name / "training.csv").read_text(encoding="utf-8") for name in ("whole", "parts")]
    assert curves[0] == curves[1] and len(curves[0].splitlines()) == 3
    assert (tmp_path / "parts/examples.png").is_file()


@pytest.mark.slow
def test_the_three_stages_follow_each_other(tmp_path):
    run_here(
        TRAIN, "cpwc_echo/configs/stage1_natural.json", output_dir=str(tmp_path / "1"), **QUICK, epochs=1,
    )  # fmt: skip
    for stage, name in ((2, "simulated"), (3, "artefacts")):
        run_here(
            TRAIN, f"cpwc_echo/configs/stage{stage}_{name}.json", output_dir=str(tmp_path / str(stage)), epochs=1,
            start=str(tmp_path / str(stage - 1) / "model.pt"), **QUICK,
        )  # fmt: skip
    first, last = (torch.load(tmp_path / n / "model.pt", weights_only=True) for n in ("1", "3"))
    assert any(not torch.equal(first[key], last[key]) for key in first)
    assert config("stage2_simulated").config["settings"]["artefact"] == 0.0
    assert config("stage3_artefacts").config["settings"]["artefact"] > 0
    paper = config("stage3_artefacts").config
    assert (paper["learning_rate"], paper["weight_decay"], paper["gaps"]) == (1e-4, 4e-4, [1, 2, 3])


def test_it_trains_on_rendered_scenarios(tmp_path):
    settings = Settings(scatterers=2000, shape=(64, 64), probes=("reference",))
    write_pairs(tmp_path / "pairs", TemplateSource(prior=0.5), ["static", "speckle"], 1, 0, settings, RecordingChain())
    run_here(
        TRAIN, "cpwc_echo/configs/scenarios.json", output_dir=str(tmp_path / "out"), pairs=str(tmp_path / "pairs"),
        epochs=1, pairs_per_epoch=4, validation_pairs=2, batch_size=2, settings=SIMULATION, mlflow=False,
        augmentation={"crop": [48, 48], "flip": True}, scenarios={"static": 1.0, "speckle": 1.0},
        network_def={"_target_": "cardiac_motion.networks.ncc_flow.NCCFlow", "widths": [8, 8, 8], "deep": 8},
    )  # fmt: skip
    found = torch.load(tmp_path / "out/model.pt", weights_only=True)
    assert found["spread.weight"].dtype == torch.float16 and found["spread.weight"].abs().max() > 0
    assert len((tmp_path / "out/training.csv").read_text(encoding="utf-8").splitlines()) == 2
    scenarios = config("scenarios").config["scenarios"]
    assert set(scenarios) == set(SCENARIOS) and sum(scenarios.values()) == pytest.approx(1)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_weights(PWCNet(**SIZES, unit=1.0), tmp_path / "tiny.pt")
    return str(tmp_path / "tiny.pt")


@pytest.fixture
def cine(tmp_path):
    frames, _ = moving_cine(4, (70, 90))
    write_cine(tmp_path / "cine.nii.gz", frames[None])
    return str(tmp_path / "cine.nii.gz")


def test_inference_on_a_size_that_64_does_not_divide_with_a_contour(tmp_path, weights, cine):
    angle = np.linspace(0, np.pi, 30)
    contour = np.stack([50 - 30 * np.sin(angle), 45 - 12 * np.cos(angle)], -1)
    (tmp_path / "ed.json").write_text(json.dumps(contour.tolist()), encoding="utf-8")
    run_here(
        INFERENCE, input=cine, checkpoint=weights, contour=str(tmp_path / "ed.json"), output_dir=str(tmp_path / "out"),
        spacing=[0.5, 0.5], mlflow=False, **TINY,
    )  # fmt: skip
    case = tmp_path / "out/cine"
    assert load_ddf(case / "ddf.nii.gz").shape == (3, 2, 70, 90)
    assert {"contours.json", "strain.csv", "strain.png", "summary.json"} <= {f.name for f in case.iterdir()}
    with open(tmp_path / "out/metrics.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert abs(float(row["gls"])) < 50 and "mapse_mm" in row


def test_composition_changes_the_field(tmp_path, weights, cine):
    for name, changes in (("with", ()), ("without", ("no_composition",)), ("gaps", ("gaps",))):
        files = [f"cpwc_echo/configs/{change}.json" for change in changes]
        run_here(
            INFERENCE, *files, input=cine, checkpoint=weights, output_dir=str(tmp_path / name), mlflow=False,
            save_figures=False, **TINY,
        )  # fmt: skip
    plain, alone, gaps = (load_ddf(tmp_path / name / "cine/ddf.nii.gz") for name in ("with", "without", "gaps"))
    assert not torch.equal(plain, alone) and not torch.equal(plain, gaps) and gaps.shape == plain.shape


def test_a_pair_is_refined_from_where_the_network_leads(tmp_path):
    """A texture moved by three columns: the pair's own optimisation brings the network's field nearer."""
    x = torch.rand(1, 1, 192, 195, generator=torch.Generator().manual_seed(1))
    texture = torch.nn.functional.avg_pool2d(x, 5, 1, 2)[0, 0]
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    cine = torch.stack([texture[:, :192], texture[:, 3:]])[None]
    write_cine(tmp_path / "cine.nii.gz", cine)
    for name, files in (("refined", ["refined"]), ("network", ["no_composition"])):
        run_here(
            INFERENCE, *(f"cpwc_echo/configs/{file}.json" for file in files), input=str(tmp_path / "cine.nii.gz"),
            output_dir=str(tmp_path / name), mlflow=False, save_figures=False,
        )  # fmt: skip
    refined, network = (
        load_ddf(tmp_path / name / "cine/ddf.nii.gz")[0, :, 20:-20, 20:-20] for name in ("refined", "network")
    )
    truth = torch.tensor([0.0, 3.0]).view(2, 1, 1)
    errors = [(found - truth).norm(dim=0).mean() for found in (refined, network)]
    assert errors[0] < 0.1 and errors[0] < errors[1], errors


PAPERS = {
    "pwc_net": 9_373_986, "c_pwc_net": 14_078_762, "echo_pwc_net": None, "table2_neither": None, "table2_skips": None,
    "table2_contexts": None, "table3_4": None, "table3_5": None, "table3_6": 16_318_508,
}  # fmt: skip


@pytest.mark.parametrize("name", PAPERS)
def test_networks_of_the_papers_and_their_ablations(name):
    parser = config(name)
    network = parser.get_parsed_content("network_def")
    count = sum(p.numel() for p in network.parameters())
    assert PAPERS[name] in (None, count)
    assert count > 4e6 and len(parser.config["loss_weights"]) == network.levels - network.finest + 1
    same = config(name, base="inference.json").get_parsed_content("network_def")
    assert sum(p.numel() for p in same.parameters()) == count, "inference takes the same file"


def test_table_1_varies_gaps_and_directions():
    for direction, backward in (("forward", False), ("both", True)):
        for n in range(4):
            found = config(f"table1_{direction}_" + "_".join(map(str, range(n + 1)))).config
            assert found["gaps"] == [g + 1 for g in range(n + 1)] and found["backward"] is backward


def test_a_network_that_nobody_trained_is_refused(tmp_path, cine):
    for name in ("small_pwc", "table3_6"):
        assert config(name, base="inference.json").config["checkpoint"] is None
    with pytest.raises(RuntimeError) as caught:
        run_here(INFERENCE, "cpwc_echo/configs/small_pwc.json", input=cine, output_dir=str(tmp_path / "out"))
    assert "no weights: train them" in str(input_error_in(caught.value))


@pytest.mark.parametrize(
    ("name", "zoom", "limit"), [("c_pwc_net", 2, 0.4), ("pwc_net", 1, 0.65), ("echo_pwc_net", 1, 0.65)]
)
def test_a_network_with_weights_has_learned_to_see_motion(name, zoom, limit):
    """On a heart and a motion of the test's own, drawn from no template, at the network's zoom: against no motion."""
    parsed = config(name, base="inference.json")
    parsed["bundle_root"] = str(CONFIGS.parent)
    assert parsed["zoom"] == zoom
    network, inferer = parsed.get_parsed_content("network").eval(), parsed.get_parsed_content("inferer")
    assert measure_unfound(lambda image: inferer(image, network).ddf) < limit


def test_bad_input_is_one_clear_line(tmp_path, weights, cine):
    (tmp_path / "outside.json").write_text(json.dumps([[1, 1], [2, 400], [3, 3]]), encoding="utf-8")
    save_weights(PWCNet(**{**SIZES, "pyramid": [4, 8]}), tmp_path / "other.pt")
    for given, words in (
        ({"checkpoint": str(tmp_path / "none.pt")}, "none.pt: no such weights"),
        ({"checkpoint": str(tmp_path / "other.pt")}, "weights of another network"),
        ({"contour": str(tmp_path / "outside.json")}, "outside.json: the contour leaves the image"),
        ({"ed": 9, "contour": str(tmp_path / "outside.json")}, "ED at frame 9"),
        ({"input": str(tmp_path / "none.dcm")}, "none.dcm"),
    ):
        with pytest.raises(RuntimeError) as caught:
            run_here(
                INFERENCE, output_dir=str(tmp_path / "out"), mlflow=False,
                **{**TINY, "input": cine, "checkpoint": weights, **given},
            )  # fmt: skip
        assert words in str(input_error_in(caught.value)), given
        assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    settings = Settings(scatterers=2000, shape=(64, 64), probes=("reference",), artefact=0.0)
    write_pairs(folder / "pairs", TemplateSource(), ["static", "speckle"], 1, 0, settings, RecordingChain())
    write_pairs(folder / "valid/clean", TemplateSource(), ["static"], 1, 1, settings, beat=30)
    return folder


def test_features_learn_first_and_a_long_training_goes_on_with_them(tmp_path, rendered):
    network = {"pyramid": [6, 8, 8], "estimator": [6, 6, 6, 6, 6], "context": [6] * 6, "contexts": [2, 3], "finest": 2}
    given = {
        "pairs": str(rendered / "pairs"), "scenarios": {"static": 1.0, "speckle": 1.0}, "pairs_per_epoch": 4,
        "batch_size": 2, "validation_pairs": 2, "mlflow": False, **network,
    }  # fmt: skip
    files = ["cpwc_echo/configs/scenarios.json", "cpwc_echo/configs/c_pwc_net.json"]
    run_here(
        TRAIN, *files, "cpwc_echo/configs/features.json", output_dir=str(tmp_path / "features"), epochs=2, levels=3,
        loss={"_target_": "cardiac_motion.registration.flow_loss.MatchingLoss", "levels": [2, 3]}, zoom=2.0,
        settings=SIMULATION, **given,
    )  # fmt: skip
    first = torch.load(tmp_path / "features/model.pt", weights_only=True)
    assert len((tmp_path / "features/training.csv").read_text(encoding="utf-8").splitlines()) == 3

    def train(epochs):
        run_here(
            TRAIN, *files, "cpwc_echo/configs/long.json", output_dir=str(tmp_path / "long"), epochs=epochs,
            start=str(tmp_path / "features/model.pt"), validation_sets=str(rendered / "valid"), loss_weights=[1.0, 0.5],
            **{**given, "pairs_per_epoch": 2, "train#handlers#3#interval": 2},
        )  # fmt: skip
        with open(tmp_path / "long/scenarios.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    rows = train(2)
    assert [row["method"] for row in rows] == [
        "identity", "Farnebäck", "DIS, full resolution", "NCC flow", "network",
    ]  # fmt: skip
    assert rows[-1]["step"] == "2" and float(rows[0]["clean/static mm"]) > 0
    best = torch.load(tmp_path / "long/best.pt", weights_only=True)
    moved = [key for key in best if not torch.equal(best[key], first[key])]
    assert any("features" in key for key in moved) and any("contexts" in key for key in moved)
    kept = torch.load(tmp_path / "long/checkpoint.pt", weights_only=True)
    assert set(kept) == {"trainer", "network", "optimizer", "lr_scheduler", "mean"}
    rows = train(4)
    assert [row["step"] for row in rows[4:]] == ["2", "4"]
    assert len((tmp_path / "long/training.csv").read_text(encoding="utf-8").splitlines()) == 5
