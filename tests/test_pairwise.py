"""Motion at a working size, and how far the two directions miss each other."""

import torch
from torch import nn

from common.pairwise import PairwiseInferer, SizedInferer


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
