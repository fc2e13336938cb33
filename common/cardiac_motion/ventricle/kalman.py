"""Kalman filter and smoother of a constant-acceleration model, for every point of a contour at once.

Østvik et al. 2018 (10.1007/978-3-030-00889-5_35), section 2.4: an ordinary Kalman filter with a constant-acceleration
model and the measurement z = [x, y, vx, vy] of each point: the place that the segmentation gives it and the velocity
that the motion network gives it. The state of an axis is place, velocity and acceleration; its noise is a white jerk.
The axes do not couple, and a measurement is taken in one number after the other, so no matrix is inverted, and one that
is missing has an infinite variance. The smoother is that of Rauch, Tung and Striebel (1965, 10.2514/3.3166).
Written here because filterpy and pykalman filter one point at a time; all points of all lines go at once here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardiac_motion.core.errors import InputError

Array = NDArray[np.float64]

MEASURED = (np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))  # place, velocity


def transition(step: float) -> Array:
    """How place, velocity and acceleration change in a time ``step``: [3, 3].

    Examples:
        >>> (transition(2.0) @ [1.0, 3.0, 0.5]).tolist()  # place, velocity and acceleration two units of time later
        [8.0, 4.0, 0.5]
    """
    return np.array([[1.0, step, step**2 / 2], [0.0, 1.0, step], [0.0, 0.0, 1.0]])


def process_noise(step: float, jerk: float) -> Array:
    """Covariance [3, 3] that a white jerk of spectral density ``jerk`` (length² / time⁵) adds in a time ``step``.

    Examples:
        >>> process_noise(2.0, 1.0)[2, 2].item()  # the acceleration walks at random: its variance grows evenly
        2.0
    """
    q = step
    return jerk * np.array([[q**5 / 20, q**4 / 8, q**3 / 6], [q**4 / 8, q**3 / 3, q**2 / 2], [q**3 / 6, q**2 / 2, q]])


def smooth_points(
    places: ArrayLike,
    velocities: ArrayLike,
    place_variance: ArrayLike,
    velocity_variance: ArrayLike,
    jerk: float,
    times: Sequence[float] | None = None,
    smoother: bool = True,
) -> tuple[Array, Array]:
    """Places and velocities of points by filter and smoother.

    Args:
        places: ``[T, P, 2]`` measured, (row, column) in pixels.
        velocities: ``[T, P, 2]`` measured, pixels a unit of time.
        place_variance, velocity_variance: of the measurements, positive, infinite where there is none; anything that
            broadcasts to ``[T, P, 2]``. The first frame needs a place.
        jerk: spectral density of the process noise; 0 is a constant acceleration.
        times: of the frames, rising; whole numbers where None, and a velocity is then pixels a frame.
        smoother: go back through the frames too, so that each knows of those that follow.

    Returns:
        places and velocities ``[T, P, 2]``.

    Raises:
        InputError: shapes that don't fit, times that don't rise, or a negative jerk.

    Examples:
        >>> places = np.arange(5.0)[:, None, None] * np.ones((5, 1, 2))  # one pixel a frame along both axes
        >>> found, speed = smooth_points(places, np.ones_like(places), 1.0, 0.1, 0.0)
        >>> bool(np.allclose(found, places)), bool(np.allclose(speed, 1))
        (True, True)
    """
    return smooth_with_deviation(places, velocities, place_variance, velocity_variance, jerk, times, smoother)[:2]


def smooth_with_deviation(
    places: ArrayLike,
    velocities: ArrayLike,
    place_variance: ArrayLike,
    velocity_variance: ArrayLike,
    jerk: float,
    times: Sequence[float] | None = None,
    smoother: bool = True,
) -> tuple[Array, Array, Array]:
    """``smooth_points`` with the standard deviation of the places that filter and smoother tell.

    Returns:
        places, velocities and standard deviations of the places along each axis, ``[T, P, 2]``.

    Examples:
        >>> still = np.zeros((3, 1, 2))
        >>> deviation = smooth_with_deviation(still, still, [[[1.0]], [[np.inf]], [[np.inf]]], 0.25, 0.0)[2]
        >>> bool(deviation[0, 0, 0] < deviation[1, 0, 0] < deviation[2, 0, 0])  # it grows away from what is known
        True
    """
    z = [np.asarray(values, dtype=np.float64) for values in (places, velocities)]
    shape = z[0].shape
    if z[0].ndim != 3 or shape[-1] != 2 or z[1].shape != shape or not len(z[0]):
        raise InputError(f"places and velocities are [T, P, 2] both, got {shape} and {z[1].shape}")
    steps = np.diff(np.arange(len(z[0]), dtype=np.float64) if times is None else np.asarray(times, dtype=np.float64))
    if len(steps) != len(z[0]) - 1 or (steps <= 0).any() or jerk < 0:
        raise InputError(f"{len(z[0])} frames need as many rising times, and a jerk that is not negative")
    r = [np.broadcast_to(np.asarray(v, dtype=np.float64), shape) for v in (place_variance, velocity_variance)]
    if not np.isfinite(r[0][0]).all():
        raise InputError("the first frame needs the place of every point")
    state, covariance = _begin(z, r)
    states, covariances, predicted = [state], [covariance], []
    for t, step in enumerate(steps, 1):
        forward = transition(step)
        state = state @ forward.T
        covariance = forward @ covariance @ forward.T + process_noise(step, jerk)
        predicted.append((state, covariance))
        for row, measured, variance in zip(MEASURED, z, r, strict=True):
            state, covariance = _update(state, covariance, row, measured[t], variance[t])
        states.append(state)
        covariances.append(covariance)
    if smoother:
        for t in range(len(steps) - 1, -1, -1):
            gain = covariances[t] @ transition(steps[t]).T @ np.linalg.pinv(predicted[t][1], hermitian=True)
            states[t] = states[t] + _times(gain, states[t + 1] - predicted[t][0])
            covariances[t] = covariances[t] + gain @ (covariances[t + 1] - predicted[t][1]) @ _transpose(gain)
    found = np.stack(states)
    variance = np.stack(covariances)[..., 0, 0]
    return found[..., 0], found[..., 1], np.sqrt(np.maximum(np.broadcast_to(variance, shape), 0))


def _begin(z: list[Array], r: list[Array]) -> tuple[Array, Array]:
    """The first frame: as measured, with an acceleration of which nothing is known."""
    known = np.isfinite(r[1][0])
    state = np.stack([z[0][0], np.where(known, z[1][0], 0.0), np.zeros_like(z[0][0])], -1)
    wide = 1e4 * (1 + sum(np.abs(np.nan_to_num(values)).max() for values in z))
    variances = np.stack([r[0][0], np.where(known, r[1][0], wide), np.full_like(r[0][0], wide)], -1)
    return state, variances[..., None] * np.eye(3)


def _update(state: Array, covariance: Array, row: Array, measured: Array, variance: Array) -> tuple[Array, Array]:
    """Take in one number a point and axis, in Joseph's form."""
    there = np.isfinite(variance)
    spread = _times(covariance, row)
    gain = np.where(there, 1 / np.where(there, spread @ row + variance, 1.0), 0.0)[..., None] * spread
    off = np.where(there, np.where(there, measured, 0.0) - state @ row, 0.0)
    keep = np.eye(3) - gain[..., :, None] * row
    noise = np.where(there, variance, 0.0)[..., None, None] * gain[..., :, None] * gain[..., None, :]
    return state + gain * off[..., None], keep @ covariance @ _transpose(keep) + noise


def _times(matrix: Array, vector: Array) -> Array:
    return np.asarray((matrix @ np.broadcast_to(vector, matrix.shape[:-1])[..., None])[..., 0])


def _transpose(matrix: Array) -> Array:
    return np.swapaxes(matrix, -1, -2)
