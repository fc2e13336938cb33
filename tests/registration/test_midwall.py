"""The motion of a wall from its inside, where a field sees both sides of a border."""

import pytest
import torch

from cardiac_motion.fields.ddf import rescale, smooth
from cardiac_motion.fields.points import track
from cardiac_motion.registration import midwall
from cardiac_motion.registration.midwall import accumulate_fields, correct_step, fit_affine, follow_midwall

SIZE, TOP, LEFT, WIDTH, HEIGHT = (80, 72), 20.0, 28.0, 14.0, 40.0
ENDS = torch.tensor([[TOP, LEFT], [TOP, LEFT + WIDTH], [TOP + HEIGHT, LEFT], [TOP + HEIGHT, LEFT + WIDTH]])
FRAMES = 9


def place(points, t):
    """A strip that shortens towards its upper end and leans, steadily: ``[..., 2]`` of frame 0 in frame t."""
    row, column = points.unbind(-1)
    return torch.stack([TOP + (row - TOP) * (1 - 0.02 * t), column + 0.3 * t + 0.005 * t * (row - TOP)], -1)


def origin(points, t):
    row, column = points.unbind(-1)
    row = TOP + (row - TOP) / (1 - 0.02 * t)
    return torch.stack([row, column - 0.3 * t - 0.005 * t * (row - TOP)], -1)


def grid():
    return torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in SIZE), indexing="ij"), -1)


def in_strip(points, grow=0.5):
    row, column = (points - torch.tensor([TOP, LEFT])).unbind(-1)
    return (row >= -grow) & (row <= HEIGHT + grow) & (column >= -grow) & (column <= WIDTH + grow)


def blurred_steps():
    """The strip moves, all around stands still, and a field blurs both over some pixels."""
    steps = []
    for t in range(FRAMES - 1):
        began = origin(grid(), t + 1)
        field = torch.where(in_strip(began)[..., None], place(began, t) - grid(), torch.zeros(()))
        steps.append(field.movedim(-1, 0))
    return smooth(torch.stack(steps), 2.5)


def off(steps, anchor=0):
    ends = track(place(ENDS, anchor), steps, anchor)
    truth = torch.stack([place(ENDS, t) for t in range(FRAMES)])
    return (ends - truth).norm(dim=-1)


@pytest.mark.parametrize("anchor", [0, 3])
def test_the_ends_of_a_wall_follow_it(anchor):
    steps = blurred_steps()
    wall = in_strip(origin(grid(), anchor))
    before, after = off(steps, anchor), off(follow_midwall(steps, wall, anchor), anchor)
    assert before.max() > 2, "what is beside the strip holds its corners back"
    assert after.max() < 0.55 * before.max() and after.mean() < 0.5 * before.mean()


def test_far_from_the_wall_and_without_one_nothing_changes():
    steps = blurred_steps()
    found = follow_midwall(steps, in_strip(grid()))
    assert torch.equal(found[..., :4], steps[..., :4]) and torch.equal(found[..., -4:], steps[..., -4:])
    assert torch.equal(follow_midwall(steps, torch.zeros(SIZE, dtype=torch.bool)), steps)


def test_an_affine_motion_of_everything_stays_as_it_is():
    steps = torch.stack([(place(origin(grid(), t + 1), t) - grid()).movedim(-1, 0) for t in range(FRAMES - 1)])
    found = follow_midwall(steps, in_strip(grid()))
    assert off(found).max() < 0.1
    assert (found - steps)[..., 16:64, 16:56].abs().max() < 0.05


def test_an_affine_fit_goes_on_beyond_what_it_is_fitted_to():
    field = torch.stack([0.1 * grid()[..., 1] - 2, -0.05 * grid()[..., 0]])[None]
    weight = in_strip(grid()).float()
    noise = torch.randn(field.shape, generator=torch.Generator().manual_seed(0))
    found = fit_affine(torch.where(weight > 0, field + 0.1 * noise, 99.0), weight, 7.0)
    near = in_strip(grid(), 3.0)
    assert (found - field)[0, :, near].abs().max() < 0.3
    assert not fit_affine(field, torch.zeros(SIZE), 3.0).any()


def test_steps_lead_to_every_frame_and_back():
    steps = torch.stack([(place(origin(grid(), t + 1), t) - grid()).movedim(-1, 0) for t in range(FRAMES - 1)])
    led, back = accumulate_fields(steps, 4)
    inner = (slice(None), slice(24, 50), slice(20, 48))
    for t in (0, 8):
        there = place(origin(grid(), 4), t) - grid()
        assert (led[t].movedim(0, -1) - there)[inner[1:]].abs().max() < 0.02
    still = torch.zeros_like(steps[:1])
    assert torch.allclose(correct_step(steps[:1], back[1:2], still, still), steps[:1])


def test_bars_are_named(bar_names):
    follow_midwall(blurred_steps(), in_strip(origin(grid(), 0)))
    assert bar_names == ["points near the wall", "corrected fields"]


def test_a_thick_wall_is_corrected_on_a_coarser_grid_to_the_same_strain(monkeypatch):
    """Of a strip 42 pixels thick; its long side shortens by what the correction makes of it."""
    larger = [3 * n for n in SIZE]
    steps = rescale(blurred_steps(), larger)
    wall = torch.kron(in_strip(grid()).float(), torch.ones(3, 3)) > 0
    sides = torch.tensor([[TOP, LEFT + 2], [TOP + HEIGHT, LEFT + 2]]) * 3 + 1.0

    def shorten(found):
        ends = track(sides, found, 0)
        lengths = (ends[:, 1] - ends[:, 0]).norm(dim=-1)
        return 100 * float(lengths[-1] / lengths[0] - 1)

    coarse = shorten(follow_midwall(steps, wall))
    monkeypatch.setattr(midwall, "_ACROSS", 1e9)
    fine = shorten(follow_midwall(steps, wall))
    assert fine < shorten(steps) - 1 and abs(coarse - fine) < 0.2  # percentage points of about 10
