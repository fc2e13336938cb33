import pytest
import torch

from common.fields import ddf as fields
from common.fields.regularity import folding, gradient, jacobian_determinant


@pytest.mark.parametrize("dims", [2, 3])
def test_jacobian_of_an_affine_motion(dims):
    size = (9, 10, 11)[:dims]
    torch.manual_seed(0)
    matrix = 0.2 * torch.randn(dims, dims)
    ddf = torch.einsum("ij,bj...->bi...", matrix, fields.identity_grid(size, torch.zeros(1)))
    expected = torch.linalg.det(torch.eye(dims) + matrix)
    torch.testing.assert_close(jacobian_determinant(ddf), expected.expand(1, *size), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradient(ddf)[0, :, :, 3, 4].reshape(dims, dims, -1)[..., 0], matrix, atol=1e-4, rtol=0)


def test_folding_counts_the_mirrored_part():
    ddf = torch.zeros(1, 2, 20, 20)
    ddf[:, 1, :, 10:] = -2 * torch.arange(10.0)  # columns run backwards from 10 on
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 12:] = 1
    assert folding(ddf, mask) == 1
    assert 0.4 < folding(ddf) < 0.6
    assert folding(torch.zeros(1, 2, 9, 9)) == 0
