"""Largest component and closing of masks whose pieces are known."""

import numpy as np
import pytest

from cardiac_motion.core.arrays import close_mask, largest_component


def test_the_largest_of_three_pieces():
    mask = np.zeros((9, 12), dtype=bool)
    mask[1:3, 1:3] = mask[5:8, 6:11] = mask[1, 8:11] = True
    expected = np.zeros_like(mask)
    expected[5:8, 6:11] = True
    assert np.array_equal(largest_component(mask), expected)


def test_pixels_that_share_a_corner_alone_are_apart():
    assert largest_component(np.eye(3)).sum() == 1
    assert largest_component([[1, 1, 0], [0, 0, 1]]).tolist() == [[True, True, False], [False, False, False]]


def test_nothing_is_nothing_and_one_piece_is_whole():
    assert not largest_component(np.zeros((4, 5))).any()
    assert largest_component(np.ones((2, 3, 4))).all() and largest_component(np.ones((2, 3, 4))).dtype == bool


@pytest.mark.parametrize(("gap", "radius", "shut"), [(3, 2, True), (4, 2, True), (5, 2, False), (9, 5, True)])
def test_gaps_up_to_twice_the_radius_are_closed(gap, radius, shut):
    mask = np.ones((15, 30), dtype=bool)
    mask[:, 10 : 10 + gap] = False
    found = close_mask(mask, radius)
    assert found[7, 10 : 10 + gap].all() == shut
    assert (found | mask == found).all(), "what was there stays"


def test_the_edge_of_the_picture_is_no_wall_and_no_hole():
    mask = np.zeros((11, 11), dtype=bool)
    mask[0, :] = True
    assert np.array_equal(close_mask(mask, 3), mask)
