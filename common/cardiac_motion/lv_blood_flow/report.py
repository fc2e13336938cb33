"""HTML report of a blood-flow cine: results, curves over the beat, figures; self-contained except for the movie."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.whole_files import write_whole
from cardiac_motion.lv_blood_flow.measures import BloodFlow, units
from cardiac_motion.strain_pipeline.report.html import bullets, columns, curves, figure_of, number, page, section, table

CANNOT = (
    "A slice shows in-plane flow: flow through the plane appears as divergence, a ring vortex as its two sections.",
    "Speeds of more than a few pixels per frame are underestimated, especially in jets at low frame rates.",
    "Energy loss and peak vorticity depend on resolution and smoothing; compare only values of equal settings.",
)
SHAPE = ("depth", "transverse", "length", "width", "sphericity")
VORTEX = ("area", "circulation", "whole_circulation", "intensity", *SHAPE)


def write_report(folder: Path, case: CineCase, flow: BloodFlow) -> None:
    """Write ``flow.html`` with the figures that are in the folder.

    Args:
        folder: folder of the case, with ``flow.png``, ``vorticity.png`` and ``particles.png``.
        case, flow: cine and its flow.
    """
    rows, unit = flow.rows, units(flow.velocity)
    across = [row["time"] for row in rows]
    label = f"time, {unit['time']}"

    def curve(*keys: str) -> str:
        known = {k: [(t, r[k]) for t, r in zip(across, rows, strict=True) if r.get(k) is not None] for k in keys}
        drawn = {k.replace("_", " "): ([t for t, _ in v], [x for _, x in v]) for k, v in known.items() if len(v) > 1}
        return curves(drawn, label, f"{keys[0].split('_', 1)[-1]}, {unit[keys[0]]}") if drawn else ""

    fastest = max(rows, key=lambda r: r["peak_speed"] or 0.0)
    strongest = {name: _find_strongest(rows, name) for name in ("ccw", "cw")}
    figures = columns(
        figure_of(fastest["peak_speed"], flow.velocity.unit, "fastest 1 % of the pool", 2),
        *(
            figure_of(row and row[f"{name}_circulation"], unit[f"{name}_circulation"], f"strongest vortex {words}", 0)
            for name, row, words in (
                ("ccw", strongest["ccw"], "counter-clockwise"),
                ("cw", strongest["cw"], "clockwise"),
            )
        ),
    )
    sections = [section("Flow", figures, bullets(flow.notes))]
    sections.append(section("Arrows and stream lines by scale", _picture(folder / "flow.png")))
    head = [
        "vortex (when its circulation is strongest)",
        *(f"{k.replace('_', ' ')}, {unit[f'ccw_{k}']}" for k in VORTEX),
    ]
    body = [
        [f"{name}, pair {row['pair']}", *(number(row[f"{name}_{k}"], 2) for k in VORTEX)]
        for name, row in strongest.items()
        if row
    ]
    parts = [_picture(folder / "vorticity.png"), table(head, body) if body else "<p>No vortex was found.</p>"]
    lines = columns(curve("ccw_circulation", "cw_circulation"), curve("ccw_intensity", "cw_intensity"))
    sections.append(section("Vortices (Γ₂, Graftieaux 2001)", *parts, lines))
    speed = curve("mean_speed", "peak_speed")
    energy = [curve("kinetic_energy"), curve("energy_loss")] if flow.velocity.physical else []
    depth = curve("ccw_depth", "cw_depth")
    sections.append(section("Over the cine", columns(speed, depth), *([columns(*energy)] if energy else [])))
    movie = '<p><a href="particles.mp4">particles.mp4</a>, advected by the measured fields</p>'
    sections.append(section("Particles", _picture(folder / "particles.png"), movie))
    sections.append(section("Limitations", bullets(CANNOT)))
    subtitle = f"{case.meta.source} · {case.cine.shape[1]} frames · research only"
    with write_whole(folder / "flow.html") as beside:
        beside.write_text(page(f"Blood flow: {case.name}", subtitle, sections), encoding="utf-8")


def _find_strongest(rows: Any, name: str) -> Any:
    known = [row for row in rows if row[f"{name}_circulation"] is not None]
    return max(known, key=lambda row: abs(row[f"{name}_circulation"])) if known else None


def _picture(path: Path) -> str:
    coded = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{path.stem}" style="max-width:100%" src="data:image/png;base64,{coded}">'
