"""Kinds of cases: the columns of their tables, and the metric of ground truth that determines the best method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Columns = dict[str, tuple[str, float, int]]  # metric: heading, factor, digits
COSTS: Columns = {
    "folding_fraction": ("folding, %", 100, 3),
    "log_jacobian_sd": ("sd ln J", 1, 3),
    "lncc2": ("LNCC²", 1, 3),
    "seconds": ("seconds per case", 1, 2),
    "registration_seconds": ("registration seconds", 1, 2),
    "seconds_per_pair": ("seconds per pair", 1, 3),
    "memory_mib": ("memory, MiB", 1, 0),
}
RECONSTRUCTION: Columns = {"mse": ("MSE ·10⁻³", 1e3, 3), **COSTS}
DISTANCES: Columns = {"mean_contour_distance_mm": ("d_m, mm", 1, 2), "hausdorff_mm": ("d_H, mm", 1, 2)}


@dataclass(frozen=True)
class Kind:
    """A kind of cases.

    Attributes:
        metric: metric of cases of this kind that determines the best method; None if there is no ground truth.
        larger: whether larger values are better.
        columns: columns of the table.
        boxes: metrics of the box plot.
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
            "velocity_nrmse": ("% of the RMS velocity", 100, 0),
            "direction_error": ("direction, median °", 1, 1),
            "circulation_error": ("circulation error, %", 100, 0),
            "whole_circulation_error": ("whole-vortex circulation error, %", 100, 0),
            "centre_mm": ("vortex centre error, mm", 1, 2),
            **{f"vortex_f1@{s}": (f"vortex F1 at {s}", 1, 2) for s in ("1/8", "1/4", "1/2")},
            "vortex_f1": ("vortex F1", 1, 2),
            "divergence": ("RMS divergence, 1/s", 1, 1),
            "epe_px": ("EPE, px per frame", 1, 2),
            "processor_seconds_per_pair": ("processor seconds per pair", 1, 2),
            **RECONSTRUCTION,
        },
        ("velocity_error", "direction_error", "vortex_f1"),
    ),
    Kind(
        "track_mm",
        False,
        {
            "track_mm": ("EPE first to last frame, mm", 1, 2),
            "epe_mm": ("EPE per frame, mm", 1, 3),
            "rotation": ("disc: rotation error, %", 1, 1),
            "disc_strain": ("disc: strain error, percentage points", 1, 2),
            "block_depth": ("block: depth strain error, percentage points", 1, 2),
            "block_lateral": ("block: lateral strain error, percentage points", 1, 2),
            "ring_radial": ("ring: radial strain error, percentage points", 1, 2),
            "ring_circumferential": ("ring: circumferential strain error, percentage points", 1, 2),
            **COSTS,
        },
        ("track_mm", "epe_mm"),
    ),
    Kind(
        "epe_mm",
        False,
        {
            "epe_mm": ("EPE per frame, mm", 1, 3),
            "epe_ed_es_mm": ("EPE ED to ES, mm", 1, 2),
            **DISTANCES,
            "gls_error": ("GLS bias, percentage points", 1, 2),
            "gls_absolute_error": ("GLS MAE, percentage points", 1, 2),
            "long_axis_strain_error": ("long-axis strain bias, percentage points", 1, 2),
            "long_axis_strain_absolute_error": ("long-axis strain MAE, percentage points", 1, 2),
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
UNKNOWN = Kind(None, True, RECONSTRUCTION, ("lncc2",))  # similarity is listed but determines no best method
CORRELATED = ("gls", "long_axis_strain")  # measured and true values of a case, whose correlation is reported


def kind_named(table: Sequence[dict[str, Any]]) -> Kind:
    """Return the kind of a table's rows."""
    return next((kind for kind in KINDS if any(kind.metric in row for row in table)), UNKNOWN)
