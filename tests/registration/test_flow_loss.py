"""The multi-scale loss against its formula, and the endpoint error."""

import pytest
import torch

from common.registration.flow_loss import MultiScaleFlowLoss, endpoint_error, endpoint_error_mm


def levels(field, *factors):
    return [torch.nn.functional.avg_pool2d(field, f) for f in factors]


def test_truth_at_every_level_costs_nothing():
    random = torch.Generator().manual_seed(0)
    field = torch.randn(2, 2, 32, 48, generator=random)
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
