import math

import itk
import numpy as np
import pytest
import torch

from cardiac_motion.fields import ddf as fields


def smooth_field(size, amplitude, seed=0, sigma=6.0):
    torch.manual_seed(seed)
    noise = fields.smooth(torch.randn(1, len(size), *size), sigma)
    return amplitude * noise / noise.abs().max()


def smooth_image(size, seed=1):
    torch.manual_seed(seed)
    image = fields.smooth(torch.rand(1, 1, *size), 1.5)
    return (image - image.min()) / (image.max() - image.min())


def itk_warp(image, ddf):
    """The same by ITK: (i, j, k) are its last to first index, so components and axes turn round."""
    moving = itk.image_from_array(image[0, 0].numpy())
    vectors = ddf[0].flip(0).movedim(0, -1).contiguous().numpy()
    field = itk.image_from_array(vectors, ttype=itk.Image[itk.Vector[itk.F, image.dim() - 2], image.dim() - 2])
    return torch.from_numpy(itk.array_from_image(itk.warp_image_filter(
        moving, displacement_field=field, output_parameters_from_image=moving
    )))  # fmt: skip


@pytest.mark.parametrize("size", [(48, 57), (24, 30, 20)])
def test_warp_is_itks(size):
    image, ddf = smooth_image(size), smooth_field(size, 3.0)
    ours, theirs = fields.warp(image, ddf)[0, 0], itk_warp(image, ddf)
    inside = tuple(slice(4, n - 4) for n in size)  # ITK puts 0 where the moving image ends
    assert (ours[inside] - theirs[inside]).abs().max() < 1e-4


def test_warp_pulls_back():
    image = torch.zeros(1, 1, 8, 9)
    image[0, 0, 5, 3] = 1
    ddf = torch.zeros(1, 2, 8, 9)
    ddf[:, 0], ddf[:, 1] = 2, -1
    assert fields.warp(image, ddf)[0, 0, 3, 4] == 1  # warped(3, 4) = moving(3 + 2, 4 − 1)


def test_warp_gradient():
    image = torch.rand(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    ddf = (0.3 + 0.2 * torch.rand(1, 2, 6, 7, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(fields.warp, (image, ddf))


def test_compose_is_warping_twice():
    size = (64, 64)
    grid = fields.identity_grid(size, torch.zeros(1))
    image = (0.5 + 0.25 * (grid[:, 0] / 5).sin() + 0.25 * (grid[:, 1] / 4).cos())[:, None]
    first, second = torch.zeros(1, 2, *size), torch.zeros(1, 2, *size)
    first[:, 0], second[:, 1] = 4 * (grid[:, 1] / 10).sin(), 4 * (grid[:, 0] / 10).cos()
    twice = fields.warp(fields.warp(image, first), second)
    once = fields.warp(image, fields.compose(first, second))
    inside = (..., slice(8, -8), slice(8, -8))
    right = (twice - once)[inside].abs().max()
    swapped = (twice - fields.warp(image, fields.compose(second, first)))[inside].abs().max()
    assert right < 0.2 * swapped


def test_compose_of_translations_adds():
    a, b = torch.full((1, 2, 9, 9), 1.5), torch.full((1, 2, 9, 9), -0.5)
    torch.testing.assert_close(fields.compose(a, b), a + b)


def test_rescale_keeps_the_motion():
    """An affine motion, sampled on a coarse grid (pixel centres at (i + 1/2)·s − 1/2) and brought to the fine one."""
    size, scale = (40, 60), 0.25

    def affine(points):
        return torch.stack([0.05 * points[:, 0] - 0.02 * points[:, 1] + 1, 0.03 * points[:, 1] + 0.5], 1)

    fine = fields.identity_grid(size, torch.zeros(1))
    coarse = (fields.identity_grid((10, 15), torch.zeros(1)) + 0.5) / scale - 0.5
    found = fields.rescale(affine(coarse) * scale, size)
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(found[inside], affine(fine)[inside], atol=1e-4, rtol=1e-4)
    assert fields.rescale(fine, size) is fine


def test_inverse_undoes():
    ddf = smooth_field((50, 60), 3.0)
    rest = fields.compose(ddf, fields.invert(ddf))[..., 6:-6, 6:-6]
    assert rest.abs().max() < 0.01


def test_exponential_of_a_rotation_generator():
    """exp of v = A·x, A skew, is the rotation by its angle (Arsigny et al. 2006)."""
    size, angle = (41, 41), 0.3
    grid = fields.identity_grid(size, torch.zeros(1)) - 20
    velocity = angle * torch.stack([-grid[:, 1], grid[:, 0]], 1)
    c, s = math.cos(angle), math.sin(angle)
    rotated = torch.stack([c * grid[:, 0] - s * grid[:, 1], s * grid[:, 0] + c * grid[:, 1]], 1) - grid
    error = (fields.exponentiate(velocity, 8) - rotated)[..., 12:29, 12:29]
    assert error.abs().max() < 0.02
    back = fields.compose(fields.exponentiate(velocity, 8), fields.exponentiate(-velocity, 8))
    assert back[..., 12:29, 12:29].abs().max() < 0.01


def test_smooth_is_the_gaussian_and_keeps_constants():
    impulse = torch.zeros(1, 2, 31, 31)
    impulse[..., 15, 15] = 1
    seen = fields.smooth(impulse, 2.0)
    assert abs(seen.sum() / 2 - 1) < 1e-5
    assert abs((seen[0, 0].sum(0) * (torch.arange(31) - 15).square()).sum() - 4.0) < 0.1
    torch.testing.assert_close(fields.smooth(torch.ones(1, 3, 8, 8, 8), 1.0), torch.ones(1, 3, 8, 8, 8))


@pytest.mark.parametrize("shape, sigma", [((2, 2, 20, 23), 1.0), ((1, 3, 6, 9, 5), 2.0), ((1, 1, 2, 1), 0.4)])
def test_smooth_and_its_gradient_are_the_product_with_a_banded_matrix(shape, sigma):
    field = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.softmax(-offsets.square() / (2 * sigma**2), 0)
    wanted = field
    for axis in range(2, field.dim()):
        n = shape[axis]
        columns = (torch.arange(n)[:, None] + offsets.long()).clamp(0, n - 1)
        matrix = torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, columns, kernel.expand(n, -1))
        wanted = (wanted.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    found, pull = fields.smooth(field, sigma), torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    given, right = (torch.autograd.grad(values, field, pull)[0] for values in (found, wanted))
    torch.testing.assert_close(given, right, atol=1e-12, rtol=0)


def _bumps(size: tuple[int, int], height: float) -> torch.Tensor:
    row, column = torch.meshgrid(*(torch.linspace(0, 3.14159, n) for n in size), indexing="ij")
    return height * torch.stack([row.sin() * column.sin(), row.sin() * (2 * column).sin()])[None]


def test_quick_exponential_is_the_exponential_and_its_gradient_points_the_same_way():
    velocity = _bumps((40, 48), 3.0).requires_grad_()
    found, right = fields.exponentiate_quickly(velocity), fields.exponentiate(velocity, 9)
    assert (found - right).abs().max() < 0.07  # of 4.2 pixels: the first step is half a pixel
    pull = _bumps((40, 48), 1.0).flip(1)
    given, wanted = (torch.autograd.grad(ddf, velocity, pull)[0].flatten() for ddf in (found, right))
    assert torch.cosine_similarity(given, wanted, 0) > 0.99
    assert abs(given.norm() / wanted.norm() - 1) < 0.1


def test_quick_exponential_takes_no_more_squarings_than_it_may():
    velocity = _bumps((40, 48), 30.0)
    torch.testing.assert_close(fields.exponentiate_quickly(velocity, 2), fields.exponentiate(velocity, 2))
    still = torch.zeros(1, 2, 8, 8)
    assert torch.equal(fields.exponentiate_quickly(still), still)


@pytest.mark.parametrize("size", [(6, 7), (4, 5, 6), (1, 5)])
def test_points_are_normalised_with_their_gradient(size):
    image = torch.rand(1, 1, *size, dtype=torch.float64)
    points = torch.rand(1, len(size), 9, *(1,) * (len(size) - 1), dtype=torch.float64)
    points = (points * (torch.tensor(size) - 1).view(1, -1, *(1,) * len(size)).clamp(min=0.5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: fields.sample(image, p), points)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 2, 8, 9), (1, 2, 8, 8, 8)])
def test_field_must_fit_the_image(shape):
    with pytest.raises(ValueError, match="needs a field with"):
        fields.warp(torch.zeros(1, 1, 8, 8), torch.zeros(shape))


def test_rescale_follows_each_axis_and_leaves_no_other_channel():
    ddf = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1, 1).expand(2, 3, 4, 6, 8)
    found = fields.rescale(ddf, (8, 3, 8))
    assert found.shape == (2, 3, 8, 3, 8)
    assert found[0, :, 0, 0, 0].tolist() == [2.0, 1.0, 3.0]
    with pytest.raises(ValueError):
        fields.rescale(ddf, (8, 3))


def test_downsample_takes_means_of_areas():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert fields.downsample(image, (2, 2)).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert fields.downsample(image, [4, 2]).tolist() == [[[[0.5, 2.5], [4.5, 6.5], [8.5, 10.5], [12.5, 14.5]]]]
    assert fields.downsample(image, (4, 4)) is image
    volume = torch.arange(64.0).view(1, 1, 4, 4, 4)
    assert fields.downsample(volume, (2, 2, 2)).flatten()[0] == volume[..., :2, :2, :2].mean()


def test_inverse_stops_where_it_no_longer_changes(monkeypatch):
    calls = []
    warp = fields.warp
    monkeypatch.setattr(fields, "warp", lambda *given: calls.append(1) or warp(*given))
    fields.invert(torch.full((1, 2, 8, 8), 0.7))
    assert len(calls) == 1, "the inverse of a translation is where the iteration begins"
    ddf = smooth_field((30, 30), 2.0)
    rest = {}
    for iterations in (1, 2, 50):
        calls.clear()
        rest[iterations] = fields.compose(ddf, fields.invert(ddf, iterations))[..., 6:-6, 6:-6].abs().max()
        assert len(calls) - 1 == iterations or (iterations == 50 and 2 < len(calls) < 20)
    assert rest[50] < rest[2] < rest[1]
    calls.clear()
    fields.invert(ddf, tolerance=0.1)
    assert 1 < len(calls) < 8


def test_a_field_between_grids_leads_to_the_same_millimetres():
    """Fixed: 2 mm voxels turned by 30 degrees. Moving: 1 × 1.5 × 3 mm, elsewhere. Both by whole matrices, in NumPy."""
    turn, c, s = np.eye(4), math.cos(math.pi / 6), math.sin(math.pi / 6)
    turn[:2, :2] = [[c, -s], [s, c]]
    fixed = turn @ np.diag([2.0, 2.0, 2.0, 1.0])
    fixed[:3, 3] = [5.0, -3.0, 1.0]
    moving = np.diag([1.0, 1.5, 3.0, 1.0])
    moving[:3, 3] = [-2.0, 4.0, 7.0]
    ddf = torch.randn(1, 3, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = fields.change_grids(ddf, fixed, moving)
    assert found.dtype == torch.float64 and found.shape == ddf.shape
    for voxel in np.ndindex(3, 4, 5):
        to = moving @ np.append(np.array(voxel) + ddf[(0, slice(None), *voxel)].numpy(), 1)
        np.testing.assert_allclose(
            fixed @ np.append(np.array(voxel) + found[(0, slice(None), *voxel)].numpy(), 1), to, atol=1e-9
        )


def test_a_field_between_grids_is_not_rounded_as_a_place():
    """At voxel 50 a float32 is 4e-6 wide, a displacement of a hundredth far less."""
    ddf = 0.01 * torch.randn(1, 3, 60, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fields.change_grids(ddf, np.eye(4), np.eye(4)), ddf)
    moving = np.eye(4)
    moving[0, 3] = 0.125
    found = fields.change_grids(ddf, np.eye(4), moving).double()
    expected = ddf.double() + torch.tensor([0.125, 0.0, 0.0]).view(1, 3, 1, 1, 1)
    assert (found - expected).abs().max() < 2e-8
