from types import SimpleNamespace

import imageio.v3 as iio
import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.weights import require_weights
from cardiac_motion.training.flow import FlowExamples, halving_schedule


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


def test_examples_are_drawn_anew_after_an_epoch(tmp_path):
    pair = {"image": torch.rand(2, 32, 40), "field": torch.ones(2, 32, 40), "mask": torch.zeros(1, 32, 40)}
    pair["mask"][:, 8:24] = 1
    network = torch.nn.Conv2d(2, 2, 1)
    engine = SimpleNamespace(network=network, state=SimpleNamespace(device="cpu"))
    examples = FlowExamples(str(tmp_path / "examples.png"), [pair, pair], indices=(0, 1, 5))
    examples(engine)
    first = iio.imread(tmp_path / "examples.png")
    with torch.no_grad():
        network.bias.add_(3.0)
    examples(engine)
    assert first.shape == iio.imread(tmp_path / "examples.png").shape
    assert (first != iio.imread(tmp_path / "examples.png")).any()
