"""The segmentation network: shapes, widths, and what its parts see."""

import pytest
import torch

from cardiac_motion.networks.segmentation_unet import SegmentationUNet
from cardiac_motion.ventricle.labels import LABELS


@pytest.mark.parametrize(("widths", "size"), [((4, 8), (10, 14)), ((4, 4, 8), (16, 24)), ((2, 2, 4, 8, 8), (32, 16))])
def test_logits_of_every_pixel(widths, size):
    network = SegmentationUNet(widths)
    logits = network(torch.rand(2, 1, *size))
    assert logits.shape == (2, 1 + len(LABELS), *size)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_papers_widths():
    """Østvik et al. 2018: 32 to 128 filters; every convolution of 3 × 3 without bias, a batch normalisation of two."""
    down = [(1, 32), (32, 32), (32, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 128)]
    up = [(256, 128), (128, 128), (192, 64), (64, 64), (96, 32), (32, 32), (64, 32), (32, 32)]
    expected = sum(9 * a * b + 2 * b for a, b in down + up) + 32 * 4 + 4
    assert sum(p.numel() for p in SegmentationUNet().parameters()) == expected


def test_it_sees_far_and_stays_in_place():
    """A pixel's logits depend on what is within reach of the coarsest level, and most on itself."""
    torch.manual_seed(0)
    network = SegmentationUNet((4, 4, 8)).eval()
    image = torch.rand(1, 1, 64, 64, requires_grad=True)
    network(image)[0, :, 32, 32].sum().backward()
    seen = image.grad[0, 0].abs()
    rows = seen.amax(1).nonzero().flatten()
    assert 10 <= rows.min() <= 24 and 40 <= rows.max() < 54
    middle = (seen.sum(1) * torch.arange(64)).sum() / seen.sum()
    assert abs(middle - 32) < 2


@pytest.mark.parametrize("shape", [(1, 2, 16, 16), (1, 16, 16), (1, 1, 18, 16), (1, 1, 16, 18)])
def test_ill_shaped(shape):
    with pytest.raises(ValueError, match=r"expected \[B, 1, H, W\] with multiples of 4"):
        SegmentationUNet((4, 4, 8))(torch.zeros(shape))


@pytest.mark.parametrize("built", [{"widths": (8,)}, {"widths": (8, 0)}, {"classes": 1}])
def test_ill_built(built):
    with pytest.raises(ValueError, match="at least two widths and two classes"):
        SegmentationUNet(**built)
