import pytest
import torch

from cardiac_motion.fields import points as module
from cardiac_motion.fields.ddf import identity_grid, invert
from cardiac_motion.fields.points import field_at, grid_points, step_backward, step_forward, track
from tests.conftest import rotation

SIZE = (60, 70)


def rotating_ddf(angle):
    """The contract's field of a rotation by ``angle`` a frame: pixel p of frame t+1 was at R(−angle)·p."""
    grid = identity_grid(SIZE, torch.zeros(1))[0].movedim(0, -1)
    return (rotation(grid, -angle, SIZE) - grid).movedim(-1, 0)


@pytest.fixture
def points():
    return grid_points(torch.ones(SIZE), 9)[10:-10] * 0.6 + 12.3


def test_points_turn_with_the_tissue(points):
    """The sign: material moves with the inverse of the field that pulls the image back."""
    found = step_forward(points, rotating_ddf(0.1))
    torch.testing.assert_close(found, rotation(points, 0.1, SIZE), atol=2e-3, rtol=0)


def test_backward_undoes_forward(points):
    ddf = rotating_ddf(0.1)
    torch.testing.assert_close(step_backward(step_forward(points, ddf), ddf), points, atol=3e-3, rtol=0)


def test_forward_is_the_inverse_field(points):
    ddf = rotating_ddf(0.05)
    by_field = points + field_at(invert(ddf[None])[0], points)
    torch.testing.assert_close(step_forward(points, ddf), by_field, atol=5e-3, rtol=0)


@pytest.mark.parametrize("start", [0, 2, 4])
def test_track_from_any_frame(points, start):
    ddf = rotating_ddf(0.04).expand(4, -1, -1, -1)
    path = track(points, ddf, start)
    assert path.shape == (5, len(points), 2)
    for t in range(5):
        torch.testing.assert_close(path[t], rotation(points, 0.04 * (t - start), SIZE), atol=1e-2, rtol=0)


def test_grid_points_stay_inside():
    mask = torch.zeros(40, 50)
    mask[10:20, 5:45] = 1
    found = grid_points(mask, 5)
    assert len(found) == 2 * 8
    assert mask[found[:, 0].long(), found[:, 1].long()].all()


def test_each_frame_is_carried_by_its_own_pair():
    """Shifts of 1, 2 and 4 rows: from any frame, the way to any other is the sum of those between."""
    ddf = torch.zeros(3, 2, 40, 12)
    for t, shift in enumerate((1.0, 2.0, 4.0)):
        ddf[t, 0] = -shift
    rows = torch.tensor([0.0, 1.0, 3.0, 7.0])
    for start in range(4):
        path = track(torch.tensor([[20.0, 6.0]]), ddf, start)
        torch.testing.assert_close(path[:, 0, 0], 20 + rows - rows[start])
        assert (path[:, 0, 1] == 6).all()


def test_a_step_forward_is_looked_for_until_it_stands(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "field_at", lambda *given: calls.append(1) or field_at(*given))
    ddf, points = rotating_ddf(0.1), torch.tensor([[30.0, 20.0], [20.0, 50.0]])
    step_forward(points, torch.zeros(2, *SIZE))
    assert len(calls) == 1
    calls.clear()
    step_forward(points, ddf)
    assert 2 < len(calls) < 12
    calls.clear()
    step_forward(points, ddf, iterations=3, tolerance=0.0)
    assert len(calls) == 3


def test_a_place_between_which_and_itself_the_search_swings_is_found():
    """Where a field grows by more than a pixel a pixel, whole steps go further and further from the place."""
    rows = torch.arange(30.0)[:, None].expand(30, 30)
    ddf = torch.stack([1.2 * (rows - 10), torch.zeros(30, 30)])
    found = step_forward(torch.tensor([[14.0, 5.0], [11.0, 6.0]]), ddf)
    torch.testing.assert_close(found[:, 0], torch.tensor([26 / 2.2, 23 / 2.2]), atol=2e-3, rtol=0)


def test_a_search_may_begin_elsewhere():
    ddf, points = rotating_ddf(0.1), torch.tensor([[30.0, 20.0], [20.0, 50.0]])
    found = step_forward(points, ddf)
    torch.testing.assert_close(step_forward(points, ddf, start=found + 1.0), found, atol=2e-3, rtol=0)
    torch.testing.assert_close(step_forward(points, ddf, iterations=1, start=found), found, atol=2e-3, rtol=0)
