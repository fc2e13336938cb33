"""The wall carried by fields that are known: shifts, and what may not be counted."""

import numpy as np
import pytest
import torch

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.cine.sector import sector_mask
from cardiac_motion.fields.points import field_at
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.tracking.motion import (
    Fusion,
    box_around,
    sample_at_points,
    track_wall,
    transverse_spread,
    variance_of_mean,
    velocities,
    widen_sector,
)
from cardiac_motion.strain_pipeline.tracking.wall import Wall
from cardiac_motion.ventricle.beats import Beat
from tests.strain_pipeline.known import HEIGHT, POINTS, WALL, WIDTH, cine

STEP = np.array([0.5, -0.75])  # pixels a frame


def shifted(count=5):
    """Frames of a texture that moves by ``STEP``, and the fields of the pairs: material comes from ``−STEP``."""
    rng = torch.Generator().manual_seed(0)
    texture = torch.nn.functional.avg_pool2d(torch.rand(1, 1, HEIGHT + 44, WIDTH + 44, generator=rng), 5, 1)[0, 0]
    frames = torch.stack(
        [field_at_all(texture, np.array([20.0, 20.0]) - t * STEP, (HEIGHT, WIDTH)) for t in range(count)]
    )
    ddf = torch.from_numpy(-STEP).float()[:, None, None].expand(count - 1, 2, HEIGHT, WIDTH).clone()
    return frames, ddf


def field_at_all(picture, corner, size):
    grid = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij"), -1)
    points = (grid + torch.from_numpy(corner).float()).reshape(-1, 2)
    return field_at(picture[None].expand(2, -1, -1), points)[:, 0].view(size)


def moving(es=None, contour=None, ed=0, count=5, seen_lines=True):
    frames, ddf = shifted(count)
    loop = cine(count)
    case = CineCase(CineEntry("a", "a", es=es, contour=contour), torch.stack([frames[:-1], frames[1:]], 1), None, loop)
    lines = np.stack([WALL + t * STEP for t in range(count)])
    if not seen_lines:
        lines[1:] = np.nan
    wall = Wall(torch.zeros(1), np.zeros(count), lines, (Beat(ed, count - 2, count - 1, False),), ())
    return case, wall, RegistrationResult(ddf)


SEEN = np.ones((HEIGHT, WIDTH), bool)


@pytest.mark.parametrize("position_sd", [None, 1.0])
def test_a_shifted_wall_is_followed(position_sd):
    (found,) = track_wall(*moving(), Fusion(position_sd=position_sd, along=0.0, wall_motion="none"), SEEN)
    np.testing.assert_allclose(found.lines, [WALL + t * STEP for t in range(5)], atol=0.05)
    assert (
        found.lncc2.shape == (POINTS,)
        and found.lncc2.min() > 0.8
        and found.lncc2.mean() > 0.93
        and not found.outside.any()
    )
    assert found.fb_error is None and found.deviation.shape == (5, 3, POINTS)
    np.testing.assert_allclose(found.line_sd, 0, atol=0.05)


def test_a_wall_seen_once_is_followed_by_motion_alone():
    (found,) = track_wall(*moving(seen_lines=False), Fusion(along=0.0, wall_motion="none"), SEEN)
    np.testing.assert_allclose(found.lines[-1], WALL + 4 * STEP, atol=0.1)
    assert (found.deviation[-1] > found.deviation[0]).all(), "the further from the line, the less certain"


def test_a_beat_begins_at_its_own_end_diastole():
    (found,) = track_wall(*moving(ed=2), Fusion(along=0.0, wall_motion="none"), SEEN)
    assert len(found.lines) == 3 and found.beat.ed == 2
    np.testing.assert_allclose(found.lines[0], WALL + 2 * STEP, atol=0.05)


def test_end_systole_stays_where_the_user_puts_it():
    kept, moved = (track_wall(*moving(es=es), Fusion(wall_motion="none"), SEEN)[0].beat.es for es in (3, None))
    assert kept == 3 and 1 <= moved <= 3


def test_how_far_the_directions_miss_each_other_is_the_mean_over_the_beat():
    case, wall, result = moving()
    missed = torch.zeros(4, 1, HEIGHT, WIDTH)
    missed[1], missed[3] = 0.4, 0.8
    (found,) = track_wall(
        case, wall, RegistrationResult(result.ddf, inconsistency=missed), Fusion(wall_motion="none"), SEEN
    )
    np.testing.assert_allclose(found.fb_error, 0.3, atol=1e-6)


def test_points_beyond_the_sector_are_outside():
    seen = SEEN.copy()
    seen[:, :45] = False
    (found,) = track_wall(*moving(), Fusion(along=0.0, wall_motion="none"), seen)
    # in the first frame the mid-wall lies at columns 32 to 98, and it goes left by 3 pixels
    expected = (WALL[1, :, 1] + 4 * STEP[1]) < 44.4
    agree = found.outside == expected
    assert agree.mean() > 0.98 and found.outside[:10].all() and not found.outside[60:].any()


def test_the_sector_is_three_pixels_wider():
    found = widen_sector(cine())
    sector = sector_mask(cine(), radius=0, still=True).numpy()
    row = sector[60]
    assert np.flatnonzero(row)[0] - np.flatnonzero(found[60])[0] == 3
    assert np.flatnonzero(found[60])[-1] - np.flatnonzero(row)[-1] == 3
    rows, columns = np.nonzero(sector)
    for r, c in zip(*np.nonzero(found & ~sector), strict=True):
        assert np.hypot(rows - r, columns - c).min() <= 3


def test_velocities_of_a_shift_are_the_shift():
    _, ddf = shifted(4)
    path = torch.from_numpy(np.stack([WALL[0] + t * STEP for t in range(4)])).float()
    torch.testing.assert_close(
        velocities(path, ddf).double(), torch.from_numpy(STEP).expand(4, POINTS, 2), atol=1e-4, rtol=0
    )


def test_values_at_points_are_interpolated():
    ramp = (torch.arange(6.0)[:, None] * 10 + torch.arange(7.0)).expand(2, 1, 6, 7)
    found = sample_at_points(
        ramp * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1), torch.tensor([[[2.5, 3.25]], [[1.0, 6.0]]])
    )
    torch.testing.assert_close(found, torch.tensor([[28.25], [32.0]]))


def test_variances_of_both_neighbours():
    np.testing.assert_array_equal(variance_of_mean(np.array([[1.0], [3.0], [7.0]]))[:, 0], [1.0, 2.0, 5.0, 7.0])


def test_what_lies_across_counts_and_what_lies_along_does_not():
    line = np.stack([np.zeros(11), np.arange(11.0)], -1)  # a row: across is down
    lines = np.broadcast_to(line, (4, 1, 11, 2))
    across = lines + np.array([1.0, -1.0, 1.0, -1.0])[:, None, None, None] * np.array([2.0, 0.0])
    np.testing.assert_allclose(transverse_spread(lines, across), 2.0)
    np.testing.assert_allclose(transverse_spread(lines, lines + [0.0, 5.0] * np.arange(4.0)[:, None, None, None]), 0.0)
    np.testing.assert_allclose(transverse_spread(lines, lines + [3.0, 0.0]), 0.0), "an even distance is no spread"
    gone = across.copy()
    gone[2:] = np.nan
    np.testing.assert_allclose(transverse_spread(lines, gone), 2.0)
    np.testing.assert_array_equal(transverse_spread(lines, lines + np.nan), np.zeros((1, 11)))


def test_the_box_holds_the_path_with_window_and_slack():
    path = torch.tensor([[[40.0, 50.0], [60.2, 50.0]], [[41.0, 55.0], [60.0, 70.0]]])
    assert box_around(path, 5, (200, 300)) == (slice(23, 79), slice(33, 88))
    assert box_around(path, 5, (70, 60)) == (slice(23, 70), slice(33, 60))
    assert box_around(path - 45, 5, (200, 300)) == (slice(0, 34), slice(0, 43))
    rows, columns = box_around(path + 500, 5, (200, 300))
    assert rows == slice(189, 200) and columns == slice(289, 300), "never smaller than the window"
