"""The way of a cine from its file to a strain report.

Østvik et al. 2018 (10.1007/978-3-030-00889-5_35): the view is classified (section 2.1), the wall segmented and its
lines drawn (2.2), motion estimated (2.3; the bundle's network and inferer, any that meet the DDF contract), and both
fused point by point in a Kalman filter (2.4). Evain et al. 2022 gives GLS and MAPSE.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from common.cine.case import CineCase
from common.evaluation.evaluator import CaseEvaluator
from common.strain_pipeline.case import StrainCase
from common.strain_pipeline.files import write_strain_case
from common.strain_pipeline.measures import StrainMeasures, strain_truth_scores
from common.strain_pipeline.motion import Fusion, track_wall
from common.strain_pipeline.view import checked_view
from common.strain_pipeline.wall import wall_of


class StrainEvaluator(CaseEvaluator):
    """Measures the strain of each cine, and writes its report.

    Args:
        device, dataset, network, output_dir, inferer, val_handlers: as in ``CaseEvaluator``.
        classify: ``cine [T, H, W]`` to a probability a view name.
        segment: ``cine [T, H, W]`` to memberships ``[T, 4, H, W]`` of background, cavity, myocardium, left atrium.
        measures: what is measured of the tracked wall.
        fusion: how lines and motion are weighed.
        view_threshold: least probability of the view.
        points: along the wall, even.
        figures: write report and film.
        weights: name of a network to what its weights are and what they were trained on.
    """

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
        seconds: dict[str, float] = {}
        frames = case.cine.as_tensor()[0]
        with timed(seconds, "view"):
            view = checked_view(case, self.classify(frames), self.view_threshold)
        with timed(seconds, "segmentation"):
            memberships = self.segment(frames)
        with timed(seconds, "contours"):
            wall = wall_of(case, memberships, self.points)
        result = self.register(case)
        seconds["motion"] = result.seconds
        with timed(seconds, "tracking"):
            tracked = track_wall(case, wall, result, self.fusion)
        with timed(seconds, "strain"):
            measured = self.measures(tracked, case.meta, view.view)
        scores = measured.scores | strain_truth_scores(case, measured)
        study = StrainCase(case, result, scores, self.folder_of(case), view, wall, tracked, measured, seconds)
        return write_strain_case(study, self.weights, self.figures)


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Put the seconds that the block takes under the name of a part."""
    start = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - start
