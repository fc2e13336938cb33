"""Stream function, stream lines and pathlines.

The stream function is the least-squares fit of a curl to the field in the blood pool (on the grid's faces, without a
condition at the wall, because blood flows in and out); its curl is the field's divergence-free part. Lines of constant
stream function are the stream lines of that part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from cardiac_motion.fields.points import field_at, step_forward

Array = NDArray[np.float64]


def stream_function(velocity: Tensor, steps: Sequence[float], mask: Tensor) -> Tensor:
    """Stream function ψ with v_column ≈ ∂ψ/∂row and v_row ≈ −∂ψ/∂column, mean 0: ``[H, W]``, NaN outside the mask.

    Its unit is mm · m/s (10⁻³ m²/s) for lengths in mm and velocities in m/s.

    Args:
        velocity: ``[2, H, W]``.
        steps: distances between pixels, (row, column).
        mask: ``[H, W]`` bool.

    Examples:
        >>> down = torch.zeros(2, 5, 6)
        >>> down[0] = 2.0  # uniform downward flow
        >>> psi = stream_function(down, (1.0, 0.5), torch.ones(5, 6, dtype=torch.bool))
        >>> [round(x, 6) for x in psi[0].diff().tolist()]
        [-1.0, -1.0, -1.0, -1.0, -1.0]
    """
    inside = mask.bool().numpy(force=True)
    values = velocity.double().numpy(force=True)
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    rows, columns, data, right = [], [], [], []
    count = 0
    for axis, component, sign in ((0, 1, 1.0), (1, 0, -1.0)):
        first, last = (np.take(number, range(a, number.shape[axis] + a - 1), axis) for a in (0, 1))
        speed = values[component]
        left, after = (np.take(speed, range(a, speed.shape[axis] + a - 1), axis) for a in (0, 1))
        mean = sign * 0.5 * (left + after)
        both = (first >= 0) & (last >= 0)
        edges = count + np.arange(both.sum())
        rows += [edges, edges]
        columns += [last[both], first[both]]
        data += [np.full(both.sum(), 1 / steps[axis]), np.full(both.sum(), -1 / steps[axis])]
        right.append(mean[both])
        count += int(both.sum())
    size = int(inside.sum())
    stream = torch.full(mask.shape, float("nan"), dtype=velocity.dtype)
    if not count:
        return stream
    shape = (count, size)
    matrix = sparse.csr_matrix((np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))), shape)
    normal = (matrix.T @ matrix + 1e-9 * sparse.identity(size)).tocsc()  # ψ is known up to a constant per component
    psi = spsolve(normal, matrix.T @ np.concatenate(right))
    stream[torch.from_numpy(inside)] = torch.from_numpy(psi - psi.mean()).to(velocity.dtype)
    return stream


def stream_lines(
    velocity: Tensor, starts: Tensor, mask: Tensor, step: float = 0.5, length: int = 400, back: bool = False
) -> list[Tensor]:
    """Trace stream lines from points until they leave the mask or stop: points ``[P, 2]`` (row, column; pixels) each.

    Args:
        velocity: ``[2, H, W]`` in pixels per unit of time (only its direction matters).
        starts: starting points ``[S, 2]`` (row, column).
        mask: ``[H, W]`` bool.
        step: step length in pixels of the classical Runge-Kutta method.
        length: maximum number of steps.
        back: trace against the flow.

    Examples:
        >>> right = torch.zeros(2, 8, 8)
        >>> right[1] = 3.0
        >>> lines = stream_lines(right, torch.tensor([[2.0, 1.0], [3.0, 5.0]]), torch.ones(8, 8, dtype=torch.bool))
        >>> len(lines), lines[1][-1].tolist()
        (2, [3.0, 7.0])
    """
    speed = velocity.norm(dim=0, keepdim=True)
    slowest = 1e-3 * float(speed[:, mask.bool()].max()) if mask.any() else 0.0
    direction = torch.where(speed > slowest, velocity / speed.clamp(min=1e-12), torch.zeros_like(velocity))
    h = -step if back else step
    here = starts.to(velocity.dtype)
    alive = is_inside(here, mask)
    positions, counts = [here], alive.long()
    for _ in range(length):
        a = field_at(direction, here)
        b = field_at(direction, here + 0.5 * h * a)
        c = field_at(direction, here + 0.5 * h * b)
        d = field_at(direction, here + h * c)
        move = (a + 2 * b + 2 * c + d) / 6
        here = here + h * move
        alive = alive & is_inside(here, mask) & (move.norm(dim=1) > 0.1)
        if not alive.any():
            break
        positions.append(here)
        counts = counts + alive.long()
    path = torch.stack(positions)
    return [path[: int(n), i] for i, n in enumerate(counts)]


def is_inside(points: Tensor, mask: Tensor) -> Tensor:
    """Return whether the pixel nearest to each of ``points [P, 2]`` (row, column) is in ``mask [H, W]``: ``[P]``.

    Examples:
        >>> is_inside(torch.tensor([[0.4, 0.4], [0.6, 0.4], [-2.0, 0.0]]), torch.tensor([[True], [False]])).tolist()
        [True, False, False]
    """
    index = points.round().long()
    size = torch.tensor(mask.shape)
    within = ((index >= 0) & (index < size)).all(1)
    clamped = index.clamp(min=torch.zeros(2, dtype=torch.long), max=size - 1)
    return within & mask.bool()[clamped[:, 0], clamped[:, 1]]


def pathlines(ddf: Tensor, blood_mask: Tensor, stride: int = 5, count: int = 150, seed: int = 0) -> Tensor:
    """Seed particles in the blood pool and track them: ``[T, P, 2]`` (row, column; pixels), NaN where absent.

    A particle ends where it leaves the pool. New particles are seeded in the pool every ``stride`` frames, so that
    inflowing blood is tracked too.

    Args:
        ddf: ``[T − 1, 2, H, W]`` in pixels, pulling back.
        blood_mask: ``[T, H, W]`` bool.
        stride: number of frames between seedings.
        count: number of particles per seeding.
        seed: seed of their random positions.

    Examples:
        >>> ddf = torch.zeros(3, 2, 16, 16)
        >>> ddf[:, 1] = -2.0  # moves two columns to the right per frame
        >>> paths = pathlines(ddf, torch.ones(4, 16, 16, dtype=torch.bool), stride=9, count=50)
        >>> steps = paths[1:] - paths[:-1]
        >>> steps[~steps.isnan()].view(-1, 2).round(decimals=3).abs().unique(dim=0).tolist()
        [[0.0, 2.0]]
    """
    rng = torch.Generator().manual_seed(seed)
    groups = []
    for start in range(0, len(blood_mask) - 1, stride):
        pixels = blood_mask[start].nonzero()
        if not len(pixels):
            continue
        chosen = pixels[torch.randint(len(pixels), (count,), generator=rng)]
        here = chosen + torch.rand(count, 2, generator=rng) - 0.5
        path = torch.full((len(blood_mask), count, 2), float("nan"))
        path[start] = here
        alive = torch.ones(count, dtype=torch.bool)
        for t in range(start, len(ddf)):
            here = step_forward(here, ddf[t])
            alive = alive & is_inside(here, blood_mask[t + 1])
            path[t + 1, alive] = here[alive]
        groups.append(path)
    return torch.cat(groups, 1) if groups else torch.zeros(len(blood_mask), 0, 2)
