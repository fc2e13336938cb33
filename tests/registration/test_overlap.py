"""Overlap of shapes whose Dice and distance are known."""

import math

import pytest
import torch

from cardiac_motion.registration.overlap import membership_dice, segmentation_scores, soft_dice, warped_dice


def square(first, last, size=20):
    mask = torch.zeros(size, size)
    mask[first:last, first:last] = 1
    return mask


def test_soft_dice_of_memberships():
    a = torch.stack([square(2, 10), square(0, 20) / 2])[None]
    b = torch.stack([square(6, 14), square(0, 20)])[None]
    torch.testing.assert_close(soft_dice(a, b), torch.tensor([[2 * 16 / 128, 2 * 200 / 600]]))
    assert soft_dice(0 * a, 0 * b).isnan().all()
    assert soft_dice(a[:, :1].expand(3, 2, -1, -1), b[:, :1].expand(3, 2, -1, -1)).shape == (3, 2)


def test_labels_are_carried_by_the_field_and_cut_at_one_half():
    label = torch.zeros(1, 2, 2, 20, 20)
    label[0, 0, 0], label[0, 1, 0] = square(4, 10), square(7, 13)
    label[0, 0, 1], label[0, 1, 1] = 0.6 * square(4, 10), 0.4 * square(7, 13)
    ddf = torch.full((1, 2, 20, 20), -3.0)
    found = warped_dice(ddf, torch.zeros(1, 2, 20, 20), label)
    assert found.tolist() == [[1.0, 0.0]], "0.6 is the structure, 0.4 is not"
    assert warped_dice(0 * ddf, torch.zeros(1, 2, 20, 20), label)[0, 0].item() == pytest.approx(2 * 9 / 72)


def test_what_is_carried_to_just_one_half_is_not_in():
    """By half a pixel: the borders of the carried square are 1/2."""
    label = torch.stack([square(4, 8, 9), square(4, 8, 9)])[None, :, None]
    ddf = torch.zeros(1, 2, 9, 9)
    ddf[:, 0] = 0.5
    assert warped_dice(ddf, torch.zeros(1, 2, 9, 9), label).item() == pytest.approx(2 * 3 / (3 + 4))
    label[:, 1] /= 2
    assert warped_dice(0 * ddf, torch.zeros(1, 2, 9, 9), label).item() == 0


def test_the_largest_membership_decides():
    memberships = torch.stack([0.5 * torch.ones(20, 20), square(2, 10), 0.7 * square(8, 14)])[None, None]
    label = torch.stack([square(2, 10), square(8, 14)])[None, None]
    found = membership_dice(memberships, label)
    assert found.shape == (1, 2) and found[0, 0] == 1
    assert found[0, 1].item() == pytest.approx(2 * 32 / (32 + 36)), "where both are, the first is larger"


def test_memberships_of_several_pairs_and_labels_of_just_a_half():
    """A label of 1/2 is not in; each image of each pair is measured for itself."""
    label = torch.zeros(2, 3, 1, 4, 4)
    label[..., :2] = 1.0
    label[1, 2, 0, :, 2] = 0.5
    memberships = torch.cat([1 - label.round(), label.round()], 2) * 0.8 + 0.1
    memberships[0, 1] = memberships[0, 1].roll(1, -1)
    found = membership_dice(memberships, label)
    assert found.shape == (6, 1) and found.ravel().tolist() == pytest.approx([1, 0.5, 1, 1, 1, 1])


def test_scores_of_a_shifted_square():
    """Shifted by 3 rows of 0.5 mm: 7/10 of it stays, and 3 of its 10 rows are 1.5 mm away at most."""
    truth, found = torch.zeros(40, 40), torch.zeros(40, 40)
    truth[10:20, 10:30], found[13:23, 10:30] = 1, 1
    truth[30:35, 5:10] = found[30:35, 5:10] = 2
    scores = segmentation_scores(found, truth, {1: "cavity", 2: "wall"}, (0.5, 2.0))
    assert scores["dice_cavity"] == pytest.approx(0.7) and scores["hd95_cavity"] == pytest.approx(1.5)
    assert scores["dice_wall"] == 1 and scores["hd95_wall"] == 0 and scores["missed"] == 0
    assert scores["dice"] == pytest.approx(0.85) and scores["hd95"] == pytest.approx(0.75)
    beside = segmentation_scores(found.T, truth.T, {1: "cavity"}, (0.5, 2.0))
    assert beside["hd95_cavity"] == pytest.approx(6.0), "columns are 2 mm"


def test_what_is_missed_and_what_is_in_neither():
    truth = square(4, 8)
    scores = segmentation_scores(0 * truth, truth, {1: "cavity", 2: "wall"}, (1.0, 1.0))
    assert scores["dice_cavity"] == 0 and math.isnan(scores["hd95_cavity"]) and scores["missed"] == 1
    assert math.isnan(scores["dice_wall"]) and math.isnan(scores["hd95_wall"])
    assert scores["dice"] == 0 and math.isnan(scores["hd95"])


def test_the_distance_is_that_of_95_in_a_hundred():
    """One pixel against a row of twenty-one that begins there: they are 0 to 20 away, and 19 is the 95th percentile."""
    truth, found = torch.zeros(8, 30), torch.zeros(8, 30)
    truth[4, 4] = 1
    found[4, 4:25] = 1
    assert segmentation_scores(found, truth, {1: "cavity"}, (1.0, 0.5))["hd95_cavity"] == pytest.approx(9.5)
