import pytest
import torch

from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.regularity import folding_fraction
from cardiac_motion.networks.memberships import Memberships
from cardiac_motion.networks.registration_unet import RegistrationUNet
from cardiac_motion.registration.losses import MembershipLoss, MembershipRegistrationLoss, RegistrationLoss
from cardiac_motion.registration.overlap import membership_dice, soft_dice
from tests.registration.staged import multi_scale

SMALL = {"channels": (8, 16, 16), "units": 1}


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
def test_memberships_sum_to_one_and_either_image_is_seen_alone(size):
    network, image = Memberships(len(size), 3, **SMALL).eval(), torch.rand(2, 2, *size)
    memberships = network(image)
    assert memberships.shape == (2, 2, 3, *size)
    torch.testing.assert_close(memberships.sum(2), torch.ones(2, 2, *size))
    torch.testing.assert_close(network(image[:, 1:]), memberships[:, 1:])


def test_it_learns_to_segment():
    torch.manual_seed(0)
    network = Memberships(2, 3, **SMALL)
    image, label = discs(4.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        MembershipLoss()(network(image), label=label).backward()
        optimizer.step()
    assert membership_dice(network(image), label).mean() > 0.9


def test_memberships_register_where_intensities_say_nothing():
    """Intensities without contrast leave the structures apart; memberships bring them together, and nothing folds."""
    _, label = discs(4.0)
    image = torch.cat([torch.full((1, 1, 32, 32), 0.5), label[:, 0], torch.full((1, 1, 32, 32), 0.5), label[:, 1]], 1)
    loss = MembershipRegistrationLoss(overlap=3.0, radius=2)
    register = multi_scale(
        scales=(0.5, 1.0), steps=[40, 30], loss=loss, regularisation_weight=0.1, field_scales=(0.5, 1.0), squarings=5
    )
    ddf = register(image, RegistrationUNet(2)).ddf
    before, after, best = (soft_dice(a, label[:, 1]).mean() for a in (label[:, 0], warp(label[:, 0], ddf), label[:, 1]))
    assert before < 0.6 * best and after > 0.9 * best  # a soft Dice with itself is below 1
    assert folding_fraction(ddf).max() == 0


def test_terms_add_up():
    torch.manual_seed(0)
    image, ddf = torch.rand(1, 6, 20, 20), torch.rand(1, 2, 20, 20)
    plain = RegistrationLoss(2, regularisation_weight=0.5)(ddf, image[:, [0, 3]])
    overlap = soft_dice(warp(image[:, 1:3], ddf), image[:, 4:]).mean()
    torch.testing.assert_close(
        MembershipRegistrationLoss(2.0, radius=2, regularisation_weight=0.5)(ddf, image), plain + 2 * (1 - overlap)
    )


def test_membership_loss_is_least_at_the_truth():
    _, label = discs(2.0)
    whole = torch.cat([1 - label.sum(2, keepdim=True), label], 2)
    flat = torch.full_like(whole, 1 / 3)
    values = [float(MembershipLoss()(m, label=label)) for m in (whole, 0.5 * (whole + flat), flat)]
    assert values == sorted(values)
    assert membership_dice(whole, label).min() > 0.97
