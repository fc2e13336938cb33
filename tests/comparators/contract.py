"""What every method of the contract does at any size, and in the dark."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cardiac_motion.fields.ddf import warp


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


def check_known_displacement(network, size):
    """A shift of its own along each axis, and an analytic bend, come back in voxels, pulling back; a field of the
    other sign, or with its axes exchanged, would be far off."""
    axes = len(size)
    moving = texture(size)
    grid = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij"))
    shift = torch.tensor([1.6, -1.1, 0.5][:axes]).view(axes, *(1,) * axes)
    bend = torch.stack(
        [0.7 * torch.sin(2 * torch.pi * grid[(i + 1) % axes] / size[(i + 1) % axes]) for i in range(axes)]
    )
    ddf = (shift + bend)[None]
    found = network(torch.cat([moving, warp(moving, ddf)], 1))
    assert found.shape == ddf.shape and found.dtype == torch.float32
    inner = (..., *(slice(5, -5) for _ in size))
    size_of_it = ddf[inner].square().sum(1).sqrt().mean()
    assert (found - ddf)[inner].square().sum(1).sqrt().mean() < 0.3 * size_of_it
    assert (found[inner] - ddf[inner]).mean(tuple(range(2, axes + 2))).abs().max() < 0.2, "the shift of each axis"
