"""The Kalman filter and smoother against analytic motion, a loop from the textbook and a batch estimate."""

import numpy as np
import pytest
from scipy.linalg import expm

from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.kalman import process_noise, smooth_points, transition

DYNAMICS = np.diag([1.0, 1.0], 1)  # d/dt of place, velocity, acceleration


def discretised(step, jerk):
    """Transition and noise of a white jerk over ``step``, by the matrix exponential of Van Loan (1978)."""
    block = np.zeros((6, 6))
    block[:3, :3], block[3:, 3:], block[2, 5] = -DYNAMICS, DYNAMICS.T, jerk
    whole = expm(block * step)
    forward = whole[3:, 3:].T
    return forward, forward @ whole[:3, 3:]


def motion(frames=20, points=5, step=1.0):
    """Places and velocities of points of constant acceleration, [T, P, 2]."""
    rng = np.random.default_rng(0)
    start, speed, push = (rng.normal(0, s, (points, 2)) for s in (50, 2, 0.3))
    t = np.arange(frames)[:, None, None] * step
    return start + speed * t + push * t**2 / 2, speed + push * t


@pytest.mark.parametrize("smoother", [False, True])
def test_constant_acceleration_is_found_exactly(smoother):
    places, velocities = motion()
    found = smooth_points(places, velocities, 0.1, 0.01, 0.0, smoother=smoother)
    first = 2 if not smoother else 0  # the filter knows of the acceleration after the second frame
    np.testing.assert_allclose(found[0][first:], places[first:], atol=0.02)
    np.testing.assert_allclose(found[1][first:], velocities[first:], atol=0.01)
    exact = smooth_points(places, velocities, 1e-9, 1e-9, 1.0, smoother=smoother)
    np.testing.assert_allclose(exact[0], places, atol=1e-5)


def test_noise_falls_and_the_smoother_is_better_than_the_filter():
    places, velocities = motion(60, 40)
    rng = np.random.default_rng(1)
    noisy = places + rng.normal(0, 1.0, places.shape), velocities + rng.normal(0, 0.2, velocities.shape)
    rms = {
        smoother: np.sqrt(np.mean((smooth_points(*noisy, 1.0, 0.04, 1e-6, smoother=smoother)[0] - places) ** 2))
        for smoother in (False, True)
    }
    assert rms[True] < 0.6 * rms[False] and rms[False] < 0.7


@pytest.mark.parametrize("step", [0.25, 1.0, 3.0])
def test_noise_is_that_of_a_white_jerk(step):
    forward, noise = discretised(step, 0.7)
    np.testing.assert_allclose(transition(step), forward, atol=1e-12)
    np.testing.assert_allclose(process_noise(step, 0.7), noise, rtol=1e-10)


def test_noise_of_a_jerk_that_pushes_once_every_millisecond():
    """A sum over 1000 independent pushes of variance 1/1000: each moves the acceleration, then time carries it on."""
    left = 1 - (np.arange(1000) + 0.5) / 1000
    reached = np.stack([left**2 / 2, left, np.ones(1000)])
    np.testing.assert_allclose(process_noise(1.0, 1.0), reached @ reached.T / 1000, rtol=1e-5)


def test_equals_the_textbook_loop():
    """One point and axis at a time with 2×2 innovations inverted, as books have it."""
    rng = np.random.default_rng(2)
    places, velocities = rng.normal(0, 5, (9, 3, 2)), rng.normal(0, 1, (9, 3, 2))
    r = rng.uniform(0.5, 2, (9, 3, 2)), rng.uniform(0.1, 0.4, (9, 3, 2))
    times = np.cumsum(rng.uniform(0.5, 1.5, 9))
    found = smooth_points(places, velocities, *r, 0.3, times)
    h = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    for p in range(3):
        for axis in range(2):
            z = np.stack([places[:, p, axis], velocities[:, p, axis]], -1)
            noise = [np.diag([r[0][t, p, axis], r[1][t, p, axis]]) for t in range(9)]
            wide = 1e4 * (1 + np.abs(places).max() + np.abs(velocities).max())
            x, c = np.array([*z[0], 0]), np.diag([*np.diag(noise[0]), wide])
            xs, cs, xp, cp = [x], [c], [], []
            for t in range(1, 9):
                f, q = discretised(times[t] - times[t - 1], 0.3)
                x, c = f @ x, f @ c @ f.T + q
                xp.append(x)
                cp.append(c)
                k = c @ h.T @ np.linalg.inv(h @ c @ h.T + noise[t])
                x, c = x + k @ (z[t] - h @ x), (np.eye(3) - k @ h) @ c
                xs.append(x)
                cs.append(c)
            for t in range(7, -1, -1):
                g = cs[t] @ discretised(times[t + 1] - times[t], 0.3)[0].T @ np.linalg.inv(cp[t])
                xs[t] = xs[t] + g @ (xs[t + 1] - xp[t])
            np.testing.assert_allclose(found[0][:, p, axis], np.stack(xs)[:, 0], atol=1e-5)
            np.testing.assert_allclose(found[1][:, p, axis], np.stack(xs)[:, 1], atol=1e-5)


def test_what_is_not_measured_is_bridged():
    places, velocities = motion(15)
    variance = np.full(places.shape, 1e-6)
    variance[5:9] = np.inf
    broken = places.copy()
    broken[5:9] = np.nan
    found, *_ = smooth_points(broken, velocities, variance, variance, 1e-8)
    np.testing.assert_allclose(found, places, atol=0.01)


def test_a_better_measurement_counts_more():
    places = np.stack([np.zeros((10, 2, 2)), np.ones((10, 2, 2))])[:, :, :1].sum(0)
    variance = np.where(np.arange(10) % 2, 1e-3, 1e3)[:, None, None]
    measured = np.where(np.arange(10) % 2, 0.0, 1.0)[:, None, None] + 0 * places
    found, *_ = smooth_points(measured, 0 * places, variance, np.inf, 1e-4)
    assert np.abs(found).max() < 0.2


def test_what_cannot_be():
    places, velocities = motion(4)
    with pytest.raises(InputError, match=r"\[T, P, 2\]"):
        smooth_points(places, velocities[:3], 1, 1, 1)
    with pytest.raises(InputError, match="increasing times"):
        smooth_points(places, velocities, 1, 1, 1, times=[0, 1, 1, 2])
    with pytest.raises(InputError, match="first frame"):
        smooth_points(places, velocities, np.inf, 1, 1)
