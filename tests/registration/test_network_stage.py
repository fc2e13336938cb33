"""The network's scale by itself; in the whole registration: ``test_testtime_steps.py``."""

import pytest
import torch

from cardiac_motion.registration.network_stage import NetworkStage
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
