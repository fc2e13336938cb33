"""The fusion of lines and motion against the least squares that it stands for, with weights from first principles.

A wall that stands still in every frame, and a field that says that it moves: how far it goes is how the two are
weighed. Without a jerk the motion is a parabola, and filter and smoother give the parabola of least squares.
"""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.tracking.motion import Fusion, track_wall
from cardiac_motion.strain_pipeline.tracking.wall import Wall
from cardiac_motion.ventricle.beats import Beat

SIZE, POINTS = 120, 60
LENGTH = 64.0  # pixels from the middle of the base to the apex, of the endocardium
FRAMES, DOWN = 8, 1.5  # pixels a frame that the field says
PLACE, VELOCITY = 0.02, 0.01  # standard deviations, of the ventricle's length


def wall():
    """Endocardium, mid-wall and epicardium as half ellipses, ``[3, P, 2]``."""
    angle = np.linspace(0, np.pi, POINTS + 1)  # a point of its own at the apex
    lines = [np.stack([84 - (LENGTH + d) * np.sin(angle), 60 - (22 + d) * np.cos(angle)], -1) for d in (0, 3, 6)]
    return np.stack(lines)


def waves(period):
    """Two patterns along the columns whose products vanish over a window of a whole period."""
    x = 2 * np.pi * torch.arange(SIZE) / period
    return [(0.2 * wave).float().expand(1, 1, SIZE, SIZE) for wave in (torch.cos(x), torch.cos(2 * x))]


def fused(missed, same, **settings):
    """The tracked wall of frames with one wall, a field of ``DOWN`` rows, and a texture of which ``same`` stays.

    The fixed frame is the moving one and another pattern, orthogonal in every window: NCC² is the first one's share.
    """
    a, b = waves(7)
    moving, fixed = 0.5 + a, 0.5 + np.sqrt(same) * a + np.sqrt(1 - same) * b
    field = torch.zeros(FRAMES - 1, 2, SIZE, SIZE)
    field[:, 0] = -DOWN
    cine = MetaTensor(torch.rand(1, FRAMES, SIZE, SIZE), meta={"spacing": None, "frame_times": None})
    image = torch.cat([moving, fixed], 1).expand(FRAMES - 1, -1, -1, -1)
    lines = np.repeat(wall()[None], FRAMES, 0)
    labels = torch.zeros(FRAMES, SIZE, SIZE, dtype=torch.uint8)
    segmented = Wall(labels, np.zeros(FRAMES), lines, (Beat(0, 3, FRAMES - 1, True),), ())
    inconsistency = None if missed is None else torch.full((FRAMES - 1, 1, SIZE, SIZE), missed)
    result = RegistrationResult(field, inconsistency=inconsistency)
    fusion = Fusion(radius=6 / LENGTH, along=0, jerk=0.0, wall_motion="none", **settings)
    return track_wall(CineCase(CineEntry("wall", "wall.dcm"), image, None, cine), segmented, result, fusion)[0]


def rows_by_least_squares(sd_velocity):
    """How far the wall goes down by frame: start, velocity and acceleration of least squares, in numpy alone."""
    t = np.arange(FRAMES, dtype=float)
    place = np.stack([np.ones(FRAMES), t, t**2 / 2], 1)
    velocity = np.stack([np.zeros(FRAMES), np.ones(FRAMES), t], 1)
    sd_place = np.where(t == 0, 0.1 * VELOCITY, PLACE) * LENGTH
    rows = np.concatenate([place / sd_place[:, None], velocity / sd_velocity])
    measured = np.concatenate([0 * t, np.full(FRAMES, DOWN) / sd_velocity])
    return place @ np.linalg.lstsq(rows, measured, rcond=None)[0]


@pytest.mark.parametrize(
    ("missed", "same", "wider"),
    [
        (None, 1.0, lambda noise: noise),
        (0.0, 1.0, lambda noise: noise),
        (4.0, 1.0, lambda noise: np.hypot(noise, 2.0)),  # each of two directions has half of the four pixels
        (None, 0.5, lambda noise: 2 * noise),
        (2.0, 0.7, lambda noise: np.hypot(noise, 1.0) / 0.7),
    ],
)
def test_a_poor_registration_counts_less(missed, same, wider):
    found = fused(missed, same, position_sd=PLACE, velocity_noise=VELOCITY)
    assert found.lncc2 == pytest.approx(same, abs=1e-3)
    assert found.fb_error is None if missed is None else found.fb_error == pytest.approx(missed)
    expected = rows_by_least_squares(wider(VELOCITY * LENGTH))
    assert expected[-1] > 0.3, "the field counts at all"
    moved = found.lines - wall()
    np.testing.assert_allclose(moved[..., 0], np.broadcast_to(expected[:, None, None], moved.shape[:3]), atol=0.01)
    np.testing.assert_allclose(moved[..., 1], 0, atol=0.01)


def test_what_the_weights_change_is_more_than_the_tolerance():
    noise = VELOCITY * LENGTH
    ends = [rows_by_least_squares(sd)[-1] for sd in (noise, np.hypot(noise, 2.0), 2 * noise, np.hypot(noise, 1) / 0.7)]
    assert np.abs(np.subtract.outer(ends, ends))[~np.eye(4, dtype=bool)].min() > 0.05
