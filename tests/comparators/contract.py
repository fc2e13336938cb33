"""What every method of the contract does at any size, and in the dark."""

import numpy as np
import pytest
import torch
from scipy import ndimage


def check_contract(network):
    """``[B, 2, H, W]`` to a finite float32 field of any size, zero in the dark; another shape is refused."""
    for size in ((40, 33), (70, 64)):
        ddf = network(torch.rand(2, 2, *size))
        assert ddf.shape == (2, 2, *size) and ddf.dtype == torch.float32 and torch.isfinite(ddf).all()
    assert network(torch.zeros(1, 2, 64, 64)).abs().max() < 1e-3, "nothing moves in the dark"
    with pytest.raises(ValueError, match=r"expected \[B, 2, H, W\]"):
        network(torch.zeros(1, 1, 64, 64))


def texture(size, seed=0):
    """A smooth random image ``[1, 1, *size]`` in [0, 1]."""
    noise = np.random.default_rng(seed).random(size)
    smooth = ndimage.gaussian_filter(noise, 2.0)
    return torch.tensor((smooth - smooth.min()) / (smooth.max() - smooth.min()), dtype=torch.float32)[None, None]
