"""Bodies through PyMUST as files: what the picture shows is what the field says."""

import importlib.util
import json

import pytest
import torch

from cardiac_motion.cine.cases import CineCases
from cardiac_motion.core.errors import InputError
from cardiac_motion.evaluation.cine_truth import CineTruth
from cardiac_motion.fields.analytic import get_phantom
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.field_files import load_ddf
from cardiac_motion.simulation.ultrasound.physics import PROBE, phantom_scatterers, write_phantoms

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pymust") is None, reason="needs PyMUST")
SMALL = PROBE.replace(elements=32)
HOW = {"names": ["ring"], "frames": 2, "scatterers": 500, "size": 64, "probe": SMALL, "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("physics")
    write_phantoms(folder, **HOW)
    return folder


def test_the_field_explains_the_frames(folder):
    case = CineCases(datalist=str(folder / "datalist.json"), dataset_dir=str(folder))[0]
    image, ddf = case["image"], load_ddf(case["entry"].read_as(CineTruth).ddf)
    assert image.shape == (1, 2, 64, 64) and ddf.shape == (1, 2, 64, 64)
    covered = ddf.norm(dim=1, keepdim=True) > 0
    assert 0.1 < covered.float().mean() < 0.5
    assert image[:, 1:][covered].mean() > 2 * image[:, 1:][~covered].mean(), "a bright ring in the dark"
    moved = (warp(image[:, :1], ddf) - image[:, 1:])[covered].abs().mean()
    wrong = (warp(image[:, :1], -ddf) - image[:, 1:])[covered].abs().mean()
    assert moved < 0.8 * wrong


def test_what_is_there_is_kept_and_other_settings_are_refused(folder):
    summary = folder / "ring_0/summary.json"
    before = summary.stat().st_mtime_ns
    write_phantoms(folder, **HOW)
    assert summary.stat().st_mtime_ns == before
    (entry,) = json.loads((folder / "datalist.json").read_text(encoding="utf-8"))["test"]
    assert entry["body"] == "ring" and (folder / entry["mask"]).is_file()
    with pytest.raises(InputError, match="simulated with other settings"):
        write_phantoms(folder, **(HOW | {"scatterers": 400}))
    with pytest.raises(InputError, match="at least 2"):
        write_phantoms(folder, frames=1)


def test_scatterers_fill_the_body_evenly():
    import numpy as np

    points, amplitudes = phantom_scatterers(get_phantom("block"), 20000, np.random.default_rng(0))
    assert get_phantom("block").inside(points).all() and len(points) == len(amplitudes) == 20000
    left = (points[:, 1] < 0).mean()
    assert abs(left - 0.5) < 0.02 and abs(float(torch.std(amplitudes)) - 1) < 0.02
