"""The PWC-Net family: sizes of the published networks, the cost volume, sizes and gradients, and what it can learn."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import warp
from cardiac_motion.networks.pwc_net import FeatureInferer, PWCNet, PyramidInferer, cost_volume, normalise_features
from cardiac_motion.registration.flow_loss import MultiScaleFlowLoss, endpoint_error

SMALL = {"pyramid": (8, 12, 16), "estimator": (16, 16, 12, 8, 8), "context": (12, 12, 12, 8, 8, 8), "unit": 1.0}
VARIANTS = {
    "PWC-Net": {},
    "c-PWC-Net": {"contexts": [2, 3]},
    "without skips": {"contexts": [2, 3], "dense": False},
    "EchoPWC-Net": {"finest": 1, "contexts": [1], "warping": False, "propagate": True},
}


def parameters(**options) -> int:
    return sum(p.numel() for p in PWCNet(**options).parameters())


def test_sizes_are_the_published_ones():
    """PWC-Net as released has 9,374,274 with three colours in; grey saves 2 · 16 · 9. c-PWC-Net: "14M"."""
    assert parameters() == 9_374_274 - 2 * 16 * 9
    assert parameters(contexts=[2, 3, 4, 5, 6]) == 14_078_762
    assert parameters(dense=False) < 5e6
    assert parameters(contexts=[2, 3, 4, 5, 6], width=0.2) < 1e6


def test_cost_volume_against_a_loop():
    rng = torch.Generator().manual_seed(0)
    fixed, moving = (torch.randn(2, 3, 5, 6, generator=rng) for _ in range(2))
    found = cost_volume(fixed, moving, radius=2)
    assert found.shape == (2, 25, 5, 6)
    for (b, r, c), (i, j) in zip(
        [(0, 0, 0), (1, 2, 3), (0, 4, 5), (1, 4, 0)], [(-2, 1), (1, -2), (2, 2), (0, 0)], strict=True
    ):
        there = (r + i, c + j)
        inside = 0 <= there[0] < 5 and 0 <= there[1] < 6
        value = float(fixed[b, :, r, c] @ moving[b, :, there[0], there[1]]) / 3 if inside else 0.0
        assert float(found[b, (i + 2) * 5 + j + 2, r, c]) == pytest.approx(value, abs=1e-6)


def test_normalised_costs_are_correlations():
    features = torch.randn(2, 5, 6, 7) * 3 + 1
    whole = normalise_features(features)
    assert torch.allclose(whole.square().sum(1), torch.ones(2, 6, 7), atol=1e-4)
    same = cost_volume(whole, whole, radius=1)[:, 4] * 5
    assert torch.allclose(same, torch.ones(2, 6, 7), atol=1e-4), "the middle offset compares a place with itself"
    assert torch.allclose(normalise_features(7 * features - 2), whole, atol=1e-4), "gain and offset do not count"


@pytest.mark.parametrize("size", [(64, 64), (37, 51), (9, 8), (64, 200)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_contract_at_any_size(variant, size):
    torch.manual_seed(0)
    network = PWCNet(**SMALL, **VARIANTS[variant])
    ddf = network(torch.rand(2, 2, *size))
    assert ddf.shape == (2, 2, *size)
    assert ddf.abs().max() < 3, "an untrained network is nearly the identity"


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_reaches_every_parameter(variant):
    torch.manual_seed(0)
    network = PWCNet(**SMALL, **VARIANTS[variant])
    fields = PyramidInferer()(torch.rand(1, 2, 40, 48), network)
    finest = network.finest
    assert [tuple(f.shape[2:]) for f in fields] == [(40 >> k, 48 >> k) for k in range(3, finest - 1, -1)]
    loss = MultiScaleFlowLoss([1.0] * len(fields), finest)
    loss(fields, torch.full((1, 2, 40, 48), 1.5)).backward()
    missed = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missed


def test_field_and_finest_level_agree():
    torch.manual_seed(0)
    network = PWCNet(**SMALL, contexts=[2, 3])
    image = torch.rand(1, 2, 32, 48)
    with torch.no_grad():
        finest, ddf = network(image, pyramid=True)[-1], network(image)
    pooled = torch.nn.functional.avg_pool2d(ddf, 4)
    slope = float((pooled * finest).sum() / finest.square().sum())
    assert 0.4 < slope < 1.1, "both in pixels of the image; interpolation smooths"


def texture(rng, size):
    noise = ndimage.gaussian_filter(rng.standard_normal((size + 32, size + 32)), 1.5)
    return torch.tensor(noise / noise.std() * 0.15 + 0.5, dtype=torch.float32)


def shifted_pairs(rng, count, size=64, reach=3):
    """Pairs whose moving image is the fixed one shifted by whole pixels, and the field that undoes it."""
    images, fields = [], []
    for _ in range(count):
        whole, (i, j) = texture(rng, size), rng.integers(-reach, reach + 1, 2)
        fixed = whole[16 : 16 + size, 16 : 16 + size]
        moving = whole[16 - i : 16 - i + size, 16 - j : 16 - j + size]
        images.append(torch.stack([moving, fixed]))
        fields.append(torch.tensor([i, j], dtype=torch.float32)[:, None, None].expand(2, size, size))
    return torch.stack(images), torch.stack(fields)


def test_learns_translations_in_a_few_steps():
    """The sign and the unit: whatever the network sees of a shift, it must give the contract's field."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network, loss = PWCNet(**SMALL, contexts=[2, 3]), MultiScaleFlowLoss([0.005, 0.01])
    optimiser = torch.optim.Adam(network.parameters(), lr=4e-3)
    image, field = shifted_pairs(rng, 16)
    inner = torch.zeros(1, 1, 64, 64)
    inner[..., 8:-8, 8:-8] = 1
    assert (warp(image[:, :1], field) - image[:, 1:])[..., 8:-8, 8:-8].abs().max() < 1e-5, "the truth is true"
    start = endpoint_error(torch.zeros_like(field), field).mean()
    for _ in range(40):
        image, field = shifted_pairs(rng, 8)
        optimiser.zero_grad()
        loss(network(image, pyramid=True), field, inner.expand(8, -1, -1, -1)).backward()
        optimiser.step()
    image, field = shifted_pairs(rng, 16)
    with torch.no_grad():
        error = endpoint_error(network(image), field, inner.expand(16, -1, -1, -1)).mean()
    assert error < 0.5 * start


@pytest.mark.parametrize(
    "options, words",
    [
        ({"finest": 0}, "finest level 0"),
        ({"finest": 7}, "levels 1 to 6"),
        ({"contexts": [1]}, "flow levels, 2 to 6"),
        ({"context": (8, 8)}, "expected 6"),
    ],
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(InputError, match=words):
        PWCNet(**options)


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (1, 2, 64), (1, 2, 16, 16, 16)])
def test_ill_shaped(shape):
    with pytest.raises(ValueError, match=r"expected \[B, 2, H, W\]"):
        PWCNet(**SMALL)(torch.zeros(shape))


def test_the_evidence_is_what_the_estimates_were_made_from():
    torch.manual_seed(0)
    network = PWCNet(**SMALL).eval()
    with torch.no_grad():
        for up in network.ups.values():
            up[0].weight *= 20  # so that the warping counts
    image = torch.rand(2, 2, 32, 48)
    with torch.no_grad():
        plain, fields = network(image, pyramid=True), PyramidInferer(evidence=True)(image, network)
        maps = network.feature_maps(image)
        costs = (2 * network.radius + 1) ** 2
        for number, (field, alone) in enumerate(zip(fields, plain, strict=True)):
            level = network.levels - number
            assert field.shape[1] == 4 + costs and torch.equal(field[:, :2], alone)
            moving, fixed = maps[level - 1]
            start = field[:, 2:4]
            assert bool(start.abs().max() > 0) == (number > 0)
            moving = warp(moving, start / 2**level, padding="zeros")
            assert torch.allclose(network._cost(fixed, moving), field[:, 4:], atol=1e-5)
    features = FeatureInferer(2)(image, network)
    assert len(features) == 2 and torch.equal(features[1], torch.cat(maps[1], 1))
