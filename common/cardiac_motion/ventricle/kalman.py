"""Kalman filter and smoother of a constant-acceleration model, for all points of a contour at once.

Østvik et al. 2018 (10.1007/978-3-030-00889-5_35), section 2.4: a Kalman filter with a constant-acceleration model and,
for each point, the measurement z = [x, y, vx, vy]: position by the segmentation, velocity by the motion network. The
state of an axis is position, velocity and acceleration; the process noise is a white jerk. The axes are independent and
scalar measurements are processed sequentially, so no matrix is inverted; a missing measurement has infinite variance.
The smoother is that of Rauch, Tung and Striebel (1965, 10.2514/3.3166). Implemented here because filterpy and pykalman
filter one point at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardiac_motion.core.errors import InputError

Array = NDArray[np.float64]

MEASURED = (np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))  # position, velocity


def transition(step: float) -> Array:
    """Return the transition matrix [3, 3] of position, velocity and acceleration over a time ``step``.

    Examples:
        >>> (transition(2.0) @ [1.0, 3.0, 0.5]).tolist()  # position, velocity and acceleration two units of time later
        [8.0, 4.0, 0.5]
    """
    return np.array([[1.0, step, step**2 / 2], [0.0, 1.0, step], [0.0, 0.0, 1.0]])


def process_noise(step: float, jerk: float) -> Array:
    """Return the covariance [3, 3] that a white jerk of spectral density ``jerk`` (length² / time⁵) adds in ``step``.

    Examples:
        >>> process_noise(2.0, 1.0)[2, 2].item()  # the acceleration is a random walk: its variance grows linearly
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
) -> tuple[Array, Array, Array]:
    """Filter and smooth positions and velocities of points.

    Args:
        places: measured positions ``[T, P, 2]``, (row, column) in pixels.
        velocities: measured velocities ``[T, P, 2]``, pixels per unit of time.
        place_variance, velocity_variance: variances of the measurements, positive, infinite where one is missing;
            broadcast to ``[T, P, 2]``. The first frame needs a position.
        jerk: spectral density of the process noise; 0 is constant acceleration.
        times: increasing times of the frames; None counts frames, and velocities are then in pixels per frame.
        smoother: run the backward pass, too, so that each frame's estimate uses the later frames.

    Returns:
        Positions, velocities and standard deviations of the positions along each axis, ``[T, P, 2]``.

    Raises:
        InputError: shapes do not match, times do not increase, or the jerk is negative.

    Examples:
        >>> places = np.arange(5.0)[:, None, None] * np.ones((5, 1, 2))  # one pixel a frame along both axes
        >>> smoothed, speed, _ = smooth_points(places, np.ones_like(places), 1.0, 0.1, 0.0)
        >>> bool(np.allclose(smoothed, places)), bool(np.allclose(speed, 1))
        (True, True)
        >>> deviation = smooth_points(places, 0 * places, [[[1.0]]] + 4 * [[[np.inf]]], 0.25, 0.0)[2]
        >>> bool(deviation[0, 0, 0] < deviation[2, 0, 0] < deviation[4, 0, 0])  # it grows away from what is measured
        True
    """
    z = [np.asarray(values, dtype=np.float64) for values in (places, velocities)]
    shape = z[0].shape
    if z[0].ndim != 3 or shape[-1] != 2 or z[1].shape != shape or not len(z[0]):
        raise InputError(f"places and velocities must both be [T, P, 2], got {shape} and {z[1].shape}")
    steps = np.diff(np.arange(len(z[0]), dtype=np.float64) if times is None else np.asarray(times, dtype=np.float64))
    if len(steps) != len(z[0]) - 1 or (steps <= 0).any() or jerk < 0:
        raise InputError(f"{len(z[0])} frames need as many increasing times, and the jerk must not be negative")
    r = [np.broadcast_to(np.asarray(v, dtype=np.float64), shape) for v in (place_variance, velocity_variance)]
    if not np.isfinite(r[0][0]).all():
        raise InputError("the first frame needs a measured position of every point")
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
    smoothed = np.stack(states)
    variance = np.stack(covariances)[..., 0, 0]
    return smoothed[..., 0], smoothed[..., 1], np.sqrt(np.maximum(np.broadcast_to(variance, shape), 0))


def _begin(z: list[Array], r: list[Array]) -> tuple[Array, Array]:
    """Initialise state and covariance from the first frame's measurements, with an unknown acceleration."""
    known = np.isfinite(r[1][0])
    state = np.stack([z[0][0], np.where(known, z[1][0], 0.0), np.zeros_like(z[0][0])], -1)
    wide = 1e4 * (1 + sum(np.abs(np.nan_to_num(values)).max() for values in z))
    variances = np.stack([r[0][0], np.where(known, r[1][0], wide), np.full_like(r[0][0], wide)], -1)
    return state, variances[..., None] * np.eye(3)


def _update(state: Array, covariance: Array, row: Array, measured: Array, variance: Array) -> tuple[Array, Array]:
    """Update with one scalar measurement per point and axis, in Joseph's form."""
    valid = np.isfinite(variance)
    spread = _times(covariance, row)
    gain = np.where(valid, 1 / np.where(valid, spread @ row + variance, 1.0), 0.0)[..., None] * spread
    innovation = np.where(valid, np.where(valid, measured, 0.0) - state @ row, 0.0)
    keep = np.eye(3) - gain[..., :, None] * row
    noise = np.where(valid, variance, 0.0)[..., None, None] * gain[..., :, None] * gain[..., None, :]
    return state + gain * innovation[..., None], keep @ covariance @ _transpose(keep) + noise


def _times(matrix: Array, vector: Array) -> Array:
    return np.asarray((matrix @ np.broadcast_to(vector, matrix.shape[:-1])[..., None])[..., 0])


def _transpose(matrix: Array) -> Array:
    return np.swapaxes(matrix, -1, -2)
