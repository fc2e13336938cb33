"""Evaluator of bundles that register cines: read, register, evaluate, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.core.plots import check_figures
from cardiac_motion.core.tables import table_text
from cardiac_motion.evaluation.case_evaluator import CaseEvaluator, Report
from cardiac_motion.evaluation.contour import TrackedContour, read_borders, track_contour
from cardiac_motion.evaluation.flow_truth import flow_scores
from cardiac_motion.evaluation.scores import reconstruction_scores
from cardiac_motion.evaluation.truth import label_scores, truth_scores
from cardiac_motion.evaluation.writer import write_cine_case
from cardiac_motion.registration.wall_motion import check_wall_motion, regularise_wall


@dataclass(frozen=True, eq=False)
class CineReport(Report):
    """Report of a registered cine.

    Attributes:
        contour: contour tracked through the cine, if one is given.
    """

    KEYS: ClassVar[Mapping[str, str]] = {**Report.KEYS, "cine": "case.cine"}

    case: CineCase
    contour: TrackedContour | None

    def lines(self) -> str:
        """Return the number of pairs, notes on the file, and the table of stages."""
        notes = [f"  note: {note}" for note in self.case.meta.notes]
        return "\n".join([super().lines(), *notes, table_text(self.scores.table)])


class CineEvaluator(CaseEvaluator):
    """Register all frame pairs of each cine, evaluate the fields, and write them.

    Args:
        device, val_data_loader, network, output_dir, inferer, postprocessing, val_handlers: as in ``CaseEvaluator``.
        method: name of the method, stored in ``summary.json``.
        contour, ed, es: as in ``track_contour``.
        wall_motion: model of wall motion, if a contour defines the wall (``registration.wall_motion``).
        radius: radius of the LNCC² window for the metrics.
        save_fields, save_figures, save_warped: files to write in addition to ``summary.json``.

    Examples:
        >>> import tempfile, torch
        >>> from torch.utils.data import DataLoader
        >>> from cardiac_motion.cine import CineCases, write_cine
        >>> from cardiac_motion.comparators.identity import NoMotion
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cine(f"{folder}/a4c.nii.gz", torch.rand(1, 3, 32, 40))
        ...     evaluator = CineEvaluator(
        ...         device="cpu", val_data_loader=DataLoader(CineCases(f"{folder}/a4c.nii.gz"), batch_size=None),
        ...         network=NoMotion(), output_dir=f"{folder}/out", method="identity", save_figures=False,
        ...     )  # fmt: skip
        ...     evaluator.run()
        ...     sorted(path.name for path in evaluator.state.output.folder.iterdir())
        ['ddf.nii.gz', 'summary.json']
        >>> metrics = evaluator.state.output.scores.metrics
        >>> metrics["folding_fraction"], abs(metrics["mse"] - metrics["mse_unregistered"]) < 1e-6
        (0.0, True)
    """

    def __init__(
        self,
        *,
        method: str,
        contour: str | None = None,
        ed: int | None = None,
        es: int | None = None,
        wall_motion: str = "none",
        radius: int = 10,
        save_fields: bool = True,
        save_figures: bool = True,
        save_warped: bool = False,
        **shared: Any,
    ) -> None:
        self.method = method
        super().__init__(**shared)
        if save_figures:
            check_figures()
        self.contour, self.ed, self.es, self.radius = contour, ed or 0, es, radius
        self.wall_motion = check_wall_motion(wall_motion)
        self.files = {"save_fields": save_fields, "save_figures": save_figures, "save_warped": save_warped}

    def process(self, case: CineCase) -> CineReport:
        """Register a case, evaluate its fields, and write its files."""
        result = self.fields_of(case)
        borders = None if self.wall_motion == "none" else read_borders(case, self.contour, self.ed)
        if borders is not None:
            ddf = regularise_wall(self.wall_motion, case.image, result.ddf, *borders, self.ed)
            result = replace(result, ddf=ddf)
        scores = reconstruction_scores(case, result, self.radius)
        scores |= truth_scores(case, result.ddf, self.radius)
        scores |= label_scores(case, result.ddf) | flow_scores(case, result)
        contour = track_contour(case, result.ddf, self.contour, self.ed, self.es)
        if contour is not None:
            scores |= contour.scores
        folder = self.folder_of(case)
        write_cine_case(folder, case, result, scores, contour, method=self.method, **self.files)
        return CineReport(case, result, scores, folder, contour)
