import pytest
import torch

from common.ddf import jacobian_determinant, warp
from common.losses import LabelledLoss, MembershipLoss
from common.metrics import membership_dice, soft_dice
from common.networks.membership_registration import MembershipRegistration, Memberships

SMALL = {"channels": (8, 16, 16), "units": 1}


def small(dims=2, **settings):
    return MembershipRegistration(dims, 3, **SMALL, encoder=(8, 16), decoder=(16, 8), full=(8,), **settings)


def discs(moved):
    """Two nested structures at the centre, and the same moved: an image pair and its memberships."""
    grid = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij"))

    def at(centre):
        r = (grid - torch.tensor(centre)[:, None, None]).norm(dim=0)
        inner = torch.sigmoid(2 * (5 - r))
        return torch.stack([inner, torch.sigmoid(2 * (9 - r)) - inner])

    label = torch.stack([at([15.5, 15.5]), at([15.5 + moved, 15.5])])[None]
    image = label[:, :, 0] + 0.5 * label[:, :, 1]
    return image, label


@pytest.mark.parametrize("size", [(32, 48), (16, 24, 16)])
def test_contract(size):
    network = small(len(size))
    image = torch.rand(2, 2, *size)
    ddf = network(image)
    assert ddf.shape == (2, len(size), *size) and ddf.abs().max() < 1e-2
    ddf.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    memberships = network.memberships(image)
    assert memberships.shape == (2, 2, 3, *size)
    torch.testing.assert_close(memberships.sum(2), torch.ones(2, 2, *size))


def test_either_image_is_seen_alone():
    network, image = Memberships(2, 3, **SMALL).eval(), torch.rand(1, 2, 32, 32)
    torch.testing.assert_close(network(image)[:, 1:], network(image[:, 1:]))


def test_it_learns_to_segment_and_to_register():
    torch.manual_seed(0)
    network = small()
    image, label = discs(4.0)
    before = soft_dice(label[:, 0], label[:, 1]).mean()
    optimizer = torch.optim.Adam(network.memberships.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        MembershipLoss()(network.memberships(image), label=label).backward()
        optimizer.step()
    assert membership_dice(network.memberships(image), label).mean() > 0.9
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    loss = LabelledLoss(radius=2, smoothness=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss(network(image), image, label=label).backward()
        optimizer.step()
    ddf = network(image)
    best = soft_dice(label[:, 1], label[:, 1]).mean()  # below 1: the memberships are soft
    assert before < 0.6 * best and soft_dice(warp(label[:, 0], ddf), label[:, 1]).mean() > 0.9 * best
    assert jacobian_determinant(ddf).min() > 0


def test_membership_loss_is_least_at_the_truth():
    _, label = discs(2.0)
    whole = torch.cat([1 - label.sum(2, keepdim=True), label], 2)
    flat = torch.full_like(whole, 1 / 3)
    values = [float(MembershipLoss()(m, label=label)) for m in (whole, 0.5 * (whole + flat), flat)]
    assert values == sorted(values)
    assert membership_dice(whole, label).min() > 0.97
