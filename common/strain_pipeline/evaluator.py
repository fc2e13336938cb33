"""The way of a cine from its file to a strain report.

Østvik et al. 2018 (10.1007/978-3-030-00889-5_35): the view is classified (section 2.1), the wall segmented and its
lines drawn (2.2), motion estimated (2.3; the bundle's network and inferer, any that meet the DDF contract), and both
fused point by point in a Kalman filter (2.4). Evain et al. 2022 gives GLS and MAPSE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from common.cine.case import CineCase
from common.evaluation.evaluator import CaseEvaluator
from common.strain_pipeline.case import StrainCase
from common.strain_pipeline.files import write_strain_case
from common.strain_pipeline.kept import Kept, measured, timed
from common.strain_pipeline.measures import StrainMeasures
from common.strain_pipeline.motion import Fusion, seen_sector
from common.strain_pipeline.view import checked_view
from common.strain_pipeline.wall import segmented


class StrainEvaluator(CaseEvaluator):
    """Measures the strain of each cine, and writes its report.

    Args:
        device, dataset, network, output_dir, inferer, postprocessing, val_handlers: as in ``CaseEvaluator``.
        classify: ``cine [T, H, W]`` to a probability a view name.
        segment: ``cine [T, H, W]`` to memberships ``[T, 4, H, W]`` of background, cavity, myocardium, left atrium.
        measures: what is measured of the tracked wall.
        fusion: how lines and motion are weighed.
        view_threshold: least probability of the view.
        points: along the wall, even.
        figures: write report and film.
        weights: name of a network to what its weights are and what they were trained on.
    """

    method = "strain_pipeline"

    def __init__(
        self,
        *,
        classify: Callable[[Tensor], dict[str, float]],
        segment: Callable[[Tensor], Tensor],
        measures: StrainMeasures | None = None,
        fusion: Fusion | None = None,
        view_threshold: float = 0.5,
        points: int = 120,
        figures: bool = True,
        weights: Mapping[str, str] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.classify, self.segment, self.measures = classify, segment, measures or StrainMeasures()
        self.fusion, self.view_threshold, self.points = fusion or Fusion(), view_threshold, points
        self.figures, self.weights = figures, dict(weights or {})

    def journey(self, case: CineCase) -> StrainCase:
        """From frames to a view, a wall, its motion, strain, and a report."""
        return write_strain_case(self.measured(self.kept(case)), self.weights, self.figures)

    def kept(self, case: CineCase) -> Kept:
        """What takes long: the view's probabilities, the segmented wall, the fields.

        Raises:
            InputError: no apical view, or no left ventricle.
        """
        seconds: dict[str, float] = {}
        frames = case.cine.as_tensor()[0]
        with timed(seconds, "view"):
            probabilities = self.classify(frames)
            checked_view(case, probabilities, self.view_threshold)
        with timed(seconds, "segmentation"):
            memberships = self.segment(frames)
        with timed(seconds, "contours"):
            found = segmented(memberships, self.points, case.entry.image)
        del memberships
        result = self.register(case)
        result = replace(result, ddf=self.postprocess(case.image, result.ddf))
        seconds["motion"] = result.seconds
        return Kept(case, probabilities, found, result, seen_sector(case.cine), seconds)

    def measured(self, kept: Kept) -> StrainCase:
        """What is measured of a cine whose fields are known: ``common.strain_pipeline.kept.measured``."""
        study = measured(kept, self.measures, self.fusion, self.view_threshold)
        return replace(study, folder=self.folder_of(study.case))
