import math

import pytest
import torch

from cardiac_motion.fields import ddf as fields
from cardiac_motion.fields.regularity import folding_fraction, gradient, jacobian_determinant, log_jacobian_sd


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
    assert folding_fraction(ddf, mask) == 1
    assert 0.4 < folding_fraction(ddf) < 0.6
    assert folding_fraction(torch.zeros(1, 2, 9, 9)) == 0


def test_a_field_that_squeezes_to_nothing_folds():
    ddf = torch.zeros(1, 2, 8, 8)
    ddf[:, 0] = -torch.arange(8.0)[:, None]  # every row goes to row 0: the determinant is 0
    assert folding_fraction(ddf) == 1


def test_spread_of_the_logarithm_of_the_determinant():
    """Half of the image stretched along its rows by e, the other half by 1/e: ln det is ±1, its deviation 1."""
    ddf = torch.zeros(2, 2, 12, 12)
    rows = torch.arange(12.0)[:, None]
    ddf[0, 0, :, :6], ddf[0, 0, :, 6:] = rows * (math.e - 1), rows * (math.exp(-1) - 1)
    columns = torch.ones(1, 1, 12, 12)
    columns[..., 4:8] = 0  # the derivative across the seam counts nowhere
    found = log_jacobian_sd(ddf, columns)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0]), atol=1e-4, rtol=0)
    assert log_jacobian_sd(ddf[1:]).tolist() == [0.0]
    offset = math.log((math.e + 3) / (math.exp(-1) + 3)) / 2  # two halves: half of their difference
    torch.testing.assert_close(log_jacobian_sd(ddf, columns, 3), torch.tensor([offset, 0.0]), atol=1e-4, rtol=0)


def test_folds_count_as_a_thousandth():
    ddf = torch.zeros(1, 2, 12, 12)
    ddf[0, 0, :, 6:] = -2 * torch.arange(12.0)[:, None]
    mask = torch.ones(1, 1, 12, 12)
    mask[..., 4:8] = 0
    assert log_jacobian_sd(ddf, mask).item() == pytest.approx(math.log(1000) / 2, rel=1e-4)
    volumes = torch.zeros(1, 3, 6, 6, 6)
    assert log_jacobian_sd(volumes).tolist() == [0.0]
