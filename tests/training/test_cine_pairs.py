"""Pieces of frame pairs of a cine whose every pixel tells its frame and its place."""

import pytest
import torch

from common.cine.write import write_cine
from common.core.errors import InputError
from common.training.cine_pairs import CinePairs


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    """Ten frames of moving noise on a slope of their number, in a file."""
    random = torch.Generator().manual_seed(0)
    frames = 0.1 + 0.05 * torch.arange(10.0)[:, None, None] + 0.3 * torch.rand(10, 60, 72, generator=random)
    path = tmp_path_factory.mktemp("cine") / "cine.nii.gz"
    write_cine(path, frames[None])
    return path


def frame_of(piece):
    return round((piece.mean().item() - 0.25) / 0.05)


def test_both_time_directions_and_every_gap_up_to_the_largest(cine):
    pairs = CinePairs(str(cine), length=200, crop=(32, 40), gap=3, seed=1)
    steps = []
    for index in range(200):
        item = pairs[index]
        assert item["image"].shape == (2, 32, 40) and item["mask"].shape == (1, 32, 40)
        steps.append(frame_of(item["image"][1]) - frame_of(item["image"][0]))
    assert set(steps) == {-3, -2, -1, 1, 2, 3}


def test_the_epoch_and_the_seed_say_what_is_drawn(cine):
    one, same, other = (CinePairs(str(cine), crop=(16, 16), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one[5]["image"], same[5]["image"]) and not torch.equal(one[5]["image"], other[5]["image"])
    same.set_epoch(1)
    assert not torch.equal(one[5]["image"], same[5]["image"])


def test_a_piece_larger_than_the_scaled_cine_repeats_its_edge_outside_the_mask(cine):
    item = CinePairs(str(cine), crop=(64, 64), scales=(0.5,), seed=0)[0]
    height, width = (int(item["mask"][0].amax(axis).sum()) for axis in (1, 0))
    assert (20 < height <= 36 and 20 < width <= 36) or item["mask"].min() == 1
    assert torch.equal(item["image"][:, -1], item["image"][:, 40])


def test_a_gap_of_nothing_is_refused(cine):
    with pytest.raises(InputError, match="gap must be at least 1, got 0"):
        CinePairs(str(cine), gap=0)
