"""The way of a cine from its file to a strain report.

Østvik et al. 2018 (10.1007/978-3-030-00889-5_35): the view is classified (section 2.1), the wall segmented and its
lines drawn (2.2), motion estimated (2.3; the bundle's network and inferer, any that meet the DDF contract), and both
fused point by point in a Kalman filter (2.4). Evain et al. 2022 gives GLS and MAPSE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase, CineEntry
from cardiac_motion.core.bars import show_case_bar, show_step
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.plots import check_figures
from cardiac_motion.core.threads import use_one_thread
from cardiac_motion.evaluation.case_evaluator import CaseEvaluator
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.cache import StrainCache, measure_cached, time_block
from cardiac_motion.strain_pipeline.cases import OneStudy
from cardiac_motion.strain_pipeline.measures.followup import read_earlier
from cardiac_motion.strain_pipeline.measures.measures import SEGMENTS, StrainMeasures
from cardiac_motion.strain_pipeline.measures.repeats import RepeatsResult
from cardiac_motion.strain_pipeline.quality.checks import Gate, wall_checks
from cardiac_motion.strain_pipeline.quality.choice import (
    NAMED,
    Listed,
    Looked,
    choose_best,
    examine,
    examine_all,
    format_listing,
)
from cardiac_motion.strain_pipeline.quality.orientation import orient_segmentation
from cardiac_motion.strain_pipeline.quality.view import decide_view, energy_check
from cardiac_motion.strain_pipeline.report.report_files import write_strain_case
from cardiac_motion.strain_pipeline.strain_case import StrainCase, add_changes
from cardiac_motion.strain_pipeline.tracking.image_networks import ViewProbabilities
from cardiac_motion.strain_pipeline.tracking.motion import Fusion, TrackedBeat, track_wall, widen_sector
from cardiac_motion.strain_pipeline.tracking.region import fit_inferer
from cardiac_motion.strain_pipeline.tracking.wall import Wall, extract_lines, wall_in

SHARES = {"view": 3, "segmentation": 14, "contours": 4, "motion": 50, "tracking": 24, "strain": 1, "report": 4}


class StrainEvaluator(CaseEvaluator):
    """Measures the strain of each cine, and writes its report.

    Args:
        device, val_data_loader, network, output_dir, inferer, postprocessing, val_handlers: as in ``CaseEvaluator``.
        classify: view classifier, from ``cine [T, H, W]`` to ``ViewProbabilities``.
        segment: ``cine [T, H, W]`` to memberships ``[T, 4, H, W]`` of background, cavity, myocardium, left atrium.
        measures: what is measured of the tracked wall.
        fusion: how lines and motion are weighed.
        gate: what must hold before strain is given.
        points: along the wall, seven at least.
        save_figures: write report and movie.
        weights: name of a network to what its weights are and what they were trained on.
        options: that are told in the report.
        baseline: results of an earlier study of the patient (``followup.read_earlier``): the change of each view that
            both have is reported.
        roi_margin: what is registered around the wall, part of the ventricle's length; None registers the whole sector.
            0.35 takes 0.6 to 0.8 of the time; strain of recorded four-chamber cines changes by up to 0.2 points.
        repeats: makes repeats of a measured cine and has them measured (``simulated_repeats.SimulatedRepeats``); None
            of none.
        select_cine: of a study, view to the name of the cine that is to be taken for it (``choice.choose_best``).

    Attributes:
        listed: all cines of a study, of which those that are ``taken`` are measured.
    """

    method = "strain_pipeline"

    def __init__(
        self,
        *,
        classify: Callable[[Tensor], ViewProbabilities],
        segment: Callable[[Tensor], Tensor],
        measures: StrainMeasures | None = None,
        fusion: Fusion | None = None,
        gate: Gate | None = None,
        points: int = 120,
        save_figures: bool = True,
        weights: Mapping[str, str] | None = None,
        select_cine: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        baseline: str | None = None,
        roi_margin: float | None = None,
        repeats: Callable[..., RepeatsResult] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if save_figures:
            check_figures()
        if points <= SEGMENTS:
            raise InputError(f"points {points}: a wall of {SEGMENTS} segments needs {SEGMENTS + 1} points at least")
        self.classify, self.segment, self.measures = classify, segment, measures or StrainMeasures()
        self.fusion, self.gate, self.points = fusion or Fusion(), gate or Gate(), points
        self.save_figures, self.weights, self.select_cine = save_figures, dict(weights or {}), select_cine
        self.options = dict(options or {})
        self.roi_margin = roi_margin
        self.earlier, self.repeats = read_earlier(baseline) if baseline else {}, repeats
        if repeats is not None and self.measures.layer != "endocardium":
            raise InputError(
                f"--simulated_repeats knows the true strain of the endocardium, not of the {self.measures.layer}"
            )
        self.listed: list[Listed] = []
        self._looked: dict[str, Looked] = {}

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Go through the cases; of a study through the best cine of each apical view.

        Raises:
            InputError: as ``CaseEvaluator.run``, or no cine of a study shows an apical view.
        """
        if isinstance(self.dataset, OneStudy) and self.dataset.study and not self.listed:
            self.choose()
        super().run(global_epoch)

    def choose(self) -> None:
        """Look at all cines of a study, and keep those that are measured."""
        look = partial(examine, classify=self.classify, segment=self.segment, gate=self.gate, keep=self._keep)
        with use_one_thread():
            self.listed = choose_best(examine_all(self.dataset, look), self.select_cine)
        print(f"cines (* measured):\n{format_listing(self.listed)}")
        entries = []
        for entry, cine in zip(self.dataset.entries, self.listed, strict=True):
            if cine.taken:
                entries.append({**entry, "assumed_view": cine.view} if cine.why == NAMED else entry)
        self.dataset.entries = entries
        self.data_loader = list(self.loader.sampler)
        self.state.epoch_length = len(entries)

    def _keep(self, looked: Looked) -> None:
        """Keep what was found of the best cine of each view."""
        best = self._looked.get(looked.listed.view or "")
        if best is None or (looked.listed.quality or 0) > (best.listed.quality or 0):
            self._looked[looked.listed.view or ""] = looked

    def read_case(self, index: int) -> CineCase:
        """A case as it was read while the study was looked at, or from its file."""
        looked = self._looked_at(CineEntry.from_dict(self.dataset.entries[index]))
        if looked is not None and looked.case is not None:
            return looked.case
        found: CineCase = super().read_case(index)
        return found

    def _looked_at(self, entry: CineEntry) -> Looked | None:
        return next((looked for looked in self._looked.values() if looked.entry == entry), None)

    def process(self, case: CineCase) -> StrainCase:
        """From frames to a view, a wall, its motion, strain, and a report."""
        with use_one_thread(), show_case_bar(case.name, SHARES):
            return write_strain_case(self.measure_case(case), self.weights, self.save_figures, self.options)

    def measure_case(self, case: CineCase) -> StrainCase:
        """Measure a cine; nothing is written.

        Raises:
            InputError: no apical view, no left ventricle, or a failed check.
        """
        study = add_changes(self.measure(self.compute_cache(case)), self.earlier)
        if self.repeats is not None:
            study = replace(study, repeats=self.repeats(study, self.track_known_wall, self.measures.gls))
        return study

    def compute_cache(self, case: CineCase) -> StrainCache:
        """What takes long: the view's probabilities, the segmented wall, the fields.

        Raises:
            InputError: no apical view, no left ventricle, or a wall that can't be one.
        """
        seconds: dict[str, float] = {}
        frames = case.cine.as_tensor()[0]
        looked = self._looked_at(case.entry)
        if looked is not None:
            self._looked.pop(looked.listed.view or "")  # its frames are needed once
        with time_block(seconds, "view"):
            probabilities = self.classify(frames) if looked is None else looked.probabilities
            decide_view(case, probabilities, self.gate.view_threshold, self.gate.ignore_checks)
            self.gate.stop([energy_check(probabilities)], case.entry.image)
        with time_block(seconds, "segmentation"):
            segment = orient_segmentation(frames, self.segment)[0] if looked is None else looked.segment
            memberships = segment(frames)
        with time_block(seconds, "contours"):
            found = extract_lines(memberships, self.points, case.entry.image)
            seen = widen_sector(case.cine)
            wall = wall_in(case, found)
            self.gate.stop(wall_checks(wall, seen), case.entry.image)  # before the motion, which is slow
        del memberships
        result = self.motion_of(case, wall)
        seconds["motion"] = result.seconds
        return StrainCache(case, probabilities, found, result, seen, seconds)

    def motion_of(self, case: CineCase, wall: Wall) -> RegistrationResult:
        """The fields of a case, of the region around its wall, enlarged where the wall is thin."""
        whole = self.inferer
        self.inferer = fit_inferer(whole, wall.lines, self.roi_margin)
        try:
            with show_step("motion"):
                return self.fields_of(case)
        finally:
            self.inferer = whole

    def track_known_wall(self, case: CineCase, wall: Wall, seen: NDArray[np.bool_]) -> tuple[TrackedBeat, ...]:
        """A known wall of a cine carried through its beats by the cine's own motion; ``seen [H, W]`` is the sector."""
        return track_wall(case, wall, self.motion_of(case, wall), self.fusion, seen)

    def measure(self, cached: StrainCache) -> StrainCase:
        """Measure a cine with known fields, by ``cardiac_motion.strain_pipeline.cache.measure_cached``."""
        study = measure_cached(cached, self.measures, self.fusion, self.gate)
        return replace(study, folder=self.folder_of(study.case))
