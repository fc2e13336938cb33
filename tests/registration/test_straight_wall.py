"""Geometry of a straightened wall: its points, bases that are exact, and fields that carry it."""

import numpy as np
import pytest
import torch

from cardiac_motion.fields.points import track
from cardiac_motion.registration.straight_wall import (
    StraightWall,
    WallMotion,
    WallSettings,
    begin,
    cubic_basis,
    linear_basis,
    write_fields,
)

ANGLE = np.linspace(0, np.pi, 61)
CIRCLE = np.stack([-np.sin(ANGLE), -np.cos(ANGLE)], -1)
WALL = StraightWall(np.array([90.0, 60.0]) + 40 * CIRCLE, np.array([90.0, 60.0]) + 54 * CIRCLE, WallSettings())


def test_points_lie_on_the_borders_and_between_them():
    s = np.linspace(0, 1, 31)
    radius = np.linalg.norm(WALL.points(s, np.array([0.0, 0.5, 1.0])) - [90.0, 60.0], axis=-1)
    assert np.abs(radius - [40.0, 47.0, 54.0]).max() < 0.05
    assert WALL.thickness == pytest.approx(14, abs=0.1) and WALL.length == pytest.approx(47 * np.pi, rel=0.01)


def test_bases_sum_to_one_and_reproduce_straight_lines_beyond_the_ends_too():
    at = np.linspace(-0.2, 1.2, 29)
    assert np.abs(linear_basis(at, 4).sum(1) - 1).max() < 1e-12
    assert np.abs(linear_basis(at, 4) @ np.linspace(0, 3, 4) - 3 * at).max() < 1e-12
    cubic = cubic_basis(at, 7)
    places = cubic_basis(np.linspace(0, 1, 50), 7)
    line = np.linalg.lstsq(places, np.linspace(0, 1, 50), rcond=None)[0]
    assert np.abs(cubic.sum(1) - 1).max() < 1e-12 and np.abs(cubic @ line - at).max() < 1e-9


@pytest.mark.parametrize("first", [0, 2])
def test_a_translation_of_all_is_that_of_the_wall(first):
    ddf = torch.zeros(4, 2, 120, 120)
    ddf[:, 0], ddf[:, 1] = -0.5, 0.25
    moved = begin(WALL, ddf, first, WallSettings()).displacement(np.array([0.0, 0.4]), np.array([0.0, 1.0]))
    truth = (np.arange(5) - first)[:, None] * [0.5, -0.25]
    assert np.abs(moved - truth[:, None, None]).max() < 1e-3


def test_fields_carry_the_wall_and_leave_what_is_far_away():
    turn = 0.05
    nodes, across = np.linspace(0, 1, 40), np.linspace(0, 1, 7)
    places = WALL.points(nodes, across) - [90.0, 60.0]
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    start = np.stack([np.zeros_like(places), places @ rotation.T - places])
    motion = WallMotion(WALL, nodes, start, np.zeros((2, 6, 3, 2)))
    found = write_fields(motion, torch.zeros(1, 2, 120, 130))
    points = torch.from_numpy(WALL.points(np.linspace(0, 1, 9), np.array([0.0, 0.5, 1.0])).reshape(-1, 2)).float()
    ends = track(points, found, 0)[1].numpy()
    truth = (points.numpy() - [90.0, 60.0]) @ rotation.T + [90.0, 60.0]
    assert np.linalg.norm(ends - truth, axis=-1).max() < 0.1
    assert found[..., :10, :].abs().max() == 0 and found[..., 117:, :].abs().max() == 0
