import math

import pytest
import torch

from cardiac_motion.core.errors import InputError
from cardiac_motion.fields.ddf import identity_grid, warp
from cardiac_motion.registration.losses import (
    FieldLoss,
    MembershipLoss,
    RegistrationLoss,
    curl_div,
    diffusion,
    expansion,
)


def test_diffusion_by_forward_differences():
    """A checkerboard, whose central differences vanish, and an affine field of known slope."""
    board = (identity_grid((8, 8), torch.zeros(1)).sum(1, keepdim=True) % 2).expand(1, 2, 8, 8)
    assert diffusion(board) == 4  # two components, two axes, a step of 1 each
    grid = identity_grid((9, 7), torch.zeros(1))
    slope = torch.stack([0.3 * grid[:, 0] + 0.1 * grid[:, 1], -0.2 * grid[:, 1]], 1)
    torch.testing.assert_close(diffusion(slope), torch.tensor(0.09 + 0.01 + 0.04))


def test_terms_add_up():
    torch.manual_seed(0)
    image, ddf = torch.rand(2, 2, 24, 24), torch.rand(2, 2, 24, 24)
    mask = torch.rand(1, 1, 24, 24)
    plain = RegistrationLoss(3, regularisation_weight=0.0)(ddf, image, mask)
    both = RegistrationLoss(3, regularisation_weight=7.0, mse_weight=2.0)(ddf, image, mask)
    error = (warp(image[:, :1], ddf) - image[:, 1:]).square()
    expected = plain + 7 * diffusion(ddf) + 2 * (error * mask).sum((1, 2, 3)).div(mask.sum()).mean()
    torch.testing.assert_close(both, expected)
    given = RegistrationLoss(3, regularisation_weight=7.0, mse_weight=2.0)(
        ddf, image, mask, regularisation_weight=0.0, velocity=ddf
    )
    torch.testing.assert_close(given, both - 7 * diffusion(ddf))


def test_loss_is_least_at_the_truth():
    torch.manual_seed(0)
    wide = torch.nn.functional.interpolate(torch.rand(1, 1, 20, 20), size=(60, 60), mode="bicubic").clamp(0, 1)
    image = torch.cat([wide[..., 4:52, 4:52], wide[..., 4:52, 6:54]], 1)  # fixed(p) = moving(p + (0, 2))
    loss = RegistrationLoss(4, regularisation_weight=1.0)
    values = []
    for shift in (0.0, 1.0, 2.0, 3.0):
        ddf = torch.zeros(1, 2, 48, 48)
        ddf[:, 1] = shift
        values.append(float(loss(ddf, image)))
    assert values.index(min(values)) == 2


def test_a_flow_that_turns_or_spreads_evenly_costs_curl_div_nothing():
    row, column = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    turning, spreading = torch.stack([-column, row])[None], torch.stack([row, column])[None]
    assert curl_div(turning) == curl_div(spreading) == expansion(turning) == 0
    assert expansion(spreading) == 4 and diffusion(turning) == 2
    bent = torch.stack([row**2, torch.zeros_like(row)])[None]  # divergence 2 row, no curl: (2)² along one axis
    assert curl_div(bent).item() == pytest.approx(4)
    sheared = torch.stack([torch.zeros_like(row), row**2])[None]  # the same of curl
    assert curl_div(sheared).item() == pytest.approx(4)


def test_smoother_and_divergence_are_added_and_settings_are_told_apart():
    image = torch.rand(1, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    ddf = torch.randn(1, 2, 24, 24, generator=torch.Generator().manual_seed(1))
    plain = RegistrationLoss(radius=3, regularisation_weight=0.0)(ddf, image)
    flow = RegistrationLoss(radius=3, regularisation_weight=2.0, regulariser="curl_div", divergence=3.0)
    assert torch.isclose(flow(ddf, image), plain + 2 * curl_div(ddf) + 3 * expansion(ddf))
    assert repr(flow) != repr(RegistrationLoss(radius=3, regularisation_weight=2.0))
    with pytest.raises(InputError, match="regulariser must be one of diffusion, curl_div; got tv"):
        RegistrationLoss(regulariser="tv")


def test_a_field_loss_adds_the_field_s_mean_square_error_where_it_counts():
    image = torch.rand(2, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 1, 16, 16)
    mask[..., 8:, :] = 0
    truth = torch.zeros(2, 2, 16, 16)
    truth[0, 0, :8], truth[1, :, :8] = 2.0, 1.0  # mean squares over both components: 2 and 1
    truth[..., 8:, :] = 50.0
    ddf = torch.zeros(2, 2, 16, 16)
    plain = RegistrationLoss(radius=2, regularisation_weight=0.5)(ddf, image, mask)
    loss = FieldLoss(regression=3.0, radius=2, regularisation_weight=0.5)
    torch.testing.assert_close(loss(ddf, image, mask, field=truth), plain + 3 * 1.5)
    torch.testing.assert_close(
        FieldLoss(radius=2, regularisation_weight=0.5)(ddf, image, mask, field=truth), plain + 1.5
    )
    with pytest.raises(ValueError, match="a field loss needs the simulated field"):
        loss(ddf, image, mask)


def test_membership_loss_by_hand():
    """Two pixels, one of the structure: 1 − Dice + the mean cross-entropy, in both images of the pair."""
    found = torch.tensor([[0.5, 0.75], [0.5, 0.25]]).view(1, 1, 2, 1, 2).expand(1, 2, 2, 1, 2)
    label = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2).expand(1, 2, 1, 1, 2)
    dice, entropy = 2 * 0.5 / (0.75 + 1), -(math.log(0.5) + math.log(0.75)) / 2
    assert float(MembershipLoss()(found, label=label)) == pytest.approx(1 - dice + entropy, rel=1e-5)
    assert float(MembershipLoss(2.0)(found, label=label)) == pytest.approx(1 - dice + 2 * entropy, rel=1e-5)
    whole = torch.cat([1 - label, label], 2)
    assert float(MembershipLoss()(whole, label=label)) == pytest.approx(0, abs=1e-5)
    wrong = MembershipLoss()(torch.cat([label, 1 - label], 2).requires_grad_(), label=label)
    assert float(wrong) == pytest.approx(1 + 6 * math.log(10), rel=1e-4), "no membership is below a millionth"
