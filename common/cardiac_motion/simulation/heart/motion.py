"""Motion of the left ventricle over a beat, known exactly at every point of the image and for any two times.

The wall is the mesh of ``ventricle.mesh`` (Evain et al. 2022, section II-A.3). Its nodes move from end-diastole to a
prescribed end-systole and back by a physiological time course, with a rotation and shift of the whole wall. The plane
around the wall is triangulated too, and the wall's displacement is extended into it by a screened Laplace equation, so
that it decays with distance. The map is affine in each triangle and continuous, so that forward and backward fields
are evaluated by barycentric coordinates without iterative inversion. Points are (depth, lateral) in mm from the probe,
float64; times are in seconds from end-diastole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import Delaunay, cKDTree
from torch import Tensor
from torch.nn import functional

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.grid import ImageGrid
from cardiac_motion.simulation.heart.contraction import contour_length, systole, time_course
from cardiac_motion.ventricle.mesh import Array, Mesh, is_inside_outlines, signed_areas

_FADE = 40.0  # mm, decay length of the wall's displacement in its surroundings
_LATTICE = 4.0  # mm between the nodes around the wall
_CLEARANCE = 1.5  # mm, minimum distance of these nodes from the wall
_PHASES = 24  # phases of a beat at which triangles are checked for folding
_EDGE = 1e-9  # barycentric tolerance: a point on an edge belongs to either triangle


class Motion:
    """Trajectories of all material points of the plane over a beat.

    Args:
        mesh: wall at end-diastole, mm.
        end_systole: its nodes [N, 2] at end-systole, for example from ``prescribe_end_systole``.
        heart_rate: beats/min.
        bounds: ((top, left), (bottom, right)) in mm: static border of the plane.
        rotation: rotation of the whole wall at end-systole, degrees, positive from depth towards lateral.
        shift: shift of the whole wall at end-systole, mm (depth, lateral).
        device: device for positions and fields.
        name: name of the motion in error messages.

    Attributes:
        gls: global longitudinal strain of the inner contour at end-systole (of a ring: of its length), a fraction.
        period: s.
        end_systole_time: s.
        triangles: [M, 3] over the nodes of the plane; the first ``len(mesh.triangles)`` are the wall's.

    Raises:
        InputError: the wall extends beyond the bounds, or a triangle folds during the beat.
    """

    def __init__(
        self,
        mesh: Mesh,
        end_systole: Array,
        heart_rate: float = 65.0,
        bounds: tuple[tuple[float, float], tuple[float, float]] = ((-15.0, -120.0), (180.0, 120.0)),
        rotation: float = 0.0,
        shift: tuple[float, float] = (0.0, 0.0),
        device: torch.device | str = "cpu",
        name: str = "motion",
    ) -> None:
        self.mesh, self.heart_rate, self.device, self.name = mesh, heart_rate, torch.device(device), name
        self.period = 60.0 / heart_rate
        time_course(np.zeros(1), heart_rate)
        self.end_systole_time = min(systole(heart_rate)[1], 0.6 * self.period)
        self._end_systole = end_systole
        self._angle, self._shift = math.radians(rotation), np.asarray(shift, dtype=np.float64)
        length = self._length(mesh.nodes[:: mesh.layers])
        self.gls = float(self._length(end_systole[:: mesh.layers]) / length - 1)
        reference, triangles, extension = _plane(mesh, np.asarray(bounds, dtype=np.float64), name)
        self.triangles = torch.as_tensor(triangles, device=self.device)
        self._reference = torch.as_tensor(reference, device=self.device)
        self._extension = torch.as_tensor(extension, device=self.device)
        phases = self.nodes(np.arange(_PHASES) * self.period / _PHASES).cpu().numpy()
        turned = (signed_areas(phases, triangles) * np.sign(signed_areas(reference, triangles)) <= 0).any(0)
        if turned.any():
            where = "wall" if turned[: len(mesh.triangles)].any() else "tissue around the wall"
            raise InputError(f"{name}: the motion folds the {where} ({int(turned.sum())} triangles)")

    def _length(self, points: Array) -> Array:
        return contour_length(points, self.mesh.closed)

    def strain(self, times: Array) -> Array:
        """Return the prescribed strain of the inner contour, as a fraction, at ``times`` [T] in s."""
        return self.gls * time_course(times, self.heart_rate)

    def wall(self, times: Array) -> Array:
        """Return the nodes of the wall [T, N, 2] in mm at ``times`` [T] in s."""
        course = time_course(np.atleast_1d(times), self.heart_rate)
        start, change = self.mesh.nodes, self._end_systole - self.mesh.nodes
        inner, inner_change = start[:: self.mesh.layers], change[:: self.mesh.layers]
        wanted = self._length(inner) * (1 + self.gls * course)
        low, high = np.zeros_like(course), np.ones_like(course)
        for _ in range(50):
            share = 0.5 * (low + high)
            longer = self._length(inner + share[:, None, None] * inner_change) > wanted
            low, high = np.where(longer, share, low), np.where(longer, high, share)
        share = np.where(course == 0, 0.0, 0.5 * (low + high))[:, None, None]
        nodes = start + share * change
        centre = start.mean(0)
        angle = self._angle * course
        turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
        return np.asarray((nodes - centre) @ turn.transpose(0, 2, 1) + centre + self._shift * course[:, None, None])

    def contours(self, times: Array) -> tuple[Array, Array]:
        """Return inner and outer contour, [T, columns, 2] each, in mm at ``times`` [T] in s."""
        wall = self.wall(times)
        return wall[:, :: self.mesh.layers], wall[:, self.mesh.layers - 1 :: self.mesh.layers]

    def nodes(self, times: Array) -> Tensor:
        """Return all nodes of the plane [T, n, 2] in mm at ``times`` [T] in s."""
        moved = torch.as_tensor(self.wall(times) - self.mesh.nodes, device=self.device)
        return self._reference + self._extension @ moved

    def locate(self, points: Tensor, time: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the material coordinates of points at a time.

        Args:
            points: [P, 2] in mm.
            time: s.

        Returns:
            Triangle [P], barycentric coordinates [P, 3] in it, and whether the point is within the bounds [P].
        """
        return _locate(points.to(self.device, torch.float64), self.nodes(np.array([time]))[0], self.triangles)

    def positions(self, triangle: Tensor, barycentric: Tensor, times: Array) -> Tensor:
        """Return positions [T, P, 2] in mm of material points at ``times`` [T] in s, in ``barycentric``'s dtype."""
        nodes = self.nodes(times).to(barycentric.dtype)
        rows = nodes.movedim(0, 1).reshape(nodes.shape[1], -1)
        corners = self.triangles[triangle]
        places = functional.embedding_bag(corners, rows, per_sample_weights=barycentric, mode="sum")
        return places.reshape(len(triangle), -1, 2).movedim(1, 0)

    def displacement(self, points: Tensor, at: float, to: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the displacement of the material at ``points`` from one time to others.

        Args:
            points: [P, 2] in mm.
            at: s.
            to: [T] in s.

        Returns:
            Displacement [T, P, 2] in mm, whether the point is within the bounds [P], and whether it is in the wall [P].
        """
        triangle, barycentric, inside = self.locate(points, at)
        moved = self.positions(triangle, barycentric, np.asarray(to, dtype=np.float64)) - points.to(self.device)
        wall = inside & (triangle < len(self.mesh.triangles))
        return torch.where(inside[:, None], moved, 0.0), inside, wall

    def fields(self, grid: ImageGrid, at: float, to: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the displacement of the material at each pixel centre.

        With ``at`` the time of the fixed image and ``to`` that of the moving one, this is the pull-back field of the
        pair; with the times exchanged, the forward field. Multiply by ``grid.spacing`` for millimetres.

        Returns:
            Fields [T, 2, H, W] in pixels (row, column), float32; validity [H, W] (the pixel is within the bounds at
            ``at``); wall [H, W] (it is in the wall).
        """
        moved, inside, wall = self.displacement(grid.points(self.device), at, to)
        pixels = (moved / moved.new_tensor(grid.spacing)).movedim(-1, 1).reshape(-1, 2, *grid.shape)
        return pixels.float(), inside.reshape(grid.shape), wall.reshape(grid.shape)


def _plane(mesh: Mesh, bounds: Array, name: str) -> tuple[Array, NDArray[np.int64], Array]:
    """Return the plane's nodes at end-diastole, its triangles, and the matrix that extends the wall's displacement.

    Nodes are those of the wall, then points that subdivide its outlines, then a lattice around it.
    """
    if (mesh.nodes.min(0) <= bounds[0]).any() or (mesh.nodes.max(0) >= bounds[1]).any():
        raise InputError(f"{name}: the wall extends beyond the bounds {bounds.tolist()} mm")
    count = len(mesh.nodes)
    wall_area = np.abs(signed_areas(mesh.nodes, mesh.triangles)).sum()
    for parts in (1, 2, 4, 8):
        first: list[int] = []
        second: list[int] = []
        share: list[float] = []
        order: list[int] = []
        for outline in mesh.outlines():
            for a, b in zip(outline, np.roll(outline, -1), strict=True):
                order.append(int(a))
                for part in range(1, parts):
                    order.append(count + len(first))
                    first.append(int(a))
                    second.append(int(b))
                    share.append(part / parts)
        weight = np.asarray(share).reshape(-1, 1)
        start, end = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
        dividing = mesh.nodes[start] * (1 - weight) + mesh.nodes[end] * weight
        nodes = np.concatenate([mesh.nodes, dividing])
        outlines = [mesh.nodes[o] for o in mesh.outlines()]
        border = np.asarray(order)
        lattice, frame = _lattice(bounds, nodes[border], outlines)
        used = np.concatenate([border, np.arange(len(nodes), len(nodes) + len(lattice))])
        nodes = np.concatenate([nodes, lattice])
        around = used[Delaunay(nodes[used]).simplices]
        around = around[~is_inside_outlines(nodes[around].mean(1), outlines)]
        areas = signed_areas(nodes, around)
        around = around[np.abs(areas) > 1e-9]
        if abs(np.abs(areas).sum() + wall_area - np.prod(bounds[1] - bounds[0])) < 1e-6 * wall_area:
            break
    else:
        raise InputError(f"{name}: the wall's outline is too irregular to triangulate its surroundings")
    extension = np.zeros((len(nodes), count))
    extension[:count] = np.eye(count)
    rows = np.arange(count, count + len(dividing))
    extension[rows, start] += 1 - weight[:, 0]
    extension[rows, end] += weight[:, 0]
    fixed = np.zeros(len(nodes), dtype=bool)
    fixed[border] = True
    fixed[len(nodes) - len(lattice) :] = frame
    fixed[:count] = True
    free = np.flatnonzero(~fixed)
    stiffness = _screened_laplacian(nodes, around)
    symmetric = {"SymmetricMode": True}
    inner = splu(stiffness[free][:, free].tocsc(), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
    driving = border[border < count]
    known = np.asfortranarray(-(stiffness[free][:, np.flatnonzero(fixed)] @ extension[fixed][:, driving]))
    extension[np.ix_(free, driving)] = inner.solve(known)
    return nodes, np.concatenate([mesh.triangles, around]), extension


def _lattice(bounds: Array, border: Array, outlines: Sequence[Array]) -> tuple[Array, NDArray[np.bool_]]:
    """Return a triangular lattice around the wall within the bounds, and which points lie on the bounds."""
    (top, left), (bottom, right) = bounds
    rows = np.linspace(top, bottom, 1 + math.ceil((bottom - top) / (_LATTICE * 0.866)))
    columns = np.linspace(left, right, 1 + math.ceil((right - left) / _LATTICE))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x[1:-1:2, 1:-1] += 0.5 * (columns[1] - columns[0])
    x[1:-1:2, -2] = 0.5 * (x[1:-1:2, -3] + right)
    points = np.stack([y.ravel(), x.ravel()], 1)
    frame = ((points == bounds[0]) | (points == bounds[1])).any(1)
    distance = cKDTree(border).query(points)[0]
    keep = frame | ((distance > _CLEARANCE) & ~is_inside_outlines(points, outlines))
    return points[keep], frame[keep]


def _screened_laplacian(nodes: Array, triangles: NDArray[np.int64]) -> sparse.csr_matrix:
    """Assemble linear finite elements of ``-∇²u + u / _FADE²`` on triangles [M, 3]; small triangles are stiffer.

    Weighting each by the inverse of its area (Stein et al. 2003, 10.1115/1.1530635) keeps the small ones at the wall
    from folding.
    """
    corner = nodes[triangles]
    edge = np.roll(corner, -2, axis=1) - np.roll(corner, -1, axis=1)
    area = np.abs(signed_areas(nodes, triangles))
    local = np.einsum("mid,mjd->mij", edge, edge) / (4 * area[:, None, None])
    local += area[:, None, None] / 12 / _FADE**2 * (np.ones((3, 3)) + np.eye(3))
    local /= area[:, None, None]
    rows, columns = np.repeat(triangles, 3, axis=1), np.tile(triangles, (1, 3))
    return sparse.csr_matrix((local.ravel(), (rows.ravel(), columns.ravel())), shape=(len(nodes), len(nodes)))


def _locate(points: Tensor, nodes: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the triangle of each point: cells of a regular grid list the triangles whose bounding box overlaps them."""
    corner = nodes[triangles]
    lowest, highest = corner.amin(1), corner.amax(1)
    cell = (highest - lowest).mean() * 0.7
    origin = nodes.amin(0)
    count = ((nodes.amax(0) - origin) / cell).long() + 1
    first, last = ((lowest - origin) / cell).long(), ((highest - origin) / cell).long()
    extent = last - first + 1
    number = extent.prod(1)
    owner = torch.repeat_interleave(torch.arange(len(triangles), device=nodes.device), number)
    offset = torch.arange(len(owner), device=nodes.device) - torch.repeat_interleave(number.cumsum(0) - number, number)
    row = first[owner, 0] + offset // extent[owner, 1]
    column = first[owner, 1] + offset % extent[owner, 1]
    listed, order = torch.sort(row * count[1] + column)
    owner = owner[order]

    where = ((points - origin) / cell).floor().long()
    inside = ((where >= 0) & (where < count)).all(1)
    key = (where[:, 0] * count[1] + where[:, 1]).where(inside, -1)
    start, stop = torch.searchsorted(listed, key), torch.searchsorted(listed, key, right=True)
    tries = stop - start
    point = torch.repeat_interleave(torch.arange(len(points), device=nodes.device), tries)
    rank = torch.arange(len(point), device=nodes.device) - torch.repeat_interleave(tries.cumsum(0) - tries, tries)
    candidate = owner[start[point] + rank]
    a, b, c = corner[candidate].unbind(1)
    ab, ac, ap = b - a, c - a, points[point] - a
    determinant = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    v = (ap[:, 0] * ac[:, 1] - ap[:, 1] * ac[:, 0]) / determinant
    w = (ab[:, 0] * ap[:, 1] - ab[:, 1] * ap[:, 0]) / determinant
    barycentric = torch.stack([1 - v - w, v, w], dim=1)
    hit = barycentric.amin(1) >= -_EDGE
    triangle = torch.full((len(points),), len(triangles), dtype=torch.long, device=nodes.device)
    triangle.scatter_reduce_(0, point[hit], candidate[hit], "amin")
    inside = triangle < len(triangles)
    triangle = triangle.where(inside, 0)
    chosen = hit & (candidate == triangle[point])
    weights = torch.zeros(len(points), 3, dtype=points.dtype, device=nodes.device)
    weights[point[chosen]] = barycentric[chosen]
    return triangle, weights, inside
