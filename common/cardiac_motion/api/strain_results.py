"""Strain of a cine or of a study, as typed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cardiac_motion.api.evaluators import make_evaluator, read_only_case
from cardiac_motion.core.plots import check_figures
from cardiac_motion.strain_pipeline.measures.beat_strain import BeatStrain
from cardiac_motion.strain_pipeline.measures.intervals import Interval
from cardiac_motion.strain_pipeline.quality.checks import Check
from cardiac_motion.strain_pipeline.report.report_files import write_strain_case
from cardiac_motion.strain_pipeline.strain_case import StrainCase, mean_segments
from cardiac_motion.ventricle.views import ApicalView

BUNDLE = "strain_pipeline"


@dataclass(frozen=True)
class SegmentStrain:
    """Longitudinal strain of a segment, mean over the beats in which it was accepted.

    Attributes:
        name: as in the guidelines, ``basal inferoseptum``.
        strain: end-systolic strain in %, negative for shortening; None if the segment is rejected.
        interval: 90 % interval, or None.
        rejected: why it is rejected in every beat; None if it is not.
    """

    name: str
    strain: float | None
    interval: Interval | None
    rejected: str | None


@dataclass(frozen=True, eq=False)
class StrainResult:
    """Measurements of a cine.

    Attributes:
        study: all results, including contours and fields.
        weights: provenance of the weights by the network's name.
        options: options of the measurement.
    """

    study: StrainCase
    weights: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gls(self) -> float | None:
        """Global longitudinal strain at end-systole, %, mean of the beats; None if too few segments are accepted."""
        return self.means["gls"]

    @property
    def segments(self) -> tuple[SegmentStrain, ...]:
        """The six segments of the view, from base to base."""
        rows = mean_segments(self.study.measured.beats)
        return tuple(SegmentStrain(r["name"], r["end_systolic"], r["interval"], r["rejected"]) for r in rows)

    @property
    def intervals(self) -> dict[str, Interval]:
        """90 % intervals of the means, by their names (``gls``, …)."""
        return self.study.measured.intervals

    @property
    def means(self) -> dict[str, float | None]:
        """All quantities, means of the beats; None if the cine does not provide one."""
        return self.study.measured.means

    @property
    def beats(self) -> tuple[BeatStrain, ...]:
        """Frames, numbers, segments and curves of each beat."""
        return self.study.measured.beats

    @property
    def view(self) -> ApicalView:
        """The apical view."""
        return self.study.view.view

    @property
    def checks(self) -> tuple[Check, ...]:
        """The quality checks."""
        return self.study.checks

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the results."""
        return self.study.warnings

    def report(self, folder: str | Path) -> Path:
        """Write the results: ``report.html``, ``summary.json``, ``strain.csv``, ``contours.json``, ``movie.mp4``.

        Args:
            folder: folder for this cine only; created, or replaced if this program wrote it.

        Returns:
            The path of ``report.html``.

        Raises:
            InputError: the folder contains something else or cannot be written, or a package for figures is missing.
        """
        check_figures()
        write_strain_case(replace(self.study, folder=Path(folder)), self.weights, True, self.options)
        return Path(folder) / "report.html"


def measure_strain(
    path: str | Path | None = None,
    *,
    config: str | Sequence[str] = (),
    bundles: str | Path | None = None,
    **options: Any,
) -> StrainResult:
    """Measure the left ventricular strain of an apical cine; nothing is written.

    Args:
        path: DICOM, NIfTI (X, Y, T), video or another file that ``read_cine`` can read; None is the demo cine.
        config: configuration files of ``strain_pipeline`` in addition to ``inference.json``, such as
            ``motion_dis.json``.
        bundles: folder that contains the bundles; None searches as ``find_bundle`` does.
        **options: override values of the bundle's configuration (``view="apical_4ch"``).

    Raises:
        InputError: the cine cannot be read, shows no apical view or fails a check, or there are several cines.
    """
    evaluator = make_evaluator(BUNDLE, path, {"save_figures": False, **options}, config, bundles)
    return _result(evaluator, read_only_case(evaluator))


def measure_study(
    path: str | Path | Sequence[str | Path],
    *,
    config: str | Sequence[str] = (),
    bundles: str | Path | None = None,
    **options: Any,
) -> dict[str, StrainResult]:
    """Measure the best cine of each apical view of a study; nothing is written.

    Args:
        path: folder, DICOMDIR, or list of cines.
        config, bundles, options: as in ``measure_strain``.

    Returns:
        Results by the name of the view (``apical_4ch``).

    Raises:
        InputError: no cine shows an apical view, or a chosen one cannot be measured.
    """
    evaluator = make_evaluator(BUNDLE, path, {"save_figures": False, **options}, config, bundles)
    if evaluator.dataset.study:
        evaluator.choose()
    results = [_result(evaluator, evaluator.dataset[index]) for index in range(len(evaluator.dataset))]
    return {result.view.name: result for result in results}


def _result(evaluator: Any, case: Any) -> StrainResult:
    return StrainResult(evaluator.measure_case(case), evaluator.weights, evaluator.options)
