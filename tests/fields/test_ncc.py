import pytest
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss

from cardiac_motion.fields.ncc import EPS, LocalNCCLoss, box_sum, lncc2, local_ncc, masked_mean, window_mask


def ncc_by_loop(fixed, warped, radius, eps=EPS):
    """Eq. 3 of NMSR window by window, in float64."""
    dims = fixed.dim() - 2
    fixed, warped = fixed.double(), warped.double()
    for axis in range(2, 2 + dims):
        fixed, warped = (x.unfold(axis, 2 * radius + 1, 1) for x in (fixed, warped))
    fixed, warped = (x.flatten(2 + dims) for x in (fixed, warped))
    fixed, warped = (x - x.mean(-1, keepdim=True) for x in (fixed, warped))
    return (fixed * warped).mean(-1) ** 2 / ((fixed.square().mean(-1) + eps) * (warped.square().mean(-1) + eps))


def images(size, seed=0):
    torch.manual_seed(seed)
    fixed = torch.rand(2, 1, *size)
    return fixed, 0.5 * fixed + 0.3 * torch.rand_like(fixed)


@pytest.mark.parametrize(
    "size, radius", [((31, 40), 6), ((25, 22), 10), ((12, 9), 1), ((14, 16, 13), 2), ((9, 9, 9), 4)]
)
def test_map_is_the_loop(size, radius):
    fixed, warped = images(size)
    found = local_ncc(fixed, warped, radius)
    assert found.shape == (2, 1, *(n - 2 * radius for n in size))
    torch.testing.assert_close(found.double(), ncc_by_loop(fixed, warped, radius), atol=1e-5, rtol=0)


@pytest.mark.parametrize("level, noise", [(0.0, 0.0), (0.8, 0.0), (0.8, 1e-3), (1.0, 1e-3), (0.3, 1 / 255)])
def test_flat_regions_stay_true_in_float32(level, noise):
    fixed, warped = images((40, 50))
    fixed[..., 10:, :] = level + noise * torch.rand_like(fixed[..., 10:, :])
    warped[..., 12:] = level + noise * torch.rand_like(warped[..., 12:])
    found = local_ncc(fixed, warped, 6)
    assert found.min() >= 0 and found.max() <= 1
    assert (found - ncc_by_loop(fixed, warped, 6)).abs().max() < 1.2e-4


def test_black_image_scores_nothing_and_pulls_nowhere():
    black = torch.zeros(1, 1, 20, 20, requires_grad=True)
    loss = LocalNCCLoss(3)(black, torch.zeros(1, 1, 20, 20))
    loss.backward()
    assert loss == 0
    assert torch.equal(black.grad, torch.zeros_like(black))


def test_linear_change_of_intensity_scores_one():
    fixed, _ = images((24, 24))
    assert local_ncc(fixed, 0.2 + 0.7 * fixed, 4).min() > 0.9999
    assert local_ncc(fixed, 0.9 - 0.7 * fixed, 4).min() > 0.9999  # squared: contrast may be inverted


@pytest.mark.parametrize("size, radius", [((10, 11), 2), ((7, 8, 7), 1)])
@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)])
def test_gradient_is_that_of_finite_differences(size, radius, sides):
    fixed, warped = (x.double().requires_grad_(s) for x, s in zip(images(size), sides, strict=True))
    assert torch.autograd.gradcheck(lambda f, w: local_ncc(f, w, radius, 1e-3), (fixed, warped))


def test_monai_agrees_inside():
    fixed, warped = images((40, 40))
    radius = 3
    whole = LocalNormalizedCrossCorrelationLoss(2, 2 * radius + 1, smooth_nr=0, smooth_dr=1e-7, reduction="none")
    monai = -window_mask(whole(warped, fixed), radius)
    found = local_ncc(fixed, warped, radius)
    torch.testing.assert_close(found, monai, atol=1e-3, rtol=0)


def test_mask_decides_by_the_windows_centre():
    fixed, warped = images((30, 30))
    mask = torch.zeros(1, 1, 30, 30, dtype=torch.bool)
    mask[..., 10:14, 8:20] = True
    expected = local_ncc(fixed, warped, 4)[:, :, 6:10, 4:16].flatten(1).mean(1)
    torch.testing.assert_close(lncc2(fixed, warped, 4, mask), expected)
    torch.testing.assert_close(LocalNCCLoss(4)(warped, fixed, mask), -expected.mean())
    assert masked_mean(fixed, torch.zeros_like(mask)).isnan().all()


def test_a_mask_without_a_windows_centre_pulls_nowhere():
    """At a coarse scale a small mask at the edge covers none: NaN there would be sampled as a place later."""
    fixed, warped = torch.rand(2, 1, 9, 9), torch.rand(2, 1, 9, 9, requires_grad=True)
    mask = torch.zeros(2, 1, 9, 9)
    mask[0, 0, 7:, 7:] = 1
    mask[1] = 1
    loss = LocalNCCLoss(3)(warped, fixed, mask)
    loss.backward()
    assert torch.isclose(loss, LocalNCCLoss(3)(warped[1:], fixed[1:]) / 2)
    assert warped.grad[0].abs().max() == 0 and warped.grad[1].abs().max() > 0 and warped.grad.isfinite().all()


@pytest.mark.parametrize("width", [1, 3, 5, 7, 9, 13, 21, 31])
def test_box_sum(width):
    x = torch.rand(1, 2, 40, 33, dtype=torch.float64)
    expected = torch.nn.functional.avg_pool2d(x, width, 1) * width**2
    torch.testing.assert_close(box_sum(x, width), expected)


@pytest.mark.parametrize(
    "fixed, warped, radius, reason",
    [
        ((1, 1, 9, 9), (1, 1, 9, 8), 2, "same shape"),
        ((1, 1, 9), (1, 1, 9), 2, "2D or 3D"),
        ((1, 1, 9, 9), (1, 1, 9, 9), 5, "do not fit"),
        ((1, 1, 9, 9), (1, 1, 9, 9), 0, "do not fit"),
    ],
)
def test_ill_shaped(fixed, warped, radius, reason):
    with pytest.raises(ValueError, match=reason):
        local_ncc(torch.zeros(fixed), torch.zeros(warped), radius)


@pytest.mark.parametrize(
    "size, radius", [((20, 23), 4), ((21, 18), 1), ((19, 20), 3), ((9, 9), 4), ((12, 15, 13), 2), ((7, 8, 9), 1)]
)
def test_every_second_window_has_the_same_value_and_gradient(size, radius):
    pair = [x.double().requires_grad_() for x in images(size)]
    second = (..., *(slice(None, None, 2),) * len(size))
    whole, found = local_ncc(*pair, radius)[second], local_ncc(*pair, radius, stride=2)
    torch.testing.assert_close(found, whole, atol=1e-12, rtol=0)
    pull = torch.rand_like(whole)
    wanted, given = (torch.autograd.grad(values, pair, pull) for values in (whole, found))
    torch.testing.assert_close(given, wanted, atol=1e-10, rtol=0)


def test_the_mask_of_every_second_window():
    mask = torch.zeros(1, 1, 12, 13)
    mask[..., 4, 6] = 1  # the centre of a window that begins at (2, 4)
    covered = window_mask(mask, 2, stride=2)
    assert covered.shape == local_ncc(mask, mask, 2, stride=2).shape
    assert covered.nonzero().tolist() == [[0, 0, 1, 2]]
    mask[..., 4, 6], mask[..., 5, 6] = 0, 1  # between windows
    assert not window_mask(mask, 2, stride=2).any()


def test_windows_are_at_every_pixel_or_every_second_one():
    with pytest.raises(ValueError, match="1 or 2"):
        local_ncc(*images((12, 12)), 2, stride=3)
