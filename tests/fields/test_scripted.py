"""The planes that TorchScript compiles are the general functions in two dimensions, and script."""

import pytest
import torch

from cardiac_motion.fields.ddf import rescale, warp
from cardiac_motion.fields.scripted import rescale_plane, warp_plane


@pytest.mark.parametrize("size", [(12, 9), (1, 7)])
def test_warping_is_that_of_any_dimension(size):
    rng = torch.Generator().manual_seed(0)
    image, ddf = torch.rand(2, 3, *size, generator=rng), 4 * torch.randn(2, 2, *size, generator=rng)
    found = warp_plane(image, ddf)
    torch.testing.assert_close(found, warp(image, ddf), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.jit.script(warp_plane)(image, ddf), found)


@pytest.mark.parametrize("size", [(24, 18), (6, 20), (12, 9)])
def test_rescaling_is_that_of_any_dimension(size):
    ddf = torch.randn(2, 2, 12, 9, generator=torch.Generator().manual_seed(0))
    found = rescale_plane(ddf, *size)
    torch.testing.assert_close(found, rescale(ddf, size), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.jit.script(rescale_plane)(ddf, *size), found)
