"""Contraction of a wall: the time course of a beat, and an end-systole with prescribed strain and defects.

The time course follows the systolic intervals of Weissler 1968; the wall is the mesh of ``ventricle.mesh``
(Evain et al. 2022, section II-A.3). Points are (depth, lateral) in mm, times in seconds from end-diastole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from cardiac_motion.core.errors import InputError
from cardiac_motion.ventricle.mesh import Array, Mesh, arc_length

HEART_RATES = (30.0, 220.0)  # plausible range, beats/min
GLS_RANGE = (-0.40, 0.0)


def systole(heart_rate: float) -> tuple[float, float]:
    """Return the times of aortic valve opening and closure in s after the R wave (PEP and LVET of Weissler 1968)."""
    pre_ejection, ejection = 0.131 - 0.0004 * heart_rate, 0.413 - 0.0017 * heart_rate
    return pre_ejection, pre_ejection + ejection


def time_course(times: Array, heart_rate: float) -> Array:
    """Return the contraction at ``times`` (s), 0 at end-diastole and 1 at end-systole, periodic.

    Isovolumic contraction, ejection, isovolumic relaxation, rapid filling, diastasis and atrial contraction, joined by
    a monotone cubic. Valve times follow Weissler; the other phases share the rest of the beat.

    Raises:
        InputError: the heart rate is outside 30 to 220 beats/min.
    """
    if not HEART_RATES[0] <= heart_rate <= HEART_RATES[1]:
        raise InputError(f"heart_rate {heart_rate} is outside {HEART_RATES[0]:.0f} to {HEART_RATES[1]:.0f} beats/min")
    period = 60.0 / heart_rate
    opening, closing = systole(heart_rate)
    closing = min(closing, 0.6 * period)
    opening = min(opening, 0.3 * closing)
    left = period - closing
    filling = closing + left * np.array([0.12, 0.40, 0.72, 0.95, 1.0])
    knots = np.concatenate([[0.0, opening, opening + 0.4 * (closing - opening), closing], filling])
    values = np.array([0.0, 0.04, 0.62, 1.0, 0.97, 0.33, 0.27, 0.0, 0.0])
    return np.asarray(PchipInterpolator(knots, values)(np.mod(times, period)))


@dataclass(frozen=True)
class Defect:
    """Part of the wall with reduced contraction.

    Attributes:
        centre: position along the wall, 0 at the first base, 0.5 at the apex, 1 at the other base.
        width: width as a fraction of the wall (1/6 is a segment of the six-segment model).
        severity: 0 healthy, 0.5 hypokinetic, 1 akinetic, above 1 dyskinetic (it stretches while the rest shortens).
    """

    centre: float
    width: float = 1 / 6
    severity: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.centre <= 1 and 0 < self.width <= 1 and 0 <= self.severity <= 2):
            raise InputError(f"defect {self}: centre must be in [0, 1], width in (0, 1] and severity in [0, 2]")

    def weight(self, place: Array) -> Array:
        """Return the effect at positions along the wall: ``severity`` at the centre, smoothly 0 beyond the width."""
        return self.severity * np.cos(np.clip((place - self.centre) / self.width, -1, 1) * np.pi / 2) ** 2


def contour_length(points: Array, closed: bool = False) -> Array:
    """Return the length [...] of polylines [..., n, 2]."""
    if closed:
        points = np.concatenate([points, points[..., :1, :]], axis=-2)
    return np.asarray(np.linalg.norm(np.diff(points, axis=-2), axis=-1).sum(-1))


def contract(mesh: Mesh, inner: float = 0.72, outer: float = 0.94, along: float = 0.85) -> Array:
    """Return nodes [N, 2] of a plausible end-systole: contracted towards the long axis and the apex.

    Args:
        inner, outer: factor of the distance to the axis, of the inner and of the outer contour.
        along: factor of the length from apex to base.
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
    return _layer_nodes(ends[0], ends[1] - ends[0], mesh.layers)


def prescribe_end_systole(
    mesh: Mesh, end_systole: Array | None, gls: float, defects: Sequence[Defect] = (), name: str = "motion"
) -> Array:
    """Return nodes [N, 2] at end-systole whose inner contour has exactly the global longitudinal strain ``gls``.

    The template's deformation is scaled towards ``gls`` and reduced by the defects; a stretch along the long axis,
    which cannot fold triangles, then brings the length of the inner contour to its prescribed value.

    Args:
        mesh: wall at end-diastole.
        end_systole: nodes [N, 2] of a template's end-systole, or None.
        gls: strain of the inner contour as a fraction, -0.20 for -20 %.
        defects: regional defects.

    Raises:
        InputError: ``gls`` is outside [-0.40, 0), or cannot be reached by this wall.
    """
    if not GLS_RANGE[0] <= gls < GLS_RANGE[1]:
        raise InputError(f"{name}: gls {gls} must be a fraction in [{GLS_RANGE[0]}, {GLS_RANGE[1]})")
    target = contract(mesh) if end_systole is None else end_systole
    if mesh.closed:
        return _prescribe_ring(mesh, target, gls, name)
    inner, ray = mesh.inner, mesh.outer - mesh.inner
    last = target[mesh.layers - 1 :: mesh.layers]
    template_gls = float(contour_length(target[:: mesh.layers]) / contour_length(inner) - 1)
    share = float(np.clip(gls / min(template_gls, -0.02), 0.4, 1.3))
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

    def stretch(factor: float) -> Array:
        both = [p + (factor - 1) * ((p - apex) @ axis)[:, None] * axis for p in (inner_es, inner_es + ray_es)]
        return _layer_nodes(both[0], both[1] - both[0], mesh.layers)

    wanted = contour_length(inner) * (1 + gls)
    low, high = 0.4, 2.5
    if not contour_length(stretch(low)[:: mesh.layers]) < wanted < contour_length(stretch(high)[:: mesh.layers]):
        raise InputError(
            f"{name}: a global longitudinal strain of {100 * gls:.1f} % cannot be reached by stretching the template"
        )
    for _ in range(60):
        factor = 0.5 * (low + high)
        if contour_length(stretch(factor)[:: mesh.layers]) < wanted:
            low = factor
        else:
            high = factor
    return stretch(0.5 * (low + high))


def _prescribe_ring(mesh: Mesh, target: Array, gls: float, name: str) -> Array:
    """Return a ring's nodes on the path to ``target`` at which its inner contour has the strain ``gls``."""
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


def _long_axis(inner: Array, outer: Array) -> tuple[Array, Array, Array]:
    """Return the apex (mm), and unit vectors from it to the base and across."""
    middle = slice(len(outer) // 2 - 1, len(outer) // 2 + 1)
    apex = outer[middle].mean(0)
    axis = inner[[0, -1]].mean(0) - apex
    axis = axis / np.linalg.norm(axis)
    return apex, axis, np.array([-axis[1], axis[0]])


def _layer_nodes(inner: Array, ray: Array, layers: int) -> Array:
    return (inner[:, None] + np.linspace(0, 1, layers)[None, :, None] * ray[:, None]).reshape(-1, 2)
