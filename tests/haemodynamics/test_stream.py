import math

import torch

from cardiac_motion.haemodynamics.derivatives import divergence, velocity_gradient
from cardiac_motion.haemodynamics.stream import pathlines, stream_function, stream_lines
from tests.haemodynamics.flows import grid, hill, lamb_oseen, taylor_green
from tests.haemodynamics.test_velocity import turned


def test_the_stream_function_of_taylor_green():
    y, x = grid(81, 0.5)
    k = 2 * math.pi / 20.0
    mask = torch.hypot(y, x) < 17
    psi = stream_function(taylor_green(y, x), (0.5, 0.5), mask)
    truth = -0.4 / k * torch.cos(k * y) * torch.cos(k * x)
    off = (psi - truth)[mask]
    assert psi.isnan().equal(~mask)
    assert (off - off.mean()).abs().max() < 0.02 * truth.abs().max()


def curl(psi, steps):
    """The velocity ``[2, H, W]`` of a stream function ``[H, W]``: (−∂ψ/∂column, ∂ψ/∂row), NaN where ψ isn't known."""
    gradient = velocity_gradient(psi.nan_to_num()[None, None].expand(1, 2, -1, -1), steps, ~psi.isnan()[None])[0, 0]
    return torch.stack([-gradient[1], gradient[0]])


def stream_line(velocity, start, mask, **settings):
    return stream_lines(velocity, torch.tensor([list(start)]), mask, **settings)[0]


def test_its_curl_is_the_flow_without_divergence():
    y, x = grid(61, 0.5)
    mask = torch.hypot(y, x) < 14
    swirl = lamb_oseen(y, x)
    source = torch.stack([y, x]) * 0.01  # comes apart, turns nowhere
    psi = stream_function(swirl + source, (0.5, 0.5), mask)
    alone = stream_function(swirl, (0.5, 0.5), mask)
    inner = torch.hypot(y, x) < 13
    assert (psi - alone)[inner].abs().max() < 0.02 * alone[mask].abs().max()
    found = curl(alone, (0.5, 0.5))
    assert (found - swirl).norm(dim=0)[inner].max() < 0.04 * swirl.norm(dim=0).max()
    assert divergence(found[None], (0.5, 0.5), mask[None])[0][torch.hypot(y, x) < 12].abs().max() < 1e-3


def test_no_stream_function_of_a_pixel():
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[2, 2] = True
    assert stream_function(torch.ones(2, 5, 5), (1, 1), mask).isnan().all()


def test_stream_lines_of_a_vortex_are_circles_and_those_of_hill_stay_in():
    y, x = grid(81, 0.5)
    everywhere = torch.ones(81, 81, dtype=torch.bool)
    line = stream_line(lamb_oseen(y, x), (40.0, 60.0), everywhere, step=0.5, length=240)
    radius = (line - 40).norm(dim=1)
    assert len(line) == 241 and (radius - 20).abs().max() < 0.05
    velocity, inside = hill(y, x)
    psi = x**2 * (1 - (x**2 + y**2) / 18.0**2)  # Stokes's stream function, constant along the line
    line = stream_line(velocity, (40.0, 58.0), inside, length=200).round().long()
    values = psi[line[:, 0], line[:, 1]] / psi.max()
    assert len(line) > 100 and (values - values[0]).abs().max() < 0.12


def test_a_stream_line_ends_at_the_wall_and_goes_back():
    right = torch.zeros(2, 9, 20)
    right[1] = 1.0
    mask = torch.ones(9, 20, dtype=torch.bool)
    mask[:, 15:] = False
    assert stream_line(right, (4.0, 3.0), mask)[-1].tolist() == [4.0, 14.5]
    assert stream_line(right, (4.0, 3.0), mask, back=True)[-1].tolist() == [4.0, -0.5]


def test_particles_go_round_and_end_where_the_pool_does():
    fields = turned(0.1).expand(20, -1, -1, -1)
    y, x = grid(61, 1.0)
    pool = (torch.hypot(y, x) < 20).expand(21, -1, -1)
    ways = pathlines(fields, pool, stride=30, count=40)
    radius = (ways - 30).norm(dim=-1)
    whole = ~ways[-1, :, 0].isnan()
    assert whole.sum() > 30 and (radius[-1] - radius[0])[whole].abs().max() < 0.05
    first, last = (ways[t][whole] - 30 for t in (0, 15))
    cross = first[:, 1] * -last[:, 0] - -first[:, 0] * last[:, 1]  # x right, y upwards
    angle = torch.atan2(cross, (first * last).sum(1))
    assert torch.allclose(angle, torch.full_like(angle, 1.5), atol=0.01)  # counter-clockwise
    pool = pool.clone()
    pool[5:, 30:] = False
    still = pathlines(fields, (torch.hypot(y, x) < 20).expand(21, -1, -1), stride=30, count=40)
    ended = pathlines(fields, pool, stride=30, count=40)
    assert ended[4].isnan().equal(still[4].isnan()) and ended[5].isnan().sum() > still[5].isnan().sum()
    assert (ended[5:, :, 0] > 30.6).sum() == 0
