"""Scores of the image networks, against networks that answer as is known."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from cardiac_motion.training.frame_evaluation import evaluate_segmentation, evaluate_view, view_scores
from cardiac_motion.training.frames import SegmentationFrames
from cardiac_motion.training.view_frames import ViewFrames
from cardiac_motion.ventricle.views import VIEWS
from tests.recorded_frames import write_patients


def test_scores_of_views():
    truth = torch.tensor([0, 0, 0, 1, 1, 2])
    scores = view_scores(torch.tensor([0, 0, 1, 1, 1, 2]), truth)
    assert scores["accuracy"] == pytest.approx(5 / 6) and scores["frames"] == 6
    assert scores["f1"] == pytest.approx({VIEWS[0]: 0.8, VIEWS[1]: 0.8, VIEWS[2]: 1.0})
    assert scores["macro_f1"] == pytest.approx(2.6 / 3)
    assert scores["confusion"][0][:3] == [2, 1, 0]


class Certain(torch.nn.Module):
    """Always the second view."""

    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.eye(8)[1])

    def forward(self, image):
        return self.bias.expand(len(image), 8)


def test_evaluation_of_views(tmp_path):
    own = tmp_path / "own"
    for view, count in (("apical_2ch", 1), ("other", 8)):
        (own / view).mkdir(parents=True)
        for number in range(count):
            frame = np.zeros((60, 80), dtype=np.uint8)
            frame[5:55, 10:70] = np.random.default_rng(number).integers(20, 200, (50, 60))
            iio.imwrite(own / view / f"{number}.png", frame)
    summary = evaluate_view(Certain(), ViewFrames(images=str(own), size=32), str(tmp_path / "out"))
    assert summary["others"]["accuracy"] == pytest.approx(1 / 9) and "recorded" not in summary
    lines = (tmp_path / "out/metrics.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "case,view,predicted,probability" and len(lines) == 10


class Grey(torch.nn.Module):
    """Bright is the wall, dark is the cavity above the base and the atrium below."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(50.0))

    def forward(self, image):
        size = image.shape[-1]
        rows = torch.arange(size)[:, None].expand(size, size)
        dark, below = (image < 0.2) & (image > 0), rows > 0.54 * size
        background = (image >= 0.2) & (image < 0.55)
        parts = [background | (image == 0), dark & ~below, image >= 0.55, dark & below]
        return torch.cat([self.scale * part.float() for part in parts], 1)


def test_evaluation_of_segmentation(tmp_path):
    folder = write_patients(tmp_path / "patients")
    frames = SegmentationFrames(str(folder), str(folder / "split.json"), "valid", size=128)
    summary = evaluate_segmentation(Grey(), frames, str(tmp_path / "out"))
    assert summary["all"]["dice_lv_cavity"]["n"] == 4 and summary["ED"]["dice_lv_cavity"]["n"] == 2
    for name in ("lv_cavity", "myocardium", "left_atrium"):
        assert summary["all"][f"dice_{name}"]["mean"] > 0.9
        assert summary["all"][f"hd_{name}"]["mean"] >= summary["all"][f"hd95_{name}"]["mean"]
    assert len((tmp_path / "out/metrics.csv").read_text(encoding="utf-8").splitlines()) == 5
