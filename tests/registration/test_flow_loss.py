"""The losses of known motion against their formulas, and the endpoint error."""

import math

import pytest
import torch

from cardiac_motion.registration.flow_loss import MultiScaleFlowLoss, PassesFlowLoss, endpoint_error, endpoint_error_mm


def levels(field, *factors):
    return [torch.nn.functional.avg_pool2d(field, f) for f in factors]


def test_truth_at_every_level_costs_nothing():
    rng = torch.Generator().manual_seed(0)
    field = torch.randn(2, 2, 32, 48, generator=rng)
    loss = MultiScaleFlowLoss([0.5, 1.0, 2.0], eps=0.0)
    assert float(loss(levels(field, 16, 8, 4), field)) == pytest.approx(0, abs=1e-3)


def test_formula():
    """An error of (3, 4) pixels everywhere is 5 at each pixel of a level."""
    field = torch.zeros(2, 2, 32, 32)
    off = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    fields = [f + off for f in levels(field, 8, 4)]
    assert float(MultiScaleFlowLoss([0.1, 0.2])(fields, field)) == pytest.approx(5 * (0.1 * 64 + 0.2 * 16), rel=1e-5)
    assert float(MultiScaleFlowLoss([0.1, 0.2], unit=5)(fields, field)) == pytest.approx(0.1 * 64 + 0.2 * 16, rel=1e-5)
    assert float(MultiScaleFlowLoss([0.1, 0.2], reduction="mean")(fields, field)) == pytest.approx(1.5, rel=1e-5)
    assert float(MultiScaleFlowLoss(reduction="mean")(field + off, field)) == pytest.approx(5, rel=1e-5)


def test_only_the_mask_counts():
    field = torch.zeros(1, 2, 16, 16)
    field[..., 8:, :] = 100.0
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :6, :] = 1
    estimate = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = MultiScaleFlowLoss([1.0], eps=0.0)([estimate + 1], field, mask)
    assert loss.item() == pytest.approx(2**0.5 * (4 + 4 * 0.5)), "the second row of pixels is half valid"
    loss.backward()
    assert estimate.grad[..., 2:, :].abs().max() == 0 < estimate.grad[..., :2, :].abs().min()


def test_padded_levels_meet_an_image_of_any_size():
    field = torch.ones(1, 2, 20, 37)
    fields = [torch.ones(1, 2, 4, 4), torch.ones(1, 2, 8, 10)]
    assert float(MultiScaleFlowLoss([1.0, 1.0], eps=0.0)([fields[0].repeat(1, 1, 1, 3), fields[1]], field)) < 1e-4


def test_gradient_is_finite_at_the_truth():
    estimate = torch.zeros(1, 2, 4, 4, requires_grad=True)
    MultiScaleFlowLoss([1.0])([estimate], torch.zeros(1, 2, 16, 16)).backward()
    assert torch.isfinite(estimate.grad).all()


@pytest.mark.parametrize("mask", [None, torch.ones(2, 1, 8, 8)])
def test_endpoint_error(mask):
    field = torch.zeros(2, 2, 8, 8)
    ddf = field + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert endpoint_error(ddf, field, mask).tolist() == pytest.approx([5, 5])
    spacing = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    assert endpoint_error_mm(ddf, field, torch.ones(2, 1, 8, 8), spacing).tolist() == pytest.approx([5, 6])
    assert endpoint_error(ddf, field, torch.zeros(2, 1, 8, 8)).isnan().all()


def test_what_does_not_fit():
    field = torch.zeros(1, 2, 16, 16)
    with pytest.raises(ValueError, match="2 weights for fields of 1"):
        MultiScaleFlowLoss([1.0, 1.0])([field], field)
    with pytest.raises(ValueError, match="does not cover"):
        MultiScaleFlowLoss([1.0])([torch.zeros(1, 2, 2, 2)], field)
    with pytest.raises(ValueError, match="sum or mean"):
        MultiScaleFlowLoss(reduction="median")


def test_passes_loss_adds_up():
    truth, mask = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    off = torch.zeros(1, 2, 4, 4)
    off[:, 0], off[:, 1] = 3.0, 4.0
    off[..., 2:] = 100.0
    loss = PassesFlowLoss(gamma=0.5, eps=0.0)
    assert float(loss([off, truth], truth, mask)) == pytest.approx(2.5)
    assert float(loss(off, truth, mask)) == pytest.approx(5.0)


def test_a_pair_counts_alike_however_much_of_it_is_valid():
    truth, mask = torch.zeros(2, 2, 4, 4), torch.ones(2, 1, 4, 4)
    mask[1, :, 1:] = 0
    off = torch.zeros(2, 2, 4, 4)
    off[0, 0], off[1, 0] = 1.0, 3.0
    assert float(PassesFlowLoss(eps=0.0)(off, truth, mask)) == pytest.approx(2.0)


def test_the_scale_learns_the_error_and_leaves_it_alone():
    truth = torch.zeros(1, 2, 8, 8)
    error = torch.full_like(truth, 0.3)
    mean, scale = error.clone().requires_grad_(), torch.zeros(1, 2, 8, 8, requires_grad=True)
    loss = PassesFlowLoss(likelihood=1.0, eps=0.0)
    loss(torch.cat([mean, scale], 1), truth).backward()
    alone = torch.autograd.grad(loss(mean, truth), mean)[0]
    torch.testing.assert_close(mean.grad, alone)
    best = torch.tensor(0.3).log().expand_as(scale).clone().requires_grad_()
    loss(torch.cat([error, best], 1), truth).backward()
    assert best.grad.abs().max() < 1e-6 < scale.grad.abs().min()


def test_errors_that_average_out_are_no_bias():
    truth = torch.zeros(1, 2, 64, 64)
    truth[:, 0] = 0.3
    checks = truth + 0.1 * (1 - 2 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2))
    loss, plain = (PassesFlowLoss(relative=0.2, bias=b, eps=1e-12) for b in (1.0, 0.0))
    shift = truth + 0.1
    assert float(plain(checks, truth)) == pytest.approx(float(plain(shift, truth)), rel=1e-4)
    assert float(loss(checks, truth) - plain(checks, truth)) < 0.01
    expected = 0.1 * 2**0.5 / (0.1 + 0.3)
    assert float(loss(shift, truth) - plain(shift, truth)) == pytest.approx(expected, rel=1e-3)


def test_windows_of_32_pixels_are_what_errors_average_out_over():
    """Stripes of 16: a window of 32 holds both kinds, but those at the border reach half out of the image."""
    truth = torch.zeros(1, 2, 64, 64)
    stripes = truth + 0.1 * (1 - 2 * (torch.arange(64) // 16 % 2))[:, None]
    loss, plain = (PassesFlowLoss(relative=0.2, bias=b, eps=1e-12) for b in (1.0, 0.0))
    whole, striped = (float(loss(error, truth) - plain(error, truth)) for error in (truth + 0.1, stripes))
    assert striped == pytest.approx(whole / 4, rel=1e-3)


def test_what_falls_short_on_average_is_drawn_out():
    """Two estimates of equal errors, one short of the truth and one beside it: the slope speaks of the first alone."""
    truth = torch.zeros(4, 2, 16, 16)
    truth[:, 0] = 1.0
    for error, slope in ((torch.tensor([-0.2, 0.0]), -0.2), (torch.tensor([0.0, 0.2]), 0.0)):
        loss = PassesFlowLoss(slope=4.0)
        estimate = (truth + error.view(1, 2, 1, 1)).requires_grad_()
        for _ in range(300):
            total = loss(estimate, truth)
        assert loss.shortfall.item() == pytest.approx(slope / 1.02, abs=0.01)
        plain = PassesFlowLoss()(estimate, truth)
        added = torch.autograd.grad(total - plain, estimate)[0]
        assert (added[:, 0].max() < 0) == (slope < 0), "its gradient makes the motion longer"
        assert added[:, 1].abs().max() == 0


def uniform(*components, size=(8, 8)):
    """Fields that are the same everywhere, ``[B, C, H, W]``, of ``components`` a pair."""
    return torch.tensor(components).view(len(components), -1, 1, 1).expand(-1, -1, *size).clone()


def test_passes_weigh_by_powers_of_gamma():
    truth = uniform((0.0, 0.0))
    passes = [uniform((float(n), 0.0)) for n in (1, 2, 5)]
    assert float(PassesFlowLoss(eps=0.0)(passes, truth)) == pytest.approx(0.36 * 1 + 0.6 * 2 + 5)
    assert float(PassesFlowLoss(eps=0.0)(passes, truth)) == float(PassesFlowLoss(gamma=0.6, eps=0.0)(passes, truth))
    assert float(PassesFlowLoss(eps=0.04)(truth, truth)) == pytest.approx(0.2)
    assert float(PassesFlowLoss()(truth, truth)) == pytest.approx(1e-3), "eps is 1e-6 squared pixels"


def test_pixels_of_half_a_weight_count_half():
    truth, off = uniform((0.0, 0.0)), uniform((1.0, 0.0))
    off[..., 4:, :] *= 4
    mask = torch.ones(1, 1, 8, 8)
    mask[..., 4:, :] = 0.5
    assert float(PassesFlowLoss(eps=0.0)(off, truth, mask)) == pytest.approx((1 + 0.5 * 4) / 1.5)
    assert float(PassesFlowLoss(eps=0.0)(off, truth, torch.zeros_like(mask))) == 0


def test_the_likelihood_is_laplace_s():
    truth, mean = uniform((1.0, -1.0)), uniform((1.3, -1.3))
    scale = uniform((0.5, 2.0)).log()
    found = PassesFlowLoss(eps=0.0, likelihood=0.5)([mean, torch.cat([mean, scale], 1)], truth)
    laplace = ((0.3 / 0.5 + math.log(0.5)) + (0.3 / 2 + math.log(2))) / 2
    assert float(found) == pytest.approx(1.6 * 0.3 * 2**0.5 + 0.5 * laplace, rel=1e-5)
    default = PassesFlowLoss(eps=0.0)(torch.cat([mean, scale], 1), truth)
    assert float(default) == pytest.approx(0.3 * 2**0.5 + 0.02 * laplace, rel=1e-5)


def test_errors_are_relative_to_each_pair_s_motion():
    truth = uniform((0.0, 3.0), (0.0, 0.0))
    mask = torch.ones(2, 1, 8, 8)
    mask[0, :, 4:] = 0
    truth[0, 1, 4:] = 100.0  # motion outside the mask
    off = truth + uniform((0.6, 0.8))
    found = PassesFlowLoss(eps=0.0, relative=0.5)(off, truth, mask)
    assert float(found) == pytest.approx((1 / 3.5 + 1 / 0.5) / 2, rel=1e-5)


def test_bias_is_of_what_is_valid_and_relative_to_half_the_unit():
    truth = uniform((0.0, 2.0), (0.0, 0.0), size=(64, 64))
    off = truth.clone()
    off[:, 0, :32] = 0.5
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., :32, :] = 1
    loss, plain = (PassesFlowLoss(eps=0.0, relative=1.0, bias=b)(off, truth, mask) for b in (2.0, 0.0))
    assert float(loss - plain) == pytest.approx(2 * (0.5 / 2.5 + 0.5 / 0.5) / 2, rel=1e-4)


def test_the_slope_is_the_running_mean_times_the_batch_s():
    truth = uniform((0.0, 2.0), (0.0, 0.0), (0.0, 0.05))  # of the last the square, 0.0025, says nothing
    off = truth + uniform((0.3, 0.4))
    loss = PassesFlowLoss(eps=0.0, slope=3.0)
    one = 0.4 * 2 / (4 + 0.02)
    added = float(loss(off, truth)) - float(PassesFlowLoss(eps=0.0)(off, truth))
    assert loss.shortfall.item() == pytest.approx(0.005 * one, rel=1e-4), "a two-hundredth a pair"
    assert added == pytest.approx(3 * 0.005 * one**2, abs=1e-6)
    kept = float(loss.shortfall)
    loss.eval()(off, truth)
    with torch.no_grad():
        loss.train()(off, truth)
    assert float(loss.shortfall) == kept, "what is validated is not learned from"
    still = uniform((0.0, 0.0))
    assert float(loss(still + 1, still)) == pytest.approx(2**0.5), "nothing moves"


def test_a_slope_beyond_one_counts_as_one():
    truth = uniform((0.0, 1.0))
    loss = PassesFlowLoss(eps=0.0, slope=1.0)
    added = float(loss(truth * 9, truth)) - 8.0
    assert loss.shortfall.item() == pytest.approx(0.005) and added == pytest.approx(0.005, abs=1e-5)


def test_the_endpoint_error_is_of_the_difference_where_the_mask_is():
    truth, ddf = uniform((1.0, 2.0)), uniform((4.0, 6.0))
    ddf[..., 4:, :] = 50.0
    mask = torch.ones(1, 1, 8, 8)
    mask[..., 4:, :] = 0
    assert endpoint_error(ddf, truth, mask).tolist() == pytest.approx([5.0])
    spacing = torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    found = endpoint_error_mm(ddf, truth, mask, spacing)
    assert found.dtype == torch.float32 and found.tolist() == pytest.approx([(1.5**2 + 1) ** 0.5])
