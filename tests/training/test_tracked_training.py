"""The curve of a training, in its table and in MLflow."""

import json
import shutil

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from cardiac_motion.networks.segmentation_unet import SegmentationUNet
from cardiac_motion.training.frame_losses import StructureDice, segmentation_loss
from cardiac_motion.training.frames import SegmentationFrames
from cardiac_motion.training.tracked_training import TrainingRecord
from cardiac_motion.training.trainer import RegistrationTrainer, RegistrationValidator, TrainingCheckpoint, Validate
from tests.recorded_frames import write_patients


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_patients(tmp_path_factory.mktemp("recorded") / "patients")


def trainer(folder, output, epochs, mlflow=False):
    torch.manual_seed(0)
    network = SegmentationUNet((4, 8, 8))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    frames = SegmentationFrames(
        str(folder), str(folder / "split.json"), size=32, augmentation={"rotation": 5.0, "gamma": 0.2}
    )
    record = TrainingRecord(str(output), "test", {"network": "tiny"}, mlflow)
    validator = RegistrationValidator(
        "cpu", DataLoader(frames, 2), network, segmentation_loss, measures={"wall": StructureDice(2)}
    )
    return RegistrationTrainer(
        "cpu",
        epochs,
        DataLoader(frames, 2, sampler=DistributedSampler(frames, 1, 0, seed=0)),
        network,
        optimizer,
        segmentation_loss,
        lr_scheduler=torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=9),
        train_handlers=[
            Validate(validator, record=record),
            TrainingCheckpoint(f"{output}/checkpoint.pt"),
            record,
        ],
        progress=False,
    )


def test_a_resumed_training_is_the_same(folder, tmp_path):
    whole = trainer(folder, tmp_path / "whole", 4)
    whole.run()
    trainer(folder, tmp_path / "parts", 2).run()
    resumed = trainer(folder, tmp_path / "parts", 4)
    resumed.run()
    for a, b in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    tables = [(tmp_path / name / "training.csv").read_text(encoding="utf-8") for name in ("whole", "parts")]
    assert tables[0] == tables[1] and len(tables[0].splitlines()) == 5
    assert tables[0].splitlines()[0] == "epoch,train_loss,val_loss,val_wall"


def test_the_curve_goes_to_mlflow_while_it_trains_and_a_resumed_training_goes_on_with_it(
    folder, empty_store, tmp_path, monkeypatch
):
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'store.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = MlflowClient(store)
    first = trainer(folder, tmp_path, 2, mlflow=True)
    (tmp_path / "examples.png").write_bytes(b"picture")
    seen = []

    def look(engine):
        (run,) = client.search_runs([client.get_experiment_by_name("training").experiment_id])
        seen.append((run.info.status, len(client.get_metric_history(run.info.run_id, "train_loss"))))

    first.add_event_handler("EPOCH_COMPLETED", look)
    first.run()
    trainer(folder, tmp_path, 3, mlflow=True).run()
    assert seen == [("RUNNING", 1), ("RUNNING", 2)]
    (run,) = client.search_runs([client.get_experiment_by_name("training").experiment_id])
    assert (
        run.data.params["network"] == "tiny"
        and run.info.run_name == "test · tiny · training"
        and run.info.status == "FINISHED"
    )
    curve = client.get_metric_history(run.info.run_id, "train_loss")
    kept = {row["epoch"]: row["train_loss"] for row in TrainingRecord(str(tmp_path), "test").rows()}
    assert {m.step: m.value for m in curve} == kept and len(curve) == len(kept) == 3
    assert {a.path for a in client.list_artifacts(run.info.run_id)} == {"training.csv", "examples.png"}


def test_a_store_that_is_down_costs_no_training(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    trainer(folder, tmp_path, 2, mlflow=True).run()
    assert "the curve is in" in caplog.text
    (kept,) = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert list(kept["parts"]) == ["epoch 1", "epoch 2"]
    assert len((tmp_path / "training.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_record_that_is_off_keeps_the_table_alone(tmp_path):
    record = TrainingRecord(str(tmp_path), "test", enabled=False)
    record({"train_loss": 0.5}, 1)
    record({"train_loss": 0.25}, 2)
    record({"train_loss": 0.125}, 2)
    assert record.rows() == [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.125}]
    record._end(None)
    assert not (tmp_path / "record.json").exists()


def test_the_record_of_a_training_by_hand(tmp_path):
    record = TrainingRecord(str(tmp_path), "cpwc", {"preset": "fast", "epochs": 9}, False, "experiment")
    assert record.rows() == []
    for epoch, loss in ((1, 0.5), (2, 0.1234567), (3, 0.3)):
        record({"train_loss": loss}, epoch)
    assert (tmp_path / "training.csv").read_text(encoding="utf-8").split() == [
        "epoch,train_loss",
        "1,0.5",
        "2,0.12346",
        "3,0.3",
    ]
    found = record.record()
    assert (found.experiment, found.name, found.step) == ("experiment", "cpwc · fast · training", 3)
    assert found.params == {"preset": "fast", "epochs": 9} and found.tags["preset"] == "fast"
    assert found.parts["epoch 2"] == [("train_loss", 0.12346, 2)] and len(found.parts) == 3
    assert found.files == ["training.csv"] and found.started <= found.ended
    record({"train_loss": 0.4}, 2)
    assert [row["epoch"] for row in record.rows()] == [1, 2], "a training that was set back writes over what it redoes"
