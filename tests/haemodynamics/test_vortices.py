import math

import pytest
import torch
from scipy import ndimage

from cardiac_motion.haemodynamics.vortices import CORE, centre_distance, find_vortices, gamma2, pair_vortices
from cardiac_motion.ventricle.blood_pool import long_axis
from tests.haemodynamics.flows import grid, hill, lamb_oseen, rankine, taylor_green

STEPS = (0.5, 0.5)
Y, X = grid(81, 0.5)
WHOLE = torch.ones(81, 81, dtype=torch.bool)


def test_rankine_core_and_circulation():
    found = find_vortices(rankine(Y, X), STEPS, WHOLE, reach=2.0)
    assert len(found) == 1
    vortex = found[0]
    assert vortex.centre == pytest.approx((40.0, 40.0), abs=0.05) and vortex.turn == 1
    assert vortex.area == pytest.approx(math.pi * 36, rel=0.1)
    assert vortex.circulation == pytest.approx(80.0, rel=0.1)  # 8e-3 m²/s
    assert vortex.intensity == pytest.approx(8e-3 / (math.pi * 36e-6), rel=0.15)


def test_lamb_oseen_off_the_middle_carried_by_a_stream_and_noisy():
    velocity = -lamb_oseen(Y, X, core=6.0, centre=(4.0, -6.0))
    velocity += torch.tensor([0.5, -0.3], dtype=torch.float64).view(2, 1, 1)
    velocity += 0.02 * torch.randn(velocity.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = [v for v in find_vortices(velocity, STEPS, WHOLE) if abs(v.circulation) > 20]
    assert len(found) == 1 and found[0].turn == -1
    assert found[0].centre == pytest.approx((48.0, 28.0), abs=0.5)
    share = 1 - math.exp(-(found[0].area / math.pi) / 36)  # of a disc as large as the core
    assert found[0].circulation == pytest.approx(-80 * share, rel=0.06)


def test_the_whole_vortex_is_known_and_smoothing_hardly_changes_it():
    velocity = -lamb_oseen(Y, X)  # of a Gaussian four fifths lie where it is a fifth of its peak or more
    found = find_vortices(velocity, STEPS, WHOLE)[0]
    assert found.whole_circulation == pytest.approx(-0.8 * 80, rel=0.03) and found.turn == -1
    smoothed = torch.from_numpy(ndimage.gaussian_filter(velocity.numpy(), (0, 3, 3)))
    after = find_vortices(smoothed, STEPS, WHOLE)[0]
    assert after.intensity < 0.85 * found.intensity
    assert after.whole_circulation == pytest.approx(found.whole_circulation, rel=0.04)
    beside = velocity + lamb_oseen(Y, X, circulation=2e-3, core=2.0, centre=(0.0, 15.0))  # another, the other way
    assert find_vortices(beside, STEPS, WHOLE)[0].whole_circulation == pytest.approx(found.whole_circulation, rel=0.06)


def test_gamma2_is_one_where_all_turns_and_two_over_pi_in_pure_shear():
    rigid = torch.stack([-X, Y])
    assert gamma2(rigid, STEPS, WHOLE)[40, 40] == pytest.approx(1.0, abs=1e-6)
    assert gamma2(-rigid, STEPS, WHOLE)[40, 40] == pytest.approx(-1.0, abs=1e-6)
    shear = torch.stack([torch.zeros_like(Y), Y])
    assert gamma2(shear, STEPS, WHOLE, reach=5.0)[40, 40] == pytest.approx(CORE, abs=0.05)
    saddle = torch.stack([Y, -X])
    assert abs(gamma2(saddle, STEPS, WHOLE)[40, 40]) < 1e-6


def test_nothing_is_told_from_too_little():
    mask = torch.zeros_like(WHOLE)
    mask[40:42] = True
    assert gamma2(rankine(Y, X), STEPS, mask).isnan().all()
    assert not find_vortices(torch.zeros(2, 81, 81), STEPS, WHOLE)


def test_hill_is_a_pair():
    velocity, inside = hill(Y, X)
    found = find_vortices(velocity, STEPS, inside)
    assert sorted(v.turn for v in found) == [-1, 1]
    right = next(v for v in found if v.centre[1] > 40)
    assert right.turn == 1  # goes down along the axis, and up beside it
    assert right.centre[0] == pytest.approx(40, abs=0.5)


def test_taylor_green_is_a_lattice():
    found = find_vortices(taylor_green(Y, X), STEPS, WHOLE)
    centred = [v for v in found if max(abs(c - 40) for c in v.centre) < 25]
    assert len(centred) == 9 and sum(v.turn for v in centred) in (-1, 1)


def test_shape_of_a_vortex_along_the_axis():
    mask = (X / 12).square() + (Y / 19).square() < 1
    axis = long_axis(mask, STEPS)
    assert axis.length == pytest.approx(38, abs=1)
    velocity = torch.stack([-X, Y / 4]) * torch.exp(-(X**2 / 16 + Y**2 / 64))[None] * 0.05
    vortex = find_vortices(velocity, STEPS, mask, axis, reach=2.0)[0]
    assert vortex.depth == pytest.approx(0.5, abs=0.03) and vortex.transverse == pytest.approx(0, abs=0.03)
    assert vortex.sphericity == pytest.approx(vortex.length / vortex.width) and vortex.sphericity > 1.5
    moved = find_vortices(velocity.roll(-10, 1), STEPS, mask, axis, reach=2.0)[0]  # 5 mm towards the apex
    assert moved.depth - vortex.depth == pytest.approx(5 / axis.length, abs=0.02)
    right = find_vortices(velocity.roll(4, 2), STEPS, mask, axis, reach=2.0)[0]
    assert right.transverse == pytest.approx(2 / axis.length, abs=0.02)


def test_pixels_a_frame_have_no_centimetres():
    one = find_vortices(rankine(Y, X) * 10, (1.0, 1.0), WHOLE, reach=4.0, per_second=1.0)[0]
    other = find_vortices(rankine(Y, X) * 10, (1.0, 1.0), WHOLE, reach=4.0)[0]
    assert other.circulation == pytest.approx(10 * one.circulation) and other.intensity == pytest.approx(
        1000 * one.intensity
    )


def test_pairs_are_of_one_turn_and_each_once():
    a = find_vortices(lamb_oseen(Y, X, centre=(0, -8)) - lamb_oseen(Y, X, centre=(0, 8)), STEPS, WHOLE)
    b = find_vortices(lamb_oseen(Y, X, centre=(2, -8)) - lamb_oseen(Y, X, centre=(0, 8)), STEPS, WHOLE)
    pairs = pair_vortices(a, b, STEPS)
    assert len(a) == len(b) == len(pairs) == 2 and all(p.turn == q.turn for p, q in pairs)
    assert max(centre_distance(*pair, STEPS) for pair in pairs) == pytest.approx(2, abs=0.4)
    assert not pair_vortices(a[:1], [v for v in b if v.turn != a[0].turn], STEPS)
