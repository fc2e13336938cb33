"""Start weights of a PWC-Net from another's: what both have is the same afterwards."""

import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.pwc_net import PWCNet
from cardiac_motion.networks.pwc_start import estimator_channels, start_from, start_weights
from cardiac_motion.networks.weights import save_weights

SMALL = {"pyramid": [4, 6, 8], "estimator": [8, 6], "context": [4] * 6, "radius": 2, "unit": 1.0}


def network(seed=0, **changes):
    torch.manual_seed(seed)
    return PWCNet(**{**SMALL, **changes}).eval()


def test_coarse_levels_say_the_same_after_a_level_is_added(tmp_path):
    coarse, fine = network(finest=2, contexts=[2, 3]), network(1, finest=1, contexts=[1, 2, 3])
    save_weights(coarse, tmp_path / "coarse.pt")
    start_from(fine, network(2, finest=2, contexts=[2, 3]), tmp_path / "coarse.pt")
    image = torch.rand(1, 2, 32, 32)
    with torch.no_grad():
        before, after = coarse(image, pyramid=True), fine(image, pyramid=True)
    for old, new in zip(before, after[:-1], strict=True):
        assert torch.allclose(old, new, atol=5e-3)  # written in half precision
    assert after[-1].shape[2:] == (16, 16)


def test_a_copied_level_finds_in_its_own_pixels_what_the_other_found_in_its():
    """The same costs and a flow half as large in pixels give features as before and half of the flow."""
    coarse, fine = network(finest=2, contexts=[2, 3]), network(1, finest=1, contexts=[1, 2, 3])
    fine.load_state_dict(start_weights(fine, coarse, coarse.state_dict()))
    costs, flow, seen = torch.rand(1, 25, 8, 8), torch.rand(1, 2, 8, 8), torch.rand(1, 2, 8, 8)
    features = [torch.zeros(1, 6, 8, 8), torch.rand(1, 4, 8, 8)]  # of levels 2 and 1
    found = []
    with torch.no_grad():
        for net, level, fixed, scale in ((coarse, "2", features[0], 1.0), (fine, "1", features[1], 0.5)):
            inner, field = net.estimators[level](torch.cat([costs, fixed, flow * scale, seen], 1))
            found.append((inner[:, :14], field + net.contexts[level](inner)))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6) and found[0][0].abs().max() > 0.1
    assert torch.allclose(found[0][1], 2 * found[1][1], atol=1e-5) and found[0][1].abs().max() > 0.01


def test_what_a_network_has_more_counts_nothing_at_first():
    plain = network(finest=1, contexts=[1], warping=False)
    more = network(1, finest=1, contexts=[1], warping=False, propagate=True)
    more.load_state_dict(start_weights(more, plain, plain.state_dict()))
    image = torch.rand(1, 2, 32, 32)
    with torch.no_grad():
        assert torch.allclose(plain(image), more(image), atol=1e-5)


def test_channels_are_counted_as_the_layers_take_them():
    for changes in ({}, {"propagate": True}):
        net = network(finest=1, **changes)
        for level in (1, 2, 3):
            layers = net.estimators[str(level)].layers
            for k, layer in enumerate(layers):
                assert layer[0].in_channels == len(estimator_channels(net, level, k))
            assert net.estimators[str(level)].flow.in_channels == len(estimator_channels(net, level, len(layers)))


def test_other_widths_are_refused(tmp_path):
    other = network(estimator=[8, 4])
    with pytest.raises(InputError, match="widths must be the same"):
        start_weights(network(), other, other.state_dict())
    save_weights(other, tmp_path / "other.pt")
    with pytest.raises(InputError, match="weights of another network"):
        start_from(network(), network(), tmp_path / "other.pt")
    with pytest.raises(InputError, match="no such weights"):
        start_from(network(), network(), tmp_path / "none.pt")
