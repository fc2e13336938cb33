"""Every ``multi_gpu_train.json`` by torchrun, two processes on the CPU; what is killed goes on as if nothing was."""

import csv
import json
import os
import subprocess
import sys

import psutil
import pytest
import torch
from monai.bundle import ConfigParser

from cardiac_motion.cine.write import write_cine
from tests.bundles.running import ROOT
from tests.bundles.test_cpwc_echo import QUICK, SIMULATION
from tests.cohort.work import wait_for
from tests.conftest import moving_cine
from tests.recorded_frames import write_patients

VOLUMES = {"encoder": [4, 4], "decoder": [4, 4], "full": [4], "pairs_per_epoch": 2, "validation_pairs": 1}
VIEWS = {
    "hearts": 1, "frames": 1, "validation_hearts": 1, "size": 32, "filters": 4, "batch_size": 4, "mlflow": False,
}  # fmt: skip
TRAININGS = {
    "cpwc_echo/train": {**QUICK, "mlflow": False},
    "neurreg/train": VOLUMES,
    "nmsr_echo/train": {
        "input": "cine.nii.gz", "crop": [32, 32], "scales": [1.0], "pairs_per_epoch": 4, "validation_pairs": 1,
        "batch_size": 2,
    },
    "ssmsr_hippocampus/train": VOLUMES,
    "strain_pipeline/train_motion": {
        "width": 0.0625, "radius": 2, "pairs_per_epoch": 4, "validation_pairs": 1, "batch_size": 2,
        "settings": SIMULATION, "augmentation": {"crop": [64, 64]},
    },
    "strain_pipeline/train_segmentation": {
        "dataset_dir": "patients", "split": "patients/split.json", "size": 64, "widths": [4, 4, 8], "batch_size": 2,
        "mlflow": False,
    },
    "strain_pipeline/train_view": VIEWS,
    "voxelmorph/train": VOLUMES,
}  # fmt: skip


def begin(name, folder, out, **settings):
    """The training of ``bundle/configuration`` on two processes; paths of its settings are in ``folder``."""
    bundle, config = name.split("/")
    files = [f"bundles/{bundle}/configs/{stem}.json" for stem in (config, "multi_gpu_train")]
    words = ["--config_file", json.dumps(files), "--output_dir", str(out)]
    for key, value in {**TRAININGS[name], **settings}.items():
        given = folder / value if isinstance(value, str) and (folder / value).exists() else value
        words += [f"--{key}", str(given) if isinstance(given, os.PathLike) else json.dumps(given)]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m",
         "monai.bundle", "run", *words],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def end(process):
    said = process.communicate(timeout=900)[1]
    assert process.returncode == 0, said[-3000:]


def weights(out):
    (path,) = (out / name for name in ("model.pt", "segmentation.pt", "view.pt") if (out / name).is_file())
    return torch.load(path, weights_only=True)


def test_every_bundle_that_trains_does_on_several_gpus():
    found = {f"{f.parents[1].name}/{f.stem}" for f in (ROOT / "bundles").glob("*/configs/train.json")}
    found |= {f"strain_pipeline/{f.stem}" for f in (ROOT / "bundles/strain_pipeline/configs").glob("train_*.json")}
    assert found == {*TRAININGS, "strain_pipeline/train_studies"}, "the last is merged over train_segmentation"
    assert all((ROOT / "bundles" / name.split("/")[0] / "configs/multi_gpu_train.json").is_file() for name in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_an_epoch_on_two_processes(name, tmp_path):
    cine, _ = moving_cine(4, (48, 48))
    write_cine(tmp_path / "cine.nii.gz", cine[None])
    write_patients(tmp_path / "patients")
    end(begin(name, tmp_path, tmp_path / "out", epochs=1))
    state = torch.load(tmp_path / "out/checkpoint.pt", weights_only=True)["trainer"]
    assert (state["epoch_length"], state["iteration"]) == (1, 1), "half the batches each"
    assert all(value.isfinite().all() for value in weights(tmp_path / "out").values() if value.is_floating_point())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cpwc_echo/train", "strain_pipeline/train_view"])
def test_a_killed_training_goes_on_and_gives_the_same_curve(name, tmp_path):
    """``kill -9`` of all its processes in the middle of an epoch; one of the two networks drops out at random."""
    long = {"epochs": 5, "pairs_per_epoch": 24} if name.startswith("cpwc") else {"epochs": 5, "frames": 3}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    end(begin(name, tmp_path, whole, **long))
    run = begin(name, tmp_path, parts, **long)
    wait_for(lambda: (parts / "checkpoint.pt").is_file() or run.poll() is not None, 900)
    children = psutil.Process(run.pid).children(True)
    for process in (*children, run):
        process.kill()
    run.communicate()
    psutil.wait_procs(children, 60)
    state = torch.load(parts / "checkpoint.pt", weights_only=True)["trainer"]
    assert 0 < state["iteration"] < 5 * state["epoch_length"], "killed in the middle"
    end(begin(name, tmp_path, parts, **long))
    curves = []
    for out in (whole, parts):
        with open(out / "training.csv", encoding="utf-8") as file:
            curves.append(list(csv.DictReader(file)))
    assert [row["epoch"] for row in curves[0]] == list("12345") and curves[0] == curves[1]
    one, other = weights(whole), weights(parts)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", sorted(TRAININGS))
def test_a_process_takes_its_own_gpu_before_it_joins_the_others(name, monkeypatch, tmp_path):
    bundle, config = name.split("/")
    parser = ConfigParser()
    parser.read_config([str(ROOT / f"bundles/{bundle}/configs/{stem}.json") for stem in (config, "multi_gpu_train")])
    called = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: called.append(str(device)))
    monkeypatch.setattr("torch.distributed.init_process_group", called.append)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("monai.utils.set_determinism", lambda seed: None)
    parser.get_parsed_content("initialize")
    assert called == ["cuda:1", "nccl"]
