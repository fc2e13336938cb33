"""What is compared on each kind of cases: the columns of its table, and the metric of truth that finds the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Columns = dict[str, tuple[str, float, int]]  # metric: heading, factor, digits
COSTS: Columns = {
    "folding_fraction": ("folding, %", 100, 3),
    "log_jacobian_sd": ("sd ln J", 1, 3),
    "lncc2": ("LNCC²", 1, 3),
    "seconds": ("seconds a case", 1, 2),
    "registration_seconds": ("of these registration", 1, 2),
    "seconds_per_pair": ("seconds a pair", 1, 3),
    "memory_mib": ("memory, MiB", 1, 0),
}
RECONSTRUCTION: Columns = {"mse": ("MSE ·10⁻³", 1e3, 3), **COSTS}
DISTANCES: Columns = {"mean_contour_distance_mm": ("d_m, mm", 1, 2), "hausdorff_mm": ("d_H, mm", 1, 2)}


@dataclass(frozen=True)
class Kind:
    """What is compared on one kind of cases.

    Attributes:
        metric: that decides which method is the best, and that a case of this kind has; None where there is no truth.
        larger: the larger, the better.
        columns: of the table.
        boxes: metrics that the box plot shows.
    """

    metric: str | None
    larger: bool
    columns: Columns
    boxes: tuple[str, ...]


KINDS = (
    Kind(
        "velocity_error",
        False,
        {
            "velocity_error": ("RMS velocity error, % of the peak", 100, 1),
            "velocity_nrmse": ("of the RMS velocity, %", 100, 0),
            "direction_error": ("direction, median °", 1, 1),
            "circulation_error": ("circulation, % off", 100, 0),
            "whole_circulation_error": ("of the whole vortex, % off", 100, 0),
            "centre_mm": ("vortex centre, mm", 1, 2),
            **{f"vortex_f1@{s}": (f"vortex F1 at {s}", 1, 2) for s in ("1/8", "1/4", "1/2")},
            "vortex_f1": ("vortex F1", 1, 2),
            "divergence": ("RMS divergence, 1/s", 1, 1),
            "epe_px": ("EPE, px a frame", 1, 2),
            "processor_seconds_per_pair": ("processor seconds a pair", 1, 2),
            **RECONSTRUCTION,
        },
        ("velocity_error", "direction_error", "vortex_f1"),
    ),
    Kind(
        "track_mm",
        False,
        {
            "track_mm": ("EPE first to last, mm", 1, 2),
            "epe_mm": ("EPE a frame, mm", 1, 3),
            "rotation": ("disc: rotation, % off", 1, 1),
            "disc_strain": ("disc: strain, points", 1, 2),
            "block_depth": ("block: strain in depth, points off", 1, 2),
            "block_lateral": ("block: lateral strain, points off", 1, 2),
            "ring_radial": ("ring: radial strain, points off", 1, 2),
            "ring_circumferential": ("ring: circumferential strain, points off", 1, 2),
            **COSTS,
        },
        ("track_mm", "epe_mm"),
    ),
    Kind(
        "epe_mm",
        False,
        {
            "epe_mm": ("EPE a frame, mm", 1, 3),
            "epe_ed_es_mm": ("EPE ED to ES, mm", 1, 2),
            **DISTANCES,
            "gls_error": ("GLS bias, points", 1, 2),
            "gls_absolute_error": ("GLS mae", 1, 2),
            "long_axis_strain_error": ("long-axis strain bias, points", 1, 2),
            "long_axis_strain_absolute_error": ("long-axis strain mae", 1, 2),
            "lncc2_myocardium": ("LNCC² in the myocardium", 1, 3),
            **COSTS,
        },
        ("epe_mm", "epe_ed_es_mm", "gls_error"),
    ),
    Kind(
        "mean_contour_distance_mm",
        False,
        {
            **DISTANCES,
            "dice_cavity": ("Dice cavity, %", 100, 2),
            "dice_myocardium": ("Dice myocardium, %", 100, 2),
            "dice_atrium": ("Dice atrium, %", 100, 2),
            **COSTS,
        },
        ("mean_contour_distance_mm", "hausdorff_mm", "dice_myocardium"),
    ),
    Kind(
        "dice",
        True,
        {
            "dice_head": ("Dice head, %", 100, 2),
            "dice_body": ("Dice body, %", 100, 2),
            "dice": ("Dice average, %", 100, 2),
            "hd95": ("HD95, mm", 1, 2),
            **COSTS,
        },
        ("dice_head", "dice_body", "dice"),
    ),
)
UNKNOWN = Kind(None, True, RECONSTRUCTION, ("lncc2",))  # likeness is shown, and decides nothing
CORRELATED = ("gls", "long_axis_strain")  # found and true values of a case, whose correlation is told


def kind_named(table: Sequence[dict[str, Any]]) -> Kind:
    """The kind of a table's rows."""
    return next((kind for kind in KINDS if any(kind.metric in row for row in table)), UNKNOWN)
