"""The network's scale by itself; in the whole registration: ``test_testtime_steps.py``."""

import pytest
import torch

from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.registration.network_stage import NetworkStage, ZeroField, make_network
from cardiac_motion.registration.testtime import MultiScaleTestTimeTraining
from tests.registration.test_optimisation import problem
from tests.registration.test_testtime_steps import Falls, Pull, Shift


@pytest.mark.parametrize("steps, taken, mean", [(1, 1, 0.0), (3, 3, 0.5), (7, 9, 3.5)])
def test_a_step_moves_the_weights_by_the_rate(steps, taken, mean):
    network = Shift()
    fields, found, loss = NetworkStage(learning_rate=0.5).fit(problem(None, steps=steps), network)
    assert found == taken and network.weight.item() == pytest.approx(0.5 * taken, rel=1e-3)
    assert (torch.allclose(fields[:, 0], network.weight) and loss < 0) or taken == 1


def test_it_ends_without_progress():
    stage = NetworkStage(patience=2, min_delta=0.1)
    given = {"steps": 60, "batch_size": 5}
    assert stage.fit(problem(None, loss=Falls(0.0), **given), Shift())[1] == 3
    assert stage.fit(problem(None, loss=Falls(0.2), **given), Shift())[1] == 60


def test_another_seed_is_another_order():
    orders = []
    for seed in (0, 0, 1):
        loss = Pull()
        NetworkStage().fit(problem(None, loss=loss, steps=6, seed=seed), Shift())
        orders.append([float(given.image[0, 0, 0, 0]) for given in loss.given])
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"field_scales": [0.25, 1.0]}, ZeroField),
        ({"field_scales": [1.0]}, RegistrationUNet),
        ({"field_scales": []}, RegistrationUNet),
        ({"field_scales": [0.25, 1.0], "checkpoint": "model.pt"}, RegistrationUNet),
    ],
)
def test_a_network_is_made_where_a_scale_trains_one(settings, kind):
    network = make_network([0.25, 1.0], spatial_dims=2, **settings)
    assert type(network) is kind
    assert network(torch.rand(3, 2, 16, 16)).shape == (3, 2, 16, 16)


def test_a_registration_of_fields_alone_copies_no_network(monkeypatch):
    def refuse(self, memo):
        raise AssertionError("copied")

    monkeypatch.setattr(ZeroField, "__deepcopy__", refuse, raising=False)
    inferer = MultiScaleTestTimeTraining([1.0], steps=1, loss=RegistrationLoss(2), field_scales=[1.0], progress=False)
    result = inferer(torch.rand(1, 2, 24, 24), ZeroField())
    assert result.ddf.shape == (1, 2, 24, 24) and float(result.ddf.abs().max()) > 0
