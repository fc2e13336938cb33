"""The stacked flow network: shapes, what is trained in each stage, and that it learns translations."""

import pytest
import torch
from torch.nn import functional

from cardiac_motion.core.errors import InputError
from cardiac_motion.networks.stacked_flow import STAGES, StackedFlow
from cardiac_motion.registration.flow_loss import MultiScaleFlowLoss, endpoint_error

TINY = {"width": 1 / 16, "radius": 2}


@pytest.mark.parametrize("size", [(64, 64), (70, 130)])
def test_contract(size):
    network = StackedFlow(**TINY).eval()
    ddf = network(torch.rand(2, 2, *size))
    assert ddf.shape == (2, 2, *size) and ddf.isfinite().all()
    with pytest.raises(ValueError, match="expected"):
        network(torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_trains_its_own_network_alone(stage):
    network = StackedFlow(**TINY, stage=stage)
    fields = network(torch.rand(2, 2, 64, 64), pyramid=True)
    truth = torch.ones(2, 2, 64, 64)
    loss = MultiScaleFlowLoss()
    if stage == "fusion":
        assert fields.shape == truth.shape
    else:
        assert [f.shape[-1] for f in fields] == [1, 2, 4, 8, 16]
    loss(fields, truth).backward()
    for name in STAGES:
        gradients = [p.grad for p in getattr(network, name).parameters()]
        if name == stage:
            assert all(g is not None and g.isfinite().all() for g in gradients)
            assert any(g.abs().sum() > 0 for g in gradients)
        else:
            assert all(g is None for g in gradients)


def test_unknown_stage():
    with pytest.raises(InputError, match="correlation, second"):
        StackedFlow(stage="fourth")


def pairs(count, rng):
    """Smooth textures and the same moved by up to 3 pixels: ``image``, ``field``."""
    texture = functional.interpolate(torch.rand(count, 1, 28, 28, generator=rng), (84, 84), mode="bicubic")
    shift = torch.randint(-3, 4, (count, 2), generator=rng)
    moving = texture[:, :, 10:74, 10:74]
    fixed = torch.stack([t[:, 10 + r : 74 + r, 10 + c : 74 + c] for t, (r, c) in zip(texture, shift, strict=True)])
    return torch.cat([moving, fixed], 1), shift.float()[:, :, None, None].expand(-1, -1, 64, 64)


@pytest.mark.parametrize("stage", ["correlation", "small"])
def test_a_short_training_on_translations_lowers_the_error(stage):
    torch.manual_seed(0)
    network = StackedFlow(width=1 / 16, radius=3, stage=stage)
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 3e-3)
    loss = MultiScaleFlowLoss(reduction="mean")
    image, field = pairs(8, torch.Generator().manual_seed(3))
    errors = []
    for _ in range(41):
        optimiser.zero_grad()
        found = network(image, pyramid=True)
        loss(found, field).backward()
        optimiser.step()
        errors.append(float(endpoint_error(found[-1].detach(), field[:, :, :16, :16]).mean()))
    assert errors[-1] < 0.6 * errors[0]
