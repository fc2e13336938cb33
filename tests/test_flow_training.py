import pytest
import torch

from common.errors import InputError
from common.flow_training import halving_schedule
from common.networks.weights import require_weights


def test_rate_is_halved_at_40_60_and_80_percent():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-4)
    schedule = halving_schedule(optimiser, 5, range(4))
    rates = []
    for _ in range(20):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([1e-4] * 8 + [5e-5] * 4 + [2.5e-5] * 4 + [1.25e-5] * 4)


def test_a_network_that_nobody_trained_is_refused(tmp_path):
    require_weights(tmp_path / "model.pt")
    with pytest.raises(InputError, match="no weights: train them"):
        require_weights(None)
