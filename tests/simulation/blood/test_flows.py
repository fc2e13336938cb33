import math

import numpy as np
import pytest

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.blood.flows import Filling, HillVortex, LambOseenPair, advect


def divergence(flow, points, time=0.0, h=1e-3):
    shifts = np.eye(2) * h
    return sum(
        (flow.velocity(points + s, time) - flow.velocity(points - s, time))[:, axis] / (2 * h)
        for axis, s in enumerate(shifts)
    )


def within(flow, time=0.0, count=400, seed=0):
    low, high = flow.reach(time)
    points = low + (high - low) * np.random.default_rng(seed).random((count, 2))
    return points[flow.is_inside(points, time)]


def ventricle(times):
    """Half an ellipse that grows evenly: the base stays at a depth of 80 mm, the apex moves up."""
    growth = 1 + 1.5 * np.asarray(times)[:, None]
    angle = np.linspace(0, math.pi, 36)[None]
    depth, lateral = 80 - 60 * growth * np.sin(angle), -20 * growth * np.cos(angle)
    return np.stack([depth, lateral], -1)


FILLING = Filling(ventricle, 0.0, 0.1, eddies=2500.0)


def test_a_pair_turns_as_its_vorticity_says_and_stays_in_its_pool():
    flow = LambOseenPair(core=5.0)
    points = within(flow)
    assert np.abs(divergence(flow, points)).max() < 1e-5
    closed = flow.vorticity(points, 0.0)
    assert np.abs(super(LambOseenPair, flow).vorticity(points, 0.0) - closed).max() < 1e-4 * np.abs(closed).max()
    middle = np.array([[75.0, 12.0]])
    assert flow.vorticity(middle, 0.0)[0] == pytest.approx(8000 / (math.pi * 25), rel=1e-3)  # counter-clockwise
    angle = np.linspace(0, 2 * math.pi, 90)
    outward = np.stack([np.cos(angle), np.sin(angle)], 1)
    through = (flow.velocity(np.array(flow.centre) + flow.radius * outward, 0.0) * outward).sum(1)
    assert np.abs(through).max() < 0.01 * np.abs(flow.velocity(points, 0.0)).max()


def test_circulation_of_a_half_of_hill_and_its_wall():
    flow = HillVortex(speed=150.0, radius=20.0)
    step = 0.1
    depth, lateral = np.meshgrid(np.arange(55, 95, step) + step / 2, np.arange(0, 20, step) + step / 2, indexing="ij")
    points = np.stack([depth.ravel(), lateral.ravel()], 1)
    points = points[flow.is_inside(points, 0.0)]
    assert flow.vorticity(points, 0.0).sum() * step**2 == pytest.approx(-5 * 150 * 20, rel=2e-3)
    assert flow.vorticity(points, 0.0) == pytest.approx(super(HillVortex, flow).vorticity(points, 0.0), abs=1e-4)
    away = points - flow.centre
    assert divergence(flow, points) == pytest.approx(1.5 * 150 * away[:, 0] / 20**2, abs=1e-4)  # −u_r / r
    angle = np.linspace(0, 2 * math.pi, 90)
    outward = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert np.abs((flow.velocity(np.array(flow.centre) + 20 * outward, 0.0) * outward).sum(1)).max() < 1e-9


def test_nothing_goes_through_the_moving_wall():
    time, h = 0.05, 1e-6
    fraction = np.linspace(0, 1, 36)[2:-2]
    fraction = fraction[np.abs(fraction - 0.5) > 0.05]
    walls = [ventricle([t])[0] for t in (time - h, time, time + h)]
    index = np.searchsorted(np.linspace(0, 1, 36), fraction)
    moving = (walls[2] - walls[0])[index] / (2 * h)
    tangent = np.gradient(walls[1], axis=0)[index]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / np.linalg.norm(tangent, axis=1, keepdims=True)
    off = ((FILLING.velocity(walls[1][index], time) - moving) * normal).sum(1)
    assert np.abs(off).max() < 0.02 * np.abs(moving).max()
    assert np.abs(FILLING.velocity(walls[1][index], time)).max() > 5 * np.abs(off).max()


def test_filling_is_incompressible_and_takes_in_what_the_pool_grows_by():
    points = within(FILLING, 0.05)
    assert np.abs(divergence(FILLING, points, 0.05)).max() < 1e-3
    area = [0.5 * math.pi * 60 * 20 * (1 + 1.5 * t) ** 2 for t in (0.0499, 0.0501)]
    assert FILLING.flux(0.05) == pytest.approx((area[1] - area[0]) / 2e-4, rel=0.01)
    lateral = np.linspace(-21, 21, 400)
    base = np.stack([np.full(400, 79.99), lateral], 1)
    inflow = -np.trapezoid(FILLING.velocity(base, 0.05)[:, 0], lateral)  # upwards, towards the apex
    assert inflow == pytest.approx(FILLING.flux(0.05), rel=0.03)
    turning = FILLING.vorticity(points, 0.05)
    assert turning.max() > 50 and turning.min() < -50


def test_the_jet_is_flanked_by_eddies_that_turn_as_it_drives_them():
    place = np.array([[55.0, 3.2]])  # on the jet, at η = 0.58
    assert FILLING.velocity(place, 0.02)[0, 0] < -50  # towards the apex
    points = within(FILLING, 0.02, 4000)
    turning = FILLING.vorticity(points, 0.02)
    right = points[:, 1] > 6
    assert points[turning.argmin(), 1] > points[turning.argmax(), 1]  # clockwise right of a jet that goes up
    assert turning[right].min() < -50


def test_particles_go_there_and_back_and_in_through_the_base():
    points = within(FILLING, 0.05, 300)
    before, kept = advect(FILLING, points, 0.05, 0.04)
    again, there = advect(FILLING, before[kept], 0.04, 0.05)
    assert there.all() and np.abs(again - points[kept]).max() < 0.02
    entered = points[~kept]
    assert 0 < len(entered) < len(points) and entered[:, 0].min() > 60  # near the base


def test_contours_that_are_none():
    with pytest.raises(InputError, match="contours must have shape"):
        Filling(lambda times: np.zeros((len(times), 4, 2)), 0.0, 0.1)
