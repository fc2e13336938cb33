"""MONAI's own handlers attach to the evaluator of every bundle as its configuration makes it, and see it go by."""

import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.handlers import CheckpointSaver, MetricsSaver, StatsHandler, ValidationHandler

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.cine.write import write_cine
from cardiac_motion.evaluation.case_evaluator import CaseEvents
from cardiac_motion.volume.phantom import phantom
from tests.bundles.running import ROOT
from tests.conftest import moving_cine

BUNDLES = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/inference.json"))
FEWEST = {
    "nmsr_echo": {"scales": [0.5], "steps": 1, "regularisation_weight": 1.0, "squarings": 0},
    "ssmsr_hippocampus": {"scales": [0.5], "steps": 1, "regularisation_weight": 1.0, "refined_candidates": 1},
    "fft_xcorr": {"windows": [32, 16]},
}  # of what runs as it is


class Still(torch.nn.Module):
    """No motion, and something to save."""

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def forward(self, image):
        return self.nothing * torch.zeros(len(image), image.dim() - 2, *image.shape[2:])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A cine, a volume, and a folder of one atlas."""
    folder = tmp_path_factory.mktemp("inputs")
    write_cine(folder / "cine.nii.gz", moving_cine(3, (64, 72))[0][None])
    nibabel.save(nibabel.Nifti1Image(phantom(1)[0], np.eye(4)), folder / "volume.nii.gz")
    for k, kind in enumerate(("imagesTr", "labelsTr")):
        (folder / kind).mkdir()
        nibabel.save(nibabel.Nifti1Image(phantom(2)[k], np.eye(4)), folder / kind / "a.nii.gz")
    return folder


def evaluator_of(name, inputs, out):
    """The bundle's evaluator on the smallest input; a network that takes long, or weights, replaced by ``Still``."""
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / name / "configs/inference.json")
    volumes = "atlas_dir" in parser
    given = {
        "bundle_root": str(ROOT / "bundles" / name),
        "output_dir": str(out),
        "save_figures": False,
        "mlflow": False,
    }
    given |= {"input": str(inputs / ("volume.nii.gz" if volumes else "cine.nii.gz")), **FEWEST.get(name, {})}
    if volumes:
        given |= {"atlas_dir": str(inputs), "choice": "before"}
    if name == "strain_pipeline":
        given |= {"input": demo_cine(), "frame_gap": 1, "ignore_checks": True}  # a wall that stays is none
    if name not in FEWEST:
        given |= {"network": Still(), "device": "cpu"}
    parser.update(given)
    return parser.get_parsed_content("evaluator")


@pytest.mark.parametrize("name", BUNDLES)
def test_handlers_see_the_run_of_a_bundle(name, inputs, tmp_path):
    evaluator, lines, seen = evaluator_of(name, inputs, tmp_path / "out"), [], []
    StatsHandler(
        name=f"stats of {name}", output_transform=lambda report: report["metrics"],
        iteration_print_logger=lambda engine: lines.append(sorted(engine.state.output["metrics"])),
        epoch_print_logger=lambda engine: lines.append(f"epoch {engine.state.epoch}"),
    ).attach(evaluator)  # fmt: skip
    CheckpointSaver(str(tmp_path / "saved"), {"network": evaluator.network}, save_final=True).attach(evaluator)
    MetricsSaver(str(tmp_path / "metrics"), metrics="*").attach(evaluator)
    evaluator.add_event_handler(CaseEvents.CASE_DONE, lambda engine: seen.append(engine.state.output["case"]))
    trainer = Engine(lambda engine, batch: None)
    ValidationHandler(1, evaluator).attach(trainer)
    validated = []
    evaluator.add_event_handler(Events.COMPLETED, lambda engine: validated.append(trainer.state.epoch))
    trainer.run([0], max_epochs=1)
    assert validated == [1] and lines[-1] == "epoch 1" and {"seconds", "lncc2"} & set(lines[0])
    assert len(seen) == 1 and (tmp_path / "out" / seen[0] / "summary.json").is_file()
    saved = [torch.load(path, weights_only=True) for path in (tmp_path / "saved").glob("*.pt")]
    assert [set(weights) for weights in saved] == [set(evaluator.network.state_dict())]
    names = (tmp_path / "metrics/metrics.csv").read_text(encoding="utf-8")
    assert all(f"{key},".encode() in names.encode() for key in evaluator.state.metrics)
