"""Validation by scenario: against errors known beforehand, resumed, and beside other methods."""

import csv

import pytest
import torch
from torch import nn

from cardiac_motion.comparators.identity import NoMotion
from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.weights import read_weights
from cardiac_motion.registration.pairwise import PairwiseInferer, SizedInferer
from cardiac_motion.simulation.datasets.dataset import TemplateSource
from cardiac_motion.simulation.datasets.rendered import write_pairs
from cardiac_motion.simulation.sequence import Settings
from cardiac_motion.training.scenario_validation import ValidateScenarios, measure_scenarios, read_scenarios
from cardiac_motion.training.trainer import TrainingCheckpoint, Weights
from tests.training.test_trainer import trainer

SMALL = Settings(scatterers=6_000, shape=(64, 64), probes=("reference",), artefact=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenarios")
    write_pairs(folder / "clean", TemplateSource(), ["static", "coupled"], 2, 3, SMALL, beat=30)
    write_pairs(folder / "artefacts", TemplateSource(), ["coupled"], 1, 4, SMALL, beat=30)
    return folder


class Truth(nn.Module):
    """Knows the truth of the pictures that it was shown before, and is off by so many rows."""

    def __init__(self, items, off):
        super().__init__()
        self.items, self.off = items, torch.tensor([off, 0.0]).view(1, 2, 1, 1)

    def forward(self, image):
        known = [i["field"] for i in self.items if torch.allclose(i["image"], image[0])]
        return known[0][None] + self.off


def test_errors_are_those_that_were_made(folder):
    scenarios = read_scenarios(folder)
    assert {name: len(items) for name, items in scenarios.items()} == {
        "artefacts/coupled": 1, "clean/coupled": 2, "clean/static": 2,
    }  # fmt: skip
    items = [item for some in scenarios.values() for item in some]
    found = measure_scenarios(scenarios, Truth(items, 0.5))
    assert found["clean/static px"] == pytest.approx(0.5, abs=1e-5) and found["mean px"] == pytest.approx(0.5, abs=1e-5)
    rows = [float(item["spacing"][0]) for item in scenarios["clean/static"]]
    assert found["clean/static mm"] == pytest.approx(0.5 * sum(rows) / 2, rel=1e-4)
    identity = measure_scenarios(scenarios, NoMotion())
    item = scenarios["artefacts/coupled"][0]
    length = (item["field"].norm(dim=0) * item["mask"][0]).sum() / item["mask"].sum()
    assert identity["artefacts/coupled px"] == pytest.approx(float(length), rel=1e-4)
    assert identity["mean mm"] == pytest.approx(sum(identity[f"{name} mm"] for name in scenarios) / 3)
    assert len(read_scenarios(folder, patients=1)["clean/static"]) == 1
    with pytest.raises(InputError, match="contains no rendered pairs of neighbouring frames"):
        read_scenarios(folder / "clean/static")


def test_a_zoomed_network_sees_the_surroundings_of_the_motion_alone(folder):
    scenarios = read_scenarios(folder)
    sizes = []

    class Still(nn.Module):
        def forward(self, image):
            sizes.append(image.shape[2] * image.shape[3])
            return torch.zeros_like(image)

    zoomed = SizedInferer(PairwiseInferer(progress=False), 320, zoom=2.0)
    found = measure_scenarios(scenarios, Still(), zoomed)
    assert found == pytest.approx(measure_scenarios(scenarios, NoMotion()))
    assert max(sizes) <= 128**2 and min(sizes) < 128**2


def run(folder, scenarios, epochs, references):
    weights = Weights(str(folder / "model.pt"), mean=0.5)
    validate = ValidateScenarios(
        scenarios, folder / "scenarios.csv", weights, references=references, best=folder / "best.pt"
    )
    handlers = [weights, validate, TrainingCheckpoint(f"{folder}/checkpoint.pt", also={"mean": weights})]
    trainer(folder / "unused", epochs, handlers=handlers).run()
    with open(folder / "scenarios.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Once(NoMotion):
    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, image):
        self.seen += 1
        return super().forward(image)


def test_the_curve_goes_on_and_the_best_weights_are_kept(folder, tmp_path):
    once = Once()
    first = run(tmp_path, folder, 2, {"identity": once})
    (tmp_path / "unused/checkpoint.pt").unlink()
    rows = run(tmp_path, folder, 4, {"identity": once})
    assert [row["method"] for row in rows] == ["identity", *["network"] * 4]
    assert once.seen == 5, "other methods are measured once"
    assert [row["step"] for row in rows] == ["", "2", "4", "6", "8"] and rows[:3] == first
    seconds = [float(row["processor_s"]) for row in rows[1:]]
    assert seconds == sorted(seconds) and seconds[0] > 0
    means = [float(row["mean mm"]) for row in rows[1:]]
    best = read_weights(tmp_path / "best.pt")
    latest = read_weights(tmp_path / "model.pt")
    same = all(torch.equal(best[key], latest[key]) for key in best)
    assert same == (min(means) == means[-1])
