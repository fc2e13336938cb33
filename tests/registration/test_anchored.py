import pytest
import torch
from torch import nn

from cardiac_motion.fields.points import track
from cardiac_motion.networks.ncc_flow import NCCFlow
from cardiac_motion.registration.anchored import AnchoredInferer, correct_step, refine_field, spread_over_time
from cardiac_motion.registration.pairwise import PairwiseInferer

SPEED = torch.tensor([0.5, -0.25])


class ShortOfTime(nn.Module):
    """Reads the frames' times from their grey: its own fields are a fifth too short, what it refines is right."""

    def forward(self, image):
        return 0.8 * self.refine(image, None)

    def refine(self, image, ddf):
        times = 100 * image.amax((2, 3))
        ahead = times[:, 0] - times[:, 1]  # of the moving frame; tissue that moves by v a frame is found at p + v ahead
        return (ahead[:, None] * SPEED)[:, :, None, None].expand(-1, -1, *image.shape[2:]).clone()


def pairs_of(frames):
    return torch.stack([frames[:-1], frames[1:]], 1)


def timed(count):
    return pairs_of(torch.arange(1.0, count + 1)[:, None, None].expand(-1, 12, 14) / 100)


@pytest.mark.parametrize("anchors", [(0,), (3,), (2, 6)])
def test_what_every_step_is_short_of_comes_back(anchors):
    inputs = timed(10)
    steps = PairwiseInferer(progress=False)(inputs, ShortOfTime()).ddf
    truth = -SPEED.view(1, 2, 1, 1).expand_as(steps)
    torch.testing.assert_close(steps, 0.8 * truth)
    found = AnchoredInferer(PairwiseInferer(progress=False), anchors, spread=0)(inputs, ShortOfTime()).ddf
    torch.testing.assert_close(found, truth, atol=2e-3, rtol=0)
    spread = AnchoredInferer(PairwiseInferer(progress=False), anchors, spread=2)(inputs, ShortOfTime()).ddf
    assert ((spread - truth).abs().mean() < 0.7 * (steps - truth).abs().mean()) and spread.std(dim=0).max() < 0.06


def test_bars_are_named(bar_names):
    AnchoredInferer(PairwiseInferer(progress=False), (0, 3))(timed(7), ShortOfTime())
    both = [["inverse fields", f"motion to frame {anchor}", "corrected fields"] for anchor in (0, 3)]
    assert bar_names == [*both[0], *both[1]]


def test_points_of_the_anchor_end_where_it_says():
    """Composed through all steps, as everything that follows does it."""
    inputs = timed(9)
    found = AnchoredInferer(PairwiseInferer(progress=False), spread=0)(inputs, ShortOfTime()).ddf
    path = track(torch.tensor([[4.0, 9.0]]), found)
    torch.testing.assert_close(path[-1, 0], torch.tensor([4.0, 9.0]) + 8 * SPEED, atol=5e-3, rtol=0)


def test_corrections_are_those_of_the_least_sum():
    misses = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    width, anchor = 2.5, 2
    found = spread_over_time(misses, anchor, width)
    assert (found[anchor] == 0).all()

    def total(corrections):
        return corrections.diff(dim=0).square().sum() + (corrections - misses).square().sum() / width**2

    for t in range(7):
        for change in (-1e-3, 1e-3):
            other = found.clone()
            other[t] += change if t != anchor else 0
            assert total(other) >= total(found)


def test_any_network_can_refine():
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij")
    moving = (0.005 * rows + 0.01 * columns)[None, None]
    field = torch.full((1, 2, 60, 60), 1.5)
    fixed = moving + 1.5 * 0.015

    class Rest(nn.Module):
        def forward(self, image):
            left = (image[:, :1] - image[:, 1:])[..., 8:-8, 8:-8].abs().mean()
            return torch.zeros_like(image) if left < 1e-4 else torch.full_like(image, 0.5)

    image = torch.cat([moving, fixed], 1)
    torch.testing.assert_close(refine_field(Rest(), image, field)[..., 8:-8, 8:-8], field[..., 8:-8, 8:-8])
    torch.testing.assert_close(refine_field(Rest(), image, field - 0.5)[..., 8:-8, 8:-8], field[..., 8:-8, 8:-8])


def test_the_flow_network_refines_by_its_finest_stage():
    network = NCCFlow((1, 0), (2, 2), (16, 16), (1, 2), 4, 8).eval()
    for stage in network.stages:
        torch.nn.init.zeros_(stage.flow.weight)
    with torch.no_grad():
        network.stages[0].flow.bias.fill_(5.0)
        network.stages[1].flow.bias.fill_(0.25)
        start = torch.full((1, 2, 30, 37), 2.0)
        found = network.refine(torch.rand(1, 2, 30, 37), start)
    torch.testing.assert_close(found, start + 0.5)


def test_pairs_that_do_not_follow_stay():
    inputs = timed(5)[[0, 2, 3]]
    found = AnchoredInferer(PairwiseInferer(progress=False))(inputs, ShortOfTime()).ddf
    torch.testing.assert_close(found, PairwiseInferer(progress=False)(inputs, ShortOfTime()).ddf)


@pytest.mark.parametrize("wrong", [{"anchors": ()}, {"anchors": (3, 1)}, {"reach": 0}, {"spread": -1}])
def test_ill_posed(wrong):
    with pytest.raises(ValueError, match="anchors"):
        AnchoredInferer(PairwiseInferer(), **wrong)


def test_a_corrected_step_where_the_correction_changes_in_space():
    """In frame t + 1 all points lie a x further along the rows, x their place in the anchor; in frame t none does.

    What is at p then was at x = (p + b) / (1 + a), b the way back, so its step is c − a x.
    """
    a, b, c = 0.05, -3.0, -1.0
    rows = torch.arange(40.0).view(40, 1).expand(40, 8)
    still = torch.zeros(1, 2, 40, 8)
    step, back, after = still.clone(), still.clone(), still.clone()
    step[:, 0], back[:, 0], after[:, 0] = c, b, a * rows
    found = correct_step(step, back, still, after)
    expected = c - a * (rows + b) / (1 + a)
    torch.testing.assert_close(found[0, 0, 6:-6], expected[6:-6], atol=2e-4, rtol=0)
    assert found[0, 1].abs().max() == 0


@pytest.mark.parametrize(
    "anchors, reach, runs",
    [
        ((3, 12), 5, [(3, 0, 8), (8, 8, 12), (12, 12, 17), (17, 17, 19)]),
        ((0, 19, 30), 64, [(0, 0, 19)]),
        ((30,), 10, [(0, 0, 10), (10, 10, 19)]),
        ((18,), 64, [(18, 0, 19)]),
    ],
)
def test_runs_of_a_cine_of_twenty_frames(anchors, reach, runs):
    assert AnchoredInferer(PairwiseInferer(), anchors, reach).runs(20) == runs
