import pytest
import torch
from torch.nn import functional

from cardiac_motion.fields.ddf import identity_grid, sample
from cardiac_motion.networks.ncc_flow import NCCFlow, ncc_volume, standardise
from cardiac_motion.registration.flow_loss import PassesFlowLoss, endpoint_error

SMALL = {"scales": (1, 0), "searches": (2, 2), "widths": (16, 16), "passes": (1, 2), "stride": 4, "deep": 8}


def speckle(size, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return functional.interpolate(torch.rand(1, 1, *(n // 3 for n in size), generator=rng), size, mode="bicubic")


@pytest.mark.parametrize("size", [(64, 64), (50, 71), (9, 13)])
def test_contract(size):
    network = NCCFlow(**SMALL)
    image = torch.rand(2, 2, *size)
    ddf = network(image)
    assert ddf.shape == (2, 2, *size) and ddf.abs().max() < 0.5, "training begins near no motion"
    fields = network(image, pyramid=True)
    assert [f.shape[1] for f in fields] == [2, 2, 4] and all(f.shape[2:] == ddf.shape[2:] for f in fields)
    torch.testing.assert_close(fields[-1][:, :2], ddf)
    field, deviation = network.forward_with_deviation(image)
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
    volume = ncc_volume(standardise(fixed), standardise(moving), search=3, stride=4)
    assert volume.shape == (1, 49, 10, 10)
    a, b = standardise(fixed, 4)[0, 0], standardise(moving, 4)[0, 0]
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
    torch.testing.assert_close(standardise(0.4 * image + 0.3, 4), standardise(image, 4), atol=5e-2, rtol=0)


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
    for seed in range(1, 41):
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


def test_volume_at_the_border_counts_what_is_there():
    image = speckle((16, 24))
    volume = ncc_volume(standardise(image), standardise(image), search=1, stride=4)
    unit = standardise(image, 4)[0, 0].square()
    torch.testing.assert_close(volume[0, 4, 0, 0], unit[:6, :6].mean())
    torch.testing.assert_close(volume[0, 4, 1, 2], unit[2:10, 6:14].mean())


@pytest.mark.parametrize("radius", [1, 2, 4, 5])
def test_standardised_images_against_a_loop(radius):
    """In float64, at the picture's corners and edges too, where a window holds fewer pixels."""
    image = speckle((18, 24)).double()
    plane = image[0, 0]

    def mean(values, row, column):
        rows, columns = (slice(max(0, at - radius), at + radius + 1) for at in (row, column))
        return values[rows, columns].mean()

    size = plane.shape
    centred = plane - torch.tensor([[mean(plane, r, c) for c in range(size[1])] for r in range(size[0])]).double()
    square = centred.square()
    variance = torch.tensor([[mean(square, r, c) for c in range(size[1])] for r in range(size[0])]).double()
    torch.testing.assert_close(standardise(image, radius)[0, 0], centred / (variance + 1e-4).sqrt(), atol=1e-6, rtol=0)


def test_scripted_it_gives_the_same():
    network, image = NCCFlow(**SMALL).eval(), torch.rand(1, 2, 40, 56)
    with torch.no_grad():
        network.stages[0].flow.bias.copy_(torch.tensor([1.0, -0.5]))
        torch.testing.assert_close(torch.jit.script(network)(image), network(image))
