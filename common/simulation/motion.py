"""Motion of the left ventricle over a beat that is known exactly, at every point of the image and at any two times.

The wall is the mesh of ``common.ventricle.mesh`` (Evain et al. 2022, section II-A.3). Its nodes go from end-diastole to
a prescribed end-systole and back by a physiological time course, and turn and shift as a whole. Around the wall the
plane is triangulated too, and the displacement of the wall is carried into it by a screened Laplace equation that fades
with distance: the map is affine in each triangle and continuous everywhere, so that forward and backward fields are
evaluated by barycentric coordinates alone, with no inversion by iteration. Points are (depth, lateral) in mm from the
probe, float64; times are in seconds from end-diastole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import PchipInterpolator
from scipy.sparse.linalg import splu
from scipy.spatial import Delaunay, cKDTree
from torch import Tensor
from torch.nn import functional

from common.core.errors import InputError
from common.simulation.grid import ImageGrid
from common.ventricle.mesh import Array, Mesh, arc_length, inside_outlines, signed_areas

HEART_RATES = (30.0, 220.0)  # beats/min that make sense
GLS_RANGE = (-0.40, 0.0)
_FADE = 40.0  # mm, over which the wall's displacement fades around it
_LATTICE = 4.0  # mm between the nodes around the wall
_CLEARANCE = 1.5  # mm that those keep from it
_PHASES = 24  # of a beat, at which triangles are checked for turning over
_EDGE = 1e-9  # barycentric tolerance: a point on an edge belongs to either triangle


def systole(heart_rate: float) -> tuple[float, float]:
    """Opening and closing of the aortic valve in s after the R wave (Weissler 1968: PEP and LVET against rate)."""
    pre_ejection, ejection = 0.131 - 0.0004 * heart_rate, 0.413 - 0.0017 * heart_rate
    return pre_ejection, pre_ejection + ejection


def time_course(times: Array, heart_rate: float) -> Array:
    """Contraction at ``times`` (s), 0 at end-diastole and 1 at end-systole, periodic.

    Isovolumic contraction, ejection, isovolumic relaxation, rapid filling, diastasis and the atrial kick, joined by a
    monotone cubic. The valves keep to Weissler's intervals, the rest of the beat shares what is left.

    Raises:
        InputError: a heart rate outside 30 to 220 beats/min.
    """
    if not HEART_RATES[0] <= heart_rate <= HEART_RATES[1]:
        raise InputError(f"heart_rate {heart_rate}: expected {HEART_RATES[0]:.0f} to {HEART_RATES[1]:.0f} beats/min")
    period = 60.0 / heart_rate
    opening, closing = systole(heart_rate)
    closing = min(closing, 0.6 * period)
    opening = min(opening, 0.3 * closing)
    left = period - closing
    filling = closing + left * np.array([0.12, 0.40, 0.72, 0.95, 1.0])
    knots = np.concatenate([[0.0, opening, opening + 0.4 * (closing - opening), closing], filling])
    values = np.array([0.0, 0.04, 0.62, 1.0, 0.97, 0.33, 0.27, 0.0, 0.0])
    return PchipInterpolator(knots, values)(np.mod(times, period))


@dataclass(frozen=True)
class Defect:
    """A stretch of the wall that contracts less than the rest.

    Attributes:
        centre: place along the wall, 0 at the first base, 0.5 at the apex, 1 at the other base.
        width: of the stretch, in the same fraction (a sixth is a segment of the six-segment model).
        severity: 0 healthy, 0.5 hypokinetic, 1 akinetic, above 1 dyskinetic (it stretches while the rest shortens).
    """

    centre: float
    width: float = 1 / 6
    severity: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.centre <= 1 and 0 < self.width <= 1 and 0 <= self.severity <= 2):
            raise InputError(f"defect {self}: centre in [0, 1], width in (0, 1] and severity in [0, 2] are expected")

    def weight(self, place: Array) -> Array:
        """How far each place along the wall takes part: 1 in the middle, 0 beyond the width, smooth between."""
        return self.severity * np.cos(np.clip((place - self.centre) / self.width, -1, 1) * np.pi / 2) ** 2


def contour_length(points: Array, closed: bool = False) -> Array:
    """Length [...] of polylines [..., n, 2]."""
    if closed:
        points = np.concatenate([points, points[..., :1, :]], axis=-2)
    return np.linalg.norm(np.diff(points, axis=-2), axis=-1).sum(-1)


def contracted(mesh: Mesh, inner: float = 0.72, outer: float = 0.94, along: float = 0.85) -> Array:
    """An end-systole for a wall that has none: nodes [N, 2] drawn towards the long axis and the apex.

    Args:
        inner, outer: what is left of the distance to the axis on the inner and the outer contour.
        along: what is left of the length from apex to base.
    """
    if mesh.closed:
        centre = mesh.nodes.mean(0)
        ends = [centre + share * (c - centre) for share, c in ((inner, mesh.inner), (outer, mesh.outer))]
    else:
        apex, axis, across = _long_axis(mesh.inner, mesh.outer)
        ends = [
            apex + along * ((c - apex) @ axis)[:, None] * axis + share * ((c - apex) @ across)[:, None] * across
            for share, c in ((inner, mesh.inner), (outer, mesh.outer))
        ]
    return _layered(ends[0], ends[1] - ends[0], mesh.layers)


def prescribed_end_systole(
    mesh: Mesh, end_systole: Array | None, gls: float, defects: Sequence[Defect] = (), name: str = "motion"
) -> Array:
    """Nodes [N, 2] at end-systole whose inner contour has exactly the global longitudinal strain ``gls``.

    The template's own deformation is scaled towards ``gls``, the defects take their share of it away, and a stretch
    along the long axis, which turns no triangle over, brings the length of the inner contour to its prescribed value.

    Args:
        mesh: the wall at end-diastole.
        end_systole: nodes [N, 2] of a template's end-systole, or None.
        gls: strain of the inner contour as a fraction, -0.20 for -20 %.
        defects: regional defects.

    Raises:
        InputError: ``gls`` outside [-0.40, 0), or one that this wall cannot reach.
    """
    if not GLS_RANGE[0] <= gls < GLS_RANGE[1]:
        raise InputError(f"{name}: gls {gls} is outside [{GLS_RANGE[0]}, {GLS_RANGE[1]}): a fraction is expected")
    target = contracted(mesh) if end_systole is None else end_systole
    if mesh.closed:
        return _prescribed_ring(mesh, target, gls, name)
    inner, ray = mesh.inner, mesh.outer - mesh.inner
    last = target[mesh.layers - 1 :: mesh.layers]
    own = float(contour_length(target[:: mesh.layers]) / contour_length(inner) - 1)
    share = float(np.clip(gls / min(own, -0.02), 0.4, 1.3))
    inner_es = inner + share * (target[:: mesh.layers] - inner)
    ray_es = ray + share * (last - target[:: mesh.layers] - ray)
    place = arc_length(inner) / arc_length(inner)[-1]
    lost = np.minimum(sum((d.weight(place) for d in defects), np.zeros(len(place))), 2.0)[:, None]
    ray_es = ray_es + lost * (ray - ray_es)
    edges, edges_es = np.diff(inner, axis=0), np.diff(inner_es, axis=0)
    edges_es = edges_es + 0.5 * (lost[1:] + lost[:-1]) * (edges - edges_es)
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(edges_es, axis=0)])
    middle = slice(mesh.columns // 2 - 1, mesh.columns // 2 + 1)
    inner_es = path + inner_es[middle].mean(0) - path[middle].mean(0)

    apex, axis, _ = _long_axis(inner_es, inner_es + ray_es)

    def stretched(factor: float) -> Array:
        both = [p + (factor - 1) * ((p - apex) @ axis)[:, None] * axis for p in (inner_es, inner_es + ray_es)]
        return _layered(both[0], both[1] - both[0], mesh.layers)

    wanted = contour_length(inner) * (1 + gls)
    low, high = 0.4, 2.5
    if not contour_length(stretched(low)[:: mesh.layers]) < wanted < contour_length(stretched(high)[:: mesh.layers]):
        raise InputError(
            f"{name}: no stretch of the template reaches a global longitudinal strain of {100 * gls:.1f} %"
        )
    for _ in range(60):
        factor = 0.5 * (low + high)
        if contour_length(stretched(factor)[:: mesh.layers]) < wanted:
            low = factor
        else:
            high = factor
    return stretched(0.5 * (low + high))


def _prescribed_ring(mesh: Mesh, target: Array, gls: float, name: str) -> Array:
    """The part of a ring's way to ``target`` at which its inner contour has the strain ``gls``."""
    change = target - mesh.nodes
    wanted = contour_length(mesh.inner, closed=True) * (1 + gls)
    low, high = 0.0, 1.5
    if contour_length((mesh.nodes + high * change)[:: mesh.layers], closed=True) > wanted:
        raise InputError(f"{name}: the ring's end-systole does not reach a strain of {100 * gls:.1f} %")
    for _ in range(60):
        share = 0.5 * (low + high)
        if contour_length((mesh.nodes + share * change)[:: mesh.layers], closed=True) > wanted:
            low = share
        else:
            high = share
    return mesh.nodes + 0.5 * (low + high) * change


class Motion:
    """Trajectories of every material point of the plane over a beat.

    Args:
        mesh: the wall at end-diastole, mm.
        end_systole: its nodes [N, 2] at end-systole, from ``prescribed_end_systole`` or any others.
        heart_rate: beats/min.
        bounds: ((top, left), (bottom, right)) in mm: the frame that stands still around it all.
        rotation: of the wall as a whole at end-systole, degrees, positive from depth towards lateral.
        shift: of the wall as a whole at end-systole, mm (depth, lateral).
        device: where positions and fields are computed.
        name: what an error calls the motion.

    Attributes:
        gls: global longitudinal strain of the inner contour at end-systole (of its length, for a ring), a fraction.
        period: s.
        end_systole_time: s.
        triangles: [M, 3] over the nodes of the plane; the first ``len(mesh.triangles)`` are the wall's.

    Raises:
        InputError: the wall leaves the bounds, or a triangle turns over during the beat.
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
            raise InputError(f"{name}: the motion folds the {where} ({int(turned.sum())} triangles turned over)")

    def _length(self, points: Array) -> Array:
        return contour_length(points, self.mesh.closed)

    def strain(self, times: Array) -> Array:
        """Prescribed strain of the inner contour, as a fraction, at ``times`` [T] in s."""
        return self.gls * time_course(times, self.heart_rate)

    def wall(self, times: Array) -> Array:
        """Nodes of the wall [T, N, 2] in mm at ``times`` [T] in s."""
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
        return (nodes - centre) @ turn.transpose(0, 2, 1) + centre + self._shift * course[:, None, None]

    def contours(self, times: Array) -> tuple[Array, Array]:
        """Inner and outer contour, [T, columns, 2] each, in mm at ``times`` [T] in s."""
        wall = self.wall(times)
        return wall[:, :: self.mesh.layers], wall[:, self.mesh.layers - 1 :: self.mesh.layers]

    def nodes(self, times: Array) -> Tensor:
        """All nodes of the plane [T, n, 2] in mm at ``times`` [T] in s."""
        moved = torch.as_tensor(self.wall(times) - self.mesh.nodes, device=self.device)
        return self._reference + self._extension @ moved

    def locate(self, points: Tensor, time: float) -> tuple[Tensor, Tensor, Tensor]:
        """Material coordinates of points at a time.

        Args:
            points: [P, 2] in mm.
            time: s.

        Returns:
            triangle [P], barycentric coordinates [P, 3] in it, and whether the point lies in the plane's frame [P].
        """
        return _locate(points.to(self.device, torch.float64), self.nodes(np.array([time]))[0], self.triangles)

    def positions(self, triangle: Tensor, barycentric: Tensor, times: Array) -> Tensor:
        """Positions [T, P, 2] in mm of material points at ``times`` [T] in s, in the type of ``barycentric``."""
        nodes = self.nodes(times).to(barycentric.dtype)
        rows = nodes.movedim(0, 1).reshape(nodes.shape[1], -1)
        corners = self.triangles[triangle]
        places = functional.embedding_bag(corners, rows, per_sample_weights=barycentric, mode="sum")
        return places.reshape(len(triangle), -1, 2).movedim(1, 0)

    def displacement(self, points: Tensor, at: float, to: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        """Where the material at ``points`` at one time is at others.

        Args:
            points: [P, 2] in mm.
            at: s.
            to: [T] in s.

        Returns:
            displacement [T, P, 2] in mm, whether the point is in the plane's frame [P], and whether in the wall [P].
        """
        triangle, barycentric, inside = self.locate(points, at)
        moved = self.positions(triangle, barycentric, np.asarray(to, dtype=np.float64)) - points.to(self.device)
        wall = inside & (triangle < len(self.mesh.triangles))
        return torch.where(inside[:, None], moved, 0.0), inside, wall

    def fields(self, grid: ImageGrid, at: float, to: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        """The displacement of the material at each pixel centre.

        With ``at`` the time of the fixed image and ``to`` that of the moving one it is the pull-back field of the pair;
        the other way round it is the forward field. Millimetres are pixels times ``grid.spacing``.

        Returns:
            fields [T, 2, H, W] in pixels (row, column), float32; validity [H, W] (the pixel lies in the plane's frame
            at ``at``); wall [H, W] (it lies in the wall).
        """
        moved, inside, wall = self.displacement(grid.points(self.device), at, to)
        pixels = (moved / moved.new_tensor(grid.spacing)).movedim(-1, 1).reshape(-1, 2, *grid.shape)
        return pixels.float(), inside.reshape(grid.shape), wall.reshape(grid.shape)


def _long_axis(inner: Array, outer: Array) -> tuple[Array, Array, Array]:
    """Apex (mm), and unit vectors from it to the base and across."""
    middle = slice(len(outer) // 2 - 1, len(outer) // 2 + 1)
    apex = outer[middle].mean(0)
    axis = inner[[0, -1]].mean(0) - apex
    axis = axis / np.linalg.norm(axis)
    return apex, axis, np.array([-axis[1], axis[0]])


def _layered(inner: Array, ray: Array, layers: int) -> Array:
    return (inner[:, None] + np.linspace(0, 1, layers)[None, :, None] * ray[:, None]).reshape(-1, 2)


def _plane(mesh: Mesh, bounds: Array, name: str) -> tuple[Array, NDArray[np.int64], Array]:
    """Nodes of the plane at end-diastole, its triangles, and the matrix that carries the wall's displacement to them.

    Nodes are the wall's, then the points that divide its outlines, then a lattice around it.
    """
    if (mesh.nodes.min(0) <= bounds[0]).any() or (mesh.nodes.max(0) >= bounds[1]).any():
        raise InputError(f"{name}: the wall leaves the frame {bounds.tolist()} mm")
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
        around = around[~inside_outlines(nodes[around].mean(1), outlines)]
        areas = signed_areas(nodes, around)
        around = around[np.abs(areas) > 1e-9]
        if abs(np.abs(areas).sum() + wall_area - np.prod(bounds[1] - bounds[0])) < 1e-6 * wall_area:
            break
    else:
        raise InputError(f"{name}: the outline of the wall is too winding to be triangulated around")
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
    """A triangular lattice around the wall within the bounds, and which of its points lie on their frame."""
    (top, left), (bottom, right) = bounds
    rows = np.linspace(top, bottom, 1 + math.ceil((bottom - top) / (_LATTICE * 0.866)))
    columns = np.linspace(left, right, 1 + math.ceil((right - left) / _LATTICE))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x[1:-1:2, 1:-1] += 0.5 * (columns[1] - columns[0])
    x[1:-1:2, -2] = 0.5 * (x[1:-1:2, -3] + right)
    points = np.stack([y.ravel(), x.ravel()], 1)
    frame = ((points == bounds[0]) | (points == bounds[1])).any(1)
    distance = cKDTree(border).query(points)[0]
    keep = frame | ((distance > _CLEARANCE) & ~inside_outlines(points, outlines))
    return points[keep], frame[keep]


def _screened_laplacian(nodes: Array, triangles: NDArray[np.int64]) -> sparse.csr_matrix:
    """Linear finite elements of ``-∇²u + u / _FADE²`` on triangles [M, 3], the smaller the stiffer.

    Weighting each by the inverse of its area (Stein et al. 2003, 10.1115/1.1530635) keeps the small ones by the wall
    from turning over.
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
    """The triangle that holds each point: cells of a regular grid list the triangles whose box meets them."""
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
    found = torch.zeros(len(points), 3, dtype=points.dtype, device=nodes.device)
    found[point[chosen]] = barycentric[chosen]
    return triangle, found, inside
