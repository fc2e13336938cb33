"""The view classifier: shapes, and the activation that is written out."""

import pytest
import torch

from cardiac_motion.networks.view_classifier import Inception, PReLU, ViewClassifier
from cardiac_motion.ventricle.views import VIEWS


@pytest.mark.parametrize("size", [(32, 32), (45, 70), (128, 128)])
def test_logits_of_a_frame(size):
    network = ViewClassifier(filters=2)
    logits = network(torch.rand(3, 1, *size))
    assert logits.shape == (3, len(VIEWS))
    logits.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_module_keeps_its_input_beside_its_routes():
    x = torch.rand(1, 3, 8, 9)
    found = Inception(3, 4, (1, 3, 5))(x)
    assert found.shape == (1, 3 + 3 * 4, 8, 9)
    assert torch.equal(found[:, :3], x)


def test_filters_are_doubled_before_every_pooling():
    wide = {n: m.out_channels for n, m in ViewClassifier().features.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert [wide[f"{k}.0"] for k in (0, 2, 5, 8, 11)] == [16, 32, 64, 128, 256]


def test_the_activation_is_torchs():
    theirs, ours = torch.nn.PReLU(3), PReLU(3)
    slopes = torch.tensor([0.25, -0.5, 2.0])
    for layer in (theirs, ours):
        layer.weight.data.copy_(slopes)
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    torch.testing.assert_close(ours(x), theirs(x))
    gradients = [torch.autograd.grad(layer(x).square().sum(), (x, layer.weight)) for layer in (ours, theirs)]
    for mine, torchs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize("shape", [(1, 1, 31, 40), (1, 2, 40, 40), (1, 40, 40)])
def test_ill_shaped(shape):
    with pytest.raises(ValueError, match="at least 32 pixels"):
        ViewClassifier(filters=2)(torch.zeros(shape))


@pytest.mark.parametrize("built", [{"classes": 1}, {"filters": 0}])
def test_ill_built(built):
    with pytest.raises(ValueError, match="two classes and one filter"):
        ViewClassifier(**built)
