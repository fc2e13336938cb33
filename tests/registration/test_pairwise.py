"""Motion at a working size, and how far the two directions miss each other."""

import pytest
import torch
from torch import nn

from common.registration.pairwise import PairwiseInferer, SizedInferer, SpannedInferer


class Shift(nn.Module):
    """Moves everything by a constant: ``there`` one way, ``back`` the other, told apart by the brighter image."""

    def __init__(self, there, back):
        super().__init__()
        self.there, self.back, self.sizes = torch.tensor(there), torch.tensor(back), []

    def forward(self, image):
        self.sizes.append(tuple(image.shape[2:]))
        forward = image[:, 0].mean() < image[:, 1].mean()
        return (self.there if forward else self.back).view(1, 2, 1, 1).expand(len(image), -1, *image.shape[2:])


def pairs(size=(60, 100)):
    return torch.stack([torch.zeros(3, *size), torch.ones(3, *size)], 1)


def test_inconsistency_is_what_the_two_directions_miss_each_other_by():
    inferer = PairwiseInferer(composition=True, progress=False)
    ddf = inferer(pairs(), Shift([1.0, 2.0], [-1.0, -1.0]))
    torch.testing.assert_close(ddf[0, :, 0, 0], torch.tensor([1.0, 1.5]))
    torch.testing.assert_close(inferer.inconsistency, torch.ones(3, 1, 60, 100))
    PairwiseInferer(progress=False)(pairs(), Shift([1.0, 0.0], [0.0, 0.0]))
    assert PairwiseInferer(progress=False).inconsistency is None


def test_a_large_box_is_made_smaller_and_its_field_larger():
    network = Shift([1.0, 2.0], [-1.0, -1.0])
    inferer = SizedInferer(PairwiseInferer(composition=True, progress=False), 40)
    mask = torch.zeros(1, 1, 60, 100, dtype=torch.bool)
    mask[..., 5:55, 10:90] = True
    ddf = inferer(pairs(), network, mask=mask)
    assert set(network.sizes) == {(25, 40)}
    assert ddf.shape == (3, 2, 60, 100)
    torch.testing.assert_close(ddf[1, :, 30, 50], torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(ddf[1, :, 0, 0], torch.tensor([2.0, 3.0]), msg="beyond the box its edge goes on")
    torch.testing.assert_close(inferer.inconsistency, torch.full((3, 1, 60, 100), 2.0))


def test_a_small_cine_is_left_as_it_is():
    network = Shift([1.0, 2.0], [-1.0, -2.0])
    inferer = SizedInferer(PairwiseInferer(progress=False), 320)
    torch.testing.assert_close(inferer(pairs(), network)[0, :, 0, 0], torch.tensor([1.0, 2.0]))
    assert set(network.sizes) == {(60, 100)} and inferer.inconsistency is None


def test_a_small_cine_is_made_larger_where_that_is_asked_for():
    network = Shift([1.0, 2.0], [-1.0, -2.0])
    inferer = SizedInferer(PairwiseInferer(composition=True, progress=False), 320, shortest=200)
    ddf = inferer(pairs(), network)
    assert set(network.sizes) == {(120, 200)} and ddf.shape == (3, 2, 60, 100)
    torch.testing.assert_close(ddf[0, :, 10, 10], torch.tensor([0.5, 1.0]))


class FallsShort(torch.nn.Module):
    """A frame's grey value is its row; steps of up to one are found at 80 %, longer ones whole."""

    def forward(self, image):
        moving, fixed = image.mean((2, 3)).T
        steps = moving - fixed
        steps = torch.where(steps.abs() <= 1, 0.8 * steps, steps)
        return torch.stack([steps, torch.zeros_like(steps)], 1)[:, :, None, None].expand(-1, -1, *image.shape[2:])


def test_a_span_makes_up_for_what_short_steps_miss():
    frames = torch.tensor([0.0, 1, 2, 3, 4, 4, 4, 4, 3.5, 3, 2.5])[:, None, None].expand(-1, 12, 10)
    inputs = torch.stack([frames[:-1], frames[1:]], 1)
    steps = inputs[:, 0, 0, 0] - inputs[:, 1, 0, 0]
    short = PairwiseInferer(composition=True, progress=False)
    plain, spanned = (SpannedInferer(short, span)(inputs, FallsShort())[:, 0, 6, 5] for span in (1, 3))
    torch.testing.assert_close(plain, 0.8 * steps)
    torch.testing.assert_close(spanned[:2], steps[:2])
    assert (spanned - steps).abs().sum() < 0.5 * (plain - steps).abs().sum()
    inferer = SpannedInferer(short, 3)
    inferer(inputs, FallsShort())
    assert inferer.inconsistency.shape == (10, 1, 12, 10), "that of neighbouring frames"


def test_pairs_that_do_not_follow_each_other_have_no_span():
    inputs = torch.rand(5, 2, 8, 8)
    torch.testing.assert_close(
        SpannedInferer(PairwiseInferer(progress=False), 3)(inputs, FallsShort()),
        PairwiseInferer(progress=False)(inputs, FallsShort()),
    )
    with pytest.raises(ValueError, match="at least 1"):
        SpannedInferer(PairwiseInferer(), 0)
