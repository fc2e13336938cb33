import json

import pytest
import torch
from ignite.engine import Events

from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.networks.weights import load_weights, save_weights
from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.training.trainer import (
    MeanOf,
    RegistrationTrainer,
    RegistrationValidator,
    TrainingCheckpoint,
    Validate,
    Weights,
)


class Bars(torch.utils.data.Dataset):
    """Pairs of a bar and the bar two pixels on, at a place that the epoch and the index decide."""

    def __init__(self, length=4):
        self.length, self.epoch = length, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        at = 10 + (7 * self.epoch + 3 * index) % 12
        rows = torch.arange(32.0)[:, None].expand(32, 32)
        bar = torch.stack([torch.exp(-((rows - c) ** 2) / 18) for c in (at, at + 2)])
        return {"image": bar, "mask": torch.ones(1, 32, 32, dtype=torch.bool)}


def trainer(folder, epochs, **settings):
    torch.manual_seed(0)
    network = RegistrationUNet(2, encoder=(8, 8), decoder=(8, 8), full=(8,))
    network = torch.nn.Sequential(network, torch.nn.Dropout(settings.pop("dropout", 0.0)))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    return RegistrationTrainer(
        "cpu",
        epochs,
        torch.utils.data.DataLoader(Bars(), batch_size=2),
        network,
        optimizer,
        RegistrationLoss(radius=2, regularisation_weight=0.01),
        lr_scheduler=torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.1, 40),
        train_handlers=[TrainingCheckpoint(f"{folder}/checkpoint.pt"), *settings.pop("handlers", [])],
        progress=False,
        **settings,
    )


def test_the_loss_falls(tmp_path):
    engine = trainer(tmp_path, 25)
    losses = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: losses.append(e.state.metrics["loss"]))
    engine.run()
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path, dropout):
    whole = trainer(tmp_path / "whole", 4, dropout=dropout)
    whole.run()
    trainer(tmp_path / "parts", 2, dropout=dropout).run()
    again = trainer(tmp_path / "parts", 4, dropout=dropout)
    again.run()
    for a, b in zip(whole.network.parameters(), again.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert again.state.epoch == 4


def test_bfloat16_keeps_float32_fields_and_clipping_bounds_the_step(tmp_path):
    engine = trainer(tmp_path, 1, bfloat16=True, clip=1e-3)
    engine.run()
    assert engine.state.output["pred"].dtype == torch.float32
    norm = sum(float(p.grad.square().sum()) for p in engine.network.parameters()) ** 0.5
    assert norm <= 1.001e-3


def test_weights_and_validation_are_written_every_interval(tmp_path, capsys):
    found = []
    engine = trainer(tmp_path, 2, handlers=[Weights(str(tmp_path / "model.pt"))])
    validator = RegistrationValidator(
        "cpu",
        torch.utils.data.DataLoader(Bars(), batch_size=2),
        engine.network,
        engine.loss_function,
        measures={"reach": lambda ddf, **batch: ddf.abs().amax()},
    )
    Validate(validator, record=lambda metrics, epoch: found.append((epoch, metrics))).attach(engine)
    engine.run()
    assert [epoch for epoch, _ in found] == [1, 2]
    assert set(found[0][1]) == {"train_loss", "val_loss", "val_reach"}
    assert "val_reach" in capsys.readouterr().out
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(v.dtype == torch.float16 for v in state.values())


def test_weights_come_back_in_the_networks_precision(tmp_path):
    network = RegistrationUNet(2)
    save_weights(network, tmp_path / "w.pt")
    other = load_weights(RegistrationUNet(2), tmp_path / "w.pt")
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        assert b.dtype == torch.float32 and torch.allclose(a, b, atol=1e-3)


def test_bad_weights_end_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none.pt: no such weights; train them"):
        load_weights(RegistrationUNet(2), tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no weights", encoding="utf-8")
    with pytest.raises(InputError, match=r"text.pt: cannot be read as weights"):
        load_weights(RegistrationUNet(2), tmp_path / "text.pt")
    save_weights(RegistrationUNet(3), tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other.pt: contains weights of another network"):
        load_weights(RegistrationUNet(2), tmp_path / "other.pt")
    network = RegistrationUNet(2)
    assert load_weights(network, None) is network


def test_synthetic_training_needs_no_data(tmp_path, monkeypatch):
    from tests.bundles.running import run_here

    for bundle, extra in (("ssmsr_hippocampus", ["ssmsr_hippocampus/configs/train_labelled.json"]), ("neurreg", [])):
        run_here(
            f"{bundle}/configs/train.json",
            *extra,
            output_dir=str(tmp_path / bundle),
            epochs=1,
            pairs_per_epoch=2,
            validation_pairs=1,
            encoder=[4, 4],
            decoder=[4, 4],
        )
        assert (tmp_path / bundle / "model.pt").stat().st_size < 30e6
        assert json.dumps(sorted(p.name for p in (tmp_path / bundle).iterdir())) == '["checkpoint.pt", "model.pt"]'


def test_the_running_mean_of_the_weights_is_written(tmp_path):
    """Against the recursion by hand, from the weights after each step."""
    engine = trainer(tmp_path, 2)
    seen = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append([p.detach().clone() for p in e.network.parameters()])
    )
    Weights(str(tmp_path / "mean.pt"), mean=0.25).attach(engine)
    engine.run()
    mean = seen[0]
    for count, step in enumerate(seen[1:], 1):
        share = min(0.25, (1 + count) / (10 + count))
        mean = [share * m + (1 - share) * s for m, s in zip(mean, step, strict=True)]
    stored = list(torch.load(tmp_path / "mean.pt", weights_only=True).values())
    assert len(seen) > 2
    for m, s in zip(mean, stored, strict=True):
        torch.testing.assert_close(s.float(), m, atol=2e-3, rtol=2e-3)
    with pytest.raises(ValueError, match="mean"):
        Weights("model.pt", mean=1.0)


@pytest.mark.parametrize(("lower", "best"), [(True, 0.25), (False, 1.0)])
def test_a_key_metric_tells_the_best_validation(lower, best):
    values = iter([0.5, 1.0, 0.25, 0.75])
    network = torch.nn.Conv2d(2, 2, 1)
    validator = RegistrationValidator(
        "cpu",
        torch.utils.data.DataLoader(Bars(1)),
        network,
        lambda ddf, **batch: ddf.mean(),
        measures={"error": lambda ddf, **batch: next(values)},
        key_val_metric={"error": MeanOf("error")},
        lower_is_better=lower,
    )
    for epoch in range(1, 5):
        validator.run(epoch)
    assert validator.state.best_metric == best and validator.state.metrics["error"] == 0.75


def test_a_running_mean_in_the_checkpoint_goes_on(tmp_path):
    def run(folder, epochs):
        weights = Weights(str(folder / "mean.pt"), mean=0.9)
        engine = trainer(folder, epochs, handlers=[weights])
        engine.add_event_handler(Events.STARTED, lambda e: None)
        TrainingCheckpoint(str(folder / "whole.pt"), also={"mean": weights}).attach(engine)
        engine.run()
        return weights

    whole = run(tmp_path / "whole", 4).network().state_dict()
    run(tmp_path / "parts", 2)
    (tmp_path / "parts/checkpoint.pt").unlink()
    parts = run(tmp_path / "parts", 4).network().state_dict()
    assert all(torch.allclose(whole[key], parts[key], atol=1e-6) for key in whole)
    with pytest.raises(RuntimeError, match="attach this handler"):
        Weights("model.pt").network()
