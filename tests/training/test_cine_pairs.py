"""Pieces of frame pairs of a cine whose every pixel tells its frame and its place."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cardiac_motion.cine.write import write_cine
from cardiac_motion.core.errors import InputError
from cardiac_motion.training.cine_pairs import CinePairs, DeformedFrames


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    """Ten frames of moving noise on a slope of their number, in a file."""
    rng = torch.Generator().manual_seed(0)
    frames = 0.1 + 0.05 * torch.arange(10.0)[:, None, None] + 0.3 * torch.rand(10, 60, 72, generator=rng)
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


def test_a_deformed_frame_is_the_frame_at_the_known_places(cine):
    frames = DeformedFrames(input=str(cine), length=20, crop=(32, 40), seed=1, deviation=1.0)
    for index in range(20):
        item = frames[index]
        moving, fixed = item["image"].split(1)
        assert item["field"].shape == (2, 32, 40) and item["mask"].shape == (1, 32, 40)
        rows, columns = np.mgrid[6:26, 6:34]
        places = np.stack([rows, columns]) + item["field"].numpy()[:, 6:26, 6:34]
        there = map_coordinates(moving[0].numpy(), places, order=1)
        inside = (places > 0).all(0) & (places[0] < 31) & (places[1] < 39)
        assert inside.mean() > 0.7 and np.abs(there - fixed[0].numpy()[6:26, 6:34])[inside].max() < 1e-4
    assert torch.equal(frames[3]["field"], frames[3]["field"]) and not torch.equal(frames[3]["field"], item["field"])


def test_what_looks_alike_everywhere_teaches_nothing(tmp_path):
    frames = 0.3 + 0.3 * torch.rand(3, 60, 72)
    frames[:, 10:50, 10:62] = torch.tensor([0.4, 0.45, 0.5])[:, None, None]
    write_cine(tmp_path / "half.nii.gz", frames[None])
    masks = torch.stack(
        [DeformedFrames(input=str(tmp_path / "half.nii.gz"), crop=(44, 56), deviation=0.0)[k]["mask"] for k in range(4)]
    )
    assert 0.2 < masks.mean() < 0.8 and set(masks.unique().tolist()) == {0.0, 1.0}
