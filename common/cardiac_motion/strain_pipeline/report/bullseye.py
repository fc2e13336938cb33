"""The bull's-eye of a report: 18 segments by their strain, as SVG."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cardiac_motion.strain_pipeline.report.html import number
from cardiac_motion.ventricle.views import LEVELS, RING

EDGES = (3.0, 2.2, 1.4, 0.0)  # of its rings: numbers of six apical pieces need more than a third of the radius


def bullseye(values: Mapping[str, float | None], size: int = 380, scale: bool = False) -> str:
    """The 18-segment bull's-eye as SVG: base outside, apex inside, anterior at the top.

    Args:
        values: segment's name to strain in %; None, or a segment that is missing, is grey.
        size: pixels a side.
        scale: with a colour bar below it.
    """
    centre, step = size / 2, (size / 2 - 34) / 3
    parts = []
    for ring, level in enumerate(LEVELS):
        outer, inner = EDGES[ring] * step, EDGES[ring + 1] * step
        for k, wall in enumerate(RING):
            middle = -90 - 60 * k
            value = values.get(f"{level} {wall}")
            shape = sector(centre, inner, outer, middle - 30, middle + 30)
            parts.append(
                f'<path data-segment="{level} {wall}" d="{shape}" fill="{strain_colour(value)}" stroke="#fff" '
                f'stroke-width="1.5">'
                f"<title>{level} {wall}: {number(value)} %</title></path>"
            )
            angle, place = np.radians(middle), (inner + outer) / 2 if inner else 0.68 * outer
            parts.append(
                f'<text x="{centre + place * np.cos(angle):.1f}" y="{centre + place * np.sin(angle) + 4:.1f}" '
                f'text-anchor="middle" style="fill:{"#fff" if value is not None and value < -14 else "#1c2430"}">'
                f"{number(value)}</text>"
            )
            if ring == 0:
                place = 3 * step + 14
                anchor = "middle" if k % 3 == 0 else ("end" if np.cos(angle) < 0 else "start")
                x = centre + place * np.cos(angle) + (0 if k % 3 == 0 else -14 * np.cos(angle))
                y = centre + place * np.sin(angle) + 4
                parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{wall}</text>')
    wide = 104
    if scale:
        parts.append(colour_bar(centre, size + 6.0))
    box = f"{-wide} 0 {size + 2 * wide} {size + (34 if scale else 0)}"
    name = "strain of the segments, %"
    return f'<svg role="img" class="bullseye" aria-label="{name}" viewBox="{box}" width="100%">{"".join(parts)}</svg>'


def colour_bar(centre: float, top: float, width: float = 260.0) -> str:
    """The colours of the strains from −25 % to +10 %, as SVG, with three numbers below."""
    steps = np.linspace(-25, 10, 36)
    each = width / len(steps)
    left = centre - width / 2
    parts = [
        f'<rect x="{left + k * each:.1f}" y="{top:.0f}" width="{each + 0.3:.1f}" height="10" '
        f'fill="{strain_colour(float(value))}"/>'
        for k, value in enumerate(steps)
    ]
    for value in (-25, 0, 10):
        x = left + (value + 25) / 35 * width
        parts.append(f'<text x="{x:.1f}" y="{top + 24:.0f}" text-anchor="middle">{number(value, 0)} %</text>')
    return "".join(parts)


def sector(centre: float, inner: float, outer: float, first: float, last: float) -> str:
    """SVG path of a piece of a ring from angle ``first`` to ``last`` (degrees, clockwise from the right)."""
    corners = [
        (centre + radius * np.cos(np.radians(angle)), centre + radius * np.sin(np.radians(angle)))
        for radius, angle in ((inner, first), (outer, first), (outer, last), (inner, last))
    ]
    a, b, c, d = ("{:.2f} {:.2f}".format(*corner) for corner in corners)
    return f"M{a}L{b}A{outer:.2f} {outer:.2f} 0 0 1 {c}L{d}A{inner:.2f} {inner:.2f} 0 0 0 {a}Z"


def strain_colour(value: float | None) -> str:
    """Red for −25 % and less, pale for 0, blue for +10 % and more; grey where it is not known."""
    if value is None or not np.isfinite(value):
        return "#d7dbe1"
    pale, end = np.array([250, 240, 232]), np.array([160, 18, 28] if value < 0 else [40, 90, 190])
    share = min(1.0, -value / 25 if value < 0 else value / 10)
    return "#" + "".join(f"{round(c):02x}" for c in pale + share * (end - pale))
