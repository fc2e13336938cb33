import pytest
import torch
from torch.nn import functional

from common.fields.ddf import identity_grid, sample
from common.networks.ncc_flow import NCCFlow, ncc_volume, standardised
from common.registration.flow_loss import PassesFlowLoss, endpoint_error

SMALL = {"scales": (1, 0), "searches": (2, 2), "widths": (16, 16), "passes": (1, 2), "stride": 4, "deep": 8}


def speckle(size, seed=0):
    random = torch.Generator().manual_seed(seed)
    return functional.interpolate(torch.rand(1, 1, *(n // 3 for n in size), generator=random), size, mode="bicubic")


@pytest.mark.parametrize("size", [(64, 64), (50, 71), (9, 13)])
def test_contract(size):
    network = NCCFlow(**SMALL)
    image = torch.rand(2, 2, *size)
    ddf = network(image)
    assert ddf.shape == (2, 2, *size) and ddf.abs().max() < 0.5, "training begins near no motion"
    fields = network(image, pyramid=True)
    assert [f.shape[1] for f in fields] == [2, 2, 4] and all(f.shape[2:] == ddf.shape[2:] for f in fields)
    torch.testing.assert_close(fields[-1][:, :2], ddf)
    field, deviation = network.with_deviation(image)
    torch.testing.assert_close(field, ddf)
    torch.testing.assert_close(deviation, 2**0.5 * fields[-1][:, 2:].exp())
    PassesFlowLoss()(fields, torch.zeros_like(ddf)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 3, 16, 16), (2, 16, 16)])
def test_ill_shaped(shape):
    with pytest.raises(ValueError, match=r"expected \[B, 2, H, W\]"):
        NCCFlow(**SMALL)(torch.zeros(shape))


def test_volume_is_local_ncc():
    """Against a loop in float64 at one place of the grid, and its peak at the true shift."""
    image = speckle((48, 48)).double()
    moving, fixed = image[..., 4:44, 4:44], image[..., 5:45, 2:42]  # fixed(p) = moving(p + (1, -2))
    volume = ncc_volume(fixed, moving, search=3)
    assert volume.shape == (1, 49, 10, 10)
    a, b = standardised(fixed, 4)[0, 0], standardised(moving, 4)[0, 0]
    row, column, shift = 4, 6, (2, -1)
    window = [(r, c) for r in range(4 * row - 2, 4 * row + 6) for c in range(4 * column - 2, 4 * column + 6)]
    expected = sum(a[r, c] * b[r + shift[0], c + shift[1]] for r, c in window) / 64
    torch.testing.assert_close(volume[0, (shift[0] + 3) * 7 + shift[1] + 3, row, column], expected)
    inner = volume[0, :, 2:8, 2:8].flatten(1)
    assert (inner.argmax(0) == (1 + 3) * 7 + (-2 + 3)).double().mean() > 0.9
    assert inner.max() <= 1.3 and inner.max(0).values.median() > 0.9


def test_a_pass_answers_for_its_own_error_alone():
    """The coarsest stage stays silent for ever if what later passes get wrong moves it too."""
    network = NCCFlow(**SMALL)
    coarse, *_, last = network(torch.rand(1, 2, 48, 48), pyramid=True)
    flow = network.stages[0].flow.weight
    assert torch.autograd.grad(coarse.sum(), flow, retain_graph=True)[0].abs().max() > 0
    assert torch.autograd.grad(last[:, :2].sum(), flow, allow_unused=True)[0] is None


def test_brightness_and_contrast_do_not_matter():
    image = speckle((40, 40))
    torch.testing.assert_close(standardised(0.4 * image + 0.3, 4), standardised(image, 4), atol=5e-2, rtol=0)


def test_it_learns_translations():
    """A few dozen steps teach sub-pixel shifts of speckle never seen: the evidence is in the volume, not learned."""
    torch.manual_seed(0)
    network = NCCFlow(**SMALL)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    loss = PassesFlowLoss()

    def batch(seed, count=4):
        shift = 1.5 * torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
        field = shift[:, :, None, None].expand(-1, -1, 40, 40)
        moving = torch.cat([speckle((40, 40), 1000 * seed + k) for k in range(count)])
        fixed = sample(moving, identity_grid((40, 40), moving) + field, "bicubic")
        return torch.cat([moving, fixed], 1), field

    inner = torch.zeros(1, 1, 40, 40)
    inner[..., 6:-6, 6:-6] = 1
    for seed in range(1, 81):
        image, field = batch(seed)
        optimizer.zero_grad()
        loss(network(image, pyramid=True), field, inner).backward()
        optimizer.step()
    image, field = batch(999, 8)
    error = endpoint_error(network(image), field, inner.expand(8, -1, -1, -1)).mean()
    assert error < 0.35 * field.norm(dim=1).mean()


def test_a_flow_is_handed_on_in_pixels_whatever_the_grids():
    network = NCCFlow((1, 1, 0), (4, 2, 2), (16, 16, 16), (1, 2, 1), stride=(8, 4, 2), deep=8).eval()
    for stage in network.stages:
        torch.nn.init.zeros_(stage.flow.weight)
    with torch.no_grad():
        network.stages[0].flow.bias.copy_(torch.tensor([1.0, -2.0]))  # of the half image
        network.stages[2].flow.bias.copy_(torch.tensor([0.5, 0.0]))
        ddf = network(torch.rand(1, 2, 50, 71))
    torch.testing.assert_close(ddf, torch.tensor([2.5, -4.0]).view(1, 2, 1, 1).expand(1, 2, 50, 71))
    with pytest.raises(ValueError):
        NCCFlow(stride=(8, 4))


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


def test_volume_at_the_border_counts_what_is_there():
    image = speckle((16, 24))
    volume = ncc_volume(image, image, search=1)
    unit = standardised(image, 4)[0, 0].square()
    torch.testing.assert_close(volume[0, 4, 0, 0], unit[:6, :6].mean())
    torch.testing.assert_close(volume[0, 4, 1, 2], unit[2:10, 6:14].mean())


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
