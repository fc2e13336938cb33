"""The losses of known motion against their formulas, and the endpoint error."""

import math

import pytest
import torch

from cardiac_motion.registration.flow_loss import (
    MatchingLoss,
    MultiScaleFlowLoss,
    PassesFlowLoss,
    endpoint_error,
    endpoint_error_mm,
    matching_loss,
)


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
    with pytest.raises(ValueError, match="2 weights do not match the fields of 1"):
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


def test_each_pair_counts_by_its_own_motion():
    """Errors of a tenth of the motion in both pairs, of which one moves ten times as far, are the same loss."""
    field = torch.ones(2, 2, 32, 32)
    field[1] *= 10
    estimate = field * 1.1
    alone = [MultiScaleFlowLoss([1.0], relative=0.5)([avg], field[k : k + 1]) for k, avg in enumerate(
        estimate[k : k + 1, :, ::4, ::4] for k in range(2)
    )]  # fmt: skip
    length = 2**0.5
    assert float(alone[0]) == pytest.approx(0.1 * length / (0.5 + length), rel=1e-3)
    assert float(alone[1]) == pytest.approx(length / (0.5 + 10 * length), rel=1e-3)
    both = MultiScaleFlowLoss([1.0], relative=0.5)([estimate[..., ::4, ::4]], field)
    assert float(both) == pytest.approx(float(sum(alone)) / 2, rel=1e-4)
    mask = torch.zeros(2, 1, 32, 32)
    mask[0], mask[1, :, :4, :4] = 1, 1  # each pair counts alike, however little of it is known
    assert float(MultiScaleFlowLoss([1.0], relative=0.5)([estimate[..., ::4, ::4]], field, mask)) == pytest.approx(
        float(both), rel=1e-4
    )


def costs(shift, size=(2, 3)):
    """A volume whose softmax is the four neighbours' shares of a shift exactly."""
    volume = torch.full((1, 81, *size), -50.0)
    row, column = (math.floor(s) for s in shift)
    for r in (0, 1):
        for c in (0, 1):
            share = abs(1 - r - shift[0] + row) * abs(1 - c - shift[1] + column)
            if share:
                volume[:, (row + r + 4) * 9 + column + c + 4] = 0.12 * math.log(share)
    return volume


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.25, -2.5), (-3.75, 3.5), (4.0, -4.0)])
def test_matching_is_best_where_costs_tell_the_shift(shift):
    valid = torch.ones(1, 1, 2, 3)
    truth = torch.tensor(shift).view(1, 2, 1, 1).expand(1, 2, 2, 3)
    parts = [s - math.floor(s) for s in shift]
    entropy = -sum(p * math.log(p) for part in parts for p in (part, 1 - part) if p > 0)
    assert float(matching_loss(costs(shift), truth, valid)) == pytest.approx(entropy, abs=1e-3)
    other = costs((0.5, 0.5))
    assert float(matching_loss(other, truth, valid)) > entropy + 0.3


def test_matching_leaves_out_what_lies_beyond_the_search_or_is_unknown():
    shift = torch.zeros(1, 2, 2, 3)
    shift[..., 0] = 9.0
    valid = torch.ones(1, 1, 2, 3)
    valid[..., 1] = 0.4
    volume = costs((0.0, 0.0))
    volume[..., :2] = 0.0  # tells nothing there
    assert float(matching_loss(volume, shift, valid)) == pytest.approx(0, abs=1e-3)


def test_levels_learn_from_their_evidence_as_well():
    field = torch.full((1, 2, 32, 32), 2.0)
    start = torch.full((1, 2, 8, 8), 1.0)  # a quarter of a pixel of the level is missing along each axis
    estimate = field[..., ::4, ::4]
    told, silent = costs((0.25, 0.25), (8, 8)), torch.zeros(1, 81, 8, 8)
    loss = MultiScaleFlowLoss([1.0], relative=0.1, matching=0.5)
    at = [float(loss([torch.cat([estimate, start, volume], 1)], field)) for volume in (told, silent)]
    assert at[1] == pytest.approx(0.5 * math.log(81), rel=1e-3) and at[0] < 0.6


def test_features_of_the_same_place_match_better_than_others():
    torch.manual_seed(0)
    fixed = torch.nn.functional.avg_pool2d(torch.randn(2, 8, 34, 34), 3, 1)
    field = torch.zeros(2, 2, 128, 128)
    found = []
    for moving in (fixed, torch.randn_like(fixed)):
        torch.manual_seed(1)
        found.append(float(MatchingLoss(levels=[2])([torch.zeros(0), torch.cat([moving, fixed], 1)], field)))
    assert found[0] < 0.6 * found[1]
