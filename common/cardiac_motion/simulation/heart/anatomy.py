"""Parametric hearts: templates of eight echocardiographic views, if no recordings are available.

The left ventricle is a truncated ellipse with a wall, within the normal and enlarged sizes of Lang et al. 2015
(10.1016/j.echo.2014.10.003). Its surroundings are painted by tissue type in decibels below white, with a slow random
variation; interfaces perpendicular to the beam are brighter than parallel ones. All tissue moves: the wall by the
prescribed motion, the rest by its extension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from cardiac_motion.core.errors import InputError
from cardiac_motion.simulation.heart.canvas import AIR, BLOOD, FAT, FIBROUS, LIVER, MYOCARDIUM, Canvas
from cardiac_motion.simulation.heart.prior import draw_ventricle
from cardiac_motion.simulation.heart.template import Template
from cardiac_motion.ventricle.mesh import Array, Mesh, interpolate_fractions, myocardial_mesh, wall_mesh
from cardiac_motion.ventricle.views import VIEWS


def left_ventricle(
    length: float = 85.0, width: float = 46.0, thickness: float = 9.0, apex: float = 7.0, cut: float = 0.35
) -> tuple[Array, Array]:
    """Return endocardium and epicardium of an apical view, from base to base.

    Args:
        length: length of the cavity from apex to base, mm.
        width: width of the cavity, mm.
        thickness: wall thickness at the sides, mm.
        apex: wall thickness at the apex, mm.
        cut: position of the base beyond the ellipse's centre, as a fraction of its semi-major axis.

    Returns:
        [200, 2] each: mm along the axis from the epicardial apex to the base, and across, from negative to positive.

    Raises:
        InputError: the sizes are implausible.
    """
    if not (length > 20 and width > 10 and thickness > 1 and apex > 1 and 0 <= cut < 0.9):
        raise InputError(
            f"ventricle: length {length}, width {width}, thickness {thickness}, apex {apex} mm and cut {cut} are "
            "implausible"
        )
    half = length / (1 + cut)
    contours = []
    for along, across in ((half, width / 2), (half + apex, width / 2 + thickness)):
        end = math.acos(-cut * half / along)
        angle = np.linspace(-end, end, 400)
        contour = np.stack([apex + half - along * np.cos(angle), across * np.sin(angle)], axis=1)
        contours.append(interpolate_fractions(contour, np.linspace(0, 1, 200)))
    return contours[0], contours[1]


def apical_4ch(rng: np.random.Generator) -> Template:
    """Draw an apical four-chamber view: both ventricles and atria, the left ones on the right of the image."""
    return _apical(rng, "apical_4ch")


def apical_2ch(rng: np.random.Generator) -> Template:
    """Draw an apical two-chamber view: left ventricle and atrium only."""
    return _apical(rng, "apical_2ch")


def apical_long_axis(rng: np.random.Generator) -> Template:
    """Draw an apical long-axis (three-chamber) view: left ventricle and atrium, outflow tract and aorta."""
    return _apical(rng, "apical_long_axis")


def apical_of_prior(view: str, seed: int | Sequence[int] = 0) -> Template:
    """Draw a random heart in an apical view whose left ventricle has shape and motion of ``prior``.

    The prior was fitted to four- and two-chamber contours; the long-axis view uses it too, with its outflow tract
    painted.

    Raises:
        InputError: the view is not apical.
    """
    if view not in ("apical_4ch", "apical_2ch", "apical_long_axis"):
        raise InputError(f"view {view!r} is not an apical view of the left ventricle")
    rng = np.random.default_rng(seed)
    return _apical(rng, view, draw_ventricle(rng))


def _apical(
    rng: np.random.Generator, view: str, drawn: tuple[tuple[Array, Array], tuple[Array, Array]] | None = None
) -> Template:
    size = rng.uniform(0.85, 1.15)
    length, width = 82 * size * rng.uniform(0.95, 1.05), 46 * size * rng.uniform(0.9, 1.1)
    thickness = rng.uniform(8, 11)
    if drawn is not None:
        length, width = float(np.ptp(drawn[0][0][:, 0])), float(np.ptp(drawn[0][0][:, 1]))
    top = rng.uniform(12, 22)
    depth = top + length + rng.uniform(45, 65)
    lateral = {"apical_4ch": 6.0, "apical_2ch": 2.0, "apical_long_axis": -4.0}[view]
    canvas = Canvas(depth, rng.uniform(70, 85), FAT, (top, lateral + rng.uniform(-4, 4)), rng.uniform(-8, 6), False)
    wall = left_ventricle(length, width, thickness, rng.uniform(6, 9)) if drawn is None else drawn[0]
    base = wall[0][0, 0]
    if view == "apical_4ch":
        _right_heart(canvas, wall, rng)
    if view == "apical_long_axis":
        _outflow(canvas, base, width, thickness)
    _left_atrium(canvas, base, width, thickness, -0.25 if view == "apical_long_axis" else 0.0)
    _left_heart(canvas, wall, -0.5 if view == "apical_long_axis" else 0.0)
    return _mesh_template(canvas, wall, view, rng, None if drawn is None else drawn[1])


def _left_heart(canvas: Canvas, wall: tuple[Array, Array], valve: float = 0.0) -> None:
    endo, epi = wall
    base, half = endo[0, 0], endo[-1, 1]
    canvas.stroke(epi, 2.5, FIBROUS)
    canvas.polygon(np.concatenate([epi, endo[::-1]]), MYOCARDIUM)
    canvas.polygon(endo, BLOOD)
    middle = valve * half
    for side in (-1, 1):
        tip = np.array([base - 9, middle + side * 2.5])
        canvas.stroke(np.array([[base, side * half], [base - 3, (side * half + tip[1]) / 2], tip]), 1.8, FIBROUS)
    canvas.ellipse((base, half + 2), (4, 3), FIBROUS)
    canvas.ellipse((base, -half - 2), (4, 3), FIBROUS)


def _left_atrium(canvas: Canvas, base: float, width: float, thickness: float, shift: float) -> None:
    centre = (base + 21, shift * width)
    canvas.ellipse(centre, (27, width * 0.52 + 3), FAT + 6)
    canvas.ellipse(centre, (24.5, width * 0.52), BLOOD)


def _right_heart(canvas: Canvas, wall: tuple[Array, Array], rng: np.random.Generator) -> None:
    endo, epi = wall
    base, septum = endo[0, 0], epi[0, 1]
    reach = rng.uniform(26, 34)
    left = epi[: len(epi) // 2]
    top = left[left[:, 0] > 0.32 * base]
    free = np.stack([top[::-1, 0], septum - reach * np.sin(np.linspace(0.15, np.pi / 2, len(top))) ** 0.8], axis=1)
    canvas.polygon(np.concatenate([top, free - [0, 5]]), MYOCARDIUM - 2)
    canvas.stroke(free - [0, 5], 2.0, FIBROUS)
    canvas.polygon(np.concatenate([top, free]), BLOOD)
    canvas.ellipse((base + 22, septum - 0.45 * reach), (25, 0.62 * reach), FAT + 6)
    canvas.ellipse((base + 22, septum - 0.45 * reach), (22.5, 0.55 * reach), BLOOD)
    for side, root in ((1, septum), (-1, septum - reach)):
        canvas.stroke(np.array([[base + 4, root], [base - 4, root - side * reach * 0.4]]), 1.8, FIBROUS)


def _outflow(canvas: Canvas, base: float, width: float, thickness: float) -> None:
    inner, outer = width * 0.12, width * 0.5
    ends = np.array([[base - 3, inner], [base + 45, inner + 14], [base + 45, outer + 18], [base - 3, outer]])
    canvas.polygon(ends + np.array([[0, -2.5], [0, -2.5], [0, 2.5], [0, 2.5]]), FIBROUS)
    canvas.polygon(ends, BLOOD)
    canvas.stroke(
        np.array([[base + 9, inner + 2], [base + 14, (inner + outer) / 2 + 3], [base + 9, outer + 2]]), 1.5, FIBROUS
    )


def parasternal_long_axis(rng: np.random.Generator) -> Template:
    """Draw a parasternal long-axis view: ventricle across the image, apex on the left, right ventricle on top."""
    depth = rng.uniform(130, 165)
    length, width, thickness = rng.uniform(78, 90), rng.uniform(42, 52), rng.uniform(8.5, 11)
    centre = rng.uniform(0.43, 0.50) * depth
    canvas = Canvas(
        depth, rng.uniform(70, 90), FAT, (centre + rng.uniform(8, 14), -length + rng.uniform(-4, 8)),
        rng.uniform(80, 86),
    )  # fmt: skip
    wall = left_ventricle(length, width, thickness, 8.0)
    base = wall[0][0, 0]
    front = width / 2 + thickness
    canvas.polygon(
        np.array([[20, -front - 24], [base + 35, -front - 24], [base + 35, -front - 20], [20, -front - 20]]), MYOCARDIUM
    )
    canvas.polygon(
        np.array([[20, -front - 20], [base + 40, -front - 20], [base + 30, -front + 2], [20, -front + 6]]), BLOOD
    )
    _left_atrium(canvas, base, width * 0.8, thickness, 0.3)
    ends = np.array(
        [[base - 3, -width * 0.52], [base + 60, -width * 0.72], [base + 60, -width * 0.10], [base - 3, -width * 0.02]]
    )
    canvas.polygon(ends + np.array([[0, -2.5], [0, -2.5], [0, 2.5], [0, 2.5]]), FIBROUS)
    canvas.polygon(ends, BLOOD)
    canvas.stroke(
        np.array([[base + 8, -width * 0.5], [base + 13, -width * 0.28], [base + 8, -width * 0.06]]), 1.5, FIBROUS
    )
    canvas.ellipse((base + 12, width * 0.95), (6, 7), BLOOD)
    _left_heart(canvas, wall, 0.35)
    return _mesh_template(canvas, wall, "parasternal_long_axis", rng)


def parasternal_short_axis(rng: np.random.Generator) -> Template:
    """Draw a parasternal short-axis view: left ventricle as a ring with two papillary muscles, right as a crescent."""
    depth = rng.uniform(120, 150)
    radius, thickness = rng.uniform(20, 26), rng.uniform(8, 11)
    centre = (rng.uniform(0.46, 0.54) * depth, rng.uniform(2, 12))
    canvas = Canvas(depth, rng.uniform(70, 90), FAT, centre)
    outer = radius + thickness
    canvas.ellipse((-0.25 * outer, -0.55 * outer), (outer * 1.05, outer * 1.08), MYOCARDIUM - 2)
    canvas.ellipse((-0.25 * outer, -0.55 * outer), (outer * 0.95, outer * 0.98), BLOOD)
    around = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    round_ = np.stack([np.cos(around), np.sin(around) * rng.uniform(0.94, 1.06)], axis=1)
    canvas.stroke(np.concatenate([round_, round_[:1]]) * outer, 2.0, FIBROUS)
    canvas.polygon(round_ * outer, MYOCARDIUM)
    canvas.polygon(round_ * radius, BLOOD)
    for angle in (35.0, -40.0):
        turn = math.radians(angle + rng.uniform(-8, 8))
        canvas.ellipse((0.72 * radius * math.cos(turn), 0.72 * radius * math.sin(turn)), (5.5, 4.5), MYOCARDIUM)
    mesh = wall_mesh(canvas.place(round_ * radius), canvas.place(round_ * outer), closed=True)
    return _template(canvas, mesh, None, "parasternal_short_axis", rng)


def subcostal_4ch(rng: np.random.Generator) -> Template:
    """Draw a subcostal four-chamber view: liver on top, the heart below it, apex on the right."""
    depth = rng.uniform(150, 185)
    length, width, thickness = rng.uniform(75, 85), rng.uniform(38, 46), rng.uniform(8, 10)
    canvas = Canvas(
        depth, rng.uniform(75, 90), FAT, (rng.uniform(0.52, 0.58) * depth, rng.uniform(48, 58)),
        rng.uniform(-78, -66),
    )  # fmt: skip
    wall = left_ventricle(length, width, thickness, 7.0)
    base = wall[0][0, 0]
    liver = canvas.local[:, 1] < wall[1][0, 1] - rng.uniform(30, 34) - 5
    canvas.fill(liver, LIVER)
    _right_heart(canvas, wall, rng)
    _left_atrium(canvas, base, width, thickness, 0.0)
    _left_heart(canvas, wall)
    for _ in range(4):
        across = wall[1][0, 1] - rng.uniform(45, 85)
        canvas.ellipse((rng.uniform(0, 110), across), (rng.uniform(4, 9), 2.5), BLOOD + 6, rng.uniform(0, 180))
    return _mesh_template(canvas, wall, "subcostal_4ch", rng)


def inferior_vena_cava(rng: np.random.Generator) -> Template:
    """Draw an inferior vena cava in its long axis in the liver, opening into the right atrium; its calibre varies."""
    depth = rng.uniform(120, 170)
    calibre = rng.uniform(12, 24)
    canvas = Canvas(depth, rng.uniform(65, 85), LIVER, (rng.uniform(0.42, 0.52) * depth, 0.0), 90 + rng.uniform(-14, 6))
    canvas.ellipse((-0.42 * depth, 8), (28, 26), FAT + 6)
    canvas.ellipse((-0.42 * depth, 8), (25, 23), BLOOD)
    canvas.polygon(np.array([[2, -2], [8, -2], [40, -45], [34, -47]]), BLOOD)
    canvas.polygon(np.array([[-60, 34], [90, 26], [90, 120], [-60, 120]]), AIR)
    canvas.stroke(np.array([[-60, 34], [90, 26]]), 3.0, FIBROUS)
    around = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    shape = np.stack([52 * np.sign(np.cos(around)) * np.abs(np.cos(around)) ** 0.7, np.sin(around)], axis=1)
    inner, outer = shape * [1, calibre / 2], shape * [1.05, calibre / 2 + 2.2]
    canvas.polygon(outer, FIBROUS - 4)
    canvas.polygon(inner, BLOOD)
    mesh = wall_mesh(canvas.place(inner), canvas.place(outer), closed=True)
    narrow = rng.uniform(0.55, 0.8)
    late = wall_mesh(canvas.place(inner * [0.9, narrow]), canvas.place(outer * [0.92, narrow + 0.08]), closed=True)
    return _template(canvas, mesh, late.nodes, "inferior_vena_cava", rng)


def non_cardiac_view(rng: np.random.Generator) -> Template:
    """Draw a view without a heart: lung with reverberations, an abdominal organ, or a probe with poor contact."""
    depth = rng.uniform(120, 180)
    canvas = Canvas(depth, rng.uniform(60, 90), AIR, (rng.uniform(0.4, 0.6) * depth, rng.uniform(-15, 15)))
    kind = rng.integers(3)
    distance = np.hypot(*canvas.places.T)
    radius, outer = rng.uniform(14, 24), rng.uniform(26, 36)
    around = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    ring = np.stack([np.cos(around), np.sin(around) * rng.uniform(1.2, 1.6)], axis=1)
    if kind == 0:
        pleura = rng.uniform(16, 28)
        canvas.fill(distance < pleura, FAT)
        for k in range(1, int(depth / pleura) + 1):
            canvas.fill(np.abs(distance - k * pleura) < 1.2, FIBROUS - 7.0 * (k - 1))
    elif kind == 1:
        canvas.fill(distance < 0.85 * depth, LIVER)
        canvas.polygon(ring * outer, MYOCARDIUM - 6)
        canvas.polygon(ring * radius, FIBROUS - 6)
        for _ in range(6):
            place = (rng.uniform(-0.4, 0.4) * depth, rng.uniform(-0.4, 0.4) * depth)
            canvas.ellipse(place, (rng.uniform(3, 10), rng.uniform(2, 4)), BLOOD, rng.uniform(0, 180))
    else:
        canvas.fill(distance < rng.uniform(10, 25), FAT + 6)
        canvas.fill(distance >= 25, AIR - 10)
    mesh = wall_mesh(canvas.place(ring * radius), canvas.place(ring * outer), closed=True)
    return _template(canvas, mesh, canvas.place((mesh.nodes - canvas.origin) * 0.93), "other", rng)


PAINTERS: dict[str, Callable[[np.random.Generator], Template]] = {
    "apical_4ch": apical_4ch,
    "apical_2ch": apical_2ch,
    "apical_long_axis": apical_long_axis,
    "parasternal_long_axis": parasternal_long_axis,
    "parasternal_short_axis": parasternal_short_axis,
    "subcostal_4ch": subcostal_4ch,
    "inferior_vena_cava": inferior_vena_cava,
    "other": non_cardiac_view,
}


def view(name: str, seed: int | Sequence[int] = 0) -> Template:
    """Draw a random heart in a view.

    Args:
        name: one of ``VIEWS``.
        seed: the same seed gives the same heart.

    Raises:
        InputError: the view is unknown.
    """
    if name not in PAINTERS:
        raise InputError(f"view {name!r} is unknown; use one of {', '.join(VIEWS)}")
    return PAINTERS[name](np.random.default_rng(seed))


def _mesh_template(
    canvas: Canvas,
    wall: tuple[Array, Array],
    view: str,
    rng: np.random.Generator,
    end: tuple[Array, Array] | None = None,
) -> Template:
    pairs = [wall] if end is None else [wall, end]
    meshes = [myocardial_mesh(canvas.place(endo), canvas.place(epi), name=view) for endo, epi in pairs]
    return _template(canvas, meshes[0], meshes[1].nodes if end is not None else None, view, rng)


def _template(canvas: Canvas, mesh: Mesh, end_systole: Array | None, view: str, rng: np.random.Generator) -> Template:
    brightness = canvas.brightness(rng)
    return Template(brightness, canvas.grid, mesh, end_systole, canvas.depth, canvas.width, False, view, view)
