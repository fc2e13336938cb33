"""Scores against the truth: distances of contours that are known, and a perfect field on a simulated case."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.cases import CineCases
from common.ddf import load_ddf
from common.errors import InputError
from common.flow_metrics import TruthMetrics, contour_distances
from common.simulation.dataset import TemplateSource, settings_from
from common.simulation.write import write_cases


def test_distances_of_parallel_lines():
    line = np.stack([np.linspace(0, 50, 60), np.zeros(60)], -1)
    assert contour_distances(line, line + [0, 3]) == pytest.approx((3, 3))
    bent = line + np.stack([np.zeros(60), np.linspace(0, 4, 60)], -1)
    mean, hausdorff = contour_distances(line, bent)
    assert mean == pytest.approx(2, abs=0.05) and hausdorff == pytest.approx(4, abs=0.05)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    settings = settings_from({"scatterers": 5000, "shape": [96, 96], "artefact": 0.0, "probes": ["reference"]})
    split = {"test": ["apical_4ch"]}
    assert not write_cases(folder, TemplateSource(views=["apical_4ch"]), 1, 16, 3, settings, split)
    return folder, CineCases(datalist=str(folder / "datalist.json"), fold="test", dataset_dir=str(folder))[0]


def score(folder, case, ddf):
    engine = SimpleNamespace(state=SimpleNamespace(output={**case, "pred": ddf}))
    TruthMetrics(str(folder))(engine)
    return engine.state.output


def test_the_truth_scores_nothing_wrong(case):
    folder, item = case
    found = score(folder, item, load_ddf(folder / item["entry"]["ddf"]))
    metrics = found["metrics"]
    assert metrics["epe_mm"] < 1e-5 and len(found["pairs"]["epe_mm"]) == 15
    assert metrics["epe_es_mm"] < 0.3 and metrics["dm_mm"] < 0.3
    assert metrics["gls_absolute_error"] < 0.7 and metrics["mapse_absolute_error"] < 0.7


def test_no_motion_at_all_is_as_wrong_as_the_motion_is_large(case):
    folder, item = case
    truth = load_ddf(folder / item["entry"]["ddf"])
    metrics = score(folder, item, torch.zeros_like(truth))["metrics"]
    strain = json.loads((folder / item["entry"]["summary"]).read_text())["strain"]
    assert metrics["gls_error"] == pytest.approx(-100 * min(strain["global"]), abs=0.6)
    assert metrics["epe_es_mm"] > 1 and metrics["epe_mm"] > 0.05
    spacing = item["cine"].meta["spacing"][0]
    assert metrics["epe_mm"] == pytest.approx(metrics["epe_px"] * spacing, rel=1e-3)


def test_cases_without_truth_are_left_alone_and_wrong_sizes_refused(case):
    folder, item = case
    assert "metrics" not in score(folder, {**item, "entry": {"image": "x"}}, torch.zeros(1))
    with pytest.raises(InputError, match=r"the true field is \(15, 2, 96, 96\)"):
        score(folder, item, torch.zeros(15, 2, 40, 96))
    broken = {**item, "entry": {**item["entry"], "mask": "none.nii.gz"}}
    with pytest.raises(InputError, match=r"none\.nii\.gz: no readable mask"):
        score(folder, broken, torch.zeros(15, 2, 96, 96))
