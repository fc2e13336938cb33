"""Figures of a comparison: box plots, similarity against error, error along the wall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cardiac_motion.compare.methods import Method
from cardiac_motion.compare.table import finite, kind_of
from cardiac_motion.core.plots import plt
from cardiac_motion.core.whole_files import write_whole


def box_plot(methods: Sequence[Method], path: Path) -> None:
    """Draw one box per method for each metric of the kind that cases have; nothing is written if there are none."""
    kind = kind_of(methods)
    present = [metric for metric in kind.boxes if any(len(finite(m, metric)) for m in methods)]
    done = [m for m in methods if any(len(finite(m, metric)) for metric in present)]
    if not present:
        return
    size = (14 / 3 * len(present), 0.36 * len(done) + 1.4)
    figure, axes = plt.subplots(1, len(present), figsize=size, sharey=True, squeeze=False)
    for axis, metric in zip(axes[0], present, strict=True):
        heading, factor, _ = kind.columns[metric]
        values = [factor * finite(m, metric) for m in done]
        axis.boxplot(values, orientation="horizontal", widths=0.6, showmeans=True)
        axis.set_yticks(range(1, len(done) + 1), [m.title for m in done])
        axis.set_xlabel(heading)
        axis.grid(axis="x", alpha=0.3)
    axes[0, 0].invert_yaxis()
    _save(figure, path)


def truth_plot(methods: Sequence[Method], path: Path) -> None:
    """Plot LNCC² against endpoint error in the myocardium, one point per method."""
    values = {m.title: [finite(m, metric) for metric in ("lncc2_myocardium", "epe_mm")] for m in methods}
    points = {title: (x.mean(), y.mean()) for title, (x, y) in values.items() if len(x) and len(y)}
    if not points:
        return
    figure, axis = plt.subplots(figsize=(7, 5))
    for title, (x, y) in points.items():
        axis.plot(x, y, "o", color="tab:blue")
        axis.annotate(title, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
    axis.set_xlabel("LNCC² in the myocardium")
    axis.set_ylabel("endpoint error per frame, mm")
    axis.grid(alpha=0.3)
    _save(figure, path)


def profile_plot(methods: Sequence[Method], path: Path) -> None:
    """Plot the error along the normalised endocardial contour from base to base (Evain et al. 2022, Fig. 6)."""
    by_method = {m.title: [p for p in map(m.profile, m.cases) if p] for m in methods}
    if not any(by_method.values()):
        return
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for title, profiles in by_method.items():
        if profiles:
            mean = np.mean(profiles, axis=0)
            axis.plot(np.linspace(0, 1, len(mean)), mean, label=title)
    axis.set_xlabel("normalised position, base – apex – base")
    axis.set_ylabel("mean error over the beat, mm")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    with write_whole(path) as beside:
        figure.savefig(beside, dpi=110)
    plt.close(figure)
