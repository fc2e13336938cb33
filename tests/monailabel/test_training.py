"""Labels that are saved teach the segmentation, and the least certain cine comes first."""

import json
import time

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monailabel.client import MONAILabelClient
from torch.nn import functional

from cardiac_motion.cine.cases import demo_cine
from cardiac_motion.cine.read import read_cine
from cardiac_motion.cine.write import write_cine


@pytest.fixture
def studies(tmp_path):
    """Three cines: the apical one, the same behind noise, and upside down; five frames, 120 × 160."""
    folder = tmp_path / "studies"
    folder.mkdir()
    cine = functional.avg_pool2d(read_cine(demo_cine()).as_tensor()[0, 20:25], 2)
    noise = torch.rand(cine.shape, generator=torch.Generator().manual_seed(0))
    for name, frames in {
        "clear": cine,
        "noisy": 0.45 * cine + 0.3 * noise * (cine > 0.02),
        "turned": cine.flip(1),
    }.items():
        write_cine(folder / f"{name}.nii.gz", MetaTensor(frames[None], meta={"spacing": (1.0, 1.0)}))
    return folder


def wait(client, seconds=500):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = client.train_status()
        if status["status"] != "RUNNING":
            return status
        time.sleep(0.5)
    raise AssertionError(f"still running: {status}")


def test_least_certain_first_then_trained_on_what_was_saved(studies, own_server, tmp_path):
    server = own_server("--conf", "bundles", "strain_pipeline")
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    server.json("DELETE", "/datastore/image?id=speckle")
    first = client.next_sample("most_uncertain", {})
    scores = {
        k: v[1] for k, v in json.loads((studies / ".motion" / "uncertainty.json").read_text(encoding="utf-8")).items()
    }
    assert set(scores) == {"clear", "noisy", "turned"} and first["id"] == max(scores, key=scores.get) != "clear"

    like = nibabel.load(studies / "clear.nii.gz")
    values = np.zeros(like.shape, np.uint8)
    values[60:90, 40:80] = 2
    values[66:84, 46:80] = 1  # a box: what no heart looks like, so that only training can find it
    label = tmp_path / "box.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, like.affine), label)
    for name in ("clear", first["id"]):
        client.save_label(name, str(label), "final")
    second = client.next_sample("most_uncertain", {})["id"]
    assert second not in ("clear", first["id"])

    started = client.train_start(
        "strain_pipeline", {"epochs": 6, "size": 64, "frames": 3, "learning_rate": 0.003, "validation": 0}
    )
    assert started["status"] == "RUNNING" and client.train_status(check_if_running=True)
    assert server.json("POST", "/train/strain_pipeline")[0] == 429
    status = wait(client)
    assert status["status"] == "DONE", status["details"]
    assert (studies / ".motion" / "segmentation.pt").is_file() and not client.train_status(check_if_running=True)
    stats = client.info()["train_stats"]["strain_pipeline"]
    assert stats["trainings"] == 1 and stats["training"] == 2
    assert stats["last"]["val_lv_cavity"] > 0.3 and stats["best_metric"] > 0.3
    assert any("epoch 6" in line for line in status["details"]) and str(studies) not in str(status)
    assert client.next_sample("most_uncertain", {})["id"] == second  # asked again: the weights are others
    again = {
        k: v for k, v in json.loads((studies / ".motion" / "uncertainty.json").read_text(encoding="utf-8")).items()
    }
    assert again[second][1] != scores[second]


def test_training_can_be_stopped(studies, own_server, tmp_path):
    server = own_server("--conf", "bundles", "strain_pipeline")
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    like = nibabel.load(studies / "clear.nii.gz")
    values = np.zeros(like.shape, np.uint8)
    values[66:84, 46:80] = 1
    label = tmp_path / "box.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, like.affine), label)
    client.save_label("clear", str(label), "final")
    client.train_start("strain_pipeline", {"epochs": 1000})
    assert client.train_stop()["status"] == "STOPPED"
    assert wait(client, 30)["status"] == "STOPPED" and not client.train_status(check_if_running=True)
    assert not (studies / ".motion" / "segmentation.pt").exists()
