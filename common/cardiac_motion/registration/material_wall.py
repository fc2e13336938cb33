"""Lagrangian registration of a wall in material coordinates: the windows live in the tissue and deform with it.

The wall is straightened. With s along it (0 to 1, base to base) and d across it (endocardium 0, epicardium 1), the
material point (s, d) lies in frame t at

``x_t(s, d) = x_0(s, d) + v_t(s, d) + Σ_k B_k(s, d) u_tk``.

Here v is the displacement that the fields between neighbouring frames give, regularised by the affine motion that fits
best around each point inside the wall; the B are splines, cubic in s and linear in d; u is the unknown correction, 0 in
the reference frame. ``I_t(x_t(s, d))`` is a picture of the wall alone. If the motion is true, these pictures differ by
noise and speckle decorrelation only. Let row t of ``w_c`` hold the samples of window c in frame t, less their mean and
divided by their norm. Then ``R_c = w_c w_cᵀ`` holds the correlations ρ of that window between all pairs of frames, and
u minimises

``−Σ_c Σ_(a<b) κ_ab ψ(ρ_cab) + m (λ_s |∂²_s u|² + λ_d |∂_d u|² + λ_t |∂²_t u|² + λ_0 |u|²) / 2``.

``ψ(ρ) = −½ log(1 − (1 − c) ρ²)`` for ρ > 0, and 0 below; at c = 0 it is the mutual information of two Gaussian windows.
So a pair of frames counts by how well it matches, whatever the gap between them: its pull, ψ' ∝ ρ / (1 − (1 − c) ρ²),
vanishes once the speckle has decorrelated. κ, 1 elsewhere, is greater for pairs with the reference frame; they hold
drift down, and where a beat ends as it began they close the motion. m is the mean second derivative that the data term
would have if all ρ were 1, so that where frames match badly the correction is held. No pixel beside the wall is read,
but for the width of the Gaussian that smooths the frames.

Frames are fine structure less what stands still (``fine_structure``), and a window counts by its part in the sector.

Newton's method, from coarse to fine. The gradient is exact. The Hessian lets each window move as a whole,
``Σ_ab κ ψ'(ρ) ρ (δ_a − δ_b)ᵀ M_c (δ_a − δ_b)`` with the structure tensor M_c, and is inverted by conjugate gradients.

Related: De Craene et al. 2012, temporal diffeomorphic free-form deformation (10.1016/j.media.2011.10.006);
Ledesma-Carbayo et al. 2005, spatio-temporal registration of echocardiograms (10.1109/TMI.2005.852050).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from cardiac_motion.registration.fine_structure import remove_standing
from cardiac_motion.registration.straight_wall import (
    StraightWall,
    WallMotion,
    WallSettings,
    begin,
    spline_bases,
    spread_controls,
    write_fields,
)

Array = NDArray[np.float64]

_NOISE = 2e-4  # variance of a window that speckle must exceed, unit range squared
_ROOM = 8  # pixels around the wall where its points may go
_HALVINGS = 5  # of a step that does not lower the sum


class Windows(NamedTuple):
    """Correlations of all windows at one correction.

    Attributes:
        rho: ``[C, T, T]``.
        samples: ``[T, C, n]``, without mean and of norm 1.
        norm: ``[T, C, 1]`` before that.
        slope: ``[T, 2, S · D]``, the frames' gradient at the samples, a pixel.
    """

    rho: Tensor
    samples: Tensor
    norm: Tensor
    slope: Tensor


class WallObjective:
    """The data term of the module's sum, at one scale.

    Args:
        motion: where it begins.
        frames: ``[T, H, W]``, unit range.
        blur: standard deviation of the Gaussian that smooths the frames, samples.
        link: κ of pairs with the reference frame.
        first: the reference frame.
        settings: windows, control points and c.
        u: the correction so far, which says what of a window lies in the sector; None for that of ``motion``.
    """

    def __init__(
        self,
        motion: WallMotion,
        frames: Array,
        blur: float,
        link: float,
        first: int,
        settings: WallSettings,
        u: Array | None = None,
    ) -> None:
        wall = motion.wall
        self.floor, self._size = settings.floor, (len(wall.s), len(wall.d))
        u = motion.correction if u is None else u
        self._along, self._across = spline_bases(wall.s, wall.d, motion.correction.shape)
        base = wall.points(wall.s, wall.d) + motion.start(wall.s, wall.d)
        corner, self._images = _smooth_around(frames, base, blur * wall.pixels)
        self._base = torch.from_numpy(base - corner).float()
        self._index, kernel = _place_windows(wall, settings)
        weights = np.zeros((len(kernel), len(wall.s) * len(wall.d)))
        np.put_along_axis(weights, self._index.numpy(), kernel, 1)
        self.centres = np.einsum(
            "csd,sk,dl->ckl", weights.reshape(-1, *self._size), self._along, self._across, optimize=True
        ).reshape(len(kernel), -1)
        self._kernel = torch.from_numpy(kernel).float()
        pairs = torch.ones(len(frames), len(frames))
        pairs[first] = pairs[:, first] = link
        pairs.fill_diagonal_(0)
        shown = self._shown(np.abs(frames).max(0) > 0, base + spread_controls(u, self._along, self._across))
        self._pairs = pairs * shown[:, :, None] * shown[:, None, :]

    def _shown(self, sector: NDArray[np.bool_], points: Array) -> Tensor:
        """Weight ``[C, T]`` of a window in a frame: 1 where all of it lies in the sector, 0 from half of it on."""
        inside = ndimage.map_coordinates(sector.astype(np.float32), points.reshape(-1, 2).T, order=1, mode="nearest")
        flat = torch.from_numpy(inside).float().reshape(len(points), -1)
        return (2 * (flat[:, self._index] * self._kernel).sum(-1).T - 1).clamp_min(0)

    def correlate(self, u: Array) -> Windows:
        """Correlations at a correction ``[T, Ks, Kd, 2]``."""
        points = self._base + torch.from_numpy(spread_controls(u, self._along, self._across)).float()
        height, width = self._images.shape[2:]
        grid = points.flip(-1) * points.new_tensor([2 / (width - 1), 2 / (height - 1)]) - 1
        found = functional.grid_sample(self._images, grid, mode="bilinear", padding_mode="border", align_corners=True)
        flat = found.flatten(2)
        samples = flat[:, 0][:, self._index]
        samples = (samples - (samples * self._kernel).sum(-1, keepdim=True)) * self._kernel.sqrt()
        norm = (samples.square().sum(-1, keepdim=True) + _NOISE).sqrt()
        samples = samples / norm
        rows = samples.transpose(0, 1)
        return Windows(rows @ rows.transpose(1, 2), samples, norm, flat[:, 1:])

    def value(self, rho: Tensor) -> float:
        """−Σ κ ψ(ρ) of correlations ``[C, T, T]``."""
        psi = -0.5 * torch.log1p(-(1 - self.floor) * rho.clamp(0, 1).square())
        return -0.5 * float((psi * self._pairs).sum(dtype=torch.float64).item())

    def stiffness(self, tensor: Array) -> float:
        """m: the mean second derivative that the data term would have if every ρ were 1; a control and axis.

        Args:
            tensor: structure tensors ``[C, 2, 2]``.
        """
        pull = (1 - self.floor) / self.floor * float(self._pairs.sum()) / len(self._pairs)
        windows = float((self.centres**2).sum(1) @ np.trace(tensor, axis1=1, axis2=2))
        return float(pull * windows / (2 * self.centres.shape[1] * self._pairs.shape[1]) + 1e-12)

    def curvature(self, weights: Array, tensor: Array) -> float:
        """The mean second derivative of the data term by a control and axis.

        Args:
            weights, tensor: of the windows (``derivatives``).
        """
        pull = np.trace(weights, axis1=1, axis2=2) / self._pairs.shape[1] * np.trace(tensor, axis1=1, axis2=2) / 2
        return float(((self.centres**2).sum(1) @ pull) / self.centres.shape[1] + 1e-12)

    def derivatives(self, at: Windows) -> tuple[Array, Array, Array]:
        """Return the gradient ``[T, Ks, Kd, 2]`` and, for each window, a Laplacian and a structure tensor.

        The weights of a window are a graph Laplacian ``[C, T, T]`` over frames; its structure tensor is ``[C, 2, 2]``.
        """
        rho = at.rho.clamp(0, 1)
        pull = (1 - self.floor) * rho / (1 - (1 - self.floor) * rho.square()) * self._pairs
        g = -(pull @ at.samples.transpose(0, 1)).transpose(0, 1)
        g = (g - (g * at.samples).sum(-1, keepdim=True) * at.samples) / at.norm * self._kernel.sqrt()
        g = g - self._kernel * g.sum(-1, keepdim=True)
        spread = torch.zeros(len(g), self._size[0] * self._size[1])
        spread.index_add_(1, self._index.flatten(), g.flatten(1))
        force = (spread[:, None] * at.slope).unflatten(2, self._size).double().numpy()
        gradient = np.einsum("sk,tnsd,dl->tkln", self._along, force, self._across, optimize=True)
        steep = at.slope[:, :, self._index]
        steep = (steep - (steep * self._kernel).sum(-1, keepdim=True)) * (self._kernel.sqrt() / at.norm[:, None])
        steep = steep - (steep * at.samples[:, None]).sum(-1, keepdim=True) * at.samples[:, None]
        tensor = torch.einsum("tacn,tbcn->cab", steep, steep).double().numpy() / len(g)
        weight = (pull * rho).double()
        return gradient, (torch.diag_embed(weight.sum(-1)) - weight).numpy(), tensor


def _smooth_around(frames: Array, points: Array, sigma: float) -> tuple[Array, Tensor]:
    """The corner ``[2]`` of the part of the frames around points, and of it ``[T, 3, h, w]`` values and gradient."""
    size, margin = np.array(frames.shape[1:]), math.ceil(4 * sigma) + _ROOM
    edges = points.reshape(-1, 2)
    low = np.clip(np.floor(edges.min(0)).astype(int) - margin, 0, size - 3)
    high = np.clip(np.ceil(edges.max(0)).astype(int) + margin + 1, low + 3, size)
    part = frames[:, low[0] : high[0], low[1] : high[1]].astype(np.float32)
    smooth = ndimage.gaussian_filter(part, (0, sigma, sigma), mode="nearest")
    return low, torch.from_numpy(np.stack([smooth, *np.gradient(smooth, axis=(1, 2))], 1))


def _place_windows(wall: StraightWall, settings: WallSettings) -> tuple[Tensor, Array]:
    """Samples ``[C, n]`` of each window (s · D + d) and their weights, of sum 1."""
    count, depth, number = len(wall.s), len(wall.d), settings.windows_across
    span = int(np.clip(round(settings.window * count), 5, count))
    across = int(np.clip(round(2 * depth / (number + 1)), 3, depth))
    starts = sorted({*range(0, count - span, max(1, span // 3)), count - span})
    tops = np.unique(np.round(np.linspace(0, depth - across, number)).astype(int))
    i, j = np.mgrid[:span, :across]
    index = np.stack([((i + a) * depth + j + b).ravel() for a in starts for b in tops])
    weight = np.broadcast_to(np.hanning(span + 2)[1:-1, None], i.shape).ravel()
    return torch.from_numpy(index), np.tile(weight / weight.sum(), (len(index), 1))


def refine(motion: WallMotion, frames: Array, first: int, settings: WallSettings) -> WallMotion:
    """The motion with the correction of the module's sum.

    Args:
        motion: where it begins (``begin``).
        frames: ``[T, H, W]``, unit range.
        first: the reference frame.
        settings: of the registration.

    Examples:
        >>> line = np.stack([np.linspace(10, 50, 41), np.full(41, 20.0)], -1)
        >>> settings, frames = WallSettings(), np.random.default_rng(0).random((3, 60, 60))
        >>> start = begin(StraightWall(line, line + [0, 8], settings), torch.zeros(2, 2, 60, 60), 0, settings)
        >>> motion = refine(start, frames, 0, settings)
        >>> motion.correction.shape == start.correction.shape, bool(motion.correction[0].any())  # none in frame 0
        (True, False)
    """
    u, prior = motion.correction, WallPrior(motion.correction.shape, settings)
    wide = settings.coarsest * motion.wall.thickness
    clear = remove_standing(np.asarray(frames, dtype=np.float32), wide, settings).astype(np.float64)
    for blur, link in settings.scales:
        u = _minimise(WallObjective(motion, clear, blur, link, first, settings, u), prior, u, first, settings)
    return WallMotion(motion.wall, motion.nodes, motion.began, u)


class WallPrior:
    """The regularisation of the module's sum, as the operator that its gradient is.

    Args:
        shape: of u.
        settings: its λ.
    """

    def __init__(self, shape: tuple[int, ...], settings: WallSettings) -> None:
        self._over_time, self._along, self._across = (
            weight * _square_of_differences(count, order)
            for weight, count, order in zip(
                (settings.over_time, settings.along, settings.across), shape[:3], (2, 2, 1), strict=True
            )
        )
        self._size = settings.size
        self._modes = [np.linalg.eigh(matrix) for matrix in (self._over_time, self._along, self._across)]

    def __call__(self, u: Array) -> Array:
        """``[T, Ks, Kd, 2]`` of u, m left out."""
        over_time = (self._over_time @ u.reshape(len(u), -1)).reshape(u.shape)
        along = (self._along @ u.reshape(*u.shape[:2], -1)).reshape(u.shape)
        across = (u.swapaxes(2, 3) @ self._across).swapaxes(2, 3)
        return np.asarray(over_time + along + across + self._size * u)

    def inverse(self, m: float, data: float, free: Array) -> Callable[[Array], Array]:
        """Return the exact inverse of u ↦ m · prior(u) + data · u, in the eigenvectors of the axes, times ``free``."""
        (t, over_time), (s, along), (d, across) = self._modes
        scale = m * (t[:, None, None] + s[:, None] + d + self._size)[..., None] + data

        def apply(u: Array) -> Array:
            modes = np.einsum("ta,tkln,kb->abln", over_time, u, along, optimize=True)
            modes = np.einsum("abln,lc->abcn", modes, across, optimize=True) / scale
            modes = np.einsum("abcn,lc->abln", modes, across, optimize=True)
            return np.asarray(np.einsum("ta,abln,kb->tkln", over_time, modes, along, optimize=True) * free)

        return apply


def _square_of_differences(count: int, order: int) -> Array:
    differences = np.diff(np.eye(count), min(order, count - 1), axis=0)
    return np.asarray(differences.T @ differences)


def _minimise(objective: WallObjective, prior: WallPrior, u: Array, first: int, settings: WallSettings) -> Array:
    """u after Newton's method at one scale, 0 in the reference frame."""
    free = np.ones((len(u), 1, 1, 1))
    free[first] = 0
    at, damping = objective.correlate(u), 0.0
    gradient, weights, tensor = objective.derivatives(at)
    m = objective.stiffness(tensor)
    cost = objective.value(at.rho) + m / 2 * float((u * prior(u)).sum())
    for _ in range(settings.iterations):
        hessian = _hessian(objective, prior, weights, tensor, m, damping, free)
        rough = prior.inverse(m, m * damping + objective.curvature(weights, tensor), free)
        step = solve(hessian, -(gradient + m * prior(u)) * free, rough)
        for _ in range(_HALVINGS):
            tried = u + step
            at = objective.correlate(tried)
            reached = objective.value(at.rho) + m / 2 * float((tried * prior(tried)).sum())
            if reached < cost:
                break
            step, damping = step / 3, max(0.1, 3 * damping)
        else:
            return u
        gain, u, cost, damping = cost - reached, tried, reached, damping / 3
        if np.abs(step).max() < settings.tolerance or gain < settings.least_gain * abs(cost):
            break
        gradient, weights, tensor = objective.derivatives(at)
    return u


def _hessian(
    objective: WallObjective, prior: WallPrior, weights: Array, tensor: Array, m: float, damping: float, free: Array
) -> Callable[[Array], Array]:
    centres = objective.centres

    def apply(u: Array) -> Array:
        windows = (centres @ u.reshape(len(u), -1, 2)).transpose(1, 0, 2)
        pulled = (weights @ windows @ tensor).transpose(1, 0, 2)
        return np.asarray(((centres.T @ pulled).reshape(u.shape) + m * (prior(u) + damping * u)) * free)

    return apply


def solve(
    apply: Callable[[Array], Array],
    right: Array,
    precondition: Callable[[Array], Array] | None = None,
    iterations: int = 100,
    tolerance: float = 0.01,
) -> Array:
    """x of ``apply(x) = right`` by conjugate gradients, for a symmetric positive operator on arrays of any shape.

    Args:
        apply: the operator.
        right: what it is to give.
        precondition: a symmetric positive operator near its inverse, or None.
        iterations: at most.
        tolerance: it ends when the residual's norm is this share of ``right``'s.

    Examples:
        >>> solve(lambda x: np.array([2.0, 4.0]) * x, np.array([2.0, 8.0]), tolerance=1e-9).round(6).tolist()
        [1.0, 2.0]
    """
    x, left = np.zeros_like(right), right.copy()
    near = left if precondition is None else precondition(left)
    direction, size = near.copy(), float((left * near).sum())
    least = tolerance**2 * float((left**2).sum())
    for _ in range(iterations):
        if float((left**2).sum()) <= least:
            break
        along = apply(direction)
        share = size / float((direction * along).sum())
        x, left = x + share * direction, left - share * along
        near = left if precondition is None else precondition(left)
        new = float((left * near).sum())
        direction, size = near + new / size * direction, new
    return x


def follow_wall(
    image: Tensor, ddf: Tensor, endo: Array, epi: Array, first: int = 0, settings: WallSettings | None = None
) -> Tensor:
    """Fields of a cine's pairs in which a wall moves as its own registration finds, begun from given fields.

    Args:
        image: ``[T − 1, 2, H, W]``, pair t is frames t (moving) and t + 1 (fixed); unit range.
        ddf: ``[T − 1, 2, H, W]`` in pixels, of the same pairs.
        endo, epi: the wall's borders in frame ``first``, ``[P, 2]`` (row, column) in pixels, point k of one across the
            wall from point k of the other.
        first: the reference frame.
        settings: of the registration.

    Returns:
        ``[T − 1, 2, H, W]``; a wall's thickness away from the wall the given fields.

    Examples:
        >>> line = np.stack([np.linspace(10, 50, 41), np.full(41, 20.0)], -1)
        >>> frame = torch.rand(60, 60, generator=torch.Generator().manual_seed(0))
        >>> found = follow_wall(frame.expand(2, 2, 60, 60), torch.zeros(2, 2, 60, 60), line, line + [0, 8])
        >>> tuple(found.shape), found[..., 59, 59].abs().max().item()  # far from the wall as it was
        ((2, 2, 60, 60), 0.0)
    """
    settings = settings or WallSettings()
    frames = torch.cat([image[:, 0], image[-1:, 1]]).float().numpy()
    start = begin(StraightWall(endo, epi, settings), ddf, first, settings)
    return write_fields(refine(start, frames, first, settings), ddf)
