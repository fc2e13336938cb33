"""Evaluator that measures blood flow in contrast cines: blood pool, registration, velocity, vortices, files.

The blood pool is given by a label map or by masks at end-diastole and end-systole (NMSR section 3); otherwise the
segmentation network finds it in each frame, so that it moves with the wall.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from scipy import ndimage
from torch import Tensor

from cardiac_motion.cine.cine_case import CineCase
from cardiac_motion.cine.sector import sector_hull
from cardiac_motion.cine.transforms import mask_pool
from cardiac_motion.core.errors import InputError
from cardiac_motion.core.memory import peak_memory
from cardiac_motion.core.plots import check_figures
from cardiac_motion.evaluation.case_evaluator import CaseEvaluator
from cardiac_motion.evaluation.cine import CineReport
from cardiac_motion.evaluation.flow_truth import flow_scores
from cardiac_motion.evaluation.scores import reconstruction_scores
from cardiac_motion.evaluation.truth import truth_scores
from cardiac_motion.evaluation.writer import case_folder
from cardiac_motion.fields.ddf import warp
from cardiac_motion.fields.field_files import save_cine_ddf
from cardiac_motion.fields.ncc import lncc2
from cardiac_motion.lv_blood_flow.measures import BloodFlow, measure_flow
from cardiac_motion.lv_blood_flow.result_files import write_flow
from cardiac_motion.registration.result import RegistrationResult
from cardiac_motion.strain_pipeline.tracking.image_networks import load_segmentation, segment_cine
from cardiac_motion.ventricle.blood_pool import check_pool

CAVITY = 1  # label of the segmentation
SEGMENTED = (
    "The blood pool was segmented by a network trained without contrast agent: check it (flow.png, pool.nii.gz). On "
    "simulated contrast cines it missed up to 40 % of the blood, and in one cine all of it (docs/blood.md)."
)
_HOLES = 2  # iterations of the closing that fills gaps in the contrast


class BloodEvaluator(CaseEvaluator):
    """Measure the blood flow of each cine and write the results.

    Args:
        device, val_data_loader, network, output_dir, inferer, val_handlers: as in ``CaseEvaluator``.
        method: name of the method, stored in ``summary.json``.
        segmentation: weights of a ``SegmentationUNet``, which segments the blood pool of cines without a mask.
        time_sigma: standard deviation in frame pairs of the Gaussian over time that smooths the fields; 0 for none.
        radius: radius of the LNCC² window for the metrics.
        save_fields, save_figures: write fields and figures in addition to ``flow.csv`` and ``summary.json``.
    """

    def __init__(
        self,
        *,
        method: str,
        segmentation: str | None = None,
        time_sigma: float = 1.0,
        radius: int = 10,
        save_fields: bool = True,
        save_figures: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if save_figures:
            check_figures()
        if time_sigma < 0:
            raise InputError(f"time_sigma {time_sigma}: expected 0 or more")
        self.segment: Callable[[Tensor], Tensor] | None = None
        if segmentation is not None:
            network = load_segmentation(segmentation).to(self.state.device)
            self.segment = partial(segment_cine, network=network)
        self.method, self.time_sigma, self.radius = method, time_sigma, radius
        self.save_fields, self.save_figures = save_fields, save_figures

    def process(self, case: CineCase) -> CineReport:
        """Measure one case and write its fields, flow, scores and files."""
        case, result, flow = self.measure_case(case)
        scores = reconstruction_scores(case, result, self.radius) | flow.scores()
        scores |= truth_scores(case, result.ddf, self.radius) | flow_scores(case, result)
        folder, meta = self.folder_of(case), case.meta
        with case_folder(folder, case.entry, self.method) as (beside, summary):
            if self.save_fields:
                save_cine_ddf(beside / "ddf.nii.gz", result.ddf)
            write_flow(beside, case, result, flow, self.save_fields, self.save_figures)
            summary |= {
                "source": meta.source,
                "frames": case.cine.shape[1],
                "size": case.size,
                "spacing": meta.spacing,
                "frame_times": meta.frame_times,
                "frame_time_source": meta.frame_time_source,
                "velocity": f"{flow.velocity.unit}, midway between frames",
                "notes": [*meta.notes, *flow.notes],
                "table": scores.table,
                "metrics": scores.metrics,
                "pairs": scores.pairs,
                "peak_memory_bytes": peak_memory(),
            }
        for note in flow.notes:
            print(f"{case.name}: {note}")
        return CineReport(case, result, scores, folder, None)

    def measure_case(self, case: CineCase) -> tuple[CineCase, RegistrationResult, BloodFlow]:
        """Measure the flow of a cine without writing anything.

        Returns:
            The case with its blood pool, its fields smoothed over time, and the flow.

        Raises:
            InputError: no blood pool is found, or it leaves the sector.
        """
        given = case.blood_mask is not None
        case = find_pool(case, self.segment)
        single: RegistrationResult = self.fields_of(case)
        result = replace(single, ddf=smooth_in_time(single.ddf, self.time_sigma))
        similarity = lncc2(case.image[:, 1:], warp(case.image[:, :1], single.ddf), self.radius, case.mask)
        flow = measure_flow(case, result.ddf, single.ddf, similarity=float(similarity.nanmean()))
        return case, result, flow if given else replace(flow, notes=[SEGMENTED, *flow.notes])


def smooth_in_time(ddf: Tensor, sigma: float) -> Tensor:
    """Smooth fields ``[N, 2, H, W]`` over time by a Gaussian of ``sigma`` pairs; the end fields are repeated."""
    if sigma <= 0 or len(ddf) < 2:
        return ddf
    return torch.from_numpy(ndimage.gaussian_filter1d(ddf.numpy(), sigma, axis=0, mode="nearest"))


def find_pool(case: CineCase, segment: Callable[[Tensor], Tensor] | None) -> CineCase:
    """Return the case with its blood pool; only the blood is registered.

    Args:
        case: case as read.
        segment: maps ``cine [T, H, W]`` to memberships ``[T, C, H, W]`` of background, cavity, …; used if the case has
            no mask.

    Raises:
        InputError: no blood pool is found in a frame, or it leaves the sector.
    """
    frames = case.cine.as_tensor()[0]
    sector = sector_hull(case.cine)
    if case.blood_mask is not None:
        check_pool(case.blood_mask, case.size, len(frames), sector, str(case.entry.ed_mask or case.entry.blood_mask))
        return case
    if segment is None:
        raise InputError(
            f"{case.entry.image}: the blood pool is not given; use --blood_mask, or --ed, --es, --ed_mask and "
            "--es_mask, or --segmentation with strain_pipeline's weights (models/segmentation.pt)"
        )
    labels = segment(frames).argmax(1) == CAVITY
    pool = torch.stack(
        [
            torch.from_numpy(ndimage.binary_fill_holes(ndimage.binary_closing(frame, iterations=_HOLES)))
            for frame in labels.numpy()
        ]
    )
    check_pool(pool & sector, case.size, len(frames), sector, f"{case.entry.image}, as segmented")
    return mask_pool(case, pool & sector)
